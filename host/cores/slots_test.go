package cores

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Nobody gets more than its cpu in the long run, nor less if it wants it, with
// few calls or many, on few slots or many, and with timers that fire late.
func TestQuotaIsExact(t *testing.T) {
	const length = 4 * time.Second
	for _, test := range []struct {
		cpu    float64
		calls  int
		slots  int
		tardy  time.Duration
		inline bool
		want   float64
	}{
		{cpu: 0.01, calls: 1, slots: 2, want: 0.01},
		{cpu: 0.1, calls: 32, slots: 2, want: 0.1},
		{cpu: 0.5, calls: 1, slots: 2, want: 0.5},
		{cpu: 0.5, calls: 8, slots: 2, want: 0.5},
		{cpu: 0.5, calls: 8, slots: 2, tardy: 20 * time.Millisecond, want: 0.5},
		{cpu: 0.95, calls: 500, slots: 2, want: 0.95},
		{cpu: 1, calls: 1, slots: 2, want: 1},
		{cpu: 1, calls: 8, slots: 2, want: 1},
		{cpu: 1.5, calls: 1, slots: 2, want: 1},
		{cpu: 1.5, calls: 8, slots: 2, want: 1.5},
		{cpu: 1.5, calls: 8, slots: 1, want: 1},
		{cpu: 2.5, calls: 100, slots: 8, tardy: 10 * time.Millisecond, want: 2.5},
		{cpu: 0.5, calls: 8, slots: 2, inline: true, want: 0.5},
		{cpu: 1.5, calls: 8, slots: 2, inline: true, want: 1.5},
	} {
		t.Run(fmt.Sprintf("%v cpu %d calls %d slots", test.cpu, test.calls, test.slots), func(t *testing.T) {
			var timers atomic.Int32
			o := Options{Slots: test.slots, After: late(&timers, test.tardy)}
			virtual(t, o, func(b *bench) {
				cl := b.client(test.cpu)
				b.spin(cl, test.calls, slice)
				if test.inline {
					// A loop uses a tenth of a core besides.
					go func() {
						for !b.quit.Load() {
							time.Sleep(time.Millisecond)
							cl.Book(int64(slice))
						}
					}()
				}
				time.Sleep(length)
				got := time.Duration(cl.Used())
				want := times(length, test.want)
				within(t, "used in 4s", got, times(want, 0.98), want+times(burst, test.cpu)+2*slice)
				before := got
				time.Sleep(length)
				within(t, "used in the next 4s", time.Duration(cl.Used())-before, times(want, 0.99), times(want, 1.002)+2*slice)
			})
			if timers.Load() != 0 {
				t.Error("a timer is left")
			}
		})
	}
}

// Where more want to run than can, they share by their cpu.
func TestSharesFollowCPU(t *testing.T) {
	for _, test := range []struct {
		slots int
		cpu   []float64
		calls []int
		want  []float64 // cores
	}{
		{1, []float64{1, 0.5}, []int{1, 1}, []float64{2.0 / 3, 1.0 / 3}},
		{1, []float64{0.5, 0.25, 0.25, 1}, []int{1, 1, 32, 4}, []float64{0.25, 0.125, 0.125, 0.5}},
		{2, []float64{1, 1, 1, 1}, []int{1, 2, 8, 32}, []float64{0.5, 0.5, 0.5, 0.5}},
		{2, []float64{2, 1, 1}, []int{8, 8, 8}, []float64{1, 0.5, 0.5}},
		{1, []float64{0.01, 0.99, 1}, []int{1, 1, 1}, []float64{0.005, 0.495, 0.5}},
		// Not more than its one call can use; the rest goes to the others.
		{2, []float64{2, 1, 1}, []int{1, 8, 8}, []float64{1, 0.5, 0.5}},
		{4, []float64{8, 1, 1, 1, 1}, []int{2, 2, 2, 2, 2}, []float64{2, 0.5, 0.5, 0.5, 0.5}},
	} {
		t.Run(fmt.Sprint(test.slots, test.cpu), func(t *testing.T) {
			virtual(t, Options{Slots: test.slots}, func(b *bench) {
				var cls []*client
				for i, cpu := range test.cpu {
					cl := b.client(cpu)
					cls = append(cls, cl)
					b.spin(cl, test.calls[i], slice)
				}
				const length = 4 * time.Second
				time.Sleep(length)
				for i, cl := range cls {
					want := times(length, test.want[i])
					within(t, fmt.Sprintf("cpu %v", test.cpu[i]), time.Duration(cl.Used()), times(want, 0.94), times(want, 1.06))
				}
				if peak := int(b.peak.Load()); peak != test.slots {
					t.Errorf("%d calls ran at once; want %d", peak, test.slots)
				}
			})
		})
	}
}

