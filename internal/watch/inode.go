package watch

import (
	"os"
	"syscall"
)

// inode tells a file from another that has taken its path.
func inode(info os.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Ino)
	}
	return 0
}
