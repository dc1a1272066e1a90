package health

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// A watch finds those that are worse as soon as their counts say so, and the error has their
// figures alone.
func TestWatch(t *testing.T) {
	var w Watch
	if !w.Empty() || w.Worse() != nil || len(w.Compare()) != 0 {
		t.Error("a watch of nothing has found something")
	}
	good, bad := Health{Connections: 1000}, Health{}
	w.Add("well", Health{Connections: 1000}, func() Health { return good })
	w.Add("ill", Health{Connections: 1000}, func() Health { return bad })
	if w.Empty() || w.Worse() != nil {
		t.Errorf("nobody has come to the new one, and worse are %v", w.Worse())
	}
	bad = Health{Connections: 100, Traps: 50}
	worse := w.Worse()
	if len(worse) != 1 || worse[0].Listener != "ill" || len(w.Compare()) != 2 {
		t.Fatalf("worse are %v of %v", worse, w.Compare())
	}
	err := &WorseError{Listeners: worse}
	if s := err.Error(); !strings.Contains(s, worse[0].String()) || !strings.HasSuffix(s, "; the configuration before is in force again") || strings.Contains(s, "well") {
		t.Errorf("the error is %q", s)
	}
	err.NotBack = errors.New("it stops")
	if s := err.Error(); !strings.HasSuffix(s, "stays in force: it stops") || !errors.Is(err, err.NotBack) {
		t.Errorf("the error is %q", s)
	}
}

func TestLookEvery(t *testing.T) {
	for watch, want := range map[time.Duration]time.Duration{
		0: time.Millisecond, 10 * time.Millisecond: time.Millisecond, 10 * time.Second: 200 * time.Millisecond, time.Hour: time.Second,
	} {
		if got := LookEvery(watch); got != want {
			t.Errorf("a watch of %v looks every %v; want %v", watch, got, want)
		}
	}
}
