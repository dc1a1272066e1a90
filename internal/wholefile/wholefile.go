// Package wholefile replaces files as a whole.
package wholefile

import (
	"errors"
	"os"
	"path/filepath"
)

// Write has a file hold b. Who opens it meanwhile finds all of b, or what was there before, and so
// it is when Write fails. A link stays one, and what it leads to is replaced. A file that was there
// keeps its mode; a new one has 0644.
func Write(path string, b []byte) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	mode := os.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
