package selector

import (
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// boom is a timer's owner that panics.
type boom struct{ fired int }

func (b *boom) Expired(*Timer) {
	b.fired++
	panic("in a timer")
}

// A panic ends the notice, the timer or the post that it comes out of, and nothing else: what
// was queued beside it comes, in order, and the loop stops when it is told to.
func TestFaults(t *testing.T) {
	clock := &Manual{}
	s := newSelector(t, Options{Clock: clock})
	var mu sync.Mutex // one is told beside the loop
	var seen []*Fault
	var mended, faulty int
	s.OnFault(func(f *Fault) (func(), bool) {
		mu.Lock()
		seen = append(seen, f)
		mu.Unlock()
		return func() {
			mended++
			if mended == 1 {
				panic("in mending") // which is a fault like others
			}
		}, true
	})
	go s.Run()
	a, peerA := pair(t)
	b, peerB := pair(t)
	bad, good := &probe{}, &probe{}
	bad.onRead = func() { faulty++; panic("in a notice") }
	on(t, s, func() {
		for _, at := range []struct {
			p  *probe
			fd int
		}{{bad, a}, {good, b}} {
			if err := s.Add(&at.p.Descriptor, at.fd, at.p); err != nil {
				t.Error(err)
			}
			at.p.NewReader()
		}
	})
	write(t, peerA, "x")
	write(t, peerB, "x")
	for ok := false; !ok; {
		on(t, s, func() { ok = good.reads == 1 && bad.reads == 1 })
	}
	timer, after := &boom{}, &counts{}
	var t1, t2 Timer
	on(t, s, func() {
		s.SetTimer(&t1, timer, 10)
		s.SetTimer(&t2, after, 10)
	})
	clock.Advance(time.Millisecond)
	for ok := false; !ok; {
		on(t, s, func() { ok = timer.fired == 1 && after.n == 1 })
	}
	var order []string
	s.Post(func() { order = append(order, "first"); panic("in a post") })
	s.Post(func() { order = append(order, "second") })
	s.Post(func() { s.Pass(func() { panic("in what takes over") }); runtime.Goexit() })
	s.Post(func() {
		s.Pass(nil)
		panic("behind a pass")
	})
	s.Post(func() { order = append(order, "last") })
	for ok := false; !ok; {
		on(t, s, func() {
			mu.Lock()
			defer mu.Unlock()
			ok = slices.Contains(order, "last") && len(seen) == 6
		})
	}
	// The last posts run, whatever comes of one.
	done := make(chan struct{})
	s.Post(func() {
		s.Stop()
		s.Post(func() { panic("at the end") })
		s.Post(func() { close(done) })
	})
	<-s.Done()
	<-done
	if !slices.Equal(order, []string{"first", "second", "last"}) || faulty != 1 {
		t.Errorf("it went %q, and %d notices were faulty", order, faulty)
	}
	var values []string
	for _, f := range seen {
		values = append(values, f.Value.(string))
		if !strings.Contains(string(f.Stack), "selector.TestFaults") && !strings.Contains(string(f.Stack), "boom") {
			t.Errorf("%v: the stack is %s", f.Value, f.Stack)
		}
		if f.BatonPassed != (f.Value == "behind a pass") {
			t.Errorf("%v: passed is %v", f.Value, f.BatonPassed)
		}
		switch told := f.Notified; {
		case f.Value == "in a notice" && told != Notices(bad), f.Value == "in a timer" && told != Expirer(timer):
			t.Errorf("%v: told is %v", f.Value, told)
		case f.Value != "in a notice" && f.Value != "in a timer" && told != nil:
			t.Errorf("%v: told is %v", f.Value, told)
		}
	}
	slices.Sort(values)
	want := []string{"at the end", "behind a pass", "in a notice", "in a post", "in a timer", "in mending", "in what takes over"}
	if !slices.Equal(values, want) {
		t.Errorf("the faults are %q", values)
	}
}

type counts struct{ n int }

func (c *counts) Expired(*Timer) { c.n++ }
