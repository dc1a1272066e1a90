package budget

import (
	"math/rand/v2"
	"sync"
	"testing"
)

// take takes pieces one by one until it is refused.
func take(s *PoolShare, most int) (n int) {
	for n < most && s.Reserve(1) {
		n++
	}
	return n
}

// One tenant gets half of what is common, the next half of what is left, and each has its
// part whatever the others hold.
func TestPoolShares(t *testing.T) {
	m := NewPool(1000, 5) // parts of 100, and 500 for all
	shares := make([]*PoolShare, 5)
	for k := range shares {
		shares[k] = m.Share(0)
	}
	if got := shares[0].Limit(); got != 350 {
		t.Errorf("the first could hold %d", got)
	}
	var got []int
	for _, s := range shares {
		got = append(got, take(s, 1000))
	}
	for k, want := range []int{350, 225, 162, 131, 116} {
		if d := got[k] - want; d < 0 || d > 1 {
			t.Errorf("tenant %d got %d; want %d", k, got[k], want)
		}
	}
	if m.Used() > m.Limit() || m.Refused() != 5 || shares[2].Refused() != 1 {
		t.Errorf("%d of %d are used, and %d were refused", m.Used(), m.Limit(), m.Refused())
	}
	for k, s := range shares {
		s.Release(got[k])
	}
	if m.Used() != 0 || m.lent.Load() != 0 || shares[0].Used() != 0 || shares[0].Limit() != 350 {
		t.Errorf("%d are used and %d lent when all are given back", m.Used(), m.lent.Load())
	}
}

// Those who all want as many as they can get get the same.
func TestPoolIsSharedEqually(t *testing.T) {
	m := NewPool(9000, 2)
	a, b := m.Share(0), m.Share(0)
	for range 9000 {
		a.Reserve(1)
		b.Reserve(1)
	}
	if a.Used() != b.Used() || a.Used() < 3700 || a.Used() > 3800 {
		t.Errorf("they have %d and %d; want a quarter and a third of half each", a.Used(), b.Used())
	}
}

// A limit of its own holds, and lets the tenant have what there is.
func TestMappingLimit(t *testing.T) {
	m := NewPool(150, 3)
	large, small, other := m.Share(70), m.Share(3), m.Share(0)
	if got := take(large, 100); got != 70 || large.Limit() != 70 {
		t.Errorf("a limit of 70 gives %d", got)
	}
	if got := take(small, 100); got != 3 {
		t.Errorf("a limit of 3 gives %d", got)
	}
	if got := take(other, 100); got < 25 {
		t.Errorf("the other has %d, and its part is 25", got)
	}
	if none := NewPool(-5, 0).Share(0); none.Reserve(1) || !none.Reserve(0) {
		t.Error("there are none, and one was given")
	}
}

// However many take at once, the limit holds at every moment and all come back.
func TestMappingsUnderContention(t *testing.T) {
	m := NewPool(400, 8)
	var wg sync.WaitGroup
	for k := range 8 {
		s := m.Share(k % 3 * 40)
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(k)))
			held := 0
			for range 20000 {
				if n := 1 + r.IntN(9); r.IntN(2) == 0 && s.Reserve(n) {
					held += n
				} else if held > 0 {
					n = 1 + r.IntN(held)
					s.Release(n)
					held -= n
				}
				if m.Used() > m.Limit() {
					t.Error("more are used than there are")
					return
				}
			}
			s.Release(held)
		})
	}
	wg.Wait()
	if m.Used() != 0 || m.lent.Load() != 0 {
		t.Errorf("%d are used and %d lent at the end", m.Used(), m.lent.Load())
	}
}

// checkLent compares the word of each share and what is lent, which have to agree.
func checkLent(t *testing.T, m *Pool, shares ...*PoolShare) {
	t.Helper()
	var used, lent int64
	for _, s := range shares {
		_, u, part := s.loadUsage()
		used += u
		lent += max(u-part, 0)
	}
	if m.Used() != used || m.lent.Load() != lent {
		t.Errorf("%d are used and %d lent, and the shares say %d and %d", m.Used(), m.lent.Load(), used, lent)
	}
}

