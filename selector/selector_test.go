package selector

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/internal/awaittest"

	"golang.org/x/sys/unix"
)

// probe is a component under test: it writes down its notices and then does
// what the test wants.
type probe struct {
	Descriptor
	reads, sends, exceptionals int
	onRead, onSend             func()
}

func (p *probe) ReadReady() {
	p.reads++
	if p.onRead != nil {
		p.onRead()
	}
}

func (p *probe) SendReady() {
	p.sends++
	if p.onSend != nil {
		p.onSend()
	}
}

func (p *probe) Exceptional() { p.exceptionals++ }

func pair(t testing.TB) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
	}
	return fds[0], fds[1]
}

func write(t testing.TB, fd int, s string) {
	t.Helper()
	if n, err := unix.Write(fd, []byte(s)); n != len(s) {
		t.Fatalf("write: %d, %v", n, err)
	}
}

func newSelector(t testing.TB, o Options) *Selector {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// running starts the loop and stops it when the test ends.
func running(t testing.TB, o Options) *Selector {
	s := newSelector(t, o)
	go s.Run()
	t.Cleanup(func() { s.Stop(); <-s.Done() })
	return s
}

// on runs f on the loop and waits for it.
func on(t testing.TB, s *Selector, f func()) {
	t.Helper()
	done := make(chan struct{})
	if !s.Post(func() { f(); close(done) }) {
		t.Fatal("the selector has stopped")
	}
	<-done
}

// turns lets the loop turn a few times.
func turns(t testing.TB, s *Selector) {
	for range 4 {
		on(t, s, func() {})
	}
}

func TestNoticesAreOneShot(t *testing.T) {
	s := running(t, Options{})
	a, b := pair(t)
	defer unix.Close(a)
	defer unix.Close(b)
	p := &probe{}
	on(t, s, func() {
		if err := s.Add(&p.Descriptor, a, p); err != nil {
			t.Error(err)
		}
	})
	write(t, b, "x")
	turns(t, s)
	on(t, s, func() {
		if p.reads != 0 || p.sends != 0 {
			t.Errorf("told without asking: %d reads, %d sends", p.reads, p.sends)
		}
		p.NewReader()
	})
	turns(t, s)
	on(t, s, func() {
		if p.reads != 1 {
			t.Errorf("asked once, told %d times", p.reads)
		}
		p.NewReader() // nothing was read, so it is still ready
		p.NewWriter()
	})
	turns(t, s)
	on(t, s, func() {
		if p.reads != 2 || p.sends != 1 {
			t.Errorf("%d reads, %d sends; want 2, 1", p.reads, p.sends)
		}
		p.NewReader()
		p.RemoveReader()
	})
	turns(t, s)
	on(t, s, func() {
		if p.reads != 2 {
			t.Error("told after RemoveReader")
		}
		s.Remove(&p.Descriptor)
	})
}

func TestReadBlockedWaitsForTheNextEdge(t *testing.T) {
	s := running(t, Options{})
	a, b := pair(t)
	defer unix.Close(a)
	defer unix.Close(b)
	got := make(chan string, 8)
	p := &probe{}
	p.onRead = func() {
		var buf [16]byte
		n, err := unix.Read(a, buf[:])
		if err == unix.EAGAIN {
			n = 0
		}
		got <- string(buf[:n])
		p.ReadBlocked()
		p.NewReader()
	}
	on(t, s, func() { _ = s.Add(&p.Descriptor, a, p); p.NewReader() })
	for _, want := range []string{"one", "two"} {
		write(t, b, want)
		if have := <-got; have != want {
			t.Fatalf("read %q, want %q", have, want)
		}
	}
	turns(t, s)
	if len(got) != 0 {
		t.Errorf("told with nothing to read: %q", <-got)
	}
	unix.Shutdown(b, unix.SHUT_WR)
	if have := <-got; have != "" {
		t.Fatalf("read %q at the end", have)
	}
	on(t, s, func() {
		if !p.HungUp() {
			t.Error("HungUp is false after the peer's shutdown")
		}
		s.Remove(&p.Descriptor)
	})
}

func TestExceptionalOnHangUp(t *testing.T) {
	s := running(t, Options{})
	a, b := pair(t)
	defer unix.Close(a)
	p := &probe{}
	on(t, s, func() { _ = s.Add(&p.Descriptor, a, p); p.NewExceptional() })
	unix.Close(b)
	waitFor(t, s, func() bool { return p.exceptionals > 0 })
	turns(t, s)
	on(t, s, func() {
		if p.exceptionals != 1 {
			t.Errorf("told %d times", p.exceptionals)
		}
		s.Remove(&p.Descriptor)
	})
}

// A descriptor that is closed and reused within one batch of events must not
// get the events of the one before it.
func TestStaleEventsNeverReachAReusedDescriptor(t *testing.T) {
	s := newSelector(t, Options{})
	a1, b1 := pair(t)
	a2, b2 := pair(t)
	defer unix.Close(b1)
	defer unix.Close(b2)
	first, second, reused := &probe{}, &probe{}, &probe{}
	var a3, b3 int
	// Whichever is told first closes the other, whose event is in the same
	// batch, and takes its descriptor number and slot over.
	replace := func(other *probe, fd int) func() {
		return func() {
			if a3 != 0 {
				return
			}
			s.Remove(&other.Descriptor)
			unix.Close(fd)
			a3, b3 = pair(t)
			if a3 != fd {
				t.Errorf("descriptor %d was not reused, got %d", fd, a3)
			}
			if err := s.Add(&reused.Descriptor, a3, reused); err != nil {
				t.Error(err)
			}
			reused.NewReader()
		}
	}
	first.onRead = replace(second, a2)
	second.onRead = replace(first, a1)
	for _, x := range []struct {
		p  *probe
		fd int
	}{{first, a1}, {second, a2}} {
		if err := s.Add(&x.p.Descriptor, x.fd, x.p); err != nil {
			t.Fatal(err)
		}
		x.p.NewReader()
	}
	write(t, b1, "x")
	write(t, b2, "x")
	go s.Run()
	turns(t, s)
	on(t, s, func() {
		if first.reads+second.reads != 1 {
			t.Errorf("%d notices, want one", first.reads+second.reads)
		}
		if reused.reads != 0 {
			t.Error("the new descriptor got an event of the old one")
		}
	})
	write(t, b3, "y")
	turns(t, s)
	on(t, s, func() {
		if reused.reads != 1 {
			t.Errorf("the new descriptor was told %d times of its own byte", reused.reads)
		}
	})
	s.Stop()
	<-s.Done()
	survivor := a1 ^ a2 ^ a3 // a3 has the number of one of the two
	for _, fd := range []int{survivor, a3, b3} {
		unix.Close(fd)
	}
}

// A goroutine that the owner has just started posts its answer before the loop sleeps,
// so that nobody has to wake it.
func TestYield(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	s := running(t, Options{})
	const times = 50
	asleep := 0
	for range times {
		answered := make(chan bool)
		s.Post(func() {
			go func() {
				slept := s.sleeping.Load()
				s.Post(func() {})
				answered <- slept
			}()
			s.Yield()
		})
		if <-answered {
			asleep++
		}
	}
	// The runtime may have other things in mind now and then.
	if asleep > times/2 {
		t.Errorf("the loop slept before its goroutine had run %d times of %d", asleep, times)
	}
}

func TestPostsRunInOrderAndNoneAfterStop(t *testing.T) {
	s := running(t, Options{})
	const posters, each = 8, 2000
	var next [posters]int
	var refused atomic.Int32
	var wg sync.WaitGroup
	for p := range posters {
		wg.Go(func() {
			for i := range each {
				ok := s.Post(func() {
					if next[p] != i {
						t.Errorf("poster %d: ran %d, want %d", p, i, next[p])
					}
					next[p]++
				})
				if !ok {
					refused.Add(1)
				}
			}
		})
	}
	wg.Wait()
	on(t, s, func() {})
	for p := range posters {
		if next[p] != each {
			t.Errorf("poster %d: %d of %d ran", p, next[p], each)
		}
	}
	if refused.Load() != 0 {
		t.Errorf("%d refused before Stop", refused.Load())
	}
	s.Stop()
	<-s.Done()
	if s.Post(func() { t.Error("ran after Stop") }) {
		t.Error("Post accepted after Stop")
	}
}

// What Post accepts, runs, however Stop falls between.
func TestPostAgainstStop(t *testing.T) {
	for range 200 {
		s := newSelector(t, Options{})
		go s.Run()
		var accepted, ran atomic.Int32
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 50 {
					if s.Post(func() { ran.Add(1) }) {
						accepted.Add(1)
					}
				}
			})
		}
		s.Stop()
		wg.Wait()
		<-s.Done()
		if accepted.Load() != ran.Load() {
			t.Fatalf("%d accepted, %d ran", accepted.Load(), ran.Load())
		}
	}
}

