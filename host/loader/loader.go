// Package loader loads plugins: each of a tenant once, in the tenant's runtime, before its listener
// serves or while it does. A listener whose plugin cannot be loaded, or does not start, is
// quarantined, and its plugin is tried again.
package loader

import (
	"log/slog"
	"runtime"
	"sync"

	"bulkhead/engines"
	"bulkhead/host/config"
	"bulkhead/host/progress"
	"bulkhead/host/statefolder"
	"bulkhead/host/tenant"
	"bulkhead/plugins"
	"bulkhead/plugins/codestore"
	"bulkhead/plugins/compiler"
	"bulkhead/selector"
)

// Options are what a Loader loads with.
type Options struct {
	// Plugins is about how many are loaded at first, for the log. With OnlyLong it says only what
	// takes long.
	Plugins  int
	OnlyLong bool
	// Compiler is the command line of the compiler's process: host.Options.
	Compiler []string
	// Engines is host.Options.Engines.
	Engines *plugins.SharedCode
	Log     *slog.Logger
	Clock   selector.Clock
	// Wall and Random are what guests are told: host.Options. Nil: the system's.
	Wall   func() int64
	Random func(p []byte)
	// Observer is told what guests do: host.Options. Nil: nobody is.
	Observer *plugins.Observer
	// OnBug is plugins.RuntimeOptions.OnBug; nil: nobody is told.
	OnBug func(*plugins.Listener, *plugins.Trap)
}

// Loader has one runtime for each tenant that has a plugin, and each plugin and each engine of
// scripts compiled once for all tenants. Any goroutine may use it, for one tenant one at a
// time.
type Loader struct {
	o         Options
	store     *codestore.Store // nil: nothing is loaded
	compiling *progress.Compiling
	shared    plugins.SharedCode // of plugins

	mu           sync.Mutex // for the maps; who uses a tenant's part of them is one at a time
	tenants      map[string]*tenant.Tenant
	runtimes     map[string]*plugins.Runtime
	modules      map[moduleKey]*module
	interpreters map[*engines.Engine]*plugins.Interpreter
	wanted       map[codestore.Sum]bool // they stay kept
	stopped      bool
	kept         keptModules
	scripts      *scripts
}

// New makes a loader of plugins for no tenant yet. Prepare comes before the first plugin.
func New(o Options) *Loader {
	p := &Loader{
		o:            o,
		compiling:    progress.NewCompiling(o.Log, o.Plugins),
		tenants:      make(map[string]*tenant.Tenant),
		runtimes:     make(map[string]*plugins.Runtime),
		modules:      make(map[moduleKey]*module),
		interpreters: make(map[*engines.Engine]*plugins.Interpreter),
		scripts:      newScripts(o),
	}
	if o.OnlyLong {
		p.compiling.OnlyLong()
	}
	return p
}

// ByTenant calls f for every one of the listeners and routes, for those of different tenants at the
// same time, as many as there are CPUs, so that a tenant whose modules take
// long to compile holds up few others.
func ByTenant(listeners []*config.Listener, f func(i int)) {
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

// Prepare opens the state folder, unless it is open. It is called by one
// goroutine at a time. The error says why no plugin can be loaded.
func (p *Loader) Prepare(cfg *config.Config) error {
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
		p.o.Log.Warn(store.Remade)
	}
	p.store = store
	p.scripts.keptIn(store)
	p.BoundCode(cfg.Host.CodeCache)
	p.kept.most = cfg.Host.ModuleCache
	return nil
}

// Prepared reports whether the state folder is open.
func (p *Loader) Prepared() bool { return p.store != nil }

// BoundCode has the state folder keep so many bytes of compiled code. That it cannot is no reason
// not to serve.
func (p *Loader) BoundCode(most int64) {
	if p.store == nil {
		return
	}
	if err := p.store.BoundCode(most); err != nil {
		p.o.Log.Warn("compiled code is kept beyond [host] code_cache", "error", statefolder.WithMend(err))
	}
}

// AddTenant has plugins be loaded for another tenant.
func (p *Loader) AddTenant(t *tenant.Tenant) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tenants[t.Name()] = t
}

// DropTenant ends the runtime of a tenant that has no listener any more, and waits for that.
func (p *Loader) DropTenant(name string) {
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

// runtime is the tenant's.
func (p *Loader) runtime(name string) *plugins.Runtime {
	p.mu.Lock()
	known, t := p.runtimes[name], p.tenants[name]
	p.mu.Unlock()
	if known != nil {
		return known
	}
	r := t.NewRuntime(plugins.RuntimeOptions{
		OnBug:     p.o.OnBug,
		Code:      p.store,
		Compiler:  compiler.Command{Args: p.o.Compiler},
		Compiling: func(module string) func() { return p.compiling.Begin(name, module) },
		Clock:     p.o.Clock,
		Wall:      p.o.Wall,
		Random:    p.o.Random,
		Observer:  p.o.Observer,
	}, p.o.Log)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runtimes[name] = r
	if p.stopped {
		r.Close()
	}
	return r
}

// Idle says, in the log, that what was to be compiled is, until something is again.
func (p *Loader) Idle() { p.compiling.End() }

// Stop has calls that run stopped at their next refill, and nothing more loaded. Any
// goroutine may call it.
func (p *Loader) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	p.scripts.stop()
	for _, r := range p.runtimes {
		r.Close()
	}
	for _, i := range p.interpreters {
		i.Close()
	}
}

// Close ends the runtimes and waits for them. No instance is in use any more.
func (p *Loader) Close() {
	p.Stop()
	p.compiling.End()
	for _, m := range p.modules {
		m.Close()
	}
	for _, r := range p.runtimes {
		<-r.Done()
	}
	p.shared.Close()
}
