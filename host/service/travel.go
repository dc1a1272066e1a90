package service

import (
	"errors"
	"slices"

	"bulkhead/csa"
	"bulkhead/host/dial"
	"bulkhead/host/handlers"
	"bulkhead/host/handover"
	"bulkhead/host/handover/record"
	"bulkhead/host/loader"
	"bulkhead/plugins"

	"golang.org/x/sys/unix"
)

// Traveller is the server's provider of handlers, if its connections can go to another process and
// come from one; nil: they cannot, or its plugin is not loaded yet.
func (s *Server) Traveller() handlers.Traveller { return loader.Travels(s.provider) }

// Frozen is a connection of a server's that is held still, with its instance, if it has one. GoOn,
// Leave and Lose are called on its loop.
type Frozen struct {
	s        *Server
	conn     *csa.Held
	instance *plugins.Instance
	unit     record.Unit
}

var _ handover.Unit = (*Frozen)(nil)

// Append appends its record to b.
func (f *Frozen) Append(b []byte) []byte { return f.unit.Append(b) }

// Descriptors is that of its socket.
func (f *Frozen) Descriptors() []int { return []int{f.conn.Descriptor()} }

// Loop is its loop.
func (f *Frozen) Loop() *csa.Loop { return f.conn.CSA().Loop() }

// Freeze holds a connection still that is on the loop with this index, which calls it between two
// events. images has the numbers of the snapshots that go to the other process. The error is a
// csa.NotNow, or a csa.Stays.
func Freeze(c *csa.CSA, at int, images map[*plugins.Snapshot]uint32) (*Frozen, error) {
	s, ok := c.Creator().(*Server)
	if !ok {
		if _, dialled := c.Creator().(*dial.Upstream); dialled {
			return nil, csa.Stays("was dialled by a handler")
		}
		return nil, csa.Stays("is no connection of a listener's")
	}
	t := s.Traveller()
	if t == nil {
		return nil, csa.Stays("has a handler that stays: a program, one in Go, or one for many connections")
	}
	// What is in front of handlers has not done its work yet.
	switch c.Handler().(type) {
	case *plugins.Instance:
	default:
		if c.Handler() != t.Without(at) {
			return nil, csa.NotNow("is not with its handler yet: it is in a handshake, or sends its header")
		}
	}
	i, err := t.Travels(c, c.Handler())
	if err != nil {
		return nil, err
	}
	f := &Frozen{s: s, instance: i, unit: record.Unit{Listener: s.config.Name, Tenant: s.config.Tenant}}
	if i != nil {
		if f.unit.Image = images[i.Snapshot()]; f.unit.Image == 0 {
			return nil, csa.Stays("has a handler whose image stays")
		}
	}
	if f.conn, err = c.Freeze(); err != nil {
		return nil, err
	}
	if i != nil {
		r, err := i.Freeze()
		if err != nil {
			_ = f.conn.GoOn()
			return nil, err
		}
		f.unit.Instance = *r
	}
	conn := record.Conn{Record: f.conn.Record, Loop: int32(at)}
	if d, ok := c.Signal().(*sourceSignal); ok {
		conn.Source = d.source
	}
	f.unit.Conns = []record.Conn{conn}
	return f, nil
}

// GoOn has it go on here.
func (f *Frozen) GoOn() {
	if f.instance != nil {
		f.instance.GoOn()
	}
	if err := f.conn.GoOn(); err != nil {
		f.s.log.Error("a connection that was held still cannot go on", "connection", f.conn.CSA().Number(), "error", err)
	}
}

// Leave lets go of it here: it goes on elsewhere.
func (f *Frozen) Leave() {
	if f.instance != nil {
		f.instance.Forsake()
	}
	f.conn.Leave()
}

// Lose ends it: where it went on, it is over.
func (f *Frozen) Lose() {
	f.conn.Reset()
	f.Leave()
}

// Adopt makes a Frozen of a unit that has come, on the loop with this index, which calls it. image
// is what its instance is a change of; nil: it has none. On an error nothing is left of it.
func (s *Server) Adopt(u handover.Came, at int, image *handlers.Adopted) (*Frozen, error) {
	owned := false
	defer func() {
		if !owned {
			for _, fd := range u.Descriptors {
				_ = unix.Close(fd)
			}
		}
	}()
	t := s.Traveller()
	switch {
	case t == nil:
		return nil, errors.New("its listener has no plugin that it could go on with")
	case len(u.Conns) != 1:
		return nil, errors.New("it has more than one connection")
	case s.udp || s.config.TLS != nil && !s.config.TLS.StartTLS || s.config.Address.WebSocket():
		return nil, errors.New("its listener is for other connections")
	case s.Draining() || s.machine.Stopping.Load():
		return nil, errors.New("the process stops")
	case !s.tenant.Connections.Take():
		return nil, errors.New("its tenant has no place for it (connections)")
	case !s.machine.Connections.Take():
		s.tenant.Connections.Release()
		return nil, errors.New("the process has no place for it (connections)")
	}
	s.generation.join()
	l := s.machine.Loops[at]
	l.Connections.Add(1)
	conn := &u.Conns[0]
	source := s.perSource().Keep(conn.Source)
	f := &Frozen{s: s}
	undo := func() {
		s.releaseSource(source)
		s.gone(at)
	}
	h := t.Without(at)
	if u.Image != 0 {
		u.Instance.Changes = slices.Clone(u.Instance.Changes)
		i, err := t.Thaw(image, at, &u.Instance)
		if err != nil {
			undo()
			return nil, err
		}
		f.instance, h = i, i
	}
	owned = true
	var err error
	f.conn, err = l.Adopt(conn.Record, u.Descriptors[0], csa.Wiring{
		Handler: h, Settings: &s.terms.Load().settings, Budget: s.tenant, Creator: s, Signal: s.signal(at, source),
	}, u.Mark)
	if err != nil {
		if f.instance != nil {
			f.instance.Forsake()
			s.provider.Release(f.instance)
		}
		undo()
		return nil, err
	}
	if f.instance != nil && !(f.instance.Return(f.conn.CSA()) && f.instance.Whole()) {
		f.Leave()
		return nil, errors.New("its handles are not its connections")
	}
	return f, nil
}

// movedAway is SocketShutdown of a connection that goes on in another process.
func (s *Server) movedAway(c *csa.CSA) {
	s.totals.show(c.Loop())
	s.totals.ended[csa.Moved].Add(1)
	s.dialer.TakeDialled(c)
}
