package cores

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// tenantAtRandom has n instances, which are given one event after another. An event
// runs inline for a while, and some go on in the background. Some are gone when they
// are called back. It returns when all events are over.
func tenantAtRandom(s *Share, seed uint64, instances, events int, rest func(time.Duration)) {
	var all sync.WaitGroup
	for i := range instances {
		all.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			for range events {
				if random.IntN(4) == 0 {
					rest(time.Duration(random.IntN(int(20 * slice))))
				}
				back := make(chan struct{}, 1)
				for !s.Admit(func() { back <- struct{}{} }) {
					<-back
					if random.IntN(10) == 0 {
						break // gone: it asks no more
					}
				}
				step := time.Duration(1 + random.IntN(int(slice)))
				rest(step)
				s.Book(int64(step))
				if random.IntN(3) > 0 {
					continue
				}
				s.Acquire()
				for range random.IntN(20) {
					step := time.Duration(1 + random.IntN(int(2*slice)))
					rest(step)
					s.NextSlice(int64(step))
				}
				rest(slice)
				s.Release(int64(slice))
			}
		})
	}
	all.Wait()
}

// Whatever happens in whatever order: nobody waits for ever, and no bound is
// broken. That one waits for ever shows as a deadlock of the bubble, or as an hour.
func TestNobodyIsForgotten(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 0))
		o := Options{
			Slots:       1 + random.IntN(4),
			Calls:       1 + random.IntN(20),
			TenantCalls: 1 + random.IntN(8),
		}
		virtual(t, o, func(b *bench) {
			var all sync.WaitGroup
			start := time.Now()
			for i := range 1 + random.IntN(12) {
				cpu := []float64{0.05, 0.3, 0.5, 1, 2.5}[random.IntN(5)]
				s := b.Share(cpu)
				all.Go(func() { tenantAtRandom(s, seed<<8+uint64(i), 1+i*3, 60, time.Sleep) })
				if random.IntN(2) == 0 { // its cpu is set meanwhile
					for k := range 4 {
						at, to := time.Duration(random.IntN(int(20*time.Millisecond))), []float64{0.05, 0.4, 1, 3}[k]
						all.Go(func() {
							time.Sleep(at)
							s.SetCPU(to)
						})
					}
				}
			}
			all.Wait()
			if took := time.Since(start); took > time.Hour {
				t.Errorf("seed %d: it took %v", seed, took)
			}
			if now, _ := b.Background(); now != 0 || b.running != 0 || len(b.busy) != 0 || len(b.ready) != 0 || b.wanted != 0 {
				t.Errorf("seed %d: at rest there are %d calls, %d slots taken, %d busy, %d ready, %d wanted",
					seed, now, b.running, len(b.busy), len(b.ready), b.wanted)
			}
			used := b.Used()
			for s := range b.shares {
				if s.waitingEvents() > 0 || s.waiting.len() > 0 || s.running != 0 || s.index != -1 {
					t.Errorf("seed %d: a tenant is not at rest: %d held, %d wait, %d run", seed, s.waitingEvents(), s.waiting.len(), s.running)
				}
				if !s.Close() {
					t.Errorf("seed %d: the share of a tenant at rest cannot be closed", seed)
				}
			}
			if len(b.shares) != 0 || b.Used() != used || b.running != 0 || len(b.ready) != 0 {
				t.Errorf("seed %d: %d shares are left, and %d ns of %d are told", seed, len(b.shares), b.Used(), used)
			}
		})
	}
}

