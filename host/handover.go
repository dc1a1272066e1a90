package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"bulkhead/csa"
	"bulkhead/host/handlers"
	"bulkhead/host/handover"
	"bulkhead/host/handover/record"
	"bulkhead/host/loops"
	"bulkhead/host/service"
	"bulkhead/plugins"

	"golang.org/x/sys/unix"
)

// HandOverReport says what has become of a host's connections.
type HandOverReport struct {
	handover.Report
	// Stayed says how many connections could not go, by the reason.
	Stayed map[string]int
}

// HandOverOptions are those of HandOver and TakeOver. The zero value serves well.
type HandOverOptions struct {
	handover.Options
	// Retry is for how long HandOver asks connections again that cannot go now, since their handler
	// has a call under way, for example. Zero: a second. Below zero: they are asked once.
	Retry time.Duration
}

const (
	defaultRetry = time.Second
	// retryAfter is how long it is from one time of asking to the next.
	retryAfter = 5 * time.Millisecond
	// lookAt is how many connections are looked at in one turn of a loop.
	lookAt = 256
	// numbersAhead is how far the numbers of connections that come to the new process are ahead of
	// those of the old one, which may take some yet.
	numbersAhead = 1 << 20
)

// HandOver gives the host's live connections, with their handlers, to the host whose TakeOver is at
// the other end of conn: one of a pair of SOCK_SEQPACKET sockets. Both hosts serve meanwhile. A
// connection that goes is held still for some milliseconds. What cannot go stays, as does what the
// other host refuses, and goes on here. The host goes on accepting: a caller that wants all to go
// has the other host's sockets accept before. HandOver may be called again.
//
// It returns when the other host has been alone with the connections for the guard time, or with an
// error. After an error connections that the other host has not touched go on here; the caller does
// well to end the other process. conn is the caller's. When ctx is done no more are given, and what
// was is not waited for. HandOver is not called on a loop, fails on a host that has stopped, and a
// host does not stop before it is over.
func (h *Host) HandOver(ctx context.Context, conn *net.UnixConn, o HandOverOptions) (HandOverReport, error) {
	release, ok := h.delayStop()
	if !ok {
		return HandOverReport{}, errors.New("handing connections over: the host has stopped")
	}
	defer release()
	ctx, cancel := h.untilClosed(ctx)
	defer cancel()
	if o.Retry == 0 {
		o.Retry = defaultRetry
	}
	g := &leaving{h: h, ctx: ctx, retry: o.Retry, images: make(map[*plugins.Snapshot]uint32)}
	r, err := handover.Give(ctx, conn, g, o.Options)
	if err != nil {
		err = fmt.Errorf("handing connections over: %w", err)
	}
	return HandOverReport{Report: r, Stayed: g.stayed}, err
}

// TakeOver takes the connections of the host whose HandOver is at the other end of conn. They keep
// their numbers and handles, and go by this host's configuration from then on. A listener takes
// those of the listener of the same name and tenant, if its plugin's state is of the same format:
// if it is the same plugin, and the version of this program prepares it equally. The plugins have
// to be loaded, which is so when New has returned, or, with LoadLate, Settled.
//
// It may be called before Run. Connections that the host accepts later have other numbers than
// those that come. It returns when the other host keeps none of the connections any more, which
// takes some seconds, or ctx is done, which it has to be when Run's is. What has come stays. conn
// is the caller's, and has to stay open for as long as this process lives, or until TakeOver has
// returned without an error: the other host takes its end for the end of this process. TakeOver is
// not called on a loop.
func (h *Host) TakeOver(ctx context.Context, conn *net.UnixConn, o HandOverOptions) (handover.Report, error) {
	release, ok := h.delayStop()
	if !ok {
		return handover.Report{}, errors.New("taking connections over: the host has stopped")
	}
	defer release()
	ctx, cancel := h.untilClosed(ctx)
	defer cancel()
	r, err := handover.Take(ctx, conn, &coming{h: h, images: make(map[uint32]*image)}, o.Options)
	if err != nil {
		err = fmt.Errorf("taking connections over: %w", err)
	}
	return r, err
}

// untilClosed is ctx, which is done also when the host is being closed.
func (h *Host) untilClosed(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-ctx.Done():
		case <-h.abort:
			cancel()
		}
	}()
	return ctx, cancel
}

