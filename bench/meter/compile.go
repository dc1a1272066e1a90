package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/tetratelabs/wazero"
)

// sizes are ratios of the metered module to the plain one.
type sizes struct {
	Wasm    float64 // bytes of the module
	Machine float64 // bytes of what the engine keeps of it in its cache
	Compile float64 // time to compile, with the rewriting
	Rewrite float64 // the rewriting's share of that time, 0 to 1
}

// compare compiles a module both ways, n times by turns.
func compare(n int, module []byte) (sizes, error) {
	var s sizes
	code, err := metered.code(module)
	if err != nil {
		return s, err
	}
	s.Wasm = float64(len(code)) / float64(len(module))
	// The quickest of each: what comes on top is the machine's.
	var best [2]time.Duration
	var rewriting time.Duration
	for range n {
		for _, m := range []mode{plain, metered} {
			runtime.GC()
			start, err := cpuTime()
			if err != nil {
				return s, err
			}
			code, err := m.code(module)
			if err != nil {
				return s, err
			}
			rewritten, err := cpuTime()
			if err != nil {
				return s, err
			}
			if _, err := compiled(m, code, ""); err != nil {
				return s, err
			}
			end, err := cpuTime()
			if err != nil {
				return s, err
			}
			if took := end - start; best[m] == 0 || took < best[m] {
				best[m] = took
				if m == metered {
					rewriting = rewritten - start
				}
			}
		}
	}
	s.Compile = float64(best[metered]) / float64(best[plain])
	s.Rewrite = float64(rewriting) / float64(best[metered])
	dir, err := os.MkdirTemp("", "bulkhead-meter-")
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(dir)
	var kept [2]int64
	for _, m := range []mode{plain, metered} {
		c, err := m.code(module)
		if err != nil {
			return s, err
		}
		if kept[m], err = compiled(m, c, filepath.Join(dir, m.String())); err != nil {
			return s, err
		}
	}
	s.Machine = float64(kept[metered]) / float64(kept[plain])
	return s, nil
}

// compiled compiles code with a new engine, and returns the bytes that it keeps in dir. Without a
// dir that is 0.
func compiled(m mode, code []byte, dir string) (kept int64, err error) {
	ctx := context.Background()
	var cache wazero.CompilationCache
	if dir != "" {
		if cache, err = wazero.NewCompilationCacheWithDir(dir); err != nil {
			return 0, fmt.Errorf("making a compile cache in %s: %w", dir, err)
		}
		defer cache.Close(ctx)
	}
	r := m.engine(ctx, cache)
	defer r.Close(ctx)
	if _, err := r.CompileModule(ctx, code); err != nil {
		return 0, err
	}
	if dir == "" {
		return 0, nil
	}
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			kept += info.Size()
		}
		return err
	})
	return kept, err
}
