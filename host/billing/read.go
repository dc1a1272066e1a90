package billing

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// mostLine is the longest line that is taken for a record, in bytes.
const mostLine = 64 << 10

// mostDamaged is how many damaged lines are told of one by one.
const mostDamaged = 10

// Query says which records are wanted. The zero value wants all.
type Query struct {
	// Tenant is whose; "": everybody's.
	Tenant string
	// Since leaves out the records of intervals that were over then.
	Since time.Time
}

// Report is what was wrong.
type Report struct {
	// Repeated records came again, and are left out. Missing are those between records of one run
	// of the daemon that are not there.
	Repeated, Missing int64
	// Damaged lines are no records, and left out; Where says of the first few what is wrong.
	Damaged int64
	Where   []string
}

// Read calls each for each record in a folder, the oldest first, until it fails. A line that is
// being written is left out. No folder means no records. The error is each's, or that of a file
// that cannot be read. Any process may read while the daemon writes.
func Read(folder string, q Query, each func(*Record) error) (found Report, err error) {
	all, err := list(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return found, nil
	}
	if err != nil {
		return found, err
	}
	r := reader{query: q, each: each, last: make(map[string]int64)}
	for i, one := range all {
		f, err := os.OpenFile(one.path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was too old
		}
		if err != nil {
			return r.found, err
		}
		err = r.read(f, one.path, i == len(all)-1)
		f.Close()
		if err != nil {
			return r.found, err
		}
	}
	return r.found, nil
}

// reader reads files one after the other.
type reader struct {
	query Query
	each  func(*Record) error
	last  map[string]int64 // the highest Seq by Boot
	found Report
}

// read reads a file. The end of the newest may be unfinished.
func (r *reader) read(from io.Reader, name string, newest bool) error {
	lines := bufio.NewReaderSize(from, mostLine)
	for number := 1; ; number++ {
		line, err := lines.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			for err == bufio.ErrBufferFull {
				_, err = lines.ReadSlice('\n')
			}
			r.damaged(name, number, fmt.Errorf("it is longer than %d bytes", mostLine))
			if err == nil {
				continue
			}
			line = nil
		}
		if err != nil && err != io.EOF {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		if err == io.EOF {
			if len(line) > 0 && !newest {
				r.damaged(name, number, errors.New("it is unfinished"))
			}
			return nil
		}
		if err := r.line(bytes.TrimSuffix(line, []byte("\n")), name, number); err != nil {
			return err
		}
	}
}

func (r *reader) line(line []byte, name string, number int) error {
	one, err := parse(line)
	if err != nil {
		r.damaged(name, number, err)
		return nil
	}
	before, known := r.last[one.Boot]
	if known && one.Seq <= before {
		r.found.Repeated++
		return nil
	}
	if known {
		r.found.Missing += one.Seq - before - 1
	}
	r.last[one.Boot] = one.Seq
	if r.query.Tenant != "" && one.Tenant != r.query.Tenant || !r.query.Since.IsZero() && !one.To.After(r.query.Since) {
		return nil
	}
	return r.each(&one)
}

func (r *reader) damaged(name string, number int, err error) {
	r.found.Damaged++
	if len(r.found.Where) < mostDamaged {
		r.found.Where = append(r.found.Where, fmt.Sprintf("%s:%d: %v", name, number, err))
	}
}
