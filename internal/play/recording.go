package play

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"bulkhead/internal/talk"
)

const (
	// mostRecorded is how many bytes of what a client sends are kept.
	mostRecorded = 1 << 20
	// pause is from how long on what the handler says by itself is behind a wait.
	pause = time.Second
	// mostDialled is for how many connections that it dials a recorded handler is told that they
	// are refused.
	mostDialled = 32
)

// Recording is what the client has said in an Interactive. The zero value is empty. Its methods
// may be called on a nil Recording, which keeps nothing, and by several goroutines.
type Recording struct {
	mu    sync.Mutex
	steps []recorded
	bytes int
	full  bool      // there was more than is kept
	mark  time.Time // up to where time is accounted for
}

// recorded is one of: bytes that the client sent, time that went by, its end.
type recorded struct {
	sent []byte
	wait time.Duration
	end  bool
}

type reading func([]byte) (int, error)

func (r reading) Read(b []byte) (int, error) { return r(b) }

// sends reads from in what the client sends.
func (r *Recording) sends(in io.Reader) io.Reader {
	if r == nil {
		return in
	}
	r.mark = time.Now()
	return reading(func(b []byte) (int, error) {
		n, err := in.Read(b)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.mark = time.Now()
		switch {
		case r.bytes+n > mostRecorded:
			r.full = true
		case n > 0 && !r.full:
			r.bytes += n
			r.steps = append(r.steps, recorded{sent: bytes.Clone(b[:n])})
		}
		return n, err
	})
}

// gets reads from the connection what the handler sends.
func (r *Recording) gets(conn io.Reader) io.Reader {
	if r == nil {
		return conn
	}
	return reading(func(b []byte) (int, error) {
		n, err := conn.Read(b)
		r.mu.Lock()
		defer r.mu.Unlock()
		if passed := time.Since(r.mark); passed >= pause && !r.full {
			passed = (passed + time.Second - 1).Truncate(time.Second)
			r.mark = time.Now()
			if last := len(r.steps) - 1; last >= 0 && r.steps[last].wait > 0 {
				r.steps[last].wait += passed
			} else {
				r.steps = append(r.steps, recorded{wait: passed})
			}
		}
		return n, err
	})
}

func (r *Recording) ends() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.full {
		r.steps = append(r.steps, recorded{end: true})
	}
}

// Full reports that the client has sent more than 1 MiB, of which the conversation has what came
// before.
func (r *Recording) Full() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.full
}

// Conversation plays what the client has said once more, in virtual time, and returns the text of a
// conversation with it and with what the handler answers. Whom the handler dials is refused in it,
// too. The error is as Play's, or says what no conversation can have.
func (r *Recording) Conversation(ctx context.Context, h Handler, name string) (string, error) {
	r.mu.Lock()
	steps := slices.Clone(r.steps)
	r.mu.Unlock()
	eol, eolName := "\n", "lf"
	if slices.ContainsFunc(steps, func(s recorded) bool { return bytes.Contains(s.sent, []byte("\r\n")) }) {
		eol, eolName = "\r\n", "crlf"
	}
	lines := []string{"== " + name, "eol " + eolName}
	for i, s := range steps {
		switch {
		case s.end:
			lines = append(lines, ">EOF")
		case s.wait > 0:
			lines = append(lines, "wait "+s.wait.String())
		default:
			if i > 0 && steps[i-1].sent != nil {
				lines = append(lines, "")
			}
			lines = append(lines, talk.Lines(">", s.sent, eol)...)
		}
	}
	for range mostDialled {
		text := []byte(strings.Join(lines, "\n") + "\n")
		f, err := talk.Parse(name, text)
		if err != nil {
			return "", err
		}
		report, edits, err := h.update(ctx, f.Cases[0], &updating{eager: true})
		if err != nil {
			return "", err
		}
		switch f := report.Failure; {
		case f == nil:
			return string(edits.Apply(text)), nil
		case f.Dialled == "":
			return "", fmt.Errorf("what was said cannot be played again: %s", f.What)
		default:
			at := min(f.Line, len(lines)) // and behind the segment
			for at < len(lines) && strings.HasPrefix(lines[at], "> ") {
				at++
			}
			lines = slices.Insert(lines, at, "dial "+f.Dialled+" refused")
		}
	}
	return "", fmt.Errorf("the handler dials more than %d addresses, which a recording does not answer", mostDialled)
}
