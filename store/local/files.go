package local

import (
	"os"
	"sync"
)

// Files bounds how many files are open at once. A file is opened when something is asked of it, and
// closed when it has had nothing to do for a while, or another one waits for its place.
type Files struct {
	mu   sync.Mutex
	free sync.Cond // a place may be free
	most int
	open map[*File]bool // whether it has nothing to do
	wait int            // how many wait for a place
}

// NewFiles lets so many files be open at once, 1 or more.
func NewFiles(most int) *Files {
	fs := &Files{most: max(most, 1), open: make(map[*File]bool)}
	fs.free.L = &fs.mu
	return fs
}

// enter waits for a place for a file, which must not have one.
func (fs *Files) enter(f *File) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for len(fs.open) >= fs.most {
		for other, idle := range fs.open {
			if idle {
				fs.open[other] = false // it is asked once
				other.yield()
				break
			}
		}
		fs.wait++
		fs.free.Wait()
		fs.wait--
	}
	fs.open[f] = false
}

// leave gives the place back.
func (fs *Files) leave(f *File) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	delete(fs.open, f)
	fs.free.Signal()
}

// idle says whether a file that has a place has nothing to do. It reports whether somebody waits
// for that.
func (fs *Files) idle(f *File, is bool) (wanted bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.open[f] = is
	return is && fs.wait > 0
}

// Open is how many files are open.
func (fs *Files) Open() int {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return len(fs.open)
}

// openFile opens a file so that it can be closed also where bbolt cannot.
func openFile(to **os.File) func(string, int, os.FileMode) (*os.File, error) {
	return func(name string, flag int, mode os.FileMode) (*os.File, error) {
		f, err := os.OpenFile(name, flag, mode)
		*to = f
		return f, err
	}
}
