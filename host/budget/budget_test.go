package budget

import (
	"sync"
	"testing"
	"time"
)

func TestMemory(t *testing.T) {
	m := NewMemory(100)
	if !m.Reserve(60) || m.Reserve(41) || !m.Reserve(40) || m.Reserve(1) {
		t.Error("100 bytes were not granted exactly")
	}
	m.Release(100)
	if m.Used() != 0 || m.Refused() != 2 {
		t.Errorf("used %d, refused %d; want 0, 2", m.Used(), m.Refused())
	}
	if NewMemory(-1).Reserve(0) {
		t.Error("a negative account granted")
	}
}

// However many take at once, the limit holds at every moment.
func TestMemoryUnderContention(t *testing.T) {
	m := NewMemory(50)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10000 {
				if m.Reserve(7) {
					m.Release(7)
				}
			}
		})
	}
	wg.Wait()
	if m.Used() != 0 {
		t.Errorf("%d bytes are left", m.Used())
	}
}

func TestSpendIsPaidAfterwards(t *testing.T) {
	now := int64(0)
	r := NewRate(1000, 100*time.Millisecond) // burst: 100 units
	if wait := r.Spend(100, now); wait > 0 {
		t.Errorf("the burst had to wait %d", wait)
	}
	if wait := r.Spend(50, now); wait != int64(50*time.Millisecond) {
		t.Errorf("50 over the burst: wait %v, want 50ms", time.Duration(wait))
	}
	now += int64(49 * time.Millisecond)
	if wait := r.Spend(0, now); wait != int64(time.Millisecond) {
		t.Errorf("49ms later: wait %v, want 1ms", time.Duration(wait))
	}
	now += int64(time.Millisecond)
	if wait := r.Spend(0, now); wait > 0 {
		t.Errorf("50ms later: still %v", time.Duration(wait))
	}
	now += int64(time.Hour) // what is not used is not saved up
	if wait := r.Spend(101, now); wait <= 0 {
		t.Error("an idle hour earned more than the burst")
	}
}

func TestTakeIsPaidBefore(t *testing.T) {
	now := int64(0)
	r := NewRate(10, time.Second)
	for i := range 10 {
		if wait := r.Take(now); wait != 0 {
			t.Fatalf("take %d of the burst of ten: wait %d", i, wait)
		}
	}
	wait := r.Take(now)
	if wait != int64(100*time.Millisecond) {
		t.Fatalf("the eleventh: wait %v, want 100ms", time.Duration(wait))
	}
	now += wait
	if r.Take(now) != 0 || r.Take(now) == 0 {
		t.Error("after 100ms there is not exactly one")
	}
}

// A rate so slow that one unit pays for more than the burst still lets one
// through.
func TestTakeOfASlowRate(t *testing.T) {
	now := int64(0)
	r := NewRate(0.1, time.Second)
	if r.Take(now) != 0 {
		t.Error("the first had to wait")
	}
	if wait := r.Take(now); wait != int64(10*time.Second) {
		t.Errorf("the second: wait %v, want 10s", time.Duration(wait))
	}
}

func TestCount(t *testing.T) {
	c := NewCount(2)
	if !c.Take() || c.Full() || !c.Take() || !c.Full() || c.Take() {
		t.Error("two places were not given out exactly")
	}
	c.Release()
	if c.Full() || c.Used() != 1 {
		t.Error("a place given back is not free")
	}
}

// Limits that are lowered take nothing away and grant nothing more; raised ones hold at once.
func TestSetLimit(t *testing.T) {
	m, c := NewMemory(100), NewCount(3)
	if !m.Reserve(80) || !c.Take() || !c.Take() {
		t.Fatal("what there is was not granted")
	}
	m.SetLimit(50)
	c.SetLimit(1)
	if m.Reserve(1) || c.Take() || !c.Full() || m.Used() != 80 || c.Used() != 2 {
		t.Errorf("lowered: %d bytes and %d places are used, and more was granted", m.Used(), c.Used())
	}
	m.Release(31)
	c.Release()
	c.Release()
	if !m.Reserve(1) || m.Reserve(1) || !c.Take() || c.Take() {
		t.Error("what was given back is not there up to the new limit")
	}
	m.SetLimit(60)
	c.SetLimit(2)
	if !m.Reserve(10) || m.Reserve(1) || !c.Take() || c.Take() || m.Limit() != 60 || c.Limit() != 2 {
		t.Error("raised limits do not hold exactly")
	}
}

// A debt is paid at the new rate, and what was saved up is the burst at it.
func TestSetRate(t *testing.T) {
	for _, c := range []struct {
		name string
		rate float64
		want time.Duration
	}{{"raised", 2000, 0}, {"lowered", 500, 300 * time.Millisecond}, {"the same", 1000, 100 * time.Millisecond},
		{"almost none", 1e-6, time.Hour - 100*time.Millisecond}} {
		r := NewRate(1000, 100*time.Millisecond)
		now := int64(time.Second)
		if wait := r.Spend(200, now); wait != int64(100*time.Millisecond) {
			t.Fatalf("200 at 1000 a second: wait %v", time.Duration(wait))
		}
		r.SetRate(c.rate, now)
		if wait := time.Duration(r.Spend(0, now)); wait != c.want {
			t.Errorf("%s: wait %v, want %v", c.name, wait, c.want)
		}
	}
	r := NewRate(10, time.Second)
	r.SetRate(20, 0)
	for i := range 20 {
		if r.Take(0) != 0 {
			t.Fatalf("take %d of the burst of 20 had to wait", i)
		}
	}
	if wait := r.Take(0); wait != int64(50*time.Millisecond) {
		t.Errorf("the next of 20 a second waits %v", time.Duration(wait))
	}
}

// A rate that is set while it is used is neither lost nor stuck.
func TestSetRateUnderContention(t *testing.T) {
	r := NewRate(1000, time.Second)
	var wg sync.WaitGroup
	for k := range 4 {
		wg.Go(func() {
			for i := range 5000 {
				if k == 0 {
					r.SetRate(float64(500+i%2*1500), 0)
				} else {
					r.Spend(1, 0)
				}
			}
		})
	}
	wg.Wait()
	r.SetRate(1000, 0)
	if wait := r.Spend(0, int64(2*time.Hour)); wait > 0 {
		t.Errorf("two hours later it has to wait for %v", time.Duration(wait))
	}
}

func BenchmarkSpend(b *testing.B) {
	start := time.Now()
	r := NewRate(1e12, time.Second)
	for range b.N {
		r.Spend(64, int64(time.Since(start)))
	}
}
