package cores

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// loop is an event loop in virtual time: agains post to it, as they would.
type loop struct {
	t     *testing.T
	s     *Share
	posts chan int
	event time.Duration // how long an event runs
	ran   []int
	open  atomic.Int32 // called back and not answered
	most  atomic.Int32 // the most that were
}

func newLoop(t *testing.T, s *Share, event time.Duration) *loop {
	return &loop{t: t, s: s, posts: make(chan int, 1e5), event: event}
}

// event says that event n has come; it runs if it may.
func (l *loop) start(n int) {
	again := func() {
		raise(&l.most, l.open.Add(1))
		l.posts <- n
	}
	if l.s.Admit(again) {
		l.ran = append(l.ran, n)
		time.Sleep(l.event)
		l.s.Book(int64(l.event))
	}
}

// run serves the posts until nothing was posted for the given time.
func (l *loop) run(idle time.Duration) {
	for {
		select {
		case n := <-l.posts:
			l.open.Add(-1)
			l.start(n)
		case <-time.After(idle):
			return
		}
	}
}

// log is a list that agains write to, in whatever goroutine they are called.
type log[T any] struct {
	mu   sync.Mutex
	list []T
}

func (l *log[T]) add(item T) {
	l.mu.Lock()
	l.list = append(l.list, item)
	l.mu.Unlock()
}

func (l *log[T]) all() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

func upTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// Held events run in their order, never many at once, and as fast as the quota
// lets them.
func TestHeldEventsAreInOrder(t *testing.T) {
	for _, event := range []time.Duration{time.Microsecond, 5 * time.Microsecond, 40 * time.Microsecond, 200 * time.Microsecond, 2 * time.Millisecond} {
		t.Run(event.String(), func(t *testing.T) {
			virtual(t, Options{}, func(b *bench) {
				const n = 1000
				s := b.Share(0.5)
				s.Book(int64(time.Second)) // two seconds' quota, less the burst
				l := newLoop(t, s, event)
				for i := range n {
					l.start(i)
				}
				if s.Deferred() != n || l.open.Load() != 0 {
					t.Fatalf("%d of %d events were held, %d were called back at once", s.Deferred(), n, l.open.Load())
				}
				start := time.Now()
				l.run(5 * time.Second)
				took := time.Since(start) - 5*time.Second
				if event > answerTime {
					slices.Sort(l.ran) // so long that loops do not run them inline
				}
				if !slices.Equal(l.ran, upTo(n)) {
					t.Errorf("the events did not run in their order, or not all: %d ran", len(l.ran))
				}
				if most := l.most.Load(); most > batch && event < answerTime {
					t.Errorf("%d were called back at once; want at most %d", most, batch)
				}
				least := 2*time.Second - burst + 2*n*event
				// What the loop itself is slower than the quota is not the
				// quota's doing.
				within(t, "they took", took, least-2*batch*event-time.Millisecond, least+3*longestPause+2*batch*event)
				if s.Deferred() != n && event < answerTime {
					t.Errorf("%d events were held; each of %d had to wait once", s.Deferred(), n)
				}
			})
		})
	}
}

// Instances that have an event again and again do not starve those that wait.
func TestNewEventsDoNotStarveHeldOnes(t *testing.T) {
	virtual(t, Options{}, func(b *bench) {
		s := b.Share(0.5)
		s.Book(int64(time.Second))
		l := newLoop(t, s, 20*time.Microsecond)
		const hot, n = 8, 500
		for i := range n {
			l.start(hot + i)
		}
		time.Sleep(2*time.Second - burst - pause)
		busy := make([]bool, hot) // has an event that waits
		start := time.Now()
		for old := 0; old < n; {
			if time.Since(start) > 200*time.Millisecond {
				t.Fatalf("after 200ms, of which half is the quota, %d of %d held events of 20µs have run, and %d new ones", old, n, len(l.ran)-old)
			}
			time.Sleep(time.Microsecond)
			for i := range hot { // new events come before what was posted
				if !busy[i] {
					before := len(l.ran)
					l.start(i)
					busy[i] = len(l.ran) == before
				}
			}
			select {
			case i := <-l.posts:
				l.open.Add(-1)
				before := len(l.ran)
				l.start(i)
				ran := len(l.ran) > before
				if i < hot {
					busy[i] = !ran
				} else if ran {
					old++
				}
			default:
			}
		}
	})
}

