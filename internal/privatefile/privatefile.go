// Package privatefile reads and writes files that nobody but this process's user may touch: keys,
// and what is served without asking again.
package privatefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Owner is the user to whom a file belongs; not known: the system does not say.
func Owner(info fs.FileInfo) (uid int, known bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1, false
	}
	return int(stat.Uid), true
}

// OwnedByUs reports whether a file belongs to this process's user, or to root.
func OwnedByUs(info fs.FileInfo) bool {
	owner, known := Owner(info)
	return known && (owner == os.Geteuid() || owner == 0)
}

// Open opens a file of the folder for reading. It follows a symbolic link to a file of the folder,
// as os.Root does, and none that leads out of it, and does not wait for the writer of a pipe. It
// looks at neither owner nor mode.
func Open(root *os.Root, name string) (*os.File, error) {
	return root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
}

// Read reads a whole file of the folder. The error is fs.ErrNotExist where there is none. Read
// refuses what is no regular file, what belongs to a user who is neither this process's nor root,
// what the group or others may read or write, and what has more than most bytes.
func Read(root *os.Root, name string, most int64) ([]byte, error) {
	// A link is refused with the same words as a folder. Open looks again at what the name leads to
	// by then.
	if info, err := root.Lstat(name); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, errors.New("it is no file")
	}
	f, err := Open(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is no file")
	case !OwnedByUs(info):
		return nil, errors.New("it belongs to another user")
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("it is open to others (mode %04o)", info.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("it has more than %d bytes", most)
	}
	return b, nil
}

// Create makes a file of the folder with the parts in it, and fails with fs.ErrExist where there is
// one. With sync the bytes are on the disk when it returns; without, some time later. Nothing is
// left where it fails. Who renames a file that is on the disk has the whole of it after a crash, or
// the one before.
func Create(root *os.Root, name string, sync bool, parts ...[]byte) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if err == nil {
			_, err = f.Write(p)
		}
	}
	if err == nil && sync {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		_ = root.Remove(name)
	}
	return err
}
