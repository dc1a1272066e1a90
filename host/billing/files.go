package billing

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// ending is that of a file's name; before it is its number, so that the newest is the last.
	ending = ".jsonl"
	// digits is how many a number has in a name.
	digits = 9
	// parts is into how many files Settings.Size is divided, so that little goes at a time.
	parts = 16
	// longest is for how long a file gets records.
	longest = 24 * time.Hour
)

// files are those of records, of which the last one gets more. Its methods are for one goroutine at
// a time.
type files struct {
	folder  string
	log     *slog.Logger
	removed *atomic.Int64

	now   *os.File // nil: none is open
	size  int64
	since time.Time // it has got records
}

// file is one of the folder.
type file struct {
	path   string
	number int64
	size   int64
	last   time.Time // it was written
}

// list gives the files of a folder, the oldest first. It leaves out what is not of ours.
func list(folder string) (all []file, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		digit, ours := strings.CutSuffix(e.Name(), ending)
		n, err := strconv.ParseInt(digit, 10, 64)
		if !ours || err != nil || n < 1 || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // it has gone
		}
		all = append(all, file{filepath.Join(folder, e.Name()), n, info.Size(), info.ModTime()})
	}
	slices.SortFunc(all, func(a, b file) int { return int(max(-1, min(1, a.number-b.number))) })
	return all, nil
}

// write appends to the newest file, or to another, and has the disk have it.
func (f *files) write(text []byte, s Settings, now time.Time) error {
	if err := f.open(int64(len(text)), s, now); err != nil {
		f.close()
		return err
	}
	n, err := f.now.Write(text)
	if err == nil {
		err = f.now.Sync()
	}
	if err != nil {
		// What is there of it is taken back if it can be; else the same lines come twice, or a torn
		// one is cut off when the file is opened.
		if n > 0 {
			_ = f.now.Truncate(f.size)
		}
		f.close()
		return fmt.Errorf("writing to the newest file in %s: %w", f.folder, err)
	}
	f.size += int64(n)
	f.sweep(s, now)
	return nil
}

// open has f.now be a file that n bytes can be appended to.
func (f *files) open(n int64, s Settings, now time.Time) error {
	most := max(s.Size/parts, 1)
	fits := func() bool {
		return f.size == 0 || f.size+n <= most && now.Sub(f.since) < min(longest, s.Keep) && !now.Before(f.since)
	}
	if f.now != nil {
		// One that somebody has removed, or moved away, would be written to in vain.
		if here, err := os.Lstat(f.now.Name()); err == nil {
			if own, err := f.now.Stat(); err == nil && os.SameFile(here, own) && fits() {
				return nil
			}
		}
		f.close()
	}
	if err := os.Mkdir(f.folder, 0o700); err == nil {
		if err := syncFolder(filepath.Dir(f.folder)); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making the folder: %w", err)
	}
	all, err := list(f.folder)
	if err != nil {
		return err
	}
	next := int64(1)
	if len(all) > 0 {
		newest := all[len(all)-1]
		next = newest.number + 1
		if err := f.reopen(newest); err != nil {
			return err
		}
		if fits() {
			return nil
		}
		f.close()
	}
	path := filepath.Join(f.folder, fmt.Sprintf("%0*d%s", digits, next, ending))
	if f.now, err = os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600); err != nil {
		f.now = nil
		return err
	}
	f.size, f.since = 0, now
	return syncFolder(f.folder)
}

// reopen opens a file that is there, and cuts off what a daemon has written last that was killed
// meanwhile.
func (f *files) reopen(at file) (err error) {
	if f.now, err = os.OpenFile(at.path, os.O_RDWR|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0); err != nil {
		f.now = nil
		return err
	}
	whole, err := wholeLines(f.now, at.size)
	if err != nil {
		return fmt.Errorf("reading the end of %s: %w", at.path, err)
	}
	if whole < at.size {
		if err := f.now.Truncate(whole); err != nil {
			return fmt.Errorf("cutting off the unfinished end of %s: %w", at.path, err)
		}
		f.log.Warn("the last record of usage was unfinished, and is cut off; it is of the interval in which the daemon was killed", "file", at.path, "bytes", at.size-whole)
	}
	f.size, f.since = whole, at.last
	if r, err := parse(firstLine(f.now)); err == nil {
		f.since = r.To
	}
	return nil
}

// wholeLines is behind which byte of a file of that size its last whole line ends.
func wholeLines(f *os.File, size int64) (int64, error) {
	b := make([]byte, 64<<10)
	for end := size; end > 0; {
		from := max(end-int64(len(b)), 0)
		part := b[:end-from]
		if _, err := f.ReadAt(part, from); err != nil && err != io.EOF {
			return 0, err
		}
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			return from + int64(i) + 1, nil
		}
		end = from
	}
	return 0, nil
}

func firstLine(f *os.File) []byte {
	b := make([]byte, 4<<10)
	n, _ := f.ReadAt(b, 0)
	line, _, _ := bytes.Cut(b[:n], []byte("\n"))
	return line
}

// close lets go of the file. What was written is on the disk, or is written again.
func (f *files) close() {
	if f.now != nil {
		_ = f.now.Close()
	}
	f.now, f.size = nil, 0
}

// sweep removes files that are too old, and then the oldest while all are too large. The newest
// stays.
func (f *files) sweep(s Settings, now time.Time) {
	all, err := list(f.folder)
	if err != nil || len(all) < 2 {
		return
	}
	var size int64
	for _, one := range all {
		size += one.size
	}
	for _, one := range all[:len(all)-1] {
		old := now.Sub(one.last) > s.Keep
		if !old && size <= s.Size {
			continue
		}
		if err := os.Remove(one.path); err != nil {
			continue // the next time
		}
		size -= one.size
		if old {
			f.log.Info("a file of usage is older than usage_keep, and was removed", "file", one.path)
		} else {
			f.removed.Add(1)
			f.log.Warn("the oldest file of usage had to go, since all are larger than [admin] usage_size", "file", one.path, "usage_size", s.Size)
		}
	}
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("writing down the folder %s: %w", path, err)
	}
	return nil
}

// withMend says what to do about what the system says.
func withMend(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w; make room there", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; let the user write to it that the daemon runs as", err)
	}
	return err
}
