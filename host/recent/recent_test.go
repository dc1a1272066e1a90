package recent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A ring has the last lines, whole and in order, within its bounds, whatever their lengths, and
// says how many somebody has missed.
func TestRing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		most, mostLines := 64<<rng.IntN(6), 1+rng.IntN(40)
		r := newRing(most, mostLines)
		var all []string // what was added
		from, seen, missed := place{}, 0, int64(0)
		for n := range 500 {
			line := fmt.Sprintf("%d %s\n", n, strings.Repeat("x", rng.IntN(most/3)))
			r.add([]byte(line))
			all = append(all, line)
			if r.size > most || r.lines > mostLines || len(r.text) > most {
				t.Fatalf("%d lines of %d bytes in %d, of %d lines of %d", r.lines, r.size, len(r.text), mostLines, most)
			}
			if n == 300 && most > 64 {
				most /= 2
				r.limit(most)
			}
			if rng.IntN(20) > 0 {
				continue
			}
			b, next, lost := r.read(nil, from, 1+rng.IntN(most))
			missed += lost
			lines := slices.Collect(strings.Lines(string(b)))
			if at := int(from.line) + int(lost); next.line != uint64(at+len(lines)) || !slices.Equal(lines, all[at:next.line]) || len(lines) == 0 && at < len(all) {
				t.Fatalf("from %d on, with %d lost, it reads %q, and then %d", from.line, lost, b, next.line)
			}
			from, seen = next, seen+len(lines)
		}
		if int(from.line) != seen+int(missed) {
			t.Errorf("%d lines were read, and %d missed, of %d", seen, missed, from.line)
		}
		n := min(r.lines, 3)
		b, next, lost := r.read([]byte("before "), r.last(3), most)
		if want := "before " + strings.Join(all[len(all)-n:], ""); string(b) != want || len(lastOf(r, most)) != r.lines || next.line != uint64(len(all)) || lost != 0 {
			t.Errorf("the last %d are %q, want %q", n, b, want)
		}
	}
}

// Who reads the last lines finds them in steps, and reads each that comes in a time that does not
// depend on how many there are.
func BenchmarkFollow(b *testing.B) {
	for _, bytes := range []int{MostBytes, allBytes} {
		b.Run(fmt.Sprintf("%d KiB", bytes>>10), func(b *testing.B) {
			r := newRing(bytes, 4*MostLines)
			line := []byte(strings.Repeat("x", 62) + "\n")
			for range 2 * bytes / len(line) {
				r.add(line)
			}
			from, p := r.last(0), make([]byte, 0, atOnce)
			b.ReportAllocs()
			for b.Loop() {
				r.add(line)
				if p, from, _ = r.read(p[:0], from, atOnce); len(p) != len(line) {
					b.Fatalf("it reads %q", p)
				}
			}
		})
	}
}

// A line that is longer than a ring takes the place of all, and is missed.
func TestRingTooLong(t *testing.T) {
	r := newRing(64, 10)
	r.add([]byte("a\n"))
	r.add([]byte(strings.Repeat("x", 64) + "\n"))
	r.add([]byte("b\n"))
	if b, next, lost := r.read(nil, place{}, 100); string(b) != "b\n" || next.line != 3 || lost != 2 {
		t.Errorf("it has %q, then %d, with %d lost", b, next.line, lost)
	}
}

// lastOf is all that a ring has.
func lastOf(r *ring, most int) []string {
	b, _, _ := r.read(nil, r.last(r.lines), most)
	return slices.Collect(strings.Lines(string(b)))
}

// logger writes into a log as the log's queue does.
func logger(l *Log, tenant string, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(writer(func(p []byte) { l.Add(tenant, level, p) }), nil))
}

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}

// text is what a query answers, without following.
func text(t *testing.T, l *Log, q Query) (said []string) {
	t.Helper()
	err := l.Read(t.Context(), q, func(lines []byte, lost int64) error {
		for line := range bytes.Lines(lines) {
			var m struct{ Msg string }
			if err := json.Unmarshal(line, &m); err != nil {
				t.Error(err)
			}
			said = append(said, m.Msg)
		}
		return nil
	})
	if err != nil {
		t.Errorf("%+v: %v", q, err)
	}
	return said
}

// Lines are there by tenant, by none, and all together; those of a tenant that is no longer one are
// among all alone.
func TestWhose(t *testing.T) {
	l := New()
	l.SetTenants([]string{"a", "b"})
	logger(l, "", 0).Info("1")
	logger(l, "a", 0).Info("2")
	logger(l, "b", 0).Info("3")
	logger(l, "none", 0).Info("4")
	for _, want := range []struct {
		q    Query
		said string
	}{
		{Query{Last: 9}, "1 2 3 4"}, {Query{Last: 2}, "3 4"}, {Query{}, ""},
		{Query{Host: true, Last: 9}, "1"}, {Query{Tenant: "a", Last: 9}, "2"},
	} {
		if said := strings.Join(text(t, l, want.q), " "); said != want.said {
			t.Errorf("%+v: %q, want %q", want.q, said, want.said)
		}
	}
	l.SetTenants([]string{"b", "c"})
	logger(l, "a", 0).Info("5")
	if said := strings.Join(text(t, l, Query{Last: 1}), " "); said != "5" {
		t.Errorf("the last is %q", said)
	}
	if said := strings.Join(text(t, l, Query{Tenant: "b", Last: 9}), " "); said != "3" {
		t.Errorf("a reload leaves %q of b's", said)
	}
	for _, q := range []Query{{Tenant: "a"}, {Tenant: "b", Host: true}} {
		if l.Check(q) == nil || l.Read(t.Context(), q, nil) == nil {
			t.Errorf("%+v is answered", q)
		}
	}
}

