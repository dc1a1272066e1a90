package compiler

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// workPrefix begins the names of the directories that are compiled in, which
// lie in the folder of compiled code, which nobody else can enter.
const workPrefix = "compiling-"

// nobody is the user and group that compiling is done as when we are root.
const nobody = 65534

// workdir is the place of one compilation. Only we can enter it; the child has
// the directory below, and starts there.
type workdir struct {
	path string
	lock *os.File // held as long as it is in use, also against other processes
}

func newWorkdir(cache string) (*workdir, error) {
	// Whoever clears up leftovers may be faster than our lock, but not always.
	for range 100 {
		path, err := os.MkdirTemp(cache, workPrefix+"*")
		if err != nil {
			return nil, err
		}
		lock, err := lockDir(path, unix.LOCK_EX)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		w := &workdir{path, lock}
		if err == nil {
			err = w.makeOutput()
		}
		if err != nil {
			w.remove()
			return nil, err
		}
		return w, nil
	}
	return nil, fmt.Errorf("making a directory in %s: another process removes each at once", cache)
}

// lockDir opens a directory and locks it. The error is fs.ErrNotExist when it
// is gone by then.
func lockDir(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	opened, err := f.Stat()
	if err == nil {
		var there fs.FileInfo
		if there, err = os.Lstat(path); err == nil && !os.SameFile(opened, there) {
			err = fs.ErrNotExist
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// output is the directory of the child.
func (w *workdir) output() string { return filepath.Join(w.path, "out") }

// makeOutput gives the child's directory to nobody if we are root and can read
// it then. Root that may not do so has few privileges worth dropping, so it
// stays ours.
func (w *workdir) makeOutput() error {
	if err := os.Mkdir(w.output(), 0o700); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return nil
	}
	err := os.Lchown(w.output(), nobody, nobody)
	if err == nil {
		if _, err = os.ReadDir(w.output()); errors.Is(err, fs.ErrPermission) {
			return os.Lchown(w.output(), 0, os.Getegid())
		}
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

// remove removes it. The child has ended.
func (w *workdir) remove() {
	_ = os.RemoveAll(w.path)
	if w.lock != nil {
		_ = w.lock.Close()
	}
}

// Clean removes what a process that died while compiling has left in the
// directory that it compiled in, but nothing that is in use by another one. What
// cannot be removed stays. It may be called at any time, from any goroutine.
func Clean(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), workPrefix) || !e.IsDir() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if lock, err := lockDir(path, unix.LOCK_EX|unix.LOCK_NB); err == nil {
			(&workdir{path, lock}).remove()
		}
	}
}
