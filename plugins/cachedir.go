package plugins

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"bulkhead/plugins/compiler"
)

// prepareCacheDir makes the directory of compiled code, or makes sure that
// nobody else can put code there. What a crash left there is removed.
func prepareCacheDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making the compile cache: %w", err)
	}
	info, err := os.Lstat(dir) // not through a link, whose owner may turn it elsewhere
	if err != nil {
		return fmt.Errorf("checking the compile cache: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fmt.Errorf("the compile cache %s is not a directory; name another one, or remove it", dir)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("the compile cache %s is open to others (mode %#o), and what lies there is executed; say chmod 700 %s", dir, info.Mode().Perm(), dir)
	case !ok || int(stat.Uid) != os.Geteuid():
		return fmt.Errorf("the compile cache %s belongs to another user, and what lies there is executed; name another one", dir)
	}
	compiler.Clean(dir)
	return nil
}
