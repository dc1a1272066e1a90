package host

import (
	"log/slog"
	"sync"
	"sync/atomic"

	"bulkhead/csa"
	"bulkhead/plugins"
)

// stdioCrew gives every connection a WASI command of its own, which runs on a
// goroutine of its own.
type stdioCrew struct {
	s      *server
	module *plugins.Module
	guests *plugins.Listener
	ends   sync.WaitGroup
}

func newStdioCrew(s *server, m *plugins.Module) (*stdioCrew, error) {
	k := &stdioCrew{s: s, module: m}
	folder, err := s.tenant.readFolder(&s.config)
	if err != nil {
		return nil, err
	}
	k.guests = s.guests(func(_ *plugins.Instance, t *plugins.Trap) {
		s.died(t, "a command", "its connection is closed")
	})
	k.guests.Folder = folder
	return k, nil
}

func (k *stdioCrew) begin() {}

func (k *stdioCrew) place() int {
	return leastLoaded(k.s.host.loops, anyLoop)
}

func (k *stdioCrew) take(a arrival) {
	k.s.handOver(a, func() csa.Handler {
		p, err := k.module.Stdio(k.guests)
		if err != nil {
			k.s.counters.failed.Add(1)
			k.s.noisy.event(slog.LevelError, "a connection was closed: its command did not start", "error", err)
			return nil
		}
		return &command{Process: p, instances: &k.s.counters.instances}
	})
}

// peer has no handler: a program's input is a stream.
func (k *stdioCrew) peer(int) csa.Handler { return nil }

// command is a process that knows whether it was started, and is counted
// among the instances from then on.
type command struct {
	*plugins.Process
	instances *atomic.Int64
	started   bool
}

// Open starts the command.
func (c *command) Open(conn *csa.CSA) {
	c.started = true
	c.instances.Add(1)
	c.Process.Open(conn)
}

// release waits for the command off the loop: it may have to be woken first.
func (k *stdioCrew) release(h csa.Handler) {
	c := h.(*command)
	if !c.started {
		return
	}
	k.ends.Go(func() {
		<-c.Ended()
		k.s.counters.instances.Add(-1)
	})
}

func (k *stdioCrew) stop() {}

func (k *stdioCrew) stopOne(h csa.Handler) { h.(*command).Stop() }

func (k *stdioCrew) close() {
	k.ends.Wait()
	k.s.tenant.releaseFolder(k.guests.Folder)
}

func (*stdioCrew) hold(*plugins.Instance, int) {}
