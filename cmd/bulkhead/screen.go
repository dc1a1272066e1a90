package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// screen is what dev writes to: lines one after the other, and on a terminal a line below them that
// changes. Any goroutine may use it.
type screen struct {
	mu   sync.Mutex
	w    io.Writer
	file *os.File // the terminal; nil: it is none
	live string   // the line below
	torn bool     // the last line has no end yet
	said map[string]bool
}

func newScreen(w io.Writer) *screen {
	s := &screen{w: w}
	if isTerminal(w) {
		s.file = w.(*os.File)
	}
	return s
}

// Write writes what others print, as it is.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.write(p)
}

func (s *screen) write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b := p
	if s.live != "" && !s.torn {
		b = append([]byte("\r\x1b[K"), p...)
	}
	if s.torn = !bytes.HasSuffix(p, []byte("\n")); !s.torn && s.live != "" {
		b = append(bytes.Clone(b), s.live...)
	}
	if _, err := s.w.Write(b); err != nil {
		return 0, err
	}
	return len(p), nil
}

// say writes a line with the time of day before it.
func (s *screen) say(format string, args ...any) {
	s.line(stamped(fmt.Sprintf(format, args...)))
}

// stamped is a line with the time of day before it.
func stamped(line string) string { return time.Now().Format(time.TimeOnly) + " " + line }

// line writes a line as it is: a place of a source stands first in it, where editors look.
func (s *screen) line(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.write([]byte(text + "\n"))
}

// first reports whether it is asked for a key for the first time since forget. So what the host and
// its log say of one mistake is said once.
func (s *screen) first(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.said[key] {
		return false
	}
	if s.said == nil {
		s.said = make(map[string]bool)
	}
	s.said[key] = true
	return true
}

func (s *screen) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = nil
}

// show has the line below be another one; "": there is none. It does nothing but on a terminal.
func (s *screen) show(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return
	}
	if width, _, err := term.GetSize(int(s.file.Fd())); err == nil && width > 1 && len(text) >= width {
		text = text[:width-1]
	}
	if s.live = text; !s.torn {
		fmt.Fprintf(s.w, "\r\x1b[K%s", text)
	}
}
