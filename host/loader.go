package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"bulkhead/abi"
	"bulkhead/host/budget"
	"bulkhead/host/config"
	"bulkhead/host/crew"
	"bulkhead/plugins"
	"bulkhead/plugins/codestore"
	"bulkhead/plugins/compiler"
	"bulkhead/selector"
)

// loader has one runtime for each tenant that has a plugin, and each plugin
// of a tenant compiled once.
type loader struct {
	store   *codestore.Store // nil: nothing is loaded
	tenants map[string]*tenant
	compile []string // Options.Compiler
	log     *slog.Logger
	clock   selector.Clock
	wall    func() int64   // Options.Wall
	random  func(p []byte) // Options.Random
	bugs    *bugs          // nil: what guests make of the host's faults is in their log only
	// compiling says what takes long.
	compiling *compiling

	mu       sync.Mutex // for the maps; who uses a tenant's part of them is one at a time
	runtimes map[string]*plugins.Runtime
	modules  map[moduleKey]*plugins.Module
	stopped  bool
}

// byTenant calls f for every one of the listeners and routes, for those of different tenants at the
// same time, as many as there are CPUs, so that a tenant whose modules take
// long to compile holds up few others.
func byTenant(listeners []*config.Listener, f func(i int)) {
	of := make(map[string][]int)
	var tenants []string
	for i := range listeners {
		name := listeners[i].Tenant
		if of[name] == nil {
			tenants = append(tenants, name)
		}
		of[name] = append(of[name], i)
	}
	next := make(chan string)
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(tenants)) {
		workers.Go(func() {
			for name := range next {
				for _, i := range of[name] {
					f(i)
				}
			}
		})
	}
	for _, name := range tenants {
		next <- name
	}
	close(next)
	workers.Wait()
}

type moduleKey struct {
	tenant string
	sum    [sha256.Size]byte
	shape  string
}

// newLoader makes a loader for the plugins that are wanted, for which it opens
// the state folder.
func newLoader(cfg *config.Config, wanted []*config.Listener, tenants map[string]*tenant, compile []string, log *slog.Logger, clock selector.Clock) (*loader, error) {
	var store *codestore.Store
	if len(wanted) > 0 {
		var err error
		if err := plugins.CanExecute(); err != nil {
			return nil, err
		}
		if store, err = openState(cfg); err != nil {
			return nil, err
		}
		if store.Remade != "" {
			log.Warn(store.Remade)
		}
	}
	return &loader{
		compiling: &compiling{log: log, plugins: len(wanted)},
		store:     store, tenants: tenants, compile: compile, log: log, clock: clock,
		runtimes: make(map[string]*plugins.Runtime),
		modules:  make(map[moduleKey]*plugins.Module),
	}, nil
}

// load compiles a listener's plugin, unless its tenant has it already. What
// is compiled is what was hashed: the file is read once.
func (p *loader) load(l *config.Listener) (*plugins.Module, error) {
	p.mu.Lock()
	stopped := p.stopped
	p.mu.Unlock()
	if stopped {
		return nil, fmt.Errorf("%s: the host stops: %w", l.Plugin, plugins.ErrClosed)
	}
	code, err := plugins.ReadFile(l.Plugin)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(code)
	if want := l.PluginSHA256; want != "" && hex.EncodeToString(sum[:]) != want {
		return nil, fmt.Errorf("%s has the SHA-256 %x, and plugin_sha256 asks for %s; put the right file there, or the new sum into the configuration", l.Plugin, sum, want)
	}
	key := moduleKey{l.Tenant, sum, l.Shape}
	p.mu.Lock()
	m := p.modules[key]
	p.mu.Unlock()
	if m != nil {
		return m, nil
	}
	r, err := p.runtime(l.Tenant)
	if err != nil {
		return nil, err
	}
	m, err = r.Load(filepath.Base(l.Plugin), code, plugins.Shape(l.Shape))
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.modules[key] = m
	p.mu.Unlock()
	return m, nil
}

func (p *loader) runtime(name string) (*plugins.Runtime, error) {
	p.mu.Lock()
	known := p.runtimes[name]
	p.mu.Unlock()
	if known != nil {
		return known, nil
	}
	t := p.tenants[name]
	lines := newLimited(p.log.With("tenant", name), "what its handlers say (log_lines, log_bytes)", t.config().LogLines, p.clock)
	lines.bytes = budget.NewRate(float64(t.config().LogBytes), time.Second)
	t.log.Store(lines)
	var onBug func(*plugins.Listener, *plugins.Trap)
	if p.bugs != nil {
		onBug = p.bugs.trap
	}
	r, err := plugins.NewRuntime(plugins.RuntimeOptions{
		OnBug:       onBug,
		Code:        p.store,
		Compiler:    compiler.Command{Args: p.compile},
		Compiling:   func(module string) func() { return p.compiling.begin(name, module) },
		Memory:      t.memory,
		Mappings:    mappingAccount{t.mappings},
		MemoryLimit: t.config().Memory,
		Instances:   t.config().Instances,
		Timers:      t,
		CPU:         t.cpu,
		Log:         guestLog{t.log.Load()},
		Counter:     &t.metrics,
		Clock:       p.clock,
		Wall:        p.wall,
		Random:      p.random,
	})
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runtimes[name] = r
	t.runtime.Store(r)
	if p.stopped {
		r.Close()
	}
	return r, nil
}

