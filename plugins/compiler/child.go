package compiler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"bulkhead/plugins/wasm"

	"github.com/tetratelabs/wazero"
)

// The exit statuses of Main. Go itself ends with 2 after a fatal error, and a
// program that does not know the arguments with some status of its own.
const (
	statusDone    = 0
	statusRefused = 1  // why is the first line of standard output
	statusNoRoom  = 75 // the code could not be written, as the disk is full
)

// maxInput is the longest module that is read; what the meter adds is within it.
const maxInput = 8 * wasm.MaxModule

// Main is the whole life of the process that compiles: args are the arguments
// that Command added to its own, and the result is the process's exit status.
// It limits the process and gives its privileges away for good, so it is
// called first thing by a program that does nothing else afterwards. It reads
// the module from standard input, leaves its code in the working directory and
// writes why it could not to standard output. Or it is asked where a module was, and answers there;
// or it does one of the tasks, which Converse names.
func Main(args []string, tasks ...Task) int {
	do := compileHere
	if len(args) > 0 && args[len(args)-1] == locating {
		do, args = locateHere, args[:len(args)-1]
	} else if len(args) > 0 {
		for _, t := range tasks {
			if args[len(args)-1] == t.Name {
				do, args = t.here, args[:len(args)-1]
				break
			}
		}
	}
	limits, err := parseArgs(args)
	if err == nil {
		err = do(limits)
	}
	switch {
	case err == nil:
		return statusDone
	case noRoom(err):
		return statusNoRoom
	}
	fmt.Println(firstLine(err.Error()))
	return statusRefused
}

// noRoom reports whether an error is a full disk's.
func noRoom(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, e) || strings.Contains(err.Error(), e.Error()) {
			return true
		}
	}
	return false
}

// compileHere confines the process and compiles.
func compileHere(limits Limits) error {
	dir, err := confine(limits, true)
	if err != nil {
		return fmt.Errorf("the compiler could not be confined: %w", err)
	}
	module, err := io.ReadAll(io.LimitReader(os.Stdin, maxInput))
	if err != nil {
		return fmt.Errorf("the compiler could not read the module: %w", err)
	}
	err = compile(dir, module)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EFBIG) || strings.Contains(err.Error(), syscall.EFBIG.Error()):
		return errors.New(limits.tooMuchCode())
	case errors.Is(err, syscall.ENOMEM) || strings.Contains(err.Error(), syscall.ENOMEM.Error()):
		return errors.New(limits.tooMuchMemory())
	}
	return err
}

// compile compiles into the directory. The compiler asserts by panicking.
func compile(dir string, module []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the compiler gave up on it: %v", p)
		}
	}()
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		return fmt.Errorf("the compiler has nowhere to put the code: %w", err)
	}
	ctx := context.Background()
	_, err = wazero.NewRuntimeWithConfig(ctx, EngineConfig().WithMemoryLimitPages(wasm.MaxPages).WithCompilationCache(cache)).
		CompileModule(ctx, module)
	return err
}