type expirer func(t *Timer)

func (f expirer) Expired(t *Timer) { f(t) }

func TestTimersFireInOrderOnAManualClock(t *testing.T) {
	clock := &Manual{}
	s := running(t, Options{Clock: clock})
	var fired []time.Duration
	timers := make([]Timer, 5)
	set := func(i int, d time.Duration) {
		s.SetTimer(&timers[i], expirer(func(*Timer) { fired = append(fired, d) }), int64(d))
	}
	on(t, s, func() {
		set(0, 3*time.Second)
		set(1, 1*time.Second)
		set(2, 2*time.Second)
		set(3, 4*time.Second)
		set(4, 9*time.Second)
		set(2, 5*time.Second) // moved
		s.StopTimer(&timers[3])
	})
	clock.Advance(time.Second)
	waitFor(t, s, func() bool { return len(fired) == 1 })
	clock.Advance(5 * time.Second)
	waitFor(t, s, func() bool { return len(fired) == 3 })
	turns(t, s)
	on(t, s, func() {
		if want := []time.Duration{1e9, 3e9, 5e9}; !slices.Equal(fired, want) {
			t.Errorf("fired %v, want %v", fired, want)
		}
		if timers[0].Set() || timers[3].Set() || !timers[4].Set() {
			t.Error("Set is wrong after firing and stopping")
		}
	})
}

