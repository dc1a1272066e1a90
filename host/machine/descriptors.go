package machine

import (
	"golang.org/x/sys/unix"
)

// NoDescriptorLimit is how many descriptors there are where the system does not say.
const NoDescriptorLimit = 1 << 30

// Descriptors is how many descriptors this process may have.
func Descriptors() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return NoDescriptorLimit
	}
	return int(min(uint64(limit.Cur), NoDescriptorLimit))
}
