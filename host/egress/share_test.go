package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"bulkhead/internal/awaittest"
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
		s := Share(r, 0)
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
		s := Share(&slow{takes: time.Second, err: odd}, 0)
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
		s := Share(r, 0)
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
	s := Share(r, 0)
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

// A lookup that a net.Resolver goes on with counts until it has ended, though nobody waits for it
// any more: else a handler that dials and gives up has any number of them, with a socket or two
// each.
func TestLookupsAreBounded(t *testing.T) {
	release := make(chan struct{})
	s := Share(&net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		<-release // as if the name server were silent, whatever the context says
		return nil, errors.New("no server")
	}}, 0)
	gone, cancel := context.WithCancel(t.Context())
	one, other := s.Tenant(3), s.Tenant(3)
	gives := func(l *Lookups, name string) (err error) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		over := make(chan struct{})
		go func() {
			defer close(over)
			_, err = l.LookupNetIP(ctx, "ip", name)
		}()
		awaittest.Until(t, "it waits, or is over", func() bool {
			select {
			case <-over:
				return true
			default:
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			f := s.flights[question{"ip", name}]
			return f != nil && f.waiting > 0
		})
		cancel()
		<-over
		return err
	}
	// The last one joins the first.
	for _, name := range []string{"a.test.", "b.test.", "c.test.", "a.test."} {
		if err := gives(one, name); err != context.Canceled {
			t.Errorf("%s, given up: %v", name, err)
		}
	}
	if err := gives(one, "d.test."); KindOf(err) != Quota || one.Used() != 3 || one.Refused() != 1 {
		t.Errorf("a fourth: %v; %d are under way, %d were refused", err, one.Used(), one.Refused())
	}
	if err := gives(other, "a.test."); err != context.Canceled || other.Used() != 1 || s.flying != 3 {
		t.Errorf("another tenant that joins: %v; %d are its own, %d everybody's", err, other.Used(), s.flying)
	}
	cancel()
	if _, err := one.LookupNetIP(gone, "ip", "e.test."); err != context.Canceled || one.Refused() != 1 {
		t.Errorf("given up before it begins: %v", err)
	}
	close(release)
	awaittest.Until(t, "all have ended", func() bool { return one.Used() == 0 && other.Used() == 0 })
	if _, err := one.LookupNetIP(t.Context(), "ip", "d.test."); err == nil || KindOf(err) == Quota {
		t.Errorf("afterwards: %v", err)
	}
	one.SetLimit(0)
	if _, err := one.LookupNetIP(t.Context(), "ip", "d.test."); KindOf(err) != Quota {
		t.Errorf("with a limit of none: %v", err)
	}
}

// Lookups of all are bounded, and each tenant leaves as much as it has.
func TestLookupsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Share(&slow{takes: time.Second}, 8)
		var all sync.WaitGroup
		took := func(l *Lookups, whose string) int {
			for n := range 10 {
				all.Go(func() { _, _ = l.LookupNetIP(t.Context(), "ip", whose+strconv.Itoa(n)) })
			}
			synctest.Wait()
			return l.Used()
		}
		var got []int
		for n := range 4 {
			got = append(got, took(s.Tenant(1000), strconv.Itoa(n)+"-"))
		}
		if want := []int{4, 2, 1, 1}; !slices.Equal(got, want) {
			t.Errorf("tenants have %d of 8, want %d", got, want)
		}
		if _, err := s.LookupNetIP(t.Context(), "ip", "z"); KindOf(err) != Quota {
			t.Errorf("one more: %v", err)
		}
		all.Wait()
		if s.flying != 0 || len(s.flights) != 0 {
			t.Errorf("%d are under way, %d known, at the end", s.flying, len(s.flights))
		}
	})
}
