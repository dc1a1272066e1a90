package egress

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// slow is a Resolver that takes its time, unless its context ends.
type slow struct {
	takes     time.Duration
	err       error
	asked     atomic.Int32
	cancelled atomic.Int32
}

func (s *slow) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	s.asked.Add(1)
	select {
	case <-time.After(s.takes):
		return addrs("93.184.216.34"), s.err
	case <-ctx.Done():
		s.cancelled.Add(1)
		return nil, ctx.Err()
	}
}

func TestCallersShareALookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &slow{takes: time.Second}
		s := Share(r)
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				got, err := s.LookupNetIP(t.Context(), "ip", "a.example.com")
				if err != nil || len(got) != 1 || got[0].String() != "93.184.216.34" {
					t.Errorf("%v %v", got, err)
					return
				}
				got[0] = netip.IPv6Loopback() // the slice is the caller's
			})
		}
		all.Go(func() { _, _ = s.LookupNetIP(t.Context(), "ip", "b.example.com") })
		all.Go(func() { _, _ = s.LookupNetIP(t.Context(), "ip6", "a.example.com") })
		all.Wait()
		if n := r.asked.Load(); n != 3 {
			t.Errorf("%d lookups for three questions", n)
		}
		// Nothing is kept.
		if _, err := s.LookupNetIP(t.Context(), "ip", "a.example.com"); err != nil || r.asked.Load() != 4 {
			t.Errorf("%v after %d lookups", err, r.asked.Load())
		}
		if len(s.flights) != 0 {
			t.Errorf("%d lookups are remembered", len(s.flights))
		}
	})
}

func TestCallersShareAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		odd := errors.New("no")
		s := Share(&slow{takes: time.Second, err: odd})
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if _, err := s.LookupNetIP(t.Context(), "ip", "a"); err != odd {
					t.Error(err)
				}
			})
		}
		all.Wait()
	})
}

// A caller who gives up gets away at once and spoils nothing for the others;
// the last one takes the lookup with it, and who comes then begins anew.
func TestCallersGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &slow{takes: time.Minute}
		s := Share(r)
		begin := time.Now()
		lookup := func(limit time.Duration, want error) {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if _, err := s.LookupNetIP(ctx, "ip", "a"); err != want {
				t.Errorf("%v, want %v", err, want)
			}
		}
		var all sync.WaitGroup
		all.Go(func() { lookup(time.Second, context.DeadlineExceeded) })
		all.Go(func() { lookup(2*time.Second, context.DeadlineExceeded) })
		all.Go(func() { lookup(2*time.Minute, nil) })
		all.Wait()
		if took := time.Since(begin); took != time.Minute || r.asked.Load() != 1 || r.cancelled.Load() != 0 {
			t.Errorf("after %v: %d lookups, %d cancelled", took, r.asked.Load(), r.cancelled.Load())
		}

		lookup(time.Second, context.DeadlineExceeded)
		synctest.Wait()
		if r.asked.Load() != 2 || r.cancelled.Load() != 1 || len(s.flights) != 0 {
			t.Errorf("alone: %d lookups, %d cancelled", r.asked.Load(), r.cancelled.Load())
		}
		lookup(2*time.Minute, nil)
		if r.asked.Load() != 3 {
			t.Errorf("afterwards: %d lookups", r.asked.Load())
		}

		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.LookupNetIP(gone, "ip", "a"); err != context.Canceled || r.asked.Load() != 3 {
			t.Errorf("%v after %d lookups", err, r.asked.Load())
		}
	})
}

// Who joins while the last one leaves gets an answer, not its cancellation.
func TestJoinWhileLeaving(t *testing.T) {
	r := lookup(func(ctx context.Context, _ string) ([]netip.Addr, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return addrs("1.1.1.1"), nil
	})
	s := Share(r)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 500 {
				ctx, cancel := context.WithCancel(t.Context())
				go cancel()
				if _, err := s.LookupNetIP(ctx, "ip", "a"); err != nil && ctx.Err() == nil {
					t.Errorf("a lookup that was not given up failed: %v", err)
				}
				if _, err := s.LookupNetIP(t.Context(), "ip", "a"); err != nil {
					t.Errorf("a lookup without a limit failed: %v", err)
				}
			}
		})
	}
	all.Wait()
}