// Agains that nobody answers hold up nobody: a batch every millisecond.
func TestAgainsThatNobodyAnswers(t *testing.T) {
	virtual(t, Options{}, func(b *bench) {
		const n = 1000
		s := b.Share(1)
		s.Book(int64(burst) + int64(time.Second))
		var called atomic.Int32
		for range n {
			if s.Admit(func() { called.Add(1) }) {
				t.Fatal("let in over the quota")
			}
		}
		time.Sleep(time.Second - time.Microsecond)
		if n := called.Load(); n != 0 {
			t.Fatalf("%d were called back before the quota allowed it", n)
		}
		time.Sleep(2 * time.Microsecond)
		for i := 1; i*batch < n; i++ {
			if n := called.Load(); n != int32(i*batch) {
				t.Fatalf("in millisecond %d %d were called back; want %d", i, n, i*batch)
			}
			time.Sleep(answerTime)
		}
		if called.Load() != n {
			t.Errorf("%d of %d were called back", called.Load(), n)
		}
		if !s.Admit(nil) {
			t.Error("nobody waits, and a new event was held")
		}
		if s.shut.Load() {
			t.Error("nobody waits, and Admit still takes the lock")
		}
	})
}

// A tenant with its number of background calls gets no further events until one
// has ended, and then one for each that has.
func TestTenantCalls(t *testing.T) {
	virtual(t, Options{Slots: 4, TenantCalls: 3}, func(b *bench) {
		s, other := b.Share(4), b.Share(1)
		for range 3 {
			if !s.Admit(nil) {
				t.Fatal("held too early")
			}
			s.Acquire()
		}
		var called log[int]
		for i := range 10 {
			if s.Admit(func() { called.add(i) }) {
				t.Fatal("let in beside three calls")
			}
		}
		if !other.Admit(nil) {
			t.Error("another tenant was held")
		}
		time.Sleep(time.Second)
		if len(called.all()) != 0 {
			t.Fatalf("%v were called back with no room", called.all())
		}
		s.Release(0)
		if !slices.Equal(called.all(), []int{0}) {
			t.Fatalf("%v were called back for one call that ended", called.all())
		}
		if !s.Admit(nil) {
			t.Fatal("held with room")
		}
		s.Acquire()
		time.Sleep(time.Second)
		// The first was admitted while one more was asked, which came too late.
		late := func() { called.add(100) }
		if s.Admit(late) {
			t.Fatal("let in beside three calls")
		}
		was := len(called.all())
		for range 3 {
			s.Release(0)
		}
		time.Sleep(time.Second)
		if got := called.all(); len(got) != 11 || !slices.IsSorted(got[:was]) {
			t.Errorf("called back: %v; want all eleven", got)
		}
	})
}

// On a full host a tenant without a background call may still have one, the others
// wait, and those that wait are served tenant by tenant.
func TestHostCalls(t *testing.T) {
	virtual(t, Options{Slots: 64, Calls: 4}, func(b *bench) {
		a, second, third, fresh := b.Share(8), b.Share(8), b.Share(8), b.Share(8)
		a.Acquire()
		a.Acquire()
		second.Acquire()
		third.Acquire()
		var called log[string]
		hold := func(s *Share, name string) {
			t.Helper()
			if s.Admit(func() { called.add(name) }) {
				t.Fatalf("%s was let in on a full host", name)
			}
		}
		hold(second, "2a")
		hold(second, "2b")
		hold(third, "3a")
		hold(third, "3b")
		hold(a, "1a")
		if !fresh.Admit(nil) {
			t.Error("a tenant without a call was held")
		}
		fresh.Acquire() // one more than the host has
		fresh.Release(0)
		if len(called.all()) != 0 {
			t.Fatalf("called back with no room: %v", called.all())
		}
		a.Release(0)
		if !slices.Equal(called.all(), []string{"2a"}) {
			t.Fatalf("called back: %v; want 2a, which came first", called.all())
		}
		a.Release(0)
		// The first tenant has no call left, so it may have one whatever there
		// is; and there is room for two others.
		if !slices.Equal(called.all(), []string{"2a", "1a", "3a", "2b"}) {
			t.Fatalf("called back: %v; want 1a, and two others in their turn", called.all())
		}
		if !second.Admit(nil) {
			t.Fatal("held with room")
		}
		second.Acquire()
		if !third.Admit(nil) {
			t.Fatal("held with room")
		}
		third.Acquire()
		second.Release(0)
		third.Release(0)
		time.Sleep(10 * answerTime)
		if got := called.all(); len(got) != 5 {
			t.Errorf("called back: %v; want all five", got)
		}
		second.Release(0)
		third.Release(0)
		if b.full.Load() {
			t.Error("there are no calls, and the host is full")
		}
	})
}

