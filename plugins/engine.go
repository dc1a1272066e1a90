package plugins

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"

	"bulkhead/plugins/codestore"
	"bulkhead/plugins/compiler"
	"bulkhead/plugins/internal/inside"
	"bulkhead/plugins/wasm"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// engine is one of wazero's runtimes, with the host's functions to import from. What is compiled in
// it runs in it. Any goroutine may call its methods.
type engine struct {
	options engineOptions
	runtime wazero.Runtime
	cache   wazero.CompilationCache
	config  wazero.ModuleConfig

	compiling sync.Mutex                          // one compilation at a time bounds what it takes
	asked     *engineCache                        // what it asks for code; compiling guards it and what follows
	charge    func(n int) error                   // is told the length of the code that is being made
	failed    map[codestore.Sum]*compiler.Failure // those that would be in vain

	users atomic.Int64 // who has made it, and the SharedCode that has code of it
}

// engineOptions say how an engine compiles.
type engineOptions struct {
	store     *codestore.Store                // nil: nothing is kept
	compiler  compiler.Command                // as in RuntimeOptions
	compiling func(name string) (done func()) // is told of what is compiled
	memory    MemoryAccount                   // is charged with what code takes
	note      func(text string)               // takes what the log is to say
	stop      <-chan struct{}                 // closed: what is compiled in another process is given up
}

// engineMappings is how many memory mappings an engine has of its own.
const engineMappings = 8

// versionLock is held while a cache and an engine are made: both ask for the
// engine's version, which wazero 1.12 keeps in an unguarded variable.
var versionLock sync.Mutex

// newEngine makes an engine, which the caller closes when its code is. It fails when the machine
// has no compiler for WebAssembly, since falling back to an interpreter would be fifty times slower
// and say nothing.
func newEngine(o engineOptions) (e *engine, err error) {
	e = &engine{
		options: o,
		asked:   &engineCache{charge: uncharged},
		charge:  uncharged,
		// The engine's default random source is a fixed seed, made anew for each
		// instance; clocks and streams are those of our own WASI.
		config: wazero.NewModuleConfig().WithName("").WithStartFunctions().WithRandSource(rand.Reader).
			WithSysWalltime().WithSysNanotime(),
	}
	e.users.Store(1)
	versionLock.Lock()
	defer versionLock.Unlock()
	defer func() {
		if p := recover(); p != nil {
			e, err = nil, fmt.Errorf("starting the WebAssembly compiler: this machine is not supported: %v", p)
		}
	}()
	// A cache of its own keeps compiled modules, their locks and their closing apart from those of
	// other engines; the store may be shared.
	if e.cache, err = inside.CacheOf(e.asked); err != nil {
		return nil, err
	}
	ctx := context.Background()
	e.runtime = wazero.NewRuntimeWithConfig(ctx, compiler.EngineConfig().
		WithMemoryLimitPages(wasm.MaxPages). // one more than any has: see executor
		WithCompilationCache(e.cache))
	if err := e.registerHostFunctions(ctx); err != nil {
		e.release()
		return nil, fmt.Errorf("registering the host functions: %w", err)
	}
	return e, nil
}

// instantiate makes an instance of code that the engine has compiled. It has no name, so that none
// of another tenant can import from it.
func (e *engine) instantiate(ctx context.Context, compiled wazero.CompiledModule) (api.Module, error) {
	return e.runtime.InstantiateModule(ctx, compiled, e.config)
}

// retain is for one user more.
func (e *engine) retain() { e.users.Add(1) }

// done is release for who compiles in it: nothing more is.
func (e *engine) done() {
	e.options = engineOptions{} // which keep a tenant, or a whole host
	e.release()
}

// release takes a user off, and with the last gives everything back. No instance and no code of it
// is left by then.
func (e *engine) release() {
	if e.users.Add(-1) > 0 {
		return
	}
	ctx := context.Background()
	_ = e.runtime.Close(ctx)
	_ = e.cache.Close(ctx)
}
