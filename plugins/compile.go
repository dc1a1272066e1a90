package plugins

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"

	"bulkhead/abi"
	"bulkhead/plugins/codestore"
	"bulkhead/plugins/compiler"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
)

// compileModule compiles, or takes what the store has. b is checked and
// rewritten; name is what the log calls it.
func (r *Runtime) compileModule(name string, b []byte) (wazero.CompiledModule, error) {
	r.compile.Lock()
	defer r.compile.Unlock()
	store := r.options.Code
	if store == nil {
		defer r.options.Compiling(name)()
		return r.compileHere(b, nil)
	}
	sum := sha256.Sum256(b)
	if code := r.takeStored(name, b, sum); code != nil {
		return code, nil
	}
	defer r.options.Compiling(name)()
	keep := func(engine codestore.Sum, code []byte) {
		if err := store.Put(sum, engine, code); err != nil {
			r.note(fmt.Sprintf("%s: starting again will take longer: %s", name, firstLine(err)))
		}
	}
	if len(r.options.Compiler.Args) == 0 {
		return r.compileHere(b, keep)
	}
	return r.compileApart(b, keep)
}

// takeStored gives the engine the code that the store has. The result is nil
// when it has none, or none that can be used, and that is noted.
func (r *Runtime) takeStored(name string, b []byte, sum codestore.Sum) wazero.CompiledModule {
	store := r.options.Code
	stored, err := store.Get(sum)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		defer stored.Release()
		var code wazero.CompiledModule
		if code, err = r.take(b, stored.Engine, stored.Bytes); err == nil {
			return code
		}
	}
	if errors.Is(err, errNotCached) {
		err = fmt.Errorf("%s is for another processor", store.Path(sum))
	}
	r.note(fmt.Sprintf("%s is compiled again, since its compiled code cannot be used: %s", name, firstLine(err)))
	return nil
}

// compileApart compiles in a child process. This process never does, whatever
// happens to the store: a module that can break the compiler would have only
// to be there when the disk is full. What no child has compiled is not even
// decoded here.
func (r *Runtime) compileApart(b []byte, keep func(codestore.Sum, []byte)) (wazero.CompiledModule, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-r.stop:
			cancel()
		case <-over:
		}
	}()
	compiled, err := r.options.Compiler.Compile(ctx, b, r.options.Code.Dir())
	var failure *compiler.Failure
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, fmt.Errorf("its tenant's runtime was closed meanwhile: %w", ErrClosed)
	case errors.As(err, &failure) && failure.Detail != "":
		r.note(fmt.Sprintf("a module does not compile: %s; the compiler wrote: %s", failure.Why, failure.Detail))
		return nil, err
	default:
		return nil, err
	}
	code, err := r.take(b, compiled.Engine, compiled.Bytes)
	if errors.Is(err, errNotCached) {
		return nil, fmt.Errorf("%s has left the code of something else, or is another version of it; start this process again", r.options.Compiler.Args[0])
	}
	if err == nil {
		keep(compiled.Engine, compiled.Bytes)
	}
	return code, err
}

func (r *Runtime) note(text string) {
	r.options.Log.Log(Line{Level: abi.LogWarn, Text: text})
}

// take has the engine take code that it has the name engine for, or fails with
// errNotCached: it does not compile.
func (r *Runtime) take(b []byte, engine codestore.Sum, code []byte) (wazero.CompiledModule, error) {
	*r.asked = engineCache{offered: engine, code: code, only: true}
	defer func() { *r.asked = engineCache{} }()
	// It compiles with several workers only while the context is not over. So it
	// would not even if it did not ask.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	compiled, err := r.compileWith(experimental.WithCompilationWorkers(ctx, 2), b)
	if errors.Is(err, context.Canceled) {
		err = errNotCached
	}
	return compiled, err
}

// compileHere compiles in this process, with one worker, whose panics can be
// caught. What is compiled goes to keep.
func (r *Runtime) compileHere(b []byte, keep func(codestore.Sum, []byte)) (wazero.CompiledModule, error) {
	*r.asked = engineCache{compile: keep}
	defer func() { *r.asked = engineCache{} }()
	return r.compileWith(experimental.WithCompilationWorkers(context.Background(), 1), b)
}

// compileWith has the engine's panics become errors: the compiler asserts by
// panicking.
func (r *Runtime) compileWith(ctx context.Context, b []byte) (code wazero.CompiledModule, err error) {
	defer func() {
		if p := recover(); p != nil {
			code, err = nil, fmt.Errorf("the compiler gave up on it: %v", p)
		}
	}()
	return r.engine.CompileModule(ctx, b)
}
