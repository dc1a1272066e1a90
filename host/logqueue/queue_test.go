package logqueue_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bulkhead/host/logqueue"
	"bulkhead/internal/awaittest"
)

// sink is the end of a log: it can stand still, and fail.
type sink struct {
	gate sync.Mutex // held: it stands still
	mu   sync.Mutex
	text bytes.Buffer
	do   func(p []byte) (int, error) // nil: it takes p
}

func (s *sink) Write(p []byte) (int, error) {
	s.gate.Lock()
	defer s.gate.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := len(p), error(nil)
	if s.do != nil {
		n, err = s.do(p)
	}
	s.text.Write(p[:n])
	return n, err
}

func (s *sink) set(do func(p []byte) (int, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.do = do
}

// tally reads a log of JSON: how many of its lines are "line" N, which have to be in order,
// and how many it says were left out.
func (s *sink) tally(t *testing.T) (lines, leftOut int, last string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	before := -1
	for line := range strings.Lines(s.text.String()) {
		var l struct {
			Msg, Error string
			N          int
			LeftOut    int `json:"lines_left_out"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			last = "torn"
			continue
		}
		leftOut += l.LeftOut
		last = l.Error
		if l.Msg == "line" {
			if l.N <= before {
				t.Errorf("line %d stands behind line %d", l.N, before)
			}
			before = l.N
			lines++
		}
	}
	return lines, leftOut, last
}

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	awaittest.Until(t, what, cond)
}

// Nobody who logs waits for a reader that stands still, and each line is in the log or in
// what that says was left out.
func TestAReaderThatStandsStill(t *testing.T) {
	for name, o := range map[string]logqueue.Options{
		"by bytes": {Bytes: 10 << 10},
		"by lines": {Lines: 50},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sink{}
			q := logqueue.New(s, o)
			n := 0
			line := func(times int) {
				for range times {
					q.Logger().Info("line", "n", n)
					n++
				}
			}
			line(3)
			until(t, "the first lines are written", func() bool { return q.Stats().Written == 3 })
			for round := range 3 {
				s.gate.Lock()
				line(1000) // would never come to its end if one waited
				if st := q.Stats(); st.LeftOut == 0 || st.Waiting > 10<<10 {
					t.Errorf("round %d: %+v while the reader stands still", round, st)
				}
				s.gate.Unlock()
				until(t, "all is written", func() bool { return q.Stats().Waiting == 0 })
				line(5) // what comes behind the hole
			}
			if !q.Close(30 * time.Second) {
				t.Error("the last lines were not written")
			}
			st := q.Stats()
			lines, leftOut, _ := s.tally(t)
			if lines+leftOut != n || int64(leftOut) != st.LeftOut || lines < 3+3*5 {
				t.Errorf("of %d lines the log has %d, and says that %d were left out; the queue counts %+v", n, lines, leftOut, st)
			}
		})
	}
}

// A write that fails costs its lines, and no more: they are told of when one succeeds again,
// and a line that was cut short does not take the next one with it.
func TestAReaderThatFails(t *testing.T) {
	for _, err := range []error{syscall.EPIPE, syscall.ENOSPC, syscall.EIO} {
		s := &sink{}
		q := logqueue.New(s, logqueue.Options{})
		one := func(n int) {
			q.Logger().Info("line", "n", n)
			until(t, "it is tried", func() bool { st := q.Stats(); return st.Written+st.LeftOut == int64(n+1) })
		}
		one(0)
		s.set(func(p []byte) (int, error) { return len(p) / 2, err })
		one(1)
		s.set(func(p []byte) (int, error) { return 0, err })
		one(2)
		one(3)
		s.set(nil)
		one(4)
		q.Close(30 * time.Second)
		lines, leftOut, _ := s.tally(t)
		if lines != 2 || leftOut != 3 {
			t.Errorf("%v: the log has %d lines, not 2, and says that %d were left out, not 3:\n%s", err, lines, leftOut, &s.text)
		}
		if !strings.Contains(s.text.String(), err.Error()) {
			t.Errorf("the log does not say %v:\n%s", err, &s.text)
		}
	}
}

// Another process may make the descriptor non-blocking, which is no failure.
func TestADescriptorThatIsNotReady(t *testing.T) {
	s := &sink{}
	turn := 0
	s.set(func(p []byte) (int, error) {
		if turn++; turn%3 != 0 {
			return min(len(p), 7), syscall.EAGAIN
		}
		return len(p), nil
	})
	q := logqueue.New(s, logqueue.Options{})
	for n := range 10 {
		q.Logger().Info("line", "n", n)
	}
	q.Close(30 * time.Second)
	if lines, leftOut, _ := s.tally(t); lines != 10 || leftOut != 0 {
		t.Errorf("%d lines, %d left out", lines, leftOut)
	}
}

// The end does not wait for a reader that stands still, and does for one that reads.
func TestTheLastLines(t *testing.T) {
	s := &sink{}
	q := logqueue.New(s, logqueue.Options{})
	s.gate.Lock()
	q.Logger().Info("line", "n", 0)
	if q.Close(time.Millisecond) {
		t.Error("what was not written is said to be")
	}
	q.Logger().Info("line", "n", 1)
	s.gate.Unlock()

	s = &sink{}
	q = logqueue.New(s, logqueue.Options{})
	for n := range 1000 {
		q.Logger().Info("line", "n", n)
	}
	if !q.Close(30*time.Second) || !q.Close(0) {
		t.Error("what was written is not said to be")
	}
	if lines, _, _ := s.tally(t); lines != 1000 {
		t.Errorf("%d of 1000 lines are written", lines)
	}
}

// Lines of many goroutines stay whole, and none is lost without being counted.
func TestManyWriters(t *testing.T) {
	s := &sink{}
	q := logqueue.New(s, logqueue.Options{Bytes: 20 << 10})
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for range 500 {
				q.Logger().Info("said", "by", g, "text", strings.Repeat("x", 100))
			}
		})
	}
	all.Wait()
	q.Close(30 * time.Second)
	have := 0
	for line := range strings.Lines(s.text.String()) {
		var l struct {
			Msg     string
			LeftOut int `json:"lines_left_out"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		if have += l.LeftOut; l.Msg == "said" {
			have++
		}
	}
	if have != 8*500 {
		t.Errorf("%d lines are in the log or told of, not %d", have, 8*500)
	}
}

// A log that is asked for errors only has no line about those that were left out, and goes on.
func TestOfALevelAboveWarnings(t *testing.T) {
	s := &sink{}
	q := logqueue.New(s, logqueue.Options{Format: errorsOnly})
	s.set(func([]byte) (int, error) { return 0, errors.New("gone") })
	q.Logger().Error("one")
	until(t, "it is tried", func() bool { return q.Stats().LeftOut == 1 })
	s.set(nil)
	q.Logger().Error("two")
	q.Close(30 * time.Second)
	if text := s.text.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "two") {
		t.Errorf("the log is %q", text)
	}
}

// The queue allocates nothing for a line.
func TestNoAllocationPerLine(t *testing.T) {
	q := logqueue.New(&discard{}, logqueue.Options{})
	defer q.Close(time.Second)
	line := []byte(fmt.Sprintln(strings.Repeat("x", 200)))
	write := func() { _, _ = q.Write(line) }
	for range 10000 {
		write()
	}
	if n := testing.AllocsPerRun(1000, write); n >= 0.1 { // buffers may grow once more
		t.Errorf("%v allocations a line", n)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func errorsOnly(w io.Writer) slog.Handler {
	return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelError})
}

// While the reader stands still, one tenant's lines leave room for another's, and for the host's.
func TestATenantLeavesRoom(t *testing.T) {
	s := &sink{}
	s.gate.Lock()
	q := logqueue.New(s, logqueue.Options{Lines: 100, Bytes: 1 << 20})
	log := q.Logger()
	log.Info("first")
	awaittest.Until(t, "the writer is held up", func() bool { return q.Stats().Waiting > 0 })
	loud := log.With("listener", "l", "tenant", "loud").WithGroup("g")
	quiet := log.With("tenant", "quiet")
	for k := range 1000 {
		loud.Info("loud", "n", k)
	}
	for k := range 10 {
		quiet.Info("quiet", "n", k)
		log.Info("host", "n", k)
	}
	s.gate.Unlock()
	if !q.Close(time.Minute) {
		t.Fatal("it does not end")
	}
	text := s.text.String()
	for what, n := range map[string]int{"first": 1, "quiet": 10, "host": 10} {
		if got := strings.Count(text, `"msg":"`+what+`"`); got != n {
			t.Errorf("%d lines of %q came, want %d", got, what, n)
		}
	}
	lines := strings.Count(text, `"msg":"loud"`)
	if lines < 30 || lines > 50 {
		t.Errorf("%d lines of the loud tenant came of 100 places; want some half", lines)
	}
	told := 0 // in several lines, if the writer came by in between
	for _, one := range strings.Split(text, `"lines_left_out":`)[1:] {
		n := 0
		if _, err := fmt.Sscan(one[:strings.IndexByte(one, '}')], &n); err != nil {
			t.Error(err)
		}
		told += n
	}
	if told != 1000-lines {
		t.Errorf("it says that %d lines were left out, and %d were", told, 1000-lines)
	}
	if !strings.Contains(text, `"listener":"l","tenant":"loud","g":{"n":0}`) {
		t.Errorf("a line is not as its logger has it: %.300s", text)
	}
}

// What was written makes room in a tenant's share again.
func TestAShareIsGivenBack(t *testing.T) {
	s := &sink{}
	q := logqueue.New(s, logqueue.Options{Lines: 10})
	log := q.Logger().With("tenant", "one")
	for k := range 100 {
		log.Info("line", "n", k)
		awaittest.Until(t, "it is written", func() bool { return q.Stats().Waiting == 0 })
	}
	if !q.Close(time.Minute) || q.Stats().LeftOut > 0 {
		t.Errorf("of 100 lines, one after the other, %d were left out", q.Stats().LeftOut)
	}
}

// Each line is kept as its tenant's, whether its logger or the line itself says whose it is, with
// its level, and also where it has no room in the queue; in another form, too.
func TestKeep(t *testing.T) {
	for _, form := range []string{"", "text"} {
		s := &sink{}
		s.gate.Lock()
		var mu sync.Mutex
		kept := make(map[string]string)
		o := logqueue.Options{Lines: 1, Keep: func(tenant string, level slog.Level, line []byte) {
			mu.Lock()
			defer mu.Unlock()
			var l struct{ Level, Msg, Tenant string }
			if err := json.Unmarshal(line, &l); err != nil || bytes.Count(line, []byte("\n")) != 1 {
				t.Errorf("%q is kept: %v", line, err)
			}
			if grave := l.Level == "ERROR" || l.Level == "WARN"; grave != (level >= slog.LevelWarn) || l.Tenant != tenant {
				t.Errorf("%q is kept as of %v, of tenant %q", line, level, tenant)
			}
			kept[tenant] += l.Msg + " "
		}}
		if form == "text" {
			o.Format = func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) }
			o.KeepAs = func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) }
		}
		q := logqueue.New(s, o)
		log := q.Logger()
		acme := log.With("listener", "mail", "tenant", "acme").With("x", 1)
		log.Info("1")
		acme.Warn("2")
		acme.Info("3", "y", 2)
		log.With("z", 3).Error("4", "tenant", "acme")
		log.Debug("not asked for")
		log.Error("5")
		if kept[""] != "1 5 " || kept["acme"] != "2 3 4 " {
			t.Errorf("%q: kept are %q", form, kept)
		}
		if st := q.Stats(); st.LeftOut == 0 {
			t.Errorf("%q: %+v", form, st)
		}
		s.gate.Unlock()
		q.Close(30 * time.Second)
		if text := s.text.String(); strings.HasPrefix(text, "{") != (form == "") || strings.Count(text, "1") == 0 {
			t.Errorf("%q: the log is %q", form, text)
		}
	}
}
