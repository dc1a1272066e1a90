package host

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"bulkhead/abi"
	"bulkhead/host/config"
	"bulkhead/plugins"
	"bulkhead/selector"
)

// loader has one runtime for each tenant that has a plugin, and each plugin
// of a tenant compiled once.
type loader struct {
	state    string
	tenants  map[string]*tenant
	log      *slog.Logger
	clock    selector.Clock
	runtimes map[string]*plugins.Runtime
	modules  map[moduleKey]*plugins.Module
}

type moduleKey struct {
	tenant string
	sum    [sha256.Size]byte
	shape  string
}

func newLoader(cfg *config.Config, tenants map[string]*tenant, log *slog.Logger, clock selector.Clock) *loader {
	return &loader{
		state: cfg.Host.State, tenants: tenants, log: log, clock: clock,
		runtimes: make(map[string]*plugins.Runtime),
		modules:  make(map[moduleKey]*plugins.Module),
	}
}

// load compiles a listener's plugin, unless its tenant has it already. What
// is compiled is what was hashed: the file is read once.
func (p *loader) load(l *config.Listener) (*plugins.Module, error) {
	code, err := plugins.ReadFile(l.Plugin)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(code)
	if want := l.PluginSHA256; want != "" && hex.EncodeToString(sum[:]) != want {
		return nil, fmt.Errorf("%s has the SHA-256 %x, and plugin_sha256 asks for %s; put the right file there, or the new sum into the configuration", l.Plugin, sum, want)
	}
	key := moduleKey{l.Tenant, sum, l.Shape}
	if m := p.modules[key]; m != nil {
		return m, nil
	}
	r, err := p.runtime(l.Tenant)
	if err != nil {
		return nil, err
	}
	m, err := r.Load(filepath.Base(l.Plugin), code, plugins.Shape(l.Shape))
	if err != nil {
		return nil, err
	}
	p.modules[key] = m
	return m, nil
}

func (p *loader) runtime(name string) (*plugins.Runtime, error) {
	if r := p.runtimes[name]; r != nil {
		return r, nil
	}
	if err := makeState(p.state); err != nil {
		return nil, err
	}
	t := p.tenants[name]
	r, err := plugins.NewRuntime(plugins.RuntimeOptions{
		CacheDir:    filepath.Join(p.state, "modules"),
		Memory:      t.memory,
		MemoryLimit: t.config.Memory,
		Log:         guestLog{newLimited(p.log.With("tenant", name), tenantLines, p.clock)},
		Counter:     &t.metrics,
	})
	if err != nil {
		return nil, err
	}
	p.runtimes[name] = r
	return r, nil
}

// makeState makes the state folder. Whoever may write to it could put a folder
// of his own in the place of the compiled code, which is executed.
func makeState(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("making the folder of [host] state: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("looking at the folder of [host] state: %w", err)
	}
	if mode := info.Mode(); mode.Perm()&0o022 != 0 && mode&os.ModeSticky == 0 {
		return fmt.Errorf("the folder of [host] state, %s, can be written by others (mode %04o), and what is compiled there is executed; say chmod go-w %s", path, mode.Perm(), path)
	}
	return nil
}

// crew loads a server's plugin and starts what has to be there before the
// first connection.
func (p *loader) crew(s *server) (crew, error) {
	m, err := p.load(&s.config)
	if err != nil {
		return nil, err
	}
	switch {
	case s.config.Shape == "stdio":
		return newStdioCrew(s, m), nil
	case s.config.Instance == "connection":
		return newEachCrew(s, m)
	default:
		return newSharedCrew(s, m)
	}
}

// try loads a listener's plugin and, if it is of shape events, starts and ends
// an instance of it.
func (p *loader) try(l *config.Listener) error {
	m, err := p.load(l)
	if err != nil || l.Shape == "stdio" {
		return err
	}
	i, err := m.Instantiate(guestListener(l, nil))
	if err == nil {
		i.Close()
	}
	return err
}

// close ends the runtimes and waits for them. No instance is in use any more.
func (p *loader) close() {
	for _, m := range p.modules {
		m.Close()
	}
	for _, r := range p.runtimes {
		r.Close()
	}
	for _, r := range p.runtimes {
		<-r.Done()
	}
}

// guestListener is what the guests of a listener are told and held to.
func guestListener(l *config.Listener, onTrap func(*plugins.Instance, *plugins.Trap)) *plugins.Listener {
	return &plugins.Listener{
		Name: l.Name, Tenant: l.Tenant, Config: l.Config,
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
	what := "handler"
	if l.Guest {
		what = "handler says"
	}
	g.event(logLevels[l.Level], what, "listener", l.Listener, "text", l.Text)
}