// crew loads a server's plugin and starts what has to be there before the
// first connection.
func (p *loader) crew(s *server) (c crew.Provider, err error) {
	defer p.bugs.guard(s, "loading a plugin", &err)
	m, err := p.load(&s.config)
	if err != nil {
		return nil, err
	}
	return p.start(s, m)
}

// start starts what has to be there of a server's plugin.
func (p *loader) start(s *server, m *plugins.Module) (crew.Provider, error) {
	switch {
	case s.config.Shape == "stdio":
		return crew.NewStdio(s, m)
	case s.config.Instance == "connection":
		return crew.NewEach(s, m)
	default:
		return crew.NewShared(s, m)
	}
}

// try loads a listener's plugin and, if it is of shape events, starts and ends
// an instance of it.
func (p *loader) try(l *config.Listener) error {
	m, err := p.load(l)
	if err != nil {
		return err
	}
	if l.Shape == "stdio" {
		folder, err := p.tenants[l.Tenant].readFolder(l)
		p.tenants[l.Tenant].releaseFolder(folder)
		return err
	}
	guests := guestListener(l, p.tenants[l.Tenant].config().Stack, nil)
	if l.Instance == "connection" && l.Snapshot {
		s, err := m.Snapshot(guests)
		var cannot *plugins.SnapshotError
		switch {
		case err == nil:
			s.Close()
			return nil
		case !errors.As(err, &cannot):
			return err
		}
		p.log.Warn(crew.NoSnapshot, "listener", l.Name, "tenant", l.Tenant, "why", cannot)
		return nil
	}
	i, err := m.Instantiate(guests)
	if err == nil {
		i.Close()
	}
	return err
}

// stop has calls that run stopped at their next refill, and nothing more loaded. Any
// goroutine may call it.
func (p *loader) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	for _, r := range p.runtimes {
		r.Close()
	}
}

// close ends the runtimes and waits for them. No instance is in use any more.
func (p *loader) close() {
	p.stop()
	p.compiling.end()
	for _, m := range p.modules {
		m.Close()
	}
	for _, r := range p.runtimes {
		<-r.Done()
	}
}

// Guests is what the guests of the server are told and held to.
func (s *server) Guests(onTrap func(*plugins.Instance, *plugins.Trap)) *plugins.Listener {
	l := guestListener(&s.config, s.tenant.config().Stack, onTrap)
	l.Dialer, l.MakeSSL = s.upstreams, s.makeSSL
	l.Certificate = s.config.TLS != nil // they are loaded later, or the host does not start
	return l
}

// guestListener is what the guests of a listener are told and held to.
func guestListener(l *config.Listener, stack int, onTrap func(*plugins.Instance, *plugins.Trap)) *plugins.Listener {
	return &plugins.Listener{
		Name: l.Name, Tenant: l.Tenant, Config: l.Config,
		Args: l.Args, Env: l.Env,
		EventTimeout: l.EventTimeout, Stack: stack,
		LogBadData:    l.OnBadData == "log",
		OneConnection: l.Instance == "connection",
		OnTrap:        onTrap,
	}
}

// guestLog writes a tenant's lines to the host's log.
type guestLog struct{ *limited }

var logLevels = map[int32]slog.Level{
	abi.LogDebug: slog.LevelDebug,
	abi.LogInfo:  slog.LevelInfo,
	abi.LogWarn:  slog.LevelWarn,
	abi.LogError: slog.LevelError,
}

func (g guestLog) Log(l plugins.Line) {
	level := logLevels[l.Level]
	if !g.may(level) {
		return
	}
	g.bytes.Spend(lineBytes+quotedSize(l.Text)+len(l.Listener)+len(l.Peer), g.clock.Now())
	what := "handler"
	if l.Guest {
		what = "handler says"
	}
	args := make([]any, 0, 10) // room for lines_left_out
	args = append(args, "listener", l.Listener)
	if l.Connection != 0 {
		args = append(args, "connection", l.Connection)
		if l.Peer != "" {
			args = append(args, "peer", l.Peer)
		}
	}
	g.write(level, what, append(args, "text", outside(l.Text))...)
}

// lineBytes is about what a line takes beside its text: time, level, names.
const lineBytes = 150
