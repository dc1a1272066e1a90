package egress

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// Shared is a Resolver that asks another one. Callers who want the same name at
// the same time share one lookup. Answers are not kept: when the lookup has
// ended, the next caller begins another.
type Shared struct {
	resolver Resolver

	mu      sync.Mutex
	flights map[question]*flight
}

type question struct{ network, host string }

// flight is a lookup under way.
type flight struct {
	waiting int // callers; guarded by Shared.mu
	cancel  context.CancelFunc
	done    chan struct{} // closed when addrs and err are there
	addrs   []netip.Addr
	err     error
}

// Share makes a Resolver of r (nil: net.DefaultResolver) for any number of
// goroutines, usually one for the process.
func Share(r Resolver) *Shared {
	if r == nil {
		r = net.DefaultResolver
	}
	return &Shared{resolver: r, flights: make(map[question]*flight)}
}

// LookupNetIP returns the addresses of host. The slice is the caller's. When
// ctx ends its error comes back at once; the lookup goes on for the others, and
// is cancelled when the last one has gone. Values of ctx are not passed on.
func (s *Shared) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	q := question{network, host}
	f := s.join(q)
	select {
	case <-f.done:
		return slices.Clone(f.addrs), f.err
	case <-ctx.Done():
		s.leave(q, f)
		return nil, ctx.Err()
	}
}

// join counts the caller in on the flight for q, which it starts when there is none.
func (s *Shared) join(q question) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flights[q]; f != nil {
		f.waiting++
		return f
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &flight{waiting: 1, cancel: cancel, done: make(chan struct{})}
	s.flights[q] = f
	go func() {
		f.addrs, f.err = s.ask(ctx, q)
		s.mu.Lock()
		s.forget(q, f)
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

// leave counts a caller out. A flight that nobody waits for is forgotten
// under the same lock, so that nobody joins one that is bound to fail.
func (s *Shared) leave(q question, f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
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
