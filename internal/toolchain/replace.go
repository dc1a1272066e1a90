package toolchain

import (
	"bytes"
	"os"
	"time"

	"bulkhead/internal/wholefile"
)

// Replace has a file hold a module, as wholefile.Write does, and be as new as now. It reports
// whether it held something else.
func Replace(path string, module []byte) (other bool, err error) {
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, module) {
		now := time.Now()
		return false, os.Chtimes(path, now, now)
	}
	err = wholefile.Write(path, module)
	return err == nil, err
}
