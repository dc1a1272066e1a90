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

	"bulkhead/host/bugs"
	"bulkhead/host/config"
	"bulkhead/host/handlers"
	"bulkhead/host/logs"
	"bulkhead/host/progress"
	"bulkhead/host/statefolder"
	"bulkhead/plugins"
	"bulkhead/plugins/admit"
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
	bugs    *bugs.Bugs     // nil: what guests make of the host's faults is in their log only
	// compiling says what takes long.
	compiling *progress.Compiling

	mu       sync.Mutex // for the maps; who uses a tenant's part of them is one at a time
	runtimes map[string]*plugins.Runtime
	modules  map[moduleKey]*module
	wanted   map[codestore.Sum]bool // what a rollback goes back to: it stays kept
	stopped  bool
	// Kept modules were looked over, and so many bytes have come since.
	trimmed   bool
	untrimmed int
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
	p := &loader{
		compiling: progress.NewCompiling(log, len(wanted)),
		tenants:   tenants, compile: compile, log: log, clock: clock,
		runtimes: make(map[string]*plugins.Runtime),
		modules:  make(map[moduleKey]*module),
	}
	if len(wanted) > 0 {
		if err := p.prepare(cfg); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// prepare opens the state folder, unless it is open. It is called by one goroutine at a time.
func (p *loader) prepare(cfg *config.Config) error {
	if p.store != nil {
		return nil
	}
	if err := plugins.CanExecute(); err != nil {
		return err
	}
	store, err := statefolder.Open(cfg)
	if err != nil {
		return err
	}
	if store.Remade != "" {
		p.log.Warn(store.Remade)
	}
	p.store = store
	p.boundCode(cfg.Host.CodeCache)
	return nil
}

// boundCode has the state folder keep so many bytes of compiled code. That it cannot is no reason not to
// serve.
func (p *loader) boundCode(most int64) {
	if p.store == nil {
		return
	}
	if err := p.store.BoundCode(most); err != nil {
		p.log.Warn("compiled code is kept beyond [host] code_cache", "error", statefolder.WithMend(err))
	}
}

// addTenant has modules be loaded for another tenant.
func (p *loader) addTenant(t *tenant) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tenants[t.name] = t
}

// dropTenant gives back what a tenant has that has no server any more.
func (p *loader) dropTenant(name string) {
	p.mu.Lock()
	r := p.runtimes[name]
	delete(p.runtimes, name)
	delete(p.tenants, name)
	p.mu.Unlock()
	if r != nil {
		r.Close()
		<-r.Done()
	}
}

// module is a plugin's code in the runtime of its tenant.
type module struct {
	*plugins.Module
	key   moduleKey
	users int // what load has given out and release not taken back; under the loader's lock
}

// mostKeptModules is how many bytes of modules the state folder keeps that nothing of this process uses
// any more.
const mostKeptModules = 256 << 20

// load compiles a listener's plugin, unless its tenant has it already: a plugin is known by the SHA-256 of
// its bytes, and not by its path. What is compiled is what was hashed: the file is read once. The
// module is the caller's until release, which closes it when nobody else has it.
//
// With pinned, it is what has that SHA-256: of those that are loaded, in its file, or kept.
func (p *loader) load(l *config.Listener, pinned *codestore.Sum) (*module, error) {
	p.mu.Lock()
	stopped := p.stopped
	p.mu.Unlock()
	if stopped {
		return nil, fmt.Errorf("%s: the host stops: %w", l.Plugin, plugins.ErrClosed)
	}
	var code []byte
	var sum codestore.Sum
	var err error
	if pinned == nil {
		code, sum, err = p.read(l)
	} else if m := p.use(moduleKey{l.Tenant, *pinned, l.Shape}, nil); m != nil {
		return m, nil
	} else {
		sum = *pinned
		code, err = p.readPinned(l, sum)
	}
	if err != nil {
		return nil, err
	}
	key := moduleKey{l.Tenant, sum, l.Shape}
	if m := p.use(key, nil); m != nil {
		return m, nil
	}
	r, err := p.runtime(l.Tenant)
	if err != nil {
		return nil, err
	}
	made, err := r.Load(filepath.Base(l.Plugin), code, plugins.Shape(l.Shape))
	if err != nil {
		return nil, err
	}
	p.keep(l, sum, code)
	return p.use(key, made), nil
}

// read reads a listener's plugin, and its SHA-256: the file, or, where that has not the sum that
// plugin_sha256 asks for, what was kept of an earlier start.
func (p *loader) read(l *config.Listener) (code []byte, sum [sha256.Size]byte, err error) {
	if code, err = admit.ReadFile(l.Plugin); err == nil {
		sum = sha256.Sum256(code)
		if want := l.PluginSHA256; want != "" && hex.EncodeToString(sum[:]) != want {
			err = fmt.Errorf("%s has the SHA-256 %x, and plugin_sha256 asks for %s; put the right file there, or the new sum into the configuration", l.Plugin, sum, want)
		}
	}
	if err == nil || l.PluginSHA256 == "" {
		return code, sum, err
	}
	if n, bad := hex.Decode(sum[:], []byte(l.PluginSHA256)); bad != nil || n != len(sum) {
		return nil, sum, err
	}
	if p.store == nil {
		return nil, sum, err
	}
	kept, none := p.store.Module(sum)
	if none != nil {
		return nil, sum, err
	}
	p.log.Warn("a plugin's file is not the one that plugin_sha256 asks for; the copy of it that the state folder has is used",
		"listener", l.Name, "tenant", l.Tenant, "error", err)
	return kept, sum, nil
}

