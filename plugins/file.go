package plugins

import (
	"fmt"
	"io"
	"os"

	"bulkhead/plugins/wasm"
)

// ReadFile reads the file of a module, but no more than any module may have.
// It is read once, so that what is hashed is what is compiled.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, wasm.MaxModule+1))
	if err == nil && len(b) > wasm.MaxModule {
		err = fmt.Errorf("%s is larger than %d MiB, which is the most a module may have", path, wasm.MaxModule>>20)
	}
	return b, err
}