func waitFor(t testing.TB, s *Selector, cond func() bool) {
	t.Helper()
	awaittest.Until(t, "the condition comes true", func() (ok bool) {
		on(t, s, func() { ok = cond() })
		return ok
	})
}

// A timer that sets itself again for now must not keep the loop in one turn.
func TestATimerCannotKeepTheLoop(t *testing.T) {
	s := running(t, Options{})
	var timer Timer
	again := true
	var e expirer
	e = func(tm *Timer) {
		if again {
			s.SetTimer(tm, e, s.Now())
		}
	}
	on(t, s, func() { s.SetTimer(&timer, e, s.Now()) })
	turns(t, s) // would hang
	on(t, s, func() { again = false })
}

func TestRandomTimersAgainstASortedList(t *testing.T) {
	var h timerHeap
	rng := rand.New(rand.NewPCG(1, 2))
	timers := make([]Timer, 200)
	at := make(map[*Timer]int64)
	for range 20000 {
		tm := &timers[rng.IntN(len(timers))]
		switch rng.IntN(4) {
		case 0:
			h.remove(tm)
			delete(at, tm)
		case 1:
			var want *int64
			for _, v := range at {
				if want == nil || v < *want {
					want = &v
				}
			}
			got := h.popDue(1 << 62)
			if (got == nil) != (want == nil) || got != nil && at[got] != *want {
				t.Fatal("popDue did not give the earliest")
			}
			delete(at, got)
		default:
			when := rng.Int64N(1000)
			h.set(tm, when)
			at[tm] = when
		}
		if len(h) != len(at) {
			t.Fatalf("%d in the heap, want %d", len(h), len(at))
		}
		for i, e := range h {
			if e.t.index != i+1 || at[e.t] != e.at {
				t.Fatal("an entry and its timer disagree")
			}
		}
	}
}