// Many tenants have the memory of mostOfAll together.
func TestManyTenants(t *testing.T) {
	l := New()
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprint("t", i)
	}
	l.SetTenants(names[:1])
	line := []byte(strings.Repeat("x", 999) + "\n")
	for range 200 {
		l.Add("t0", 0, line)
	}
	if n := len(l.of("t0").lines.text); n != MostBytes {
		t.Errorf("one alone has %d bytes", n)
	}
	l.SetTenants(names)
	sum := 0
	for _, name := range names {
		for range 20 {
			l.Add(name, 0, line)
		}
		sum += len(l.of(name).lines.text)
	}
	if sum > mostOfAll || l.of("t0").lines.lines < 8 {
		t.Errorf("all have %d bytes, of %d", sum, mostOfAll)
	}
}

// Who follows gets each line, or is told how many were lost, and nobody who logs waits.
func TestFollow(t *testing.T) {
	l := New()
	log := logger(l, "", 0)
	log.Info("before")
	ctx, stop := context.WithCancelCause(t.Context())
	over := errors.New("over")
	begun, held := make(chan struct{}), make(chan struct{})
	const many = 20_000
	var got, missed int64
	var all sync.WaitGroup
	all.Go(func() {
		err := l.Read(ctx, Query{Last: 1, Follow: true}, func(lines []byte, lost int64) error {
			if got == 0 {
				close(begun)
				<-held
			}
			got += int64(bytes.Count(lines, []byte("\n")))
			if missed += lost; got+missed == many+1 {
				stop(over)
			}
			return nil
		})
		if err != over {
			t.Errorf("it ends with %v", err)
		}
	})
	<-begun
	for range many - 1 {
		log.Info("while it stands still")
	}
	close(held)
	log.Info("the last")
	all.Wait()
	if missed == 0 || got+missed != many+1 {
		t.Errorf("%d lines were read and %d lost of %d", got, missed, many+1)
	}
	if err := l.Read(t.Context(), Query{Last: 1, Follow: true}, func([]byte, int64) error { return io.EOF }); err != io.EOF {
		t.Errorf("it ends with %v", err)
	}
	if n := len(l.all.wakes); n != 0 {
		t.Errorf("%d wait yet", n)
	}
}

// Errors are the lines of WARN and above, those alike once, the latest first; a tenant that has
// many takes none of the places of others.
func TestErrors(t *testing.T) {
	l := New()
	l.SetTenants([]string{"a", "b"})
	a, b := logger(l, "a", slog.LevelWarn), logger(l, "b", slog.LevelWarn)
	logger(l, "a", slog.LevelInfo).Info("nothing wrong")
	b.Error("a handler trapped; its connection is closed", "tenant", "b", "listener", "mail", "connection", 7, "peer", "192.0.2.1:5", "why", "unreachable", "mend", "mend it")
	for n := range 500 {
		a.Warn("connection closed", "tenant", "a", "listener", "x", "connection", n, "reason", "its tenant has no memory left", "cause", "memory", "key", "memory")
	}
	a.Warn("another", "tenant", "a", "error", errors.New("because"))
	logger(l, "", slog.LevelWarn).Warn("in the configuration", "warning", "w")
	all := l.Errors("", 100)
	if len(all) != 4 {
		t.Fatalf("there are %+v", all)
	}
	for i, what := range []string{"in the configuration", "another", "connection closed", "a handler trapped; its connection is closed"} {
		if all[i].What != what || all[i].Time.IsZero() || all[i].First.After(all[i].Time) {
			t.Errorf("%d is %+v, not %q", i, all[i], what)
		}
	}
	if e := all[2]; e.Times != errorLines-1 || e.Connection != 499 || e.Key != "memory" || !strings.Contains(e.Mend, "the key memory ") || e.Why != "its tenant has no memory left" {
		t.Errorf("those alike are %+v", e)
	}
	if e := all[3]; e.Times != 1 || e.Connection != 7 || e.Peer != "192.0.2.1:5" || e.Level != "ERROR" || e.Tenant != "b" || e.Listener != "mail" || e.Why != "unreachable" || e.Mend != "mend it" {
		t.Errorf("the trap is %+v", e)
	}
	if all[0].Why != "w" || all[1].Why != "because" {
		t.Errorf("why is %q and %q", all[0].Why, all[1].Why)
	}
	if two := l.Errors("", 2); len(two) != 2 || two[1].What != "another" {
		t.Errorf("two are %+v", two)
	}
	if own := l.Errors("b", 9); len(own) != 1 || own[0].Tenant != "b" || len(l.Errors("none", 9)) != 0 {
		t.Errorf("b has %+v", own)
	}
}

// A line costs its loop no allocation, once there is memory.
func TestNoAllocation(t *testing.T) {
	l := New()
	l.SetTenants([]string{"a"})
	line := []byte(strings.Repeat("x", 199) + "\n")
	for range 3000 {
		l.Add("a", slog.LevelWarn, line)
	}
	if n := testing.AllocsPerRun(1000, func() { l.Add("a", slog.LevelWarn, line) }); n > 0 {
		t.Errorf("a line takes %v allocations", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	l := New()
	l.SetTenants([]string{"a"})
	line := []byte(strings.Repeat("x", 199) + "\n")
	b.ReportAllocs()
	for b.Loop() {
		l.Add("a", 0, line)
	}
}
