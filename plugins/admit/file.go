package admit

import (
	"fmt"
	"io"
	"os"

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
