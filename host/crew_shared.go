package host

import (
	"log/slog"
	"sync"
	"sync/atomic"

	"bulkhead/csa"
	"bulkhead/plugins"
)

// sharedCrew serves a listener with one instance for each loop, or with one
// in all. An instance that traps is replaced after a while; its loop gets no
// connections until then.
type sharedCrew struct {
	s      *server
	module *plugins.Module
	guests *plugins.Listener
	seats  []*seat // by loop; nil where there is none
	starts sync.WaitGroup
}

// seat is the place of an instance on a loop.
type seat struct {
	at    int
	ready atomic.Bool       // there is a running instance
	fresh *plugins.Instance // until begin, and nobody's

	// The rest is the loop's.
	instance *plugins.Instance
	again    *csa.Timer
	backoff  backoff
	closed   bool
}

func newSharedCrew(s *server, m *plugins.Module) (*sharedCrew, error) {
	k := &sharedCrew{s: s, module: m, seats: make([]*seat, len(s.host.loops))}
	k.guests = s.guests(k.trapped)
	for at, l := range s.host.loops {
		if s.config.Instance == "listener" && l != s.lives {
			continue
		}
		i, err := m.Instantiate(k.guests)
		if err != nil {
			k.close()
			return nil, err
		}
		k.seats[at] = &seat{at: at, fresh: i}
	}
	return k, nil
}

// begin puts the instances in their seats, from where their timers run.
func (k *sharedCrew) begin() {
	for at, seat := range k.seats {
		if seat == nil {
			continue
		}
		l := k.s.host.loops[at]
		l.call(func() {
			i := seat.fresh
			seat.fresh = nil
			seat.again = l.NewTimer(func() { k.restart(seat) })
			k.seatWith(seat, i)
		})
	}
}

// seatWith puts a new instance in its seat, on the seat's loop.
func (k *sharedCrew) seatWith(seat *seat, i *plugins.Instance) {
	i.Owner = seat
	i.Attach(k.s.host.loops[seat.at].Loop)
	seat.instance = i
	k.s.counters.instances.Add(1)
	seat.ready.Store(true)
}

// trapped empties the seat of an instance that has trapped, on its loop.
func (k *sharedCrew) trapped(i *plugins.Instance, t *plugins.Trap) {
	seat, ok := i.Owner.(*seat)
	if !ok || seat.instance != i {
		return // it trapped while it was starting, which Instantiate reports
	}
	seat.ready.Store(false)
	seat.instance = nil
	k.s.counters.instances.Add(-1)
	i.Close()
	l := k.s.host.loops[seat.at]
	wait := seat.backoff.failed(l.Now())
	k.s.died(t, "a handler", "its connections are closed", "next_start_in", wait.String())
	if !seat.closed {
		seat.again.Reset(wait)
	}
}

// restart makes the next instance, off the loop.
func (k *sharedCrew) restart(seat *seat) {
	if seat.closed {
		return
	}
	k.starts.Go(func() {
		i, err := k.s.instantiate(k.module, k.guests)
		l := k.s.host.loops[seat.at]
		posted := l.Post(func() {
			switch {
			case seat.closed:
				if err == nil {
					i.Close()
				}
			case err != nil:
				k.s.counters.failed.Add(1)
				wait := seat.backoff.failed(l.Now())
				k.s.log.Error("a handler did not start again", "error", err, "next_start_in", wait.String())
				seat.again.Reset(wait)
			default:
				k.seatWith(seat, i)
				k.s.unpark()
			}
		})
		if !posted && err == nil {
			i.Close()
		}
	})
}

func (k *sharedCrew) place() int {
	return leastLoaded(k.s.host.loops, func(at int) bool { return k.seats[at] != nil && k.seats[at].ready.Load() })
}

func (k *sharedCrew) take(a arrival) {
	seat := k.seats[a.at]
	k.s.handOver(a, func() csa.Handler {
		if seat.instance == nil {
			k.s.noisy.event(slog.LevelWarn, "a connection was closed: its handler has just trapped")
			return nil
		}
		return seat.instance
	})
}

func (k *sharedCrew) peer(at int) csa.Handler {
	if seat := k.seats[at]; seat != nil && seat.instance != nil {
		return seat.instance
	}
	return nil
}

func (k *sharedCrew) release(csa.Handler) {}
func (k *sharedCrew) stopOne(csa.Handler) {}

func (k *sharedCrew) stop() {
	for at, seat := range k.seats {
		if seat == nil {
			continue
		}
		k.s.host.loops[at].call(func() {
			if seat.instance != nil {
				seat.instance.Stop()
			}
		})
	}
}

func (k *sharedCrew) close() {
	for at, seat := range k.seats {
		if seat == nil {
			continue
		}
		k.s.host.loops[at].call(func() {
			seat.closed = true
			if seat.again != nil {
				seat.again.Stop()
			}
			if seat.instance != nil {
				seat.ready.Store(false)
				seat.instance.Close()
				seat.instance = nil
				k.s.counters.instances.Add(-1)
			}
		})
		if seat.fresh != nil {
			seat.fresh.Close()
			seat.fresh = nil
		}
	}
	k.starts.Wait()
}

func (*sharedCrew) hold(*plugins.Instance, int) {}