// The same with real goroutines and the real clock, for the race detector; and
// Stop in the middle of it.
func TestRealGoroutines(t *testing.T) {
	var running, peak atomic.Int32
	const slots = 3
	c := New(Options{Slots: slots, Calls: 12, TenantCalls: 4})
	var stopped atomic.Bool
	var all sync.WaitGroup
	for i := range 6 {
		s := c.Share(0.2 + float64(i)/2)
		for range 2 { // two drivers a tenant, as there are two loops
			all.Go(func() {
				for seed := uint64(0); !stopped.Load(); seed++ {
					tenantAtRandom(s, seed, 4, 10, func(time.Duration) {})
				}
			})
		}
		all.Go(func() {
			for !stopped.Load() {
				s.Acquire()
				for range 10 {
					if n := running.Add(1); !stopped.Load() {
						raise(&peak, n)
					}
					spin := 0
					for range 1000 {
						spin++
					}
					running.Add(-1)
					s.NextSlice(int64(spin))
				}
				s.Release(1)
			}
		})
	}
	for _, ever := c.Background(); ever < 3000; _, ever = c.Background() {
		time.Sleep(time.Millisecond)
	}
	stopped.Store(true)
	c.Stop()
	c.Wait()
	all.Wait()
	c.Wait()
	if now, ever := c.Background(); now != 0 || ever < 3000 {
		t.Errorf("%d calls are left of %d", now, ever)
	}
	if p := peak.Load(); p > slots {
		t.Errorf("%d calls ran at once on %d slots", p, slots)
	}
	if c.Used() == 0 {
		t.Error("nothing was used")
	}
}

func BenchmarkAdmit(b *testing.B) {
	s := New(Options{}).Share(1)
	b.ReportAllocs()
	for b.Loop() {
		if !s.Admit(nil) {
			b.Fatal("held")
		}
	}
}

// The same with background calls of the tenant, and another loop that asks too.
func BenchmarkAdmitParallel(b *testing.B) {
	c := New(Options{Slots: 4})
	s := c.Share(4)
	s.Acquire()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s.Admit(nil)
		}
	})
}

// An event that has to wait, is called back and let in.
func BenchmarkAdmitHeld(b *testing.B) {
	now := int64(0)
	c := New(Options{
		Clock: func() int64 { return now },
		After: func(time.Duration, func()) func() bool { return func() bool { return true } },
	})
	s := c.Share(1)
	back := make([]func(), 0, 1000)
	var again func()
	again = func() { back = append(back, again) }
	b.ReportAllocs()
	for b.Loop() {
		s.Book(int64(burst) + int64(time.Millisecond))
		for range 500 {
			s.Admit(again)
		}
		now += int64(burst) + int64(pause)
		s.timeout(s.alarm)
		for i := 0; i < len(back); i++ {
			s.Admit(again)
		}
		if len(back) != 500 {
			b.Fatalf("%d of 500 were called back", len(back))
		}
		back = back[:0]
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/event")
}

func BenchmarkBook(b *testing.B) {
	s := New(Options{}).Share(1024)
	for _, ns := range []int64{100, 2000, 100_000} {
		b.Run(time.Duration(ns).String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Book(ns)
			}
		})
	}
}

// A slice after which the call goes on.
func BenchmarkSlice(b *testing.B) {
	s := New(Options{}).Share(1)
	s.Acquire()
	b.ReportAllocs()
	for b.Loop() {
		s.NextSlice(1)
	}
	s.Release(0)
}

// A slice after which another call has the slot; with many tenants that wait.
func BenchmarkSliceHandsOver(b *testing.B) {
	for _, tenants := range []int{2, 500} {
		name := "2"
		if tenants > 2 {
			name = "500"
		}
		b.Run(name, func(b *testing.B) {
			now := int64(0)
			c := New(Options{Slots: 1, Clock: func() int64 { return now }})
			var slices int
			var all sync.WaitGroup
			for range tenants {
				s := c.Share(1)
				all.Go(func() {
					s.Acquire()
					for slices < b.N { // whoever has the slot is alone
						slices++
						now += 2
						s.NextSlice(1)
					}
					s.Release(0)
				})
			}
			all.Wait()
		})
	}
}

func BenchmarkBeginEnd(b *testing.B) {
	s := New(Options{}).Share(1)
	b.ReportAllocs()
	for b.Loop() {
		s.Acquire()
		s.Release(1)
	}
}