// In mid-notice the loop goes on under another goroutine, with nothing lost
// of the batch, while the first one finishes what it was doing.
func TestPassTheBaton(t *testing.T) {
	s := newSelector(t, Options{})
	const n = 16
	var told atomic.Int32
	slow := make(chan struct{})
	finished := make(chan struct{})
	var probes [n]*probe
	for i := range probes {
		a, b := pair(t)
		defer unix.Close(a)
		defer unix.Close(b)
		p := &probe{}
		probes[i] = p
		p.onRead = func() {
			if told.Add(1) == 3 {
				s.Pass(nil)
				<-slow // a long call, in the background by now
				close(finished)
			}
		}
		if err := s.Add(&p.Descriptor, a, p); err != nil {
			t.Fatal(err)
		}
		p.NewReader()
		write(t, b, "x")
	}
	returned := make(chan struct{})
	go func() { s.Run(); close(returned) }()
	waitFor(t, s, func() bool { return told.Load() == n })
	select {
	case <-finished:
		t.Fatal("the slow notice ended by itself")
	default:
	}
	close(slow)
	<-finished
	turns(t, s)
	s.Stop()
	<-returned
}

// Every notice, timer and post passes the baton: ownership must always be
// with one goroutine (the race detector watches), and nothing may be lost.
func TestPassTheBatonAlways(t *testing.T) {
	s := newSelector(t, Options{})
	a, b := pair(t)
	defer unix.Close(a)
	defer unix.Close(b)
	reads, fires, posts := 0, 0, 0
	p := &probe{}
	p.onRead = func() {
		reads++
		if reads < 500 {
			p.NewReader() // the byte is never read: ready at once
		}
		s.Pass(nil)
	}
	var timer Timer
	var e expirer
	e = func(tm *Timer) {
		fires++
		if fires < 500 {
			s.SetTimer(tm, e, s.Now())
		}
		s.Pass(nil)
	}
	if err := s.Add(&p.Descriptor, a, p); err != nil {
		t.Fatal(err)
	}
	p.NewReader()
	s.SetTimer(&timer, e, 0)
	write(t, b, "x")
	go s.Run()
	for range 500 {
		s.Post(func() { posts++; s.Pass(nil) })
	}
	waitFor(t, s, func() bool { return reads == 500 && fires == 500 && posts == 500 })
	s.Stop()
	<-s.Done()
}

func TestAddErrors(t *testing.T) {
	s := newSelector(t, Options{})
	a, b := pair(t)
	defer unix.Close(a)
	defer unix.Close(b)
	p := &probe{}
	if err := s.Add(&p.Descriptor, a, p); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(&p.Descriptor, a, p); err == nil {
		t.Error("a descriptor was registered twice")
	}
	q := &probe{}
	if err := s.Add(&q.Descriptor, 1<<20, q); !errors.Is(err, unix.EBADF) {
		t.Errorf("adding a closed descriptor: %v, want EBADF", err)
	}
	s.Remove(&q.Descriptor) // never registered: nothing happens
	s.Stop()
	s.Run()
	if err := s.Add(&q.Descriptor, b, q); !errors.Is(err, ErrStopped) {
		t.Errorf("adding to a stopped selector: %v, want ErrStopped", err)
	}
	s.Remove(&p.Descriptor) // after the end: harmless
}

func BenchmarkPostAndWake(b *testing.B) {
	s := running(b, Options{})
	done := make(chan struct{})
	b.ReportAllocs()
	for range b.N {
		s.Post(func() { done <- struct{}{} })
		<-done
	}
}

