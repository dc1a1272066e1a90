package codestore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"bulkhead/internal/privatefile"
)

// The folder holds the key, a folder of code, one of modules, and what is just being written.
const (
	keyName     = "key"
	codeFolder  = "code"
	writePrefix = "writing-"
	// oldPrefix is that of folders in which earlier versions kept code, by the engine's version.
	oldPrefix = "wazero-"

	// writeTime is how old a file has to be to be one that a crash has left.
	writeTime = time.Hour
)

// makeFolder makes the folder, or makes sure that nobody else can put code there.
func makeFolder(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making the folder of compiled code: %w", err)
	}
	info, err := os.Lstat(dir) // not through a link, whose owner may turn it elsewhere
	if err != nil {
		return fmt.Errorf("looking at the folder of compiled code: %w", err)
	}
	return trusted(info, dir)
}

// trusted is nil when nobody but us and root can write to a folder.
func trusted(info fs.FileInfo, dir string) error {
	switch {
	case !info.IsDir():
		return fmt.Errorf("the folder of compiled code %s is not a directory; remove it", dir)
	case !privatefile.OwnedByUs(info):
		owner, _ := privatefile.Owner(info)
		return fmt.Errorf("the folder of compiled code %s belongs to another user (%d), and what lies there is executed; remove it, or say chown -R %d %s", dir, owner, os.Geteuid(), dir)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("the folder of compiled code %s is open to others (mode %04o), and what lies there is executed; say chmod 700 %s", dir, info.Mode().Perm(), dir)
	}
	return nil
}

// openFolder opens the folder and looks at what was opened: its name may lead
// elsewhere by now.
func openFolder(dir string) (*os.Root, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	info, err := root.Stat(".")
	if err == nil {
		err = trusted(info, dir)
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return root, nil
}

// clean removes files that a crash has left half written, and what earlier versions have left.
func clean(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	root, err := openFolder(dir)
	if err != nil {
		return
	}
	defer root.Close()
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), oldPrefix) {
			_ = root.RemoveAll(e.Name())
			continue
		}
		if !strings.HasPrefix(e.Name(), writePrefix) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > writeTime {
			_ = root.RemoveAll(e.Name())
		}
	}
}
