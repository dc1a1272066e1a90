package machine

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// FindThreads is how many threads this process may have, and what says so: the limit of its user
// (RLIMIT_NPROC), of which others of that user take theirs, or that of its cgroup and those above
// it where that is less. ok is false where the system does not bound them.
func FindThreads() (most int64, source string, ok bool) {
	most, source, ok = leastPIDs(os.DirFS("/"))
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NPROC, &limit) == nil && limit.Cur < 1<<31 && os.Geteuid() != 0 && (!ok || int64(limit.Cur) < most) {
		return int64(limit.Cur), "RLIMIT_NPROC", true
	}
	return most, source, ok
}

// leastPIDs reads a file system that has /proc and the cgroups.
func leastPIDs(root fs.FS) (most int64, source string, ok bool) {
	most, file, ok := leastOfCgroups(root, "pids", "pids.max", "pids.max")
	return most, "/" + file, ok
}