// leaving are a host's connections as handover.Give sees them.
type leaving struct {
	h      *Host
	ctx    context.Context
	retry  time.Duration
	images map[*plugins.Snapshot]uint32

	at     int        // the loop whose turn it is
	looked []*csa.CSA // its connections that are still to be asked
	begun  bool       // looked was found for it
	later  [][]*csa.CSA
	until  time.Time // later ones are asked again; zero: it is the first time
	stayed map[string]int
}

// Images are those of all plugins.
func (g *leaving) Images() (all []handover.Image, err error) {
	g.h.now.Load().each(func(s *service.Server) {
		t := s.Traveller()
		if t == nil {
			return
		}
		for _, snapshot := range t.Snapshots() {
			r, fd, err := snapshot.Record()
			if err != nil {
				g.h.machine.Log.Warn("a plugin's connections stay", "listener", s.Config().Name, "error", err)
				continue
			}
			n := uint32(len(g.images) + 1)
			g.images[snapshot] = n
			all = append(all, handover.Image{
				Image:      record.Image{Number: n, Listener: s.Config().Name, Tenant: s.Config().Tenant, SnapshotRecord: r},
				Descriptor: fd,
			})
		}
	})
	return all, nil
}

// LastNumber is that of all connections so far.
func (g *leaving) LastNumber() uint64 { return csa.LastNumber() }

// Freeze holds some still, of one loop.
func (g *leaving) Freeze(most int) (units []handover.Unit) {
	for g.ctx.Err() == nil {
		if g.at == len(g.h.machine.Loops) && !g.again() {
			return nil
		}
		l := g.h.machine.Loops[g.at]
		if !g.begun {
			g.begin(l)
		}
		for len(g.looked) > 0 && len(units) == 0 {
			l.Call(func() { units = g.freeze(most) })
		}
		if len(units) > 0 {
			return units
		}
		g.at, g.begun = g.at+1, false
	}
	return nil
}

// begin finds the connections of a loop that are to be asked.
func (g *leaving) begin(l *loops.Loop) {
	g.begun = true
	if !g.until.IsZero() {
		g.looked, g.later[g.at] = g.later[g.at], nil
		return
	}
	g.later = append(g.later, nil)
	l.Call(func() { l.Each(func(c *csa.CSA) { g.looked = append(g.looked, c) }) })
}

// again begins to ask those again that could not go, after a while. It reports false when there are
// none, or they have been asked for long enough, and then says why they stay.
func (g *leaving) again() bool {
	left := 0
	for _, some := range g.later {
		left += len(some)
	}
	now := time.Now()
	if g.until.IsZero() {
		g.until = now.Add(g.retry)
	}
	if left == 0 || !now.Before(g.until) {
		for at := range g.later {
			l := g.h.machine.Loops[at]
			l.Call(func() { g.count(at) })
			g.later[at] = nil
		}
		return false
	}
	select {
	case <-time.After(retryAfter):
	case <-g.ctx.Done():
	}
	g.at = 0
	return true
}

// count counts those of a loop that could not go, on that loop, by why they could not when they
// were last asked.
func (g *leaving) count(at int) {
	for _, c := range g.later[at] {
		if c.Over() {
			continue
		}
		f, err := service.Freeze(c, at, g.images)
		if err == nil {
			f.GoOn()
			err = csa.NotNow("was never still")
		}
		g.stay(err)
	}
}

func (g *leaving) stay(why error) {
	if g.stayed == nil {
		g.stayed = make(map[string]int)
	}
	g.stayed[why.Error()]++
}

// freeze holds some of those still that are to be asked, on their loop.
func (g *leaving) freeze(most int) (units []handover.Unit) {
	for n := 0; n < lookAt && len(g.looked) > 0 && len(units) < most; n++ {
		last := len(g.looked) - 1
		c := g.looked[last]
		g.looked[last] = nil
		g.looked = g.looked[:last]
		if c.Over() {
			continue
		}
		f, err := service.Freeze(c, g.at, g.images)
		switch {
		case err == nil:
			units = append(units, f)
		case errors.As(err, new(csa.NotNow)):
			g.later[g.at] = append(g.later[g.at], c)
		default:
			g.stay(err)
		}
	}
	return units
}

// GoOn has units go on.
func (g *leaving) GoOn(units []handover.Unit) { onLoops(g.h, units, (*service.Frozen).GoOn) }