// Where the host is full and the quota is used up, each in its turn, the end of
// both is noticed.
func TestFullHostAndQuota(t *testing.T) {
	virtual(t, Options{Slots: 8, Calls: 2}, func(b *bench) {
		a, with, without := b.Share(1), b.Share(1), b.Share(1)
		a.Acquire()
		with.Acquire()
		var called log[string]
		with.Admit(func() { called.add("with") })
		with.Book(int64(time.Second))
		without.Book(int64(time.Second))
		without.Admit(func() { called.add("without") })
		time.Sleep(time.Second)
		// Without a call of its own a tenant may have one though the host is full.
		if !slices.Equal(called.all(), []string{"without"}) {
			t.Fatalf("called back: %v; want what only the quota held", called.all())
		}
		if !without.Admit(nil) {
			t.Error("held with no call of its own")
		}
		with.Book(int64(time.Second))
		a.Release(0) // room, but now the quota holds it
		if got := called.all(); len(got) != 1 {
			t.Fatalf("called back: %v; the quota is used up", got)
		}
		time.Sleep(time.Second)
		if got := called.all(); len(got) != 2 {
			t.Errorf("called back: %v; want both", got)
		}
		with.Release(0)
	})
}

// An again may ask at once, from within: no deadlock, no recursion, and all of
// them come through.
func TestAgainMayAskAtOnce(t *testing.T) {
	virtual(t, Options{}, func(b *bench) {
		s := b.Share(1)
		s.Book(int64(2 * burst))
		var ran, depth, deepest atomic.Int32
		var again func()
		again = func() {
			raise(&deepest, depth.Add(1))
			if s.Admit(again) {
				ran.Add(1)
			}
			depth.Add(-1)
		}
		const n = 100_000
		for range n {
			again()
		}
		time.Sleep(2 * burst)
		if ran.Load() != n || deepest.Load() != 1 {
			t.Errorf("%d of %d ran, %d within another; want all, none", ran.Load(), n, deepest.Load()-1)
		}
	})
}

// What a tenant used inline holds its background calls, and the other way round.
func TestInlineAndBackgroundAreOneQuota(t *testing.T) {
	virtual(t, Options{}, func(b *bench) {
		cl := b.client(0.5)
		cl.Book(int64(time.Second))
		start := time.Now()
		cl.Acquire()
		within(t, "a call waited for what was used inline", time.Since(start), 2*time.Second-burst, 2*time.Second-burst+pause)
		cl.Release(int64(time.Second))
		start = time.Now()
		done := make(chan struct{})
		if cl.Admit(func() { close(done) }) {
			t.Fatal("let in over the quota")
		}
		<-done
		within(t, "an event waited for a call", time.Since(start), 2*time.Second-2*burst, 2*time.Second+pause)
		if !cl.Admit(nil) {
			t.Error("called back too early")
		}
	})
}

// Small bookings are gathered, and none is lost.
func TestSmallBookingsCount(t *testing.T) {
	virtual(t, Options{}, func(b *bench) {
		s := b.Share(0.5)
		n := 0
		for s.Admit(func() {}) {
			s.Book(50)
			n++
		}
		within(t, "let in at once", time.Duration(n*50), burst/2, burst/2+grain+50)
	})
}
