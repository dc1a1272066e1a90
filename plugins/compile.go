package plugins

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"bulkhead/abi"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
)

// compileModule compiles, or takes what the cache has. A cache that fails
// costs time, not the module: the engine would have it the other way round.
func (r *Runtime) compileModule(b []byte) (wazero.CompiledModule, error) {
	r.compile.Lock()
	defer r.compile.Unlock()
	code, err := r.compileOnce(b)
	var file *fs.PathError
	var link *os.LinkError
	switch {
	case err == nil || r.options.CacheDir == "":
	case strings.HasPrefix(err.Error(), "compilationcache:"):
		// A file is cut short or damaged, by a crash or a full disk. Which one
		// is the engine's secret.
		r.note(fmt.Sprintf("the compile cache %s is damaged, so it is emptied: %s", r.options.CacheDir, firstLine(err)))
		emptyCacheDir(r.options.CacheDir)
		code, err = r.compileOnce(b)
	case errors.As(err, &file) || errors.As(err, &link):
		// Compiled it is, and in the engine's memory; it could not be kept.
		r.note(fmt.Sprintf("the compile cache %s does not work, so starting again will take longer: %s", r.options.CacheDir, firstLine(err)))
		code, err = r.compileOnce(b)
	}
	return code, err
}

func (r *Runtime) note(text string) {
	r.options.Log.Log(Line{Level: abi.LogWarn, Text: text})
}

// compileOnce compiles with one worker, whose panics can be caught: the
// compiler asserts by panicking.
func (r *Runtime) compileOnce(b []byte) (code wazero.CompiledModule, err error) {
	defer func() {
		if p := recover(); p != nil {
			code, err = nil, fmt.Errorf("the compiler gave up on it: %v", p)
		}
	}()
	return r.engine.CompileModule(experimental.WithCompilationWorkers(context.Background(), 1), b)
}

// emptyCacheDir removes what the engine keeps, which it keeps one level down.
// Others may be using the directory: they compile again.
func emptyCacheDir(dir string) {
	files, _ := filepath.Glob(filepath.Join(dir, "wazero-*", "*"))
	for _, f := range files {
		_ = os.Remove(f)
	}
}