// Leave lets go of them.
func (g *leaving) Leave(units []handover.Unit) { onLoops(g.h, units, (*service.Frozen).Leave) }

// Lose ends them.
func (g *leaving) Lose(units []handover.Unit) { onLoops(g.h, units, (*service.Frozen).Lose) }

// onLoops calls do for each unit on its loop.
func onLoops[T any](h *Host, units []T, do func(*service.Frozen)) {
	for _, l := range h.machine.Loops {
		var here []*service.Frozen
		for _, u := range units {
			if f := any(u).(*service.Frozen); f.Loop() == l.Loop {
				here = append(here, f)
			}
		}
		if len(here) > 0 {
			l.Call(func() {
				for _, f := range here {
					do(f)
				}
			})
		}
	}
}

// coming are a host's connections that come, as handover.Take sees them.
type coming struct {
	h      *Host
	images map[uint32]*image
}

// image is one that has come, of the server that its instances are of.
type image struct {
	s *service.Server
	a *handlers.Adopted
}

// server is the one of that name and tenant that takes connections; nil: there is none.
func (k *coming) server(listener, tenant string) (found *service.Server) {
	for _, g := range k.h.now.Load().generations {
		for _, s := range g.Servers() {
			if c := s.Config(); c.Name == listener && c.Tenant == tenant {
				return s
			}
		}
	}
	return nil
}

// PastNumber has the host's own connections have other numbers.
func (k *coming) PastNumber(n uint64) { csa.PassNumbers(n + numbersAhead) }

var errNoListener = errors.New("there is no such listener any more, or it is another tenant's")

// Image takes one in.
func (k *coming) Image(i *record.Image, descriptor int) error {
	s := k.server(i.Listener, i.Tenant)
	var t handlers.Traveller
	if s != nil {
		t = s.Traveller()
	}
	if t == nil || k.images[i.Number] != nil {
		closeDescriptor(descriptor)
		return errNoListener
	}
	a, err := t.AdoptSnapshot(&i.SnapshotRecord, descriptor)
	if err != nil {
		return err
	}
	k.images[i.Number] = &image{s, a}
	return nil
}

// Adopt makes units.
func (k *coming) Adopt(units []handover.Came) ([]handover.Adopted, []error) {
	adopted, errs := make([]handover.Adopted, len(units)), make([]error, len(units))
	byLoop := make([][]int, len(k.h.machine.Loops))
	for n, u := range units {
		at := -1
		if len(u.Conns) > 0 {
			at = int(u.Conns[0].Loop)
		}
		if at < 0 || at >= len(byLoop) {
			at = loops.LeastLoaded(k.h.machine.Loops, loops.Any)
		}
		byLoop[at] = append(byLoop[at], n)
		errs[n] = errors.New("the process stops")
	}
	for at, here := range byLoop {
		if len(here) == 0 {
			continue
		}
		k.h.machine.Loops[at].Call(func() {
			for _, n := range here {
				f, err := k.adopt(units[n], at)
				if errs[n] = err; err == nil {
					adopted[n] = f
				}
			}
		})
	}
	return adopted, errs
}

// adopt makes one, on its loop.
func (k *coming) adopt(u handover.Came, at int) (*service.Frozen, error) {
	if u.Image == 0 {
		s := k.server(u.Listener, u.Tenant)
		if s == nil {
			closeDescriptor(u.Descriptors...)
			return nil, errNoListener
		}
		return s.Adopt(u, at, nil)
	}
	i := k.images[u.Image]
	if i == nil {
		closeDescriptor(u.Descriptors...)
		return nil, errors.New("its image was refused")
	}
	if c := i.s.Config(); c.Name != u.Listener || c.Tenant != u.Tenant {
		closeDescriptor(u.Descriptors...)
		return nil, errNoListener
	}
	return i.s.Adopt(u, at, i.a)
}

// Begin has them go on.
func (k *coming) Begin(all []handover.Adopted) { onLoops(k.h, all, (*service.Frozen).GoOn) }

// Drop lets go of them.
func (k *coming) Drop(all []handover.Adopted) { onLoops(k.h, all, (*service.Frozen).Leave) }

func closeDescriptor(all ...int) {
	for _, fd := range all {
		_ = unix.Close(fd)
	}
}