// readPinned reads the plugin that a listener has had: its file, or, where that holds another one now,
// what was kept.
func (p *loader) readPinned(l *config.Listener, sum codestore.Sum) ([]byte, error) {
	code, err := admit.ReadFile(l.Plugin)
	if err == nil && sha256.Sum256(code) == sum {
		return code, nil
	}
	if p.store != nil {
		if code, err = p.store.Module(sum); err == nil {
			return code, nil
		}
	}
	return nil, fmt.Errorf("what %s held before, of the SHA-256 %x, is neither there any more nor kept in the state folder; put it there again, and reload", l.Plugin, sum)
}

// keep keeps a plugin in the state folder, where it is to go back to. That it cannot is no reason not to
// serve.
func (p *loader) keep(l *config.Listener, sum [sha256.Size]byte, code []byte) {
	added, err := p.store.KeepModule(sum, code)
	if err == nil && p.trimNow(added, len(code)) {
		_, err = p.store.TrimModules(mostKeptModules, func(sum codestore.Sum) bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			for key := range p.modules {
				if key.sum == sum {
					return true
				}
			}
			return p.wanted[sum]
		})
	}
	if err != nil {
		p.log.Warn("a plugin is not kept in the state folder, so it cannot be gone back to when its file has changed",
			"listener", l.Name, "tenant", l.Tenant, "error", statefolder.WithMend(err))
	}
}

// trimNow reports whether to look what of the kept modules can go: at first, and when enough have come.
func (p *loader) trimNow(added bool, size int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if added {
		p.untrimmed += size
	}
	if p.trimmed && p.untrimmed < mostKeptModules/8 {
		return false
	}
	p.trimmed, p.untrimmed = true, 0
	return true
}

// use is a module that is there, for one user more; made, which may be nil, is what is to be there
// if none is, and else closed.
func (p *loader) use(key moduleKey, made *plugins.Module) *module {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.modules[key]
	switch {
	case m == nil && made == nil:
		return nil
	case m == nil:
		m = &module{Module: made, key: key}
		p.modules[key] = m
	case made != nil:
		defer made.Close()
	}
	m.users++
	return m
}

// release takes a module back from one that load has given it to. When that was the last, its code is
// given back as soon as no instance of it is left.
func (p *loader) release(m *module) {
	p.mu.Lock()
	m.users--
	last := m.users == 0
	if last {
		delete(p.modules, m.key)
	}
	p.mu.Unlock()
	if last {
		m.Close()
	}
}

// provider lets go of its module when it is closed.
type provider struct {
	handlers.Provider
	release func()
}

// Close lets go of every instance, and then of the module.
func (p *provider) Close() {
	p.Provider.Close()
	p.release()
}

func (p *loader) runtime(name string) (*plugins.Runtime, error) {
	p.mu.Lock()
	known, t := p.runtimes[name], p.tenants[name]
	p.mu.Unlock()
	if known != nil {
		return known, nil
	}
	t.log.Store(logs.NewHandlers(p.log.With("tenant", name), t.config().LogLines, float64(t.config().LogBytes), p.clock))
	var onBug func(*plugins.Listener, *plugins.Trap)
	if p.bugs != nil {
		onBug = p.bugs.Trap
	}
	r, err := plugins.NewRuntime(plugins.RuntimeOptions{
		OnBug:       onBug,
		Code:        p.store,
		Compiler:    compiler.Command{Args: p.compile},
		Compiling:   func(module string) func() { return p.compiling.Begin(name, module) },
		Memory:      t.memory,
		Mappings:    mappingAccount{t.mappings},
		MemoryLimit: t.config().Memory,
		Instances:   t.config().Instances,
		Timers:      t,
		CPU:         t.cpu,
		Log:         t.log.Load(),
		Counter:     &t.counts,
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
func (p *loader) crew(s *server) (c handlers.Provider, err error) {
	defer s.Guard("loading a plugin", &err)
	m, err := p.load(&s.config, s.pinned)
	if err != nil {
		return nil, err
	}
	s.module.Store(m)
	return p.start(s, m)
}

// start starts what has to be there of a server's plugin, and lets go of that when it is closed, or when it
// does not start.
func (p *loader) start(s *server, m *module) (c handlers.Provider, err error) {
	switch {
	case s.config.Shape == "stdio":
		c, err = handlers.NewStdio(s, m.Module)
	case s.config.Instance == "connection":
		c, err = handlers.NewEach(s, m.Module)
	default:
		c, err = handlers.NewShared(s, m.Module)
	}
	if err != nil {
		p.release(m)
		return nil, err
	}
	return &provider{c, sync.OnceFunc(func() { p.release(m) })}, nil
}

// try loads a listener's plugin and, if it is of shape events, starts and ends
// an instance of it.
func (p *loader) try(l *config.Listener) error {
	m, err := p.load(l, nil)
	if err != nil {
		return err
	}
	defer p.release(m)
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
		p.log.Warn(handlers.NoSnapshot, "listener", l.Name, "tenant", l.Tenant, "why", cannot)
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
	p.compiling.End()
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
	l.Dialer, l.MakeSSL = s.dialer, s.makeSSL
	l.Certificate = s.config.TLS != nil // they are loaded later, or the host does not start
	s.changing.Lock()
	defer s.changing.Unlock()
	t := s.terms.Load()
	l.EventTimeout, l.LogBadData = t.eventTimeout, t.logBadData
	s.guests = l
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