// A tenant that comes makes the parts of the others smaller, and gets one as soon as there is room;
// what it leaves is theirs again.
func TestPoolTenantsComeAndGo(t *testing.T) {
	m := NewPool(100, 1)
	first := m.Share(90) // its part is 50, and 50 are common
	if got := take(first, 200); got != 90 || m.Part() != 50 {
		t.Fatalf("the first has %d, and its part is %d", got, m.Part())
	}
	second := m.Share(0)
	if m.Part() != 25 {
		t.Errorf("the part of each of two is %d", m.Part())
	}
	checkLent(t, m, first, second)
	if got := take(second, 200); got != 10 {
		t.Errorf("the second has %d of the 10 that there are", got)
	}
	if first.Reserve(1) {
		t.Error("the first, which holds more than its part and all that is common, was given one more")
	}
	first.Release(70)
	if got := take(second, 15); got != 15 {
		t.Errorf("the second was given %d of its part when there was room", got)
	}
	checkLent(t, m, first, second)
	second.Release(25)
	second.Close()
	second.Close()
	if m.Part() != 50 || take(first, 200) != 70 {
		t.Errorf("the part of one is %d, and it has %d", m.Part(), first.Used())
	}
	checkLent(t, m, first)
	first.Release(90)
	first.Close()
	if m.Used() != 0 || m.lent.Load() != 0 {
		t.Errorf("%d are used and %d lent in the end", m.Used(), m.lent.Load())
	}
}

// Limits that are set hold at once, and take nothing away.
func TestPoolSetLimit(t *testing.T) {
	m := NewPool(100, 2)
	a, b := m.Share(0), m.Share(0)
	got := take(a, 100)
	m.SetLimit(20)
	if a.Reserve(1) || b.Reserve(1) {
		t.Error("there are more than may be, and one was given")
	}
	if a.Used() != int64(got) {
		t.Error("what was held is gone")
	}
	checkLent(t, m, a, b)
	m.SetLimit(1000)
	if !b.Reserve(250) || a.Limit() < 250 {
		t.Error("what there is of more was not given")
	}
	a.SetLimit(got)
	if a.Reserve(1) {
		t.Error("one more than its own limit was given")
	}
	a.SetLimit(got + 1)
	if !a.Reserve(1) || a.Reserve(1) {
		t.Error("its own limit was raised by one, and not one was given")
	}
	checkLent(t, m, a, b)
}

// Whatever changes at the same time, all is accounted for and the limit holds.
func TestPoolChangesUnderContention(t *testing.T) {
	m := NewPool(400, 4)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		r := rand.New(rand.NewPCG(2, 0))
		for {
			select {
			case <-stop:
				return
			default:
			}
			s := m.Share(r.IntN(3) * 20)
			n := take(s, r.IntN(60))
			s.Release(n)
			s.Close()
		}
	})
	shares := make([]*PoolShare, 4)
	var work sync.WaitGroup
	for k := range shares {
		s := m.Share(0)
		shares[k] = s
		work.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(k)))
			held := 0
			for range 10000 {
				if n := 1 + r.IntN(9); r.IntN(2) == 0 && s.Reserve(n) {
					held += n
				} else if held > 0 {
					n = 1 + r.IntN(held)
					s.Release(n)
					held -= n
				}
				if r.IntN(50) == 0 {
					s.SetLimit(r.IntN(3) * 50)
				}
			}
			s.Release(held)
		})
	}
	work.Wait()
	close(stop)
	wg.Wait()
	checkLent(t, m, shares...)
	if m.Used() != 0 || m.lent.Load() != 0 || m.Part() != 50 {
		t.Errorf("%d are used and %d lent at the end, and the part is %d", m.Used(), m.lent.Load(), m.Part())
	}
}
