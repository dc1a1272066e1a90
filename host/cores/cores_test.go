package cores

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const slice = 100 * time.Microsecond

// bench is a host in virtual time: a call that runs sleeps for as long as it
// runs, on as many cores as it likes. So who is made to wait is seen exactly.
type bench struct {
	*Cores
	t    *testing.T
	quit atomic.Bool
	now  atomic.Int32 // calls that run now
	peak atomic.Int32 // the most that did
}

// virtual runs f in virtual time, and wants nothing to be left after Stop: no
// call, goroutine or timer.
func virtual(t *testing.T, o Options, f func(b *bench)) {
	if o.Processors == 0 {
		o.Processors = mostCPU // no quota is all of them
	}
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var timers atomic.Int32
		if o.After == nil {
			o.After = late(&timers, 0)
		}
		b := &bench{Cores: New(o), t: t}
		f(b)
		b.quit.Store(true)
		b.Stop()
		b.Wait()
		time.Sleep(time.Minute) // whatever was started sees the end
		if n := timers.Load(); n != 0 {
			t.Errorf("%d timers are left after Stop", n)
		}
	})
}

// late is a timer that fires too late by so much, and is counted while it runs.
func late(timers *atomic.Int32, by time.Duration) func(time.Duration, func()) func() bool {
	return func(d time.Duration, f func()) func() bool {
		timers.Add(1)
		timer := time.AfterFunc(d+by, func() {
			timers.Add(-1)
			f()
		})
		return func() bool {
			stopped := timer.Stop()
			if stopped {
				timers.Add(-1)
			}
			return stopped
		}
	}
}

// client is what one tenant does.
type client struct {
	*Share
	now, peak atomic.Int32
	longest   atomic.Int64 // the longest that one of its calls waited at once
}

func (b *bench) client(cpu float64) *client { return &client{Share: b.Share(cpu)} }

func raise(peak *atomic.Int32, to int32) {
	for old := peak.Load(); old < to && !peak.CompareAndSwap(old, to); old = peak.Load() {
	}
}

// run runs a call of the given length in this goroutine; zero: until the end.
func (b *bench) run(cl *client, length, each time.Duration) {
	wait := func(f func()) {
		start := time.Now()
		f()
		if w := int64(time.Since(start)); w > cl.longest.Load() {
			cl.longest.Store(w)
		}
		raise(&b.peak, b.now.Add(1))
		raise(&cl.peak, cl.now.Add(1))
	}
	wait(cl.Acquire)
	for left := length; !b.quit.Load(); {
		step := each
		if length > 0 {
			step = min(step, left)
		}
		time.Sleep(step)
		b.now.Add(-1)
		cl.now.Add(-1)
		if left -= step; length > 0 && left <= 0 {
			cl.Release(int64(step))
			return
		}
		wait(func() { cl.NextSlice(int64(step)) })
	}
	b.now.Add(-1)
	cl.now.Add(-1)
	cl.Release(0)
}

// spin starts calls that run until the end.
func (b *bench) spin(cl *client, calls int, each time.Duration) {
	for range calls {
		go b.run(cl, 0, each)
	}
}

// within wants got to be in [low, high].
func within(t *testing.T, what string, got, low, high time.Duration) {
	t.Helper()
	if got < low || got > high {
		t.Errorf("%s: %v; want %v to %v", what, got, low, high)
	}
}

func times(d time.Duration, f float64) time.Duration { return time.Duration(float64(d) * f) }

