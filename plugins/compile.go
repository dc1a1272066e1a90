package plugins

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"bulkhead/internal/bytesize"
	"bulkhead/plugins/codestore"
	"bulkhead/plugins/compiler"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
)

// freeCode is how many bytes of native code, with the module that the engine keeps beside it, are
// not charged, so that the accounts of small guests hold whole pages.
const freeCode = 128 << 10

// compileModule compiles, or takes what the store has. b is checked and rewritten, and sum is its
// SHA-256; name is what the log calls it. charged is how many bytes of engineOptions.memory the
// code takes, which are the caller's to release when it closes it.
func (e *engine) compileModule(name string, b []byte, sum codestore.Sum) (code wazero.CompiledModule, charged int, err error) {
	e.compiling.Lock()
	defer e.compiling.Unlock()
	defer func() { e.charge = uncharged }() // which keeps b otherwise
	e.charge = func(n int) error {
		if n += len(b); n <= freeCode || charged > 0 {
			return nil
		}
		if !e.options.memory.Reserve(n) {
			return &codeSizeError{n}
		}
		charged = n
		return nil
	}
	if code, err = e.compileOrTake(name, b, sum); err != nil && charged > 0 {
		e.options.memory.Release(charged)
		charged = 0
	}
	return code, charged, err
}

// codeSizeError is code of so many bytes that the tenant has no memory for.
type codeSizeError struct{ n int }

// Error is a clause that goes on from the module's name.
func (e *codeSizeError) Error() string {
	return fmt.Sprintf("takes %s of memory for its native code, which its tenant does not have; raise its memory", bytesize.String(int64(e.n)))
}

func isCodeSize(err error) bool {
	_, ok := errors.AsType[*codeSizeError](err)
	return ok
}

func (e *engine) compileOrTake(name string, b []byte, sum codestore.Sum) (wazero.CompiledModule, error) {
	store := e.options.store
	if store == nil {
		defer e.options.compiling(name)()
		return e.compileHere(b, nil)
	}
	if code, err := e.takeStored(name, b, sum); code != nil || err != nil {
		return code, err
	}
	defer e.options.compiling(name)()
	keep := func(engine codestore.Sum, code []byte) {
		if err := store.Put(sum, engine, code); err != nil {
			e.options.note(fmt.Sprintf("%s: starting again will take longer: %s", name, firstLine(err)))
		}
	}
	if len(e.options.compiler.Args) == 0 {
		return e.compileHere(b, keep)
	}
	if failure := e.failed[sum]; failure != nil {
		return nil, failure
	}
	return e.compileApart(b, sum, keep)
}

// mostFailed bounds how many modules an engine remembers that do not compile.
const mostFailed = 16

// fails remembers a module that does not compile whenever it is tried, so that who asks for
// it again, as for one of a quarantined listener, has no process work for minutes in vain.
func (e *engine) fails(sum codestore.Sum, failure *compiler.Failure) {
	if len(e.failed) >= mostFailed || e.failed == nil {
		e.failed = make(map[codestore.Sum]*compiler.Failure)
	}
	e.failed[sum] = failure
}

// takeStored gives the engine the code that the store has. The result is nil
// when it has none, or none that can be used, and that is noted. The error is a *codeSizeError.
func (e *engine) takeStored(name string, b []byte, sum codestore.Sum) (wazero.CompiledModule, error) {
	store := e.options.store
	stored, err := store.Get(sum)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		defer stored.Release()
		var code wazero.CompiledModule
		if code, err = e.take(b, stored.Engine, stored.Bytes); err == nil {
			return code, nil
		}
	}
	if isCodeSize(err) {
		return nil, err
	}
	if errors.Is(err, errNotCached) {
		err = fmt.Errorf("%s is for another processor", store.Path(sum))
	}
	e.options.note(fmt.Sprintf("%s is compiled again, since its compiled code cannot be used: %s", name, firstLine(err)))
	return nil, nil
}

// compileApart compiles in a child process. This process never does, whatever
// happens to the store: a module that can break the compiler would have only
// to be there when the disk is full. What no child has compiled is not even
// decoded here.
func (e *engine) compileApart(b []byte, sum codestore.Sum, keep func(codestore.Sum, []byte)) (wazero.CompiledModule, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	over := make(chan struct{})
	defer close(over)
	stop := e.options.stop // which done may take away before the goroutine has ended
	go func() {
		select {
		case <-stop:
			cancel()
		case <-over:
		}
	}()
	compiled, err := e.options.compiler.Compile(ctx, b, e.options.store.Dir())
	var failure *compiler.Failure
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, fmt.Errorf("what would run it was closed meanwhile: %w", ErrClosed)
	case errors.As(err, &failure):
		if failure.Detail != "" {
			e.options.note(fmt.Sprintf("a module does not compile: %s; the compiler wrote: %s", failure.Why, failure.Detail))
		}
		if failure.Certain {
			e.fails(sum, failure)
		}
		return nil, err
	default:
		return nil, err
	}
	code, err := e.take(b, compiled.Engine, compiled.Bytes)
	if errors.Is(err, errNotCached) {
		return nil, fmt.Errorf("%s has left the code of something else, or is another version of it; start this process again", e.options.compiler.Args[0])
	}
	if err == nil {
		keep(compiled.Engine, compiled.Bytes)
	}
	return code, err
}

// uncharged is for what is no tenant's.
func uncharged(int) error { return nil }

// take has the engine take code that it has the name engine for, or fails with
// errNotCached: it does not compile.
func (e *engine) take(b []byte, engine codestore.Sum, code []byte) (wazero.CompiledModule, error) {
	*e.asked = engineCache{offered: engine, code: code, only: true, charge: e.charge}
	defer func() { *e.asked = engineCache{charge: uncharged} }()
	// It compiles with several workers only while the context is not over. So it
	// would not even if it did not ask.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	compiled, err := e.compileWith(experimental.WithCompilationWorkers(ctx, 2), b)
	if errors.Is(err, context.Canceled) {
		err = errNotCached
	}
	return compiled, err
}

// compileHere compiles in this process, with one worker, whose panics can be
// caught. What is compiled goes to keep.
func (e *engine) compileHere(b []byte, keep func(codestore.Sum, []byte)) (wazero.CompiledModule, error) {
	*e.asked = engineCache{compile: keep, charge: e.charge}
	defer func() { *e.asked = engineCache{charge: uncharged} }()
	code, err := e.compileWith(experimental.WithCompilationWorkers(context.Background(), 1), b)
	if err != nil {
		return nil, err
	}
	if err := e.charge(e.asked.made); err != nil {
		_ = code.Close(context.Background())
		return nil, err
	}
	return code, nil
}

// compileWith has the engine's panics become errors: the compiler asserts by
// panicking.
func (e *engine) compileWith(ctx context.Context, b []byte) (code wazero.CompiledModule, err error) {
	defer func() {
		if p := recover(); p != nil {
			code, err = nil, fmt.Errorf("the compiler gave up on it: %v", p)
		}
	}()
	return e.runtime.CompileModule(ctx, b)
}