// Already within the burst, where no quota is in the way: 0.5 against 0.25 on
// one slot are 2 to 1.
func TestSharesFollowCPUWithinTheBurst(t *testing.T) {
	virtual(t, Options{Slots: 1}, func(b *bench) {
		big, small := b.client(0.5), b.client(0.25)
		b.spin(big, 3, slice)
		b.spin(small, 3, slice)
		time.Sleep(60 * time.Millisecond)
		within(t, "cpu 0.5", time.Duration(big.Used()), 39*time.Millisecond, 41*time.Millisecond)
		within(t, "cpu 0.25", time.Duration(small.Used()), 19*time.Millisecond, 21*time.Millisecond)
	})
}

// Slices of very different lengths change nothing: it is time that counts.
func TestLongSlicesGainNothing(t *testing.T) {
	virtual(t, Options{Slots: 1}, func(b *bench) {
		long, short := b.client(1), b.client(1)
		b.spin(long, 1, 7*time.Millisecond)
		b.spin(short, 1, slice)
		time.Sleep(10 * time.Second)
		within(t, "long slices", time.Duration(long.Used()), 4900*time.Millisecond, 5100*time.Millisecond)
		within(t, "short slices", time.Duration(short.Used()), 4900*time.Millisecond, 5100*time.Millisecond)
	})
}

// A tenant keeps no more cores busy than its cpu rounded up, and all together no more
// than their sum rounded up, so that loops keep the others.
func TestSlotsFollowCPU(t *testing.T) {
	virtual(t, Options{Slots: 8}, func(b *bench) {
		half := b.client(0.5)
		b.spin(half, 10, slice)
		time.Sleep(50 * time.Millisecond)
		if peak := b.peak.Load(); peak != 1 {
			t.Errorf("a tenant of half a core ran %d calls at once", peak)
		}
		tenths := make([]*client, 5)
		for i := range tenths {
			tenths[i] = b.client(0.1)
			b.spin(tenths[i], 4, slice)
		}
		time.Sleep(time.Second)
		if peak := b.peak.Load(); peak != 1 {
			t.Errorf("tenants of one core together ran %d calls at once", peak)
		}
		big := b.client(2.5)
		b.spin(big, 10, slice)
		time.Sleep(time.Second)
		if all, one := b.peak.Load(), big.peak.Load(); all != 4 || one != 3 {
			t.Errorf("%d calls ran at once, %d of the tenant of 2.5 cores; want 4, 3", all, one)
		}
		if half.peak.Load() != 1 {
			t.Errorf("the tenant of half a core ran %d calls at once", half.peak.Load())
		}
	})
}

// When a tenant goes, its cores go with it at the next slices.
func TestSlotsGoWithTheirTenant(t *testing.T) {
	virtual(t, Options{Slots: 4}, func(b *bench) {
		stays, goes := b.client(1), b.client(3)
		go b.run(goes, 2*time.Millisecond, slice)
		for range 2 {
			b.spin(b.client(0.1), 1, slice) // 10ms are within the burst
		}
		b.spin(stays, 1, slice)
		time.Sleep(time.Millisecond)
		if peak := b.peak.Load(); peak != 4 {
			t.Fatalf("%d calls run at once; want 4", peak)
		}
		time.Sleep(2 * time.Millisecond)
		b.peak.Store(0)
		time.Sleep(time.Millisecond)
		if peak := b.peak.Load(); peak != 2 {
			t.Errorf("%d calls run at once on what is 1.2 cores; want 2", peak)
		}
	})
}

// The calls of one tenant take turns.
func TestCallsOfATenantTakeTurns(t *testing.T) {
	virtual(t, Options{Slots: 2}, func(b *bench) {
		cl := b.client(1)
		start := time.Now()
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				b.run(cl, 10*time.Millisecond, slice)
				within(t, "a call of 10ms beside three others", time.Since(start), 40*time.Millisecond-4*time.Duration(turn), 40*time.Millisecond)
			})
		}
		all.Wait()
		if wait := time.Duration(cl.longest.Load()); wait != 3*time.Duration(turn) {
			t.Errorf("a call waited for %v at once; want %v", wait, 3*time.Duration(turn))
		}
	})
}