func TestStopLetsEveryoneGo(t *testing.T) {
	virtual(t, Options{Slots: 1, TenantCalls: 100}, func(b *bench) {
		over, waits := b.client(0.01), b.client(1)
		over.Book(int64(time.Hour))
		b.spin(over, 20, slice)
		b.spin(waits, 20, slice)
		var again atomic.Int32
		for range 50 {
			if over.Admit(func() { again.Add(1) }) {
				t.Fatal("a tenant that is hours ahead of its quota was let in")
			}
		}
		time.Sleep(time.Second)
		if now, ever := over.Background(); over.now.Load() != 0 || now != 20 || ever != 20 {
			t.Errorf("%d of %d calls run over the quota; want 0 of 20", over.now.Load(), now)
		}
		if now, ever := b.Background(); now != 40 || ever != 40 {
			t.Errorf("%d calls in the background, %d ever; want 40, 40", now, ever)
		}
		b.quit.Store(true)
		start := time.Now()
		b.Stop()
		b.Stop()
		b.Wait()
		if took := time.Since(start); took > slice {
			t.Errorf("the calls went on to wait for %v after Stop", took)
		}
		if again.Load() != 50 {
			t.Errorf("%d of 50 held events were called back on Stop", again.Load())
		}
		over.Book(int64(time.Hour))
		if !over.Admit(nil) || !waits.Admit(nil) {
			t.Error("Admit said no after Stop")
		}
		over.Acquire()
		over.NextSlice(int64(time.Hour))
		over.Release(int64(time.Hour))
	})
}

// A call that waits is held by its tenant's share when that is used up, or has as many slots as it
// is cores. It is not when others have the cores.
func TestHoldsCalls(t *testing.T) {
	virtual(t, Options{Slots: 2}, func(b *bench) {
		over, alone, many := b.client(0.01), b.client(1), b.client(2)
		b.spin(over, 1, time.Second)
		time.Sleep(time.Second + time.Millisecond)
		if !over.HoldsCalls() {
			t.Error("a share that is used up does not hold its call")
		}
		if alone.HoldsCalls() {
			t.Error("a share of which nothing is used holds calls")
		}
		b.spin(alone, 2, time.Hour)
		time.Sleep(time.Millisecond)
		if !alone.HoldsCalls() {
			t.Error("a share of one core does not hold the second call")
		}
		b.spin(many, 2, time.Hour)
		time.Sleep(time.Millisecond)
		if now := many.now.Load(); now != 1 || many.HoldsCalls() {
			t.Errorf("%d calls run, where one core is free; a share of two holds the other: %v", now, many.HoldsCalls())
		}
	})
}

func TestWaitIsForAllCalls(t *testing.T) {
	virtual(t, Options{}, func(b *bench) {
		b.Wait()
		cl := b.client(1)
		start := time.Now()
		go b.run(cl, 30*time.Millisecond, slice)
		go b.run(cl, 30*time.Millisecond, slice)
		synctest.Wait()
		b.Wait()
		if took := time.Since(start); took != 60*time.Millisecond {
			t.Errorf("two calls of 30ms on one core were over after %v", took)
		}
	})
}

func TestWhatIsNoNumberOfCores(t *testing.T) {
	c := New(Options{})
	zero := 0.0
	for _, test := range []struct {
		cpu   float64
		micro int64
		most  int
	}{
		{0.01, 10_000, 1}, {0, 10_000, 1}, {-5, 10_000, 1}, {zero / zero, 10_000, 1},
		{1, 1_000_000, 1}, {1.000001, 1_000_001, 2}, {0.3, 300_000, 1},
		{1024, 1_024_000_000, 1024}, {1 / zero, 1_024_000_000, 1024},
	} {
		s := c.Share(test.cpu)
		if s.micro != test.micro || s.most != test.most {
			t.Errorf("cpu %v: %d millionths, %d slots; want %d, %d", test.cpu, s.micro, s.most, test.micro, test.most)
		}
	}
}

func TestCounters(t *testing.T) {
	c := New(Options{})
	a, b := c.Share(1), c.Share(1)
	a.Book(5)
	a.Book(0)
	a.Book(-7)
	a.Acquire()
	a.NextSlice(20)
	a.NextSlice(-20)
	a.Release(70)
	b.Book(100)
	if a.Used() != 95 || b.Used() != 100 || c.Used() != 195 {
		t.Errorf("used %d, %d, together %d; want 95, 100, 195", a.Used(), b.Used(), c.Used())
	}
	if now, ever := a.Background(); now != 0 || ever != 1 {
		t.Errorf("%d calls now, %d ever; want 0, 1", now, ever)
	}
	if c.Deferred() != 0 {
		t.Errorf("%d events were held", c.Deferred())
	}
	c.Stop()
}
