//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package machine

import (
	"math"

	"golang.org/x/sys/unix"
)

// FindMemory is how much memory the machine has. ok is false when the system does not tell.
func FindMemory() (m Memory, ok bool) {
	for _, name := range []string{"hw.memsize", "hw.physmem64", "hw.physmem"} {
		if n, err := unix.SysctlUint64(name); err == nil && n > 0 && n <= math.MaxInt64 {
			return Memory{int64(n), name}, true
		}
	}
	return Memory{}, false
}
