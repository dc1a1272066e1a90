package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// Shared is a Resolver that asks another one. Callers who want the same name at
// the same time share one lookup. Answers are not kept: when the lookup has
// ended, the next caller begins another.
//
// A lookup under way holds two descriptors, also when nobody waits for it any more.
// So they are bounded, in all and for each tenant (see Tenant).
type Shared struct {
	resolver Resolver
	most     int

	mu      sync.Mutex
	flights map[question]*flight
	flying  int // lookups under way, with those that nobody waits for
}

// Lookups is a tenant's part of a Shared, and a Resolver. Its methods may be called from any
// goroutine.
type Lookups struct {
	shared  *Shared
	limit   atomic.Int64
	refused atomic.Int64
	n       int // lookups under way that it has begun or joined; guarded by shared.mu
}

type question struct{ network, host string }

// flight is a lookup under way.
type flight struct {
	waiting int // callers; guarded by Shared.mu
	cancel  context.CancelFunc
	done    chan struct{} // closed when addrs and err are there
	addrs   []netip.Addr
	err     error
	of      []*Lookups // whose it counts for; guarded by Shared.mu
}

// errLookups is why a lookup is not begun.
var errLookups = errors.New("too many names are being looked up, also for dials that were given up (dials)")

// Share makes a Resolver of r for any number of goroutines, usually one for the process. At most
// most lookups are under way at once; zero or less is no bound.
//
// Without r the host asks the DNS itself, as the system's files say: the system's own resolver
// takes a thread for each lookup until it has ended.
//
// A lookup has ended when r says so. What r says to a context that was cancelled is taken for that,
// unless r is a *net.Resolver, which goes on with a lookup behind its caller's back: that is never
// cancelled.
func Share(r Resolver, most int) *Shared {
	if r == nil {
		r = &net.Resolver{PreferGo: true}
	}
	if n, ok := r.(*net.Resolver); ok {
		r = toTheEnd{n}
	}
	return &Shared{resolver: r, most: most, flights: make(map[question]*flight)}
}

// toTheEnd is a net.Resolver that returns when the lookup has really ended.
type toTheEnd struct{ *net.Resolver }

func (r toTheEnd) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return r.Resolver.LookupNetIP(context.WithoutCancel(ctx), network, host)
}

// Tenant gives a tenant a part: at most limit lookups at once, and no more than the room that it
// leaves for the others.
func (s *Shared) Tenant(limit int) *Lookups {
	l := &Lookups{shared: s}
	l.SetLimit(limit)
	return l
}

// SetLimit allows limit lookups at a time from now on; zero or less allows none.
func (l *Lookups) SetLimit(limit int) { l.limit.Store(int64(limit)) }

// Used is how many lookups of the tenant are under way, with those that it waits for no more.
func (l *Lookups) Used() int {
	l.shared.mu.Lock()
	defer l.shared.mu.Unlock()
	return l.n
}

// Refused is how often another was wanted and not allowed.
func (l *Lookups) Refused() int64 { return l.refused.Load() }

// LookupNetIP is that of the Shared, for the tenant: a lookup that is one too many is an error of
// the kind Quota. One that the tenant has under way already may be joined by any number.
func (l *Lookups) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return l.shared.lookUp(ctx, question{network, host}, l)
}

// LookupNetIP returns the addresses of host. The slice is the caller's. When ctx ends its error
// comes back at once; the lookup goes on for the others, and is cancelled when the last one has
// gone, where that has an effect (see Share). Values of ctx are not passed on.
func (s *Shared) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return s.lookUp(ctx, question{network, host}, nil)
}

func (s *Shared) lookUp(ctx context.Context, q question, l *Lookups) ([]netip.Addr, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f := s.join(q, l)
	if f == nil {
		if l != nil {
			l.refused.Add(1)
		}
		return nil, errLookups
	}
	select {
	case <-f.done:
		return slices.Clone(f.addrs), f.err
	case <-ctx.Done():
		s.leave(q, f)
		return nil, ctx.Err()
	}
}

// join counts the caller in on the flight for q, which it starts when there is none. It is nil
// where there are too many.
func (s *Shared) join(q question, l *Lookups) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.flights[q]
	begins, counts := f == nil, l != nil && (f == nil || !slices.Contains(f.of, l))
	if begins && s.most > 0 && s.flying >= s.most || counts && !s.room(l) {
		return nil
	}
	if begins {
		f = s.begin(q)
	}
	if counts {
		l.n++
		f.of = append(f.of, l)
	}
	f.waiting++
	return f
}

// room reports whether a tenant may have one more lookup. s.mu is held.
func (s *Shared) room(l *Lookups) bool {
	return int64(l.n) < l.limit.Load() && (s.most <= 0 || l.n < s.most-s.flying)
}

// begin starts a flight. s.mu is held.
func (s *Shared) begin(q question) *flight {
	ctx, cancel := context.WithCancel(context.Background())
	f := &flight{cancel: cancel, done: make(chan struct{})}
	s.flights[q] = f
	s.flying++
	go func() {
		f.addrs, f.err = s.ask(ctx, q)
		s.mu.Lock()
		s.forget(q, f)
		s.flying--
		for _, l := range f.of {
			l.n--
		}
		s.mu.Unlock()
		cancel()
		close(f.done)
	}()
	return f
}

// ask asks the resolver, of which a panic is an error: this is a goroutine of nobody's.
func (s *Shared) ask(ctx context.Context, q question) (addrs []netip.Addr, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("looking %s up: the resolver has panicked: %v", q.host, v)
		}
	}()
	return s.resolver.LookupNetIP(ctx, q.network, q.host)
}

// leave counts a caller out. A flight that nobody waits for is cancelled, and forgotten
// under the same lock, so that nobody joins one that is bound to fail; one that goes on all the
// same may be joined again.
func (s *Shared) leave(q question, f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.waiting--
	if _, goesOn := s.resolver.(toTheEnd); f.waiting == 0 && !goesOn {
		s.forget(q, f)
		f.cancel()
	}
}

// forget lets the next caller begin a lookup of its own. s.mu is held.
func (s *Shared) forget(q question, f *flight) {
	if s.flights[q] == f {
		delete(s.flights, q)
	}
}