// A tenant that rests costs few timers, however small its slices.
func TestRestsAreNotShort(t *testing.T) {
	var timers atomic.Int32
	count := func(d time.Duration, f func()) func() bool {
		timers.Add(1)
		return time.AfterFunc(d, f).Stop
	}
	synctest.Test(t, func(t *testing.T) {
		b := &bench{Cores: New(Options{After: count}), t: t}
		cl := b.client(0.5)
		b.spin(cl, 8, slice)
		time.Sleep(time.Second)
		if n, most := timers.Load(), int32(time.Second/pause); n > most {
			t.Errorf("%d timers in a second; want at most %d", n, most)
		}
		b.quit.Store(true)
		b.Stop()
		b.Wait()
	})
}

// What others leave, a tenant gets, at once, up to its quota; and
// when they come back they have theirs at once.
func TestIdleCapacityIsUsed(t *testing.T) {
	virtual(t, Options{Slots: 1}, func(b *bench) {
		a, other := b.client(1), b.client(1)
		b.spin(a, 2, slice)
		last := time.Duration(0)
		used := func() time.Duration {
			defer func() { last = time.Duration(a.Used()) }()
			return time.Duration(a.Used()) - last
		}
		for range 5 {
			time.Sleep(time.Second)
			within(t, "alone for 1s", used(), 995*time.Millisecond, 1005*time.Millisecond)
			b.run(other, 200*time.Millisecond, slice)
			within(t, "beside another that ran for 200ms", used(), 195*time.Millisecond, 205*time.Millisecond)
		}
		if wait := time.Duration(other.longest.Load()); wait > 2*slice+2*time.Duration(turn) {
			t.Errorf("who came back waited %v at once; want at most %v", wait, 2*slice+2*time.Duration(turn))
		}
	})
}

// A tenant that used what nobody else wanted does not have to wait for the
// others to catch up.
func TestUsingIdleCapacityIsNotHeldAgainstOne(t *testing.T) {
	virtual(t, Options{Slots: 2}, func(b *bench) {
		big, small := b.client(2), b.client(1)
		b.spin(big, 1, slice) // half of what it may use
		b.spin(small, 1, slice)
		time.Sleep(10 * time.Second)
		within(t, "the small one", time.Duration(small.Used()), 9900*time.Millisecond, 10200*time.Millisecond)
		before := small.Used()
		small.longest.Store(0)
		b.spin(big, 4, slice)
		time.Sleep(time.Second)
		within(t, "the small one in the second after", time.Duration(small.Used()-before), 640*time.Millisecond, 690*time.Millisecond)
		if wait := time.Duration(small.longest.Load()); wait > 2*time.Duration(lead) {
			t.Errorf("it had to wait for %v at once", wait)
		}
	})
}

// Many tenants of all sizes with many calls of all lengths: each gets its
// proportion, and none of their calls is left out for long.
func TestManyTenants(t *testing.T) {
	const length = 5 * time.Second
	virtual(t, Options{Slots: 4, Calls: 10000}, func(b *bench) {
		random := rand.New(rand.NewPCG(1, 2))
		var cls []*client
		var cpus []float64
		var sum float64
		for i := range 100 {
			cpu := []float64{0.05, 0.1, 0.25, 0.5}[i%4]
			cpus = append(cpus, cpu)
			sum += cpu
			cl := b.client(cpu)
			cls = append(cls, cl)
			for range 1 + random.IntN(5) {
				length := time.Duration(1+random.IntN(50)) * time.Millisecond
				each := slice + time.Duration(random.IntN(int(slice)))
				go func() {
					for !b.quit.Load() {
						b.run(cl, length, each)
					}
				}()
			}
		}
		time.Sleep(length)
		before := make([]int64, len(cls))
		for i, cl := range cls {
			before[i] = cl.Used()
		}
		time.Sleep(2 * length)
		for i, cl := range cls {
			want := times(2*length, 4*cpus[i]/sum)
			within(t, fmt.Sprintf("tenant %d of cpu %v", i, cpus[i]), time.Duration(cl.Used()-before[i]), times(want, 0.95), times(want, 1.05))
			// With five calls of 200µs slices and turns of 500 in a tenant of 0.05 out of
			// 22.5 cores on 4 slots, a turn comes every 5 * 700µs * 22.5 / 4 / 0.05.
			if wait := time.Duration(cl.longest.Load()); wait > times(5*(2*slice+time.Duration(turn)), sum/4/cpus[i]*1.5) {
				t.Errorf("a call of tenant %d of cpu %v waited for %v", i, cpus[i], wait)
			}
		}
	})
}
