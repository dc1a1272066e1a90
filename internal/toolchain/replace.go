package toolchain

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// Replace has a file hold a module, and be as new as now. It reports whether it held something
// else. The file is there whole, or as it was: who loads it meanwhile does not load half of it.
func Replace(path string, module []byte) (other bool, err error) {
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, module) {
		now := time.Now()
		return false, os.Chtimes(path, now, now)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".bulkhead-build-*")
	if err != nil {
		return false, err
	}
	_, err = f.Write(module)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err == nil, err
}
