package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"bulkhead/internal/hosttest"
	"bulkhead/plugins"

	"github.com/rogpeppe/go-internal/testscript"
)

// sharedModules is where all tests of this user keep compiled code, with its key.
var sharedModules = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(hosttest.State(), "modules")
	_, err := plugins.OpenCode(dir) // which makes the folder and the key
	return dir, err
})

// shareCache makes a user's cache in which try has that code.
func shareCache(t *testing.T) string {
	if _, err := sharedModules(); err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	if err := os.Mkdir(filepath.Join(cache, "bulkhead"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(hosttest.State(), filepath.Join(cache, "bulkhead", "try")); err != nil {
		t.Fatal(err)
	}
	return cache
}

// compiled has a state folder, or some, begin with the code that tests have compiled, and gives
// these what is compiled there.
func compiled(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: compiled STATE...")
	}
	shared, err := sharedModules()
	ts.Check(err)
	for _, state := range args {
		modules := filepath.Join(ts.MkAbs(state), "modules")
		ts.Check(os.MkdirAll(modules, 0o700))
		ts.Check(linkFile(filepath.Join(shared, "key"), filepath.Join(modules, "key")))
		ts.Check(linkCode(shared, modules))
		ts.Defer(func() {
			if err := linkCode(modules, shared); err != nil {
				ts.Logf("what was compiled is compiled again by the next test: %v", err)
			}
		})
	}
}

// linkCode gives one folder the compiled code of another. Such a file is never written to: it is
// replaced.
func linkCode(from, to string) error {
	from, to = filepath.Join(from, "code"), filepath.Join(to, "code")
	all, err := os.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.Mkdir(to, 0o700)
		if errors.Is(err, fs.ErrExist) {
			err = nil
		}
	}
	for _, file := range all {
		if err == nil {
			err = linkFile(filepath.Join(from, file.Name()), filepath.Join(to, file.Name()))
		}
	}
	return err
}

// linkFile links a file that is still there to a name that may be there already.
func linkFile(from, to string) error {
	err := os.Link(from, to)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
