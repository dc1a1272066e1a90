// Package statetest has the state folder that the tests of all packages share.
package statetest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// mostState is how many bytes of compiled code test binaries leave to those that follow.
const mostState = 256 << 20

// Code is the folder in [Folder] that hosts keep compiled code in.
func Code() string { return filepath.Join(Folder(), "modules") }

// Folder is a state folder that all tests of this user share, so that each plugin is
// compiled once. It is made smaller first where it has grown beyond bounds.
var Folder = sync.OnceValue(func() string {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("bulkhead-test-%d", os.Getuid()))
	_ = os.Mkdir(dir, 0o700)
	bound(dir, mostState)
	return dir
})

// leastFile is what a file has at least that may be removed: smaller ones are not worth it, and a
// key is one of them.
const leastFile = 4096

// bound removes the oldest files in a folder until those that are left have no more than most bytes
// together. Other test binaries may use them: whoever has opened one keeps it, and whoever does not
// find it compiles again.
func bound(dir string, most int64) {
	type file struct {
		path string
		size int64
		time time.Time
	}
	var all []file
	sum := int64(0)
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil
		}
		if i, err := e.Info(); err == nil && i.Size() >= leastFile {
			all = append(all, file{path, i.Size(), i.ModTime()})
			sum += i.Size()
		}
		return nil
	})
	slices.SortFunc(all, func(a, b file) int { return a.time.Compare(b.time) })
	for _, f := range all {
		if sum <= most {
			return
		}
		if os.Remove(f.path) == nil {
			sum -= f.size
		}
	}
}
