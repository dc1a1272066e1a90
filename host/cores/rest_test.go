package cores

import (
	"testing"
	"testing/synctest"
	"time"
)

// A tenant that has used up its quota rests until it has some again, for some milliseconds at
// least; one that has not never does.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Processors: 4})
		s, other := c.Share(0.5), c.Share(0.5)
		if wait := s.CPUWait(); wait > 0 {
			t.Errorf("it rests for %v before it has used anything", time.Duration(wait))
		}
		s.Book(int64(200 * time.Millisecond)) // 50 of which it had to spare
		within(t, "the rest", time.Duration(s.CPUWait()), 290*time.Millisecond, 310*time.Millisecond)
		if wait := other.CPUWait(); wait > 0 {
			t.Errorf("another tenant rests for %v", time.Duration(wait))
		}
		time.Sleep(time.Duration(s.CPUWait()) - time.Millisecond)
		within(t, "what is left of the rest", time.Duration(s.CPUWait()), time.Millisecond, time.Millisecond)
		time.Sleep(time.Duration(pause))
		if wait := s.CPUWait(); wait > 0 {
			t.Errorf("it rests for %v more", time.Duration(wait))
		}
		c.Stop()
	})
}

// Whoever would wait by timers that may stand still does not wait.
func TestNoRestByVirtualTimers(t *testing.T) {
	c := New(Options{Processors: 4, VirtualTimers: true})
	defer c.Stop()
	s := c.Share(leastCPU)
	s.Book(int64(time.Second))
	if wait := s.CPUWait(); wait > 0 {
		t.Errorf("it waits for %v", time.Duration(wait))
	}
}

// Who is over its quota again at once rests for longer each time, up to a bound, and loses nothing
// by it. Who has kept to it for as long as that starts from the shortest rest.
func TestRestsGetLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const cpu = 0.25
		c := New(Options{Processors: 4})
		s := c.Share(cpu)
		s.Book(int64(burst))
		spend := func() (rest time.Duration) {
			for s.CPUWait() <= 0 {
				s.Book(int64(50 * time.Microsecond))
			}
			rest = time.Duration(s.CPUWait())
			time.Sleep(rest)
			return rest
		}
		time.Sleep(time.Duration(s.CPUWait()))
		for want := 2 * pause; want <= longestPause; want *= 2 {
			within(t, "a rest", spend(), want, want+time.Millisecond)
		}
		began, used := time.Now(), s.Used()
		for range 100 {
			within(t, "a rest", spend(), longestPause, longestPause+time.Millisecond)
		}
		within(t, "what it has used", time.Duration(s.Used()-used), time.Duration(cpu*float64(time.Since(began)))-time.Millisecond,
			time.Duration(cpu*float64(time.Since(began)))+time.Duration(cpu*float64(longestPause)))
		time.Sleep(2 * longestPause)
		within(t, "a rest after one has kept to it", spend(), pause, pause+time.Millisecond)
		c.Stop()
	})
}

// Who may use all that the machine has is never over it, whatever is estimated of what it used. It
// is as soon as it may use less.
func TestTheWholeMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Processors: 2})
		s := c.Share(2)
		s.Book(int64(time.Minute))
		if wait := s.CPUWait(); wait > 0 || !s.Admit(func() {}) {
			t.Errorf("it rests for %v", time.Duration(wait))
		}
		s.SetCPU(1.9)
		if wait := s.CPUWait(); wait > 0 {
			t.Errorf("it rests for %v, for what it used before", time.Duration(wait))
		}
		s.Book(int64(time.Second))
		within(t, "the rest", time.Duration(s.CPUWait()), 300*time.Millisecond, 600*time.Millisecond)
		s.SetCPU(2)
		if wait := s.CPUWait(); wait > 0 {
			t.Errorf("it rests for %v, with the whole machine", time.Duration(wait))
		}
		c.Stop()
	})
}
