package hosttest

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// Lines are the lines of a host's log, for a test that reads them. Any goroutine may use
// them.
type Lines struct {
	t    testing.TB
	mu   sync.Mutex
	text strings.Builder
}

// NewLines makes a log that keeps its lines and writes them to the test's, too.
func NewLines(t testing.TB) *Lines { return &Lines{t: t} }

// Log is the logger to pass to a host.
func (l *Lines) Log() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Write is the logger's.
func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	l.t.Logf("%s", strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

// Has reports whether one line has all these texts in it.
func (l *Lines) Has(texts ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for line := range strings.Lines(l.text.String()) {
		for _, s := range texts {
			if !strings.Contains(line, s) {
				continue next
			}
		}
		return true
	}
	return false
}

// Wait waits until one line has all these texts in it.
func (l *Lines) Wait(texts ...string) {
	l.t.Helper()
	Eventually(l.t, "the log says "+strings.Join(texts, " ... "), func() bool { return l.Has(texts...) })
}
