package host

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/host/egress"
	"bulkhead/host/front"
	"bulkhead/host/listen"
	"bulkhead/host/proxy"
	"bulkhead/internal/cputime"
	"bulkhead/plugins"
)

// upstreams connects for the handlers of one server: whom its tenant's connect list
// names, by addresses that were checked, and as many as the tenant may.
type upstreams struct {
	s       *server
	ctx     context.Context // ends with the host
	cancel  context.CancelFunc
	lookups sync.WaitGroup
	pending []map[*dialling]struct{} // by loop, whose they are
}

func newUpstreams(s *server) *upstreams {
	u := &upstreams{s: s, pending: make([]map[*dialling]struct{}, len(s.host.loops))}
	u.ctx, u.cancel = context.WithCancel(context.Background())
	for i := range u.pending {
		u.pending[i] = make(map[*dialling]struct{})
	}
	return u
}

// dialling is one connection on its way. It is its loop's.
type dialling struct {
	u      *upstreams
	ask    *plugins.Dial
	at     int // the loop's index
	target egress.Target
	began  int64          // on the loop's clock
	proxy  int            // the version of the PROXY header to send first; 0: none
	from   netip.AddrPort // what that says
	to     netip.AddrPort
	dial   *csa.Dial          // while it connects
	stop   context.CancelFunc // while it looks the name up
	// release lets go of the unix socket that is connected to; nil: there is none.
	release func()
	over    bool
}

// Dial is the plugins.Dialer's.
func (u *upstreams) Dial(ask *plugins.Dial) (cancel func(), code abi.Code) {
	s := u.s
	address, version, ok := cutProxy(ask.Address)
	if !ok {
		return nil, abi.Invalid
	}
	target, err := egress.ParseTarget(address)
	if err != nil || version != 0 && target.Network() == "udp" {
		return nil, abi.Invalid
	}
	if err := s.tenant.egress.Load().Check(target); err != nil {
		s.noisy.Event(slog.LevelWarn, "a handler may not dial", "error", err)
		return nil, codeOf(err)
	}
	if s.host.stopping.Load() {
		return nil, abi.Denied
	}
	if !s.takePlaces() {
		return nil, abi.Quota
	}
	d := &dialling{u: u, ask: ask, target: target, proxy: version, began: ask.Loop.Now()}
	for i, l := range s.host.loops {
		if l.Loop == ask.Loop {
			d.at = i
		}
	}
	s.gen.join()
	u.pending[d.at][d] = struct{}{}
	s.crew.Retain(ask.Instance, 1)
	if version != 0 && ask.From != nil {
		d.from, d.to = ask.From.Addresses()
	}
	if ip, ok := s.tenant.egress.Load().Direct(target); ok {
		d.connect([]csa.Address{{IP: ip, UDP: d.overUDP()}})
	} else {
		d.lookUp()
	}
	return d.giveUp, abi.OK
}

// overUDP reports whether datagrams are sent to who is dialled.
func (d *dialling) overUDP() bool { return d.target.Network() == "udp" }

// takePlaces takes what a connection that is dialled needs of the budgets.
func (s *server) takePlaces() bool {
	t := s.tenant
	if !t.dials.Take() {
		return false
	}
	if t.upstreams.Take() {
		if s.host.connections.Take() {
			return true
		}
		t.upstreams.Release()
	}
	t.dials.Release()
	return false
}

// cutProxy takes "?proxy=v1" or "?proxy=v2" off an address.
func cutProxy(address string) (rest string, version int, ok bool) {
	rest, query, found := strings.Cut(address, "?")
	switch {
	case !found:
		return rest, 0, true
	case query == "proxy=v1":
		return rest, 1, true
	case query == "proxy=v2":
		return rest, 2, true
	}
	return "", 0, false
}

// mostFinding is the most that is booked for finding out where a target is, in nanoseconds, where that
// has waited for an answer and gone on on another thread.
const mostFinding = int64(200 * time.Microsecond)

// lookUp finds the addresses, off the loop.
func (d *dialling) lookUp() {
	u := d.u
	ctx, stop := context.WithTimeout(u.ctx, u.s.config.ConnectTimeout)
	d.stop = stop
	u.lookups.Go(func() {
		defer stop()
		watch := cputime.Stopwatch{Most: mostFinding}
		watch.Start()
		to, err := d.find(ctx)
		u.s.tenant.Book(watch.Elapsed() + cputime.Wake()) // of this goroutine's thread
		posted := d.ask.Loop.Post(func() {
			d.ask.Loop.Charge(u.s.tenant)
			switch {
			case d.over:
				d.free()
			case err != nil:
				d.failed(reasonOf(err))
			default:
				d.connect(to)
			}
		})
		if !posted {
			d.free()
		}
	})
}

// free lets go of a unix socket that was held on to, once.
func (d *dialling) free() {
	if d.release != nil {
		d.release()
		d.release = nil
	}
}

// find is where a target can be reached, by the tenant's policy.
func (d *dialling) find(ctx context.Context) (to []csa.Address, err error) {
	s, target := d.u.s, d.target
	defer s.host.bugs.guard(s, "looking an address up", &err)
	policy := s.tenant.egress.Load()
	if target.Network() == "unix" {
		path, release, err := policy.Find(target)
		if err != nil {
			return nil, err
		}
		d.release = release
		return []csa.Address{{Path: path}}, nil
	}
	found, err := policy.Resolve(ctx, s.host.resolver, target)
	for _, a := range found {
		to = append(to, csa.Address{IP: a, UDP: d.overUDP()})
	}
	return to, err
}

