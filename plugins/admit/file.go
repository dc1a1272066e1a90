package admit

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"bulkhead/plugins/wasm"

	"golang.org/x/sys/unix"
)

// ReadFile reads the file of a module, but no more than any module may have.
// It is read once, so that what is hashed is what is compiled. What is no regular file is not
// read: a pipe could keep the reader waiting for ever.
func ReadFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if info.IsDir() {
		return nil, fmt.Errorf("%s is a directory", path)
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, wasm.MaxModule+1))
	if err == nil && len(b) > wasm.MaxModule {
		err = fmt.Errorf("%s is larger than %d MiB, which is the most a module may have", path, wasm.MaxModule>>20)
	}
	return b, err
}

// IsProgram reports whether a plugin is a module in a file, by its name, that is a program: of
// shape Stdio. What is wrong with a module loading says. The error says why the file cannot be
// read.
func IsProgram(plugin string) (bool, error) {
	if filepath.Ext(plugin) != ".wasm" {
		return false, nil
	}
	b, err := ReadFile(plugin)
	if err != nil {
		return false, err
	}
	report, _ := Inspect(b, DefaultMemory)
	return report.Shape == Stdio, nil
}
