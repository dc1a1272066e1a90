package machine

import (
	"bytes"
	"os"
	"strconv"
)

// FindMappings is how many memory mappings the system gives this process, and how many
// it has; ok is false when it does not tell.
func FindMappings() (limit, already int, ok bool) {
	b, err := os.ReadFile("/proc/sys/vm/max_map_count")
	if err != nil {
		return 0, 0, false
	}
	if limit, err = strconv.Atoi(string(bytes.TrimSpace(b))); err != nil {
		return 0, 0, false
	}
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return limit, 0, true
	}
	defer f.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := f.Read(buffer)
		already += bytes.Count(buffer[:n], []byte("\n"))
		if err != nil {
			return limit, already, true
		}
	}
}
