package cores

import (
	"testing"
	"time"
)

// More cpu is had at once by calls that wait and events that are held; less holds from then on.
func TestSetCPU(t *testing.T) {
	virtual(t, Options{Slots: 4}, func(b *bench) {
		cl := b.client(0.1)
		cl.Book(int64(time.Second)) // ten seconds of what it may use
		start := time.Now()
		began, again := make(chan time.Duration, 1), make(chan time.Duration, 1)
		if cl.Admit(func() { again <- time.Since(start) }) {
			t.Fatal("let in over the quota")
		}
		go func() {
			cl.Acquire()
			began <- time.Since(start)
			cl.Release(0)
		}()
		time.Sleep(time.Second)
		cl.SetCPU(10) // the nine seconds that are left are 90 ms at that: within the burst
		within(t, "a call waited", <-began, time.Second, time.Second+pause)
		within(t, "an event was held", <-again, time.Second, time.Second+pause)
		if cl.CPUWait() > 0 || !cl.Admit(nil) {
			t.Error("with cpu enough it is still shut")
		}
		time.Sleep(time.Second) // the debt is paid
		cl.SetCPU(0.5)
		b.spin(cl, 4, slice)
		before := time.Duration(cl.Used())
		time.Sleep(4 * time.Second)
		within(t, "used in 4s at half a core", time.Duration(cl.Used())-before, 1900*time.Millisecond, 2100*time.Millisecond)
		cl.SetCPU(2)
		before = time.Duration(cl.Used())
		time.Sleep(4 * time.Second)
		within(t, "used in 4s at two cores", time.Duration(cl.Used())-before, 7600*time.Millisecond, 8400*time.Millisecond)
	})
}

// Nothing of a share is left when it is closed but its sums.
func TestSharesComeAndGo(t *testing.T) {
	virtual(t, Options{}, func(b *bench) {
		var used int64
		for range 100 {
			cl := b.client(0.5)
			b.run(cl, 10*slice, slice)
			cl.Book(int64(time.Second))
			held := make(chan struct{})
			if cl.Admit(func() { close(held) }) {
				t.Fatal("let in over the quota")
			}
			if cl.Close() {
				t.Fatal("a share that holds an event is closed")
			}
			<-held
			used += cl.Used()
			if !cl.Admit(nil) || !cl.Close() || !cl.Close() {
				t.Fatal("a share at rest cannot be closed")
			}
			if b.Used() != used || b.Deferred() == 0 {
				t.Fatalf("%d ns are told of %d", b.Used(), used)
			}
		}
		if n := len(b.shares); n != 0 {
			t.Errorf("%d shares are left", n)
		}
	})
}
