package plugins

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"bulkhead/abi"
	"bulkhead/plugins/compiler"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
)

// compileModule compiles, or takes what the cache has. b is checked and
// rewritten.
func (r *Runtime) compileModule(b []byte) (wazero.CompiledModule, error) {
	r.compile.Lock()
	defer r.compile.Unlock()
	if len(r.options.Compiler.Args) == 0 || r.options.CacheDir == "" {
		return r.compileHere(b)
	}
	return r.compileApart(b)
}

// compileHere compiles in this process. A cache that fails costs time, not the
// module: the engine would have it the other way round.
func (r *Runtime) compileHere(b []byte) (wazero.CompiledModule, error) {
	code, err := r.compileOnce(b)
	var file *fs.PathError
	var link *os.LinkError
	switch {
	case err == nil || r.options.CacheDir == "":
	case damaged(err):
		r.emptyCache(err)
		code, err = r.compileOnce(b)
	case errors.As(err, &file) || errors.As(err, &link):
		// Compiled it is, and in the engine's memory; it could not be kept.
		r.note(fmt.Sprintf("the compile cache %s does not work, so starting again will take longer: %s", r.options.CacheDir, firstLine(err)))
		code, err = r.compileOnce(b)
	}
	return code, err
}

// compileApart compiles in a child process. This process never does, whatever
// happens to the cache: a module that can break the compiler would have only
// to be there when the disk is full. What no child has compiled is not even
// decoded here.
func (r *Runtime) compileApart(b []byte) (wazero.CompiledModule, error) {
	dir := r.options.CacheDir
	if compiler.Compiled(dir, b) {
		code, err := r.fromCache(b)
		switch {
		case err == nil:
			return code, nil
		case damaged(err):
			r.emptyCache(err)
		case !errors.Is(err, errNotCached):
			r.note(fmt.Sprintf("the compile cache %s does not work, so a module is compiled again: %s", dir, firstLine(err)))
		}
	}
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
	err := r.options.Compiler.Compile(ctx, b, dir)
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
	code, err := r.fromCache(b)
	if errors.Is(err, errNotCached) {
		return nil, fmt.Errorf("%s has left code that this process does not find, so it is another version of it; start this process again", r.options.Compiler.Args[0])
	}
	return code, err
}

func (r *Runtime) note(text string) {
	r.options.Log.Log(Line{Level: abi.LogWarn, Text: text})
}

// damaged reports whether a file of the cache is cut short or altered, by a
// crash or a full disk. Which one is the engine's secret.
func damaged(err error) bool { return strings.HasPrefix(err.Error(), "compilationcache:") }

func (r *Runtime) emptyCache(err error) {
	r.note(fmt.Sprintf("the compile cache %s is damaged, so it is emptied: %s", r.options.CacheDir, firstLine(err)))
	compiler.Empty(r.options.CacheDir)
}

// errNotCached is code that is not in the cache.
var errNotCached = errors.New("its code is not in the compile cache")

// fromCache takes the code from the cache, or fails with errNotCached. The
// engine looks there first, and compiles with several workers only while the
// context is not over, which it is from the start.
func (r *Runtime) fromCache(b []byte) (wazero.CompiledModule, error) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	code, err := r.compileWith(experimental.WithCompilationWorkers(ctx, 2), b)
	if errors.Is(err, context.Canceled) {
		err = errNotCached
	}
	return code, err
}

// compileOnce compiles with one worker, whose panics can be caught.
func (r *Runtime) compileOnce(b []byte) (wazero.CompiledModule, error) {
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
