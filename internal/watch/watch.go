// Package watch finds out which files have changed, by looking at them again and again. That works
// wherever files can be read: on network file systems, in containers, over folders that are removed
// and come back, and however an editor saves.
package watch

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// File is what was found at a path. Two of the same path are equal if nobody has written there.
type File struct {
	// Content tells contents apart: the SHA-256 of a file, Absent where there is nothing, Folder
	// for a folder.
	Content [sha256.Size]byte
	// written is when and where it was written to, as the system says.
	written stamp
}

// Before reports whether it was written to before a time, or is no file.
func (f File) Before(t time.Time) bool { return f.written.modified < t.UnixNano() }

// What is no file has a content, too, that is no file's.
var (
	Absent  = sha256.Sum256([]byte("\x00there is nothing"))
	Folder  = sha256.Sum256([]byte("\x00a folder"))
	special = sha256.Sum256([]byte("\x00neither a file nor a folder"))
	barred  = sha256.Sum256([]byte("\x00it cannot be read"))
)

// stamp is what the system says of a file without reading it.
type stamp struct {
	size, modified int64
	inode          uint64
}

// State is what was found at some paths.
type State map[string]File

// Changed are the paths at which something is different, or that only one of them has, sorted. With
// content a file is the same that was written again as it was.
func Changed(before, after State, content bool) (paths []string) {
	differ := func(a, b File) bool { return a.Content != b.Content || !content && a.written != b.written }
	for path, was := range before {
		if is, there := after[path]; !there && was.Content != Absent || there && differ(was, is) {
			paths = append(paths, path)
		}
	}
	for path, is := range after {
		if _, there := before[path]; !there && is.Content != Absent {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

const (
	// coarse is how long after it was written to a file may be written to again without another
	// time of modification: two seconds on the coarsest file systems.
	coarse = 2 * time.Second
	// mostRead is how many bytes of a file are read; of a longer one the system's word is taken.
	mostRead = 16 << 20
)

// Files looks at files, and remembers what was in them, so that it reads again only those that the
// system says are different, or that were written to a moment ago. The zero value is ready. One
// goroutine may use it at a time.
type Files struct{ known map[string]seen }

type seen struct {
	file File
	// sure says that the file had been left alone for long enough, when it was read, for another
	// write to be seen by its stamp.
	sure bool
}

// Look looks at paths.
func (f *Files) Look(paths []string) State {
	now := make(State, len(paths))
	known := make(map[string]seen, len(paths))
	for _, path := range paths {
		if _, done := now[path]; done {
			continue
		}
		one := f.look(path)
		now[path], known[path] = one.file, one
	}
	f.known = known // what is not asked for any more is forgotten
	return now
}

func (f *Files) look(path string) seen {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return seen{file: File{Content: Absent}}
	case info.IsDir():
		return seen{file: File{Content: Folder}}
	case !info.Mode().IsRegular():
		return seen{file: File{Content: special}}
	}
	at := stamp{size: info.Size(), modified: info.ModTime().UnixNano(), inode: inode(info)}
	if was, ok := f.known[path]; ok && was.sure && was.file.written == at {
		return was
	}
	// Before it is read: what is written meanwhile has a later time.
	sure := time.Since(info.ModTime()) > coarse
	return seen{file: File{Content: content(path, at), written: at}, sure: sure}
}

// content is the SHA-256 of a file, or of what is known of it.
func content(path string, at stamp) [sha256.Size]byte {
	if at.size > mostRead {
		return sha256.Sum256(fmt.Appendf(nil, "\x00%d bytes, %d, %d", at.size, at.modified, at.inode))
	}
	file, err := os.Open(path)
	if err != nil {
		return barred
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, io.LimitReader(file, mostRead)); err != nil {
		return barred
	}
	return [sha256.Size]byte(sum.Sum(nil))
}

// Watcher waits for changes. The zero value has the times that suit a person who saves a file.
type Watcher struct {
	// Interval is the time from one look to the next, 200 ms where it is zero. Where looking takes
	// longer than a twentieth of that, it is twenty times as long as that took.
	Interval time.Duration
	// Quiet is how long nothing may change before a change counts, so that a file is not taken
	// that is half written, and a saved project is one change; 100 ms where it is zero. Longest is
	// for how long that is waited for at most; a second where it is zero.
	Quiet, Longest time.Duration

	files Files
	// now and after are the system's; tests have others.
	now   func() time.Time
	after func(time.Duration) <-chan time.Time
}

// Look looks at paths, as Wait does.
func (w *Watcher) Look(paths []string) State { return w.files.Look(paths) }

// Wait waits until something at the paths differs from before, and then until nothing has changed
// for a while. paths is called for each look, since there may be new ones. wake ends the wait, too,
// with no changes. The error is that of ctx.
func (w *Watcher) Wait(ctx context.Context, before State, paths func() []string, wake <-chan struct{}) (now State, changed []string, err error) {
	clock, after := w.now, w.after
	if clock == nil {
		clock, after = time.Now, time.After
	}
	interval, quiet, longest := orElse(w.Interval, 200*time.Millisecond), orElse(w.Quiet, 100*time.Millisecond), orElse(w.Longest, time.Second)
	var last State
	var since, first time.Time // of the last change, and of the first
	for {
		began := clock()
		now = w.files.Look(paths())
		took := clock().Sub(began)
		pause := max(interval, 20*took)
		if changed = Changed(before, now, false); len(changed) > 0 {
			at := clock()
			if last == nil {
				first = at
			}
			if last == nil || len(Changed(last, now, false)) > 0 {
				since = at
			}
			if at.Sub(since) >= quiet || at.Sub(first) >= longest {
				return now, changed, nil
			}
			last = now
			pause = max(quiet/4, 20*took)
		} else {
			last = nil // it is again as it was
		}
		select {
		case <-after(pause):
		case <-wake:
			return now, nil, nil
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}