// One idle timer for each of 10,000 connections, of which one is moved.
func BenchmarkMoveOneOf10kTimers(b *testing.B) {
	s := newSelector(b, Options{})
	timers := make([]Timer, 10_000)
	e := expirer(func(*Timer) {})
	for i := range timers {
		s.SetTimer(&timers[i], e, int64(i))
	}
	b.ReportAllocs()
	for i := range b.N {
		s.SetTimer(&timers[i%len(timers)], e, int64(10_000+i))
	}
	s.Stop()
	s.Run()
}

// lateClock lets something happen between the poll and the look at the clock, as
// when the loop's goroutine waits for a CPU there.
type lateClock struct {
	Clock
	between func()
}

func (c *lateClock) Now() int64 {
	if c.between != nil {
		c.between()
	}
	return c.Clock.Now()
}

// A loop that came late to its clock took a connection for idle whose bytes had
// come in time.
func TestReadinessComesBeforeTimersThatAreLate(t *testing.T) {
	manual := &Manual{}
	clock := &lateClock{Clock: manual}
	s := running(t, Options{Clock: clock})
	a, b := pair(t)
	var order []string
	var d Descriptor
	var timer Timer
	on(t, s, func() {
		if err := s.Add(&d, a, &teller{&order}); err != nil {
			t.Error(err)
		}
		d.NewReader()
		s.SetTimer(&timer, expirer(func(*Timer) { order = append(order, "timer") }), s.Now()+int64(time.Second))
	})
	turns(t, s)
	on(t, s, func() {
		clock.between = func() {
			clock.between = nil
			write(t, b, "x")
			manual.Advance(2 * time.Second)
		}
	})
	turns(t, s)
	on(t, s, func() { s.Remove(&d) })
	if len(order) != 2 || order[0] != "read" {
		t.Errorf("it was told of %v", order)
	}
}

// teller notes what it is told.
type teller struct{ order *[]string }

func (r *teller) ReadReady()   { *r.order = append(*r.order, "read") }
func (r *teller) SendReady()   {}
func (r *teller) Exceptional() {}

// A timer that may fire before is not moved; one that would fire later is.
func TestSetTimerBy(t *testing.T) {
	clock := &Manual{}
	s := running(t, Options{Clock: clock})
	var timer Timer
	fired := 0
	by := func(at time.Duration) {
		on(t, s, func() { s.SetTimerBy(&timer, expirer(func(*Timer) { fired++ }), int64(at)) })
	}
	for _, step := range []struct {
		by, at time.Duration
	}{
		{5 * time.Second, 5 * time.Second}, {9 * time.Second, 5 * time.Second}, {3 * time.Second, 3 * time.Second}, {3 * time.Second, 3 * time.Second},
	} {
		by(step.by)
		on(t, s, func() {
			if at, ok := s.timers.next(); !ok || at != int64(step.at) {
				t.Errorf("by %v: it is set for %v; want %v", step.by, time.Duration(at), step.at)
			}
		})
	}
	clock.Advance(3 * time.Second)
	waitFor(t, s, func() bool { return fired == 1 && !timer.Set() })
	by(10 * time.Second) // it is not set: any time will do
	clock.Advance(7 * time.Second)
	waitFor(t, s, func() bool { return fired == 2 })
}

