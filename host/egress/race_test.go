package egress

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// course is what becomes of one attempt.
type course struct {
	takes time.Duration
	err   error
	deaf  bool // goes on when its context ends
}

// rider is a connection that knows whether it was closed.
type rider struct {
	number int
	closed bool
}

func (r *rider) Close() error { r.closed = true; return nil }

// event is one run of race in virtual time.
type event struct {
	mu     sync.Mutex
	begun  []time.Duration // when each attempt began, in the order of addrs
	riders []*rider        // the connections made
	took   time.Duration
}

func run(ctx context.Context, stagger time.Duration, courses ...course) (e *event, winner *rider, err error) {
	e = &event{}
	var list []netip.AddrPort
	for i := range courses {
		list = append(list, netip.AddrPortFrom(netip.AddrFrom4([4]byte{1, 1, 1, byte(i)}), 80))
	}
	begin := time.Now()
	winner, err = race(ctx, list, stagger, func(ctx context.Context, a netip.AddrPort) (*rider, error) {
		number := int(a.Addr().As4()[3])
		e.mu.Lock()
		e.begun = append(e.begun, time.Since(begin))
		e.mu.Unlock()
		c := courses[number]
		ended := ctx.Done()
		if c.deaf {
			ended = nil
		}
		select {
		case <-ended:
			return nil, fmt.Errorf("%s: %w", a, ctx.Err())
		case <-time.After(c.takes):
		}
		if c.err != nil {
			return nil, fmt.Errorf("%s: %w", a, c.err)
		}
		r := &rider{number: number}
		e.mu.Lock()
		e.riders = append(e.riders, r)
		e.mu.Unlock()
		return r, nil
	})
	e.took = time.Since(begin)
	return e, winner, err
}

const ms = time.Millisecond

func TestRace(t *testing.T) {
	refused := syscall.ECONNREFUSED
	unreachable := syscall.ENETUNREACH
	for _, c := range []struct {
		name    string
		stagger time.Duration
		courses []course
		begun   []time.Duration
		winner  int
		took    time.Duration
	}{
		{"the first answers soon", 250 * ms, []course{{takes: 20 * ms}, {}}, []time.Duration{0}, 0, 20 * ms},
		{"one at a time while they hang", 250 * ms, []course{{takes: time.Hour}, {takes: time.Hour}, {takes: 10 * ms}}, []time.Duration{0, 250 * ms, 500 * ms}, 2, 510 * ms},
		{"a failure makes way at once", 250 * ms, []course{{takes: 5 * ms, err: refused}, {takes: 5 * ms, err: refused}, {takes: 5 * ms}}, []time.Duration{0, 5 * ms, 10 * ms}, 2, 15 * ms},
		{"then the stagger begins anew", 250 * ms, []course{{takes: 100 * ms, err: unreachable}, {takes: time.Hour}, {takes: 1 * ms}}, []time.Duration{0, 100 * ms, 350 * ms}, 2, 351 * ms},
		{"a slow first one still wins", 250 * ms, []course{{takes: 300 * ms}, {takes: time.Hour}}, []time.Duration{0, 250 * ms}, 0, 300 * ms},
		{"a failure late in the row", 250 * ms, []course{{takes: 400 * ms}, {takes: 10 * ms, err: refused}, {takes: time.Hour}}, []time.Duration{0, 250 * ms, 260 * ms}, 0, 400 * ms},
		{"all at once", 0, []course{{takes: 30 * ms}, {takes: 10 * ms}, {takes: 20 * ms}}, []time.Duration{0, 0, 0}, 1, 10 * ms},
		{"the losers are waited for, and closed", 100 * ms, []course{{takes: 500 * ms, deaf: true}, {takes: 150 * ms}, {takes: 300 * ms, deaf: true}}, []time.Duration{0, 100 * ms, 200 * ms}, 1, 500 * ms},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, winner, err := run(t.Context(), c.stagger, c.courses...)
				if err != nil || winner.number != c.winner || winner.closed || e.took != c.took || !slices.Equal(e.begun, c.begun) {
					t.Errorf("%+v, %v after %v; attempts began at %v", winner, err, e.took, e.begun)
				}
				for _, r := range e.riders {
					if r != winner && !r.closed {
						t.Errorf("connection %d, which lost, is open", r.number)
					}
				}
			})
		})
	}
}

func TestRaceLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, winner, err := run(t.Context(), 250*ms, course{takes: 10 * ms, err: syscall.ENETUNREACH}, course{takes: 10 * ms, err: syscall.ECONNREFUSED})
		if winner != nil || worst(err) != Refused || !errors.Is(err, syscall.ECONNREFUSED) || !errors.Is(err, syscall.ENETUNREACH) || e.took != 20*ms {
			t.Errorf("%v, %v after %v", winner, err, e.took)
		}
		if want := "1.1.1.0:80: network is unreachable, 1.1.1.1:80: connection refused"; err.Error() != want {
			t.Errorf("the error is %q, want %q", err, want)
		}
	})
}

func TestRaceDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 600*ms)
		defer cancel()
		hang := course{takes: time.Hour}
		e, winner, err := run(ctx, 250*ms, hang, hang, hang, hang, hang)
		if winner != nil || worst(err) != Timeout || !errors.Is(err, context.DeadlineExceeded) || e.took != 600*ms || len(e.begun) != 3 {
			t.Errorf("%v, %v after %v; attempts began at %v", winner, err, e.took, e.begun)
		}
		// Nothing begins when the time is over, nor when a failure comes with it.
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		e, _, err = run(gone, 250*ms, course{takes: 0, err: syscall.ECONNREFUSED}, hang, hang)
		if !errors.Is(err, context.Canceled) || len(e.begun) > 1 || e.took != 0 {
			t.Errorf("%v after %v; attempts began at %v", err, e.took, e.begun)
		}
	})
}