// connect begins to connect, on the loop.
func (d *dialling) connect(to []csa.Address) {
	s := d.u.s
	d.stop = nil
	tune := func(fd int) {
		if to[0].IP.IsValid() && !d.overUDP() {
			o := s.tuning
			if s.udp {
				o.SendBuffer = 0 // it is for datagrams
			}
			listen.TuneDialled(fd, o)
		}
	}
	d.dial = d.ask.Loop.Dial(to, s.config.ConnectTimeout, tune, d.connected)
}

// connected makes the socket a CSA of the loop, or says why there is none. It is the
// last thing of its event.
func (d *dialling) connected(fd int, to csa.Address, r csa.Reason) {
	if fd < 0 {
		d.ask.Loop.Event(func() {
			d.ask.Loop.Charge(d.u.s.tenant)
			d.failed(r)
		})
		return
	}
	d.finish()
	s := d.u.s
	d.u.s.host.loops[d.at].Connections.Add(1)
	up := &upstream{s: s, at: d.at, instance: d.ask.Instance}
	handler := d.ask.Handler
	if d.target.Network() == "tls" {
		left := s.config.ConnectTimeout - time.Duration(d.ask.Loop.Now()-d.began)
		handler = &front.Handshaking{Handler: handler, Dialled: true, Handshake: func() csa.Handshake {
			return s.clientHandshake(d.target.ServerName(), max(left, time.Millisecond))
		}}
	}
	if d.proxy != 0 {
		handler = &front.ProxyWriter{Handler: handler, Header: proxy.Append(nil, d.proxy, d.from, d.to)}
	}
	wiring := csa.Wiring{Handler: handler, Settings: &s.dialled, Budget: s.tenant, Creator: up, Signal: up}
	var err error
	if d.overUDP() {
		_, err = d.ask.Loop.NewDatagramPeer(fd, to.IP, up, wiring)
	} else {
		_, err = d.ask.Loop.NewCSA(fd, to.IP, wiring)
	}
	if err != nil {
		up.ShutdownCSA(nil)
		s.crew.Retain(d.ask.Instance, -1)
		d.ask.Loop.Event(func() {
			d.ask.Failed(csa.SystemFull.Because("the selector does not take the connection"))
		})
	}
}

// failed tells the handler, last, that there is no connection.
func (d *dialling) failed(r csa.Reason) {
	d.finish()
	d.letGo()
	d.ask.Failed(r)
}

// giveUp ends it without a word.
func (d *dialling) giveUp() {
	if !d.over {
		d.finish()
		d.letGo()
	}
}

// finish ends the dialling, of which a connection may be left.
func (d *dialling) finish() {
	d.over = true
	if d.stop != nil {
		d.stop()
	}
	if d.dial != nil {
		d.dial.Cancel()
		d.free()
	}
	delete(d.u.pending[d.at], d)
	d.u.s.tenant.dials.Release()
}

// letGo gives back what the connection would have had.
func (d *dialling) letGo() {
	s := d.u.s
	s.tenant.upstreams.Release()
	s.host.connections.Release()
	s.host.wake()
	// In an event of its own: the instance may be in one, and end with this.
	posted := d.ask.Loop.Post(func() {
		s.crew.Retain(d.ask.Instance, -1)
		s.gen.leave()
	})
	if !posted {
		s.gen.leave()
	}
}

// stop ends all that is under way, when the host stops. It is not called on a loop.
func (u *upstreams) stop() {
	u.cancel()
	for at, l := range u.s.host.loops {
		l.Call(func() {
			for d := range u.pending[at] {
				d.giveUp()
			}
		})
	}
	u.lookups.Wait()
}

// upstream is the creator of a connection that was dialled, and its books.
type upstream struct {
	s        *server
	at       int
	instance *plugins.Instance
}

// SocketShutdown is the box CreatorFeedback.
func (u *upstream) SocketShutdown(c *csa.CSA, r csa.Reason) {
	u.s.writeDown(c, r, "upstream closed")
	if !c.Spliced() {
		u.s.crew.Retain(u.instance, -1)
	}
}

// ShutdownCSA gives the connection's places back.
func (u *upstream) ShutdownCSA(*csa.CSA) {
	s := u.s
	s.host.loops[u.at].Connections.Add(-1)
	s.tenant.upstreams.Release()
	s.host.connections.Release()
	s.host.wake()
	s.gen.leave()
}

// Admit is asked by listeners alone.
func (u *upstream) Admit(netip.AddrPort) (w csa.Wiring, answer csa.Admission) {
	return w, csa.TurnedAway
}

// Lost counts datagrams of a peer that was dialled over UDP, and logs it now and then.
func (u *upstream) Lost(why csa.Loss, n int) {
	info := why.Info()
	u.s.noisy.Event(slog.LevelWarn, "datagrams are lost of a peer that was dialled: "+info.Words, "lost_so_far", u.s.counters.lost[why].Add(int64(n)), "cause", info.Name)
}

// Broken is told of a listener's socket alone.
func (u *upstream) Broken(error) {}

// codeOf is what a guest is told of an error of package egress.
func codeOf(err error) abi.Code {
	switch egress.KindOf(err) {
	case egress.Invalid:
		return abi.Invalid
	case egress.Denied:
		return abi.Denied
	case egress.NotFound:
		return abi.NotFound
	case egress.Refused:
		return abi.Refused
	case egress.Timeout:
		return abi.Timeout
	case egress.Quota:
		return abi.Quota
	}
	return abi.Unreachable
}

func reasonOf(err error) csa.Reason { return csa.NotConnected.With(codeOf(err), err.Error()) }