// What waits without a loop waits by the same clock.
func TestAfterFunc(t *testing.T) {
	var m Manual
	m.Advance(5)
	c := make(chan int, 10)
	tell := func(n int) func() { return func() { c <- n } }
	m.AfterFunc(10, tell(1))
	stop := m.AfterFunc(10, tell(2))
	m.AfterFunc(11, tell(3))
	if !stop() || stop() {
		t.Error("what is withdrawn has been called, or is withdrawn twice")
	}
	m.AfterFunc(0, tell(0))
	if n := <-c; n != 0 {
		t.Errorf("%d is called at once", n)
	}
	m.Advance(9)
	m.Advance(1)
	if n := <-c; n != 1 {
		t.Errorf("%d is called first", n)
	}
	m.Advance(1)
	if n := <-c; n != 3 {
		t.Errorf("%d is called then", n)
	}
	if len(m.calls) != 0 || len(c) != 0 {
		t.Errorf("%d calls are left, and %d came too often", len(m.calls), len(c))
	}
	System.AfterFunc(1, tell(4))
	if <-c != 4 {
		t.Error("the system's clock calls another")
	}
	if !System.AfterFunc(time.Hour, tell(5))() {
		t.Error("it is withdrawn too late")
	}
}

// Turns have numbers, also while the clock stands still.
func TestTurn(t *testing.T) {
	s := running(t, Options{Clock: &Manual{}})
	var a, b, c uint64
	on(t, s, func() { a, b = s.Turn(), s.Turn() })
	on(t, s, func() { c = s.Turn() })
	if a != b || c <= a {
		t.Errorf("the turns are %d, %d and then %d", a, b, c)
	}
}

// foreign is a Clock that is not of this package, and rings early at first.
type foreign struct {
	*Manual
	early atomic.Int32
	set   atomic.Int32
}

func (f *foreign) Now() int64 { return f.Manual.Now() }

func (f *foreign) AfterFunc(d time.Duration, call func()) (stop func() bool) {
	defer f.set.Add(1)
	if f.early.Add(-1) >= 0 {
		go call()
		return func() bool { return false }
	}
	return f.Manual.AfterFunc(d, call)
}

// clockOnly hides what Manual has besides.
type clockOnly struct{ Clock }

// A program's own clock wakes the selector for its timers, also when it rings early, and nothing of
// it is left set when the selector has stopped.
func TestClockOfAProgram(t *testing.T) {
	clock := &foreign{Manual: &Manual{}}
	clock.early.Store(3)
	s, err := New(Options{Clock: clockOnly{clock}})
	if err != nil {
		t.Fatal(err)
	}
	go s.Run()
	fired := make(chan int64, 10)
	var first, second Timer
	fire := expirer(func(*Timer) { fired <- clock.Now() })
	s.Post(func() {
		s.SetTimer(&second, fire, int64(2*time.Hour))
		s.SetTimer(&first, fire, int64(time.Hour))
	})
	for clock.set.Load() < 4 { // three times early, and again
		runtime.Gosched()
	}
	clock.Advance(time.Hour)
	if at := <-fired; at != int64(time.Hour) {
		t.Errorf("the first timer fired at %v", time.Duration(at))
	}
	clock.Advance(time.Hour)
	if at := <-fired; at != int64(2*time.Hour) {
		t.Errorf("the second timer fired at %v", time.Duration(at))
	}
	var last Timer
	set := clock.set.Load()
	s.Post(func() { s.SetTimer(&last, fire, int64(9*time.Hour)) })
	for clock.set.Load() == set {
		runtime.Gosched()
	}
	s.Stop()
	<-s.Done()
	clock.mu.Lock()
	defer clock.mu.Unlock()
	if n := len(clock.calls); n != 0 {
		t.Errorf("%d calls are still asked of the clock", n)
	}
}

// Next is when the first timer is due, whoever's it is.
func TestManualNext(t *testing.T) {
	var m Manual
	if d, ok := m.Next(); ok {
		t.Fatalf("with nothing to wait for, Next is %v", d)
	}
	stop := m.AfterFunc(3*time.Second, func() {})
	m.AfterFunc(5*time.Second, func() {})
	if d, ok := m.Next(); !ok || d != 3*time.Second {
		t.Fatalf("Next is %v, %v; want 3s", d, ok)
	}
	stop()
	m.Advance(time.Second)
	if d, ok := m.Next(); !ok || d != 4*time.Second {
		t.Fatalf("Next is %v, %v; want 4s", d, ok)
	}
}
