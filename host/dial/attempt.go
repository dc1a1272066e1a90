package dial

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"bulkhead/csa"
	"bulkhead/host/egress"
	"bulkhead/host/front"
	"bulkhead/host/listen"
	"bulkhead/host/logs"
	"bulkhead/host/proxy"
	"bulkhead/host/stats"
	"bulkhead/internal/cputime"
	"bulkhead/plugins"

	"golang.org/x/sys/unix"
)

// attempt is one connection on its way. It is its loop's.
type attempt struct {
	d      *Dialer
	ask    *plugins.Dial
	at     int // the loop's index
	target egress.Target
	// asker is the number of the connection in whose event the handler has asked, and askerPeer its
	// other end, for the log; 0: the event was of none.
	asker     uint64
	askerPeer string

	began int64          // on the loop's clock
	proxy int            // the version of the PROXY header to send first; 0: none
	from  netip.AddrPort // what that says
	to    netip.AddrPort
	dial  *csa.Dial          // while it connects
	stop  context.CancelFunc // while it looks the name up
	// release lets go of the unix socket that is connected to; nil: there is none.
	release func()
	over    bool
	// up has what the connection holds of the site from when it is there until it is the
	// loop's; else nil.
	up *Upstream
	fd int // its socket, then
}

// overUDP reports whether datagrams are sent to who is dialled.
func (a *attempt) overUDP() bool { return a.target.Network() == "udp" }

// mostFinding is the most that is booked for finding out where a target is, in nanoseconds, where
// that has waited for an answer and gone on on another thread.
const mostFinding = int64(200 * time.Microsecond)

// lookUp finds the addresses, off the loop.
func (a *attempt) lookUp() {
	d, site := a.d, a.d.site
	ctx, stop := context.WithTimeout(d.ctx, site.ConnectTimeout())
	a.stop = stop
	d.lookups.Go(func() {
		defer stop()
		watch := cputime.Stopwatch{Most: mostFinding}
		watch.Start()
		to, err := a.find(ctx)
		site.Budget().Book(watch.Elapsed() + cputime.Wake()) // of this goroutine's thread
		posted := a.ask.Loop.Post(func() {
			a.ask.Loop.Charge(site.Budget())
			a.ask.Loop.Serve(a)
			switch {
			case a.over:
				a.free()
			case err != nil:
				a.failed(reasonOf(err))
			default:
				a.connect(to)
			}
			a.ask.Loop.Serve(nil)
		})
		if !posted {
			a.free()
		}
	})
}

// free lets go of a unix socket that was held on to, once.
func (a *attempt) free() {
	if a.release != nil {
		a.release()
		a.release = nil
	}
}

// find is where a target can be reached, by the tenant's policy.
func (a *attempt) find(ctx context.Context) (to []csa.Address, err error) {
	site, target := a.d.site, a.target
	defer site.Guard("looking an address up", &err)
	if redirect := site.Redirect(); redirect != nil {
		address, err := redirect(target)
		return []csa.Address{address}, err
	}
	policy := site.Policy()
	if target.Network() == "unix" {
		path, release, err := policy.Find(target)
		if err != nil {
			return nil, err
		}
		a.release = release
		return []csa.Address{{Path: path}}, nil
	}
	found, err := policy.Resolve(ctx, site.Resolver(), target)
	for _, ip := range found {
		to = append(to, csa.Address{IP: ip, UDP: a.overUDP()})
	}
	return to, err
}

// connect begins to connect, on the loop.
func (a *attempt) connect(to []csa.Address) {
	site := a.d.site
	a.stop = nil
	tune := func(fd int) {
		if to[0].IP.IsValid() && !a.overUDP() {
			listen.TuneDialled(fd, site.DialledTuning())
		}
	}
	a.dial = a.ask.Loop.Dial(site.Budget(), to, site.ConnectTimeout(), tune, a.connected)
}

// connected makes the socket a CSA of the loop, or says why there is none. It is the
// last thing of its event.
func (a *attempt) connected(fd int, to csa.Address, r csa.Reason) {
	if fd < 0 {
		a.ask.Loop.Event(func() {
			a.ask.Loop.Charge(a.d.site.Budget())
			a.failed(r)
		})
		return
	}
	loop := a.ask.Loop
	loop.Serve(a)
	a.finish()
	site := a.d.site
	site.CountDial(stats.DialConnected)
	site.Loops()[a.at].Connections.Add(1)
	up := &Upstream{site: site, at: a.at, instance: a.ask.Instance}
	a.up, a.fd = up, fd
	handler := a.ask.Handler
	if a.target.Network() == "tls" {
		left := site.ConnectTimeout() - time.Duration(a.ask.Loop.Now()-a.began)
		handler = &front.Handshaking{Handler: handler, Dialled: true, Handshake: func() csa.Handshake {
			return site.ClientHandshake(a.target.ServerName(), max(left, time.Millisecond))
		}}
	}
	if a.proxy != 0 {
		handler = &front.ProxyWriter{Handler: handler, Header: proxy.Append(nil, a.proxy, a.from, a.to)}
	}
	wiring := csa.Wiring{Handler: handler, Settings: site.DialledSettings(), Budget: site.Budget(), Creator: up, Signal: up}
	origin := csa.Origin{Number: csa.NextNumber()}
	a.d.note(a.at, a.ask.From, origin.Number, to.IP)
	var err error
	a.up = nil
	if a.overUDP() {
		up.datagram, err = loop.NewDatagramPeer(fd, to.IP, up, wiring, origin)
	} else {
		_, err = loop.NewCSAOf(fd, to.IP, wiring, origin)
	}
	if err != nil {
		a.up = up
		loop.Event(func() { a.lost(csa.SystemFull.Because("the selector does not take the connection")) })
	}
	loop.Serve(nil)
}

// lost gives back what a connection held that is none of the loop's, and tells the handler, last.
func (a *attempt) lost(r csa.Reason) {
	up := a.up
	a.up = nil
	a.d.site.Retain(a.ask.Instance, -1)
	up.ShutdownCSA(nil)
	a.ask.Failed(r)
}

// Faulted says that a panic has come out of what the loop did for the attempt. In an event of its
// own it ends, unless that is another's by now: what is told of it may pass the loop on.
func (a *attempt) Faulted(any) {
	a.ask.Loop.Post(func() {
		a.ask.Loop.Charge(a.d.site.Budget())
		switch {
		case !a.over:
			a.failed(csa.HostBug.Reason())
		case a.up != nil:
			_ = unix.Close(a.fd)
			a.lost(csa.HostBug.Reason())
		}
	})
}

// failed tells the handler, last, that there is no connection.
func (a *attempt) failed(r csa.Reason) {
	a.finish()
	a.d.site.CountDial(outcomeOf(r.Code))
	a.write(r)
	a.releasePlaces()
	a.ask.Failed(r)
}

// write logs that there is no connection.
func (a *attempt) write(r csa.Reason) {
	took := time.Duration(a.ask.Loop.Now() - a.began)
	args := make([]any, 0, 14)
	if a.asker != 0 {
		args = append(args, "connection", a.asker, "peer", a.askerPeer)
	}
	args = append(args, "to", a.target.String(), "error", logs.Outside(r.Why), "code", r.Code.String(), "took_seconds", took.Seconds())
	if key := r.Cause.Info().Key; key != "" {
		args = append(args, "key", key)
	}
	a.d.site.LogLimited(slog.LevelInfo, "a handler's dial has failed", args...)
}

// giveUp ends it without a word.
func (a *attempt) giveUp() {
	if !a.over {
		a.finish()
		a.d.site.CountDial(stats.DialGivenUp)
		a.releasePlaces()
	}
}

// finish ends the attempt, of which a connection may be left.
func (a *attempt) finish() {
	a.over = true
	if a.stop != nil {
		a.stop()
	}
	if a.dial != nil {
		a.dial.Cancel()
		a.free()
	}
	delete(a.d.pending[a.at], a)
	a.d.site.DialOver()
}

// releasePlaces gives back what the connection would have had.
func (a *attempt) releasePlaces() {
	site := a.d.site
	site.ReleaseUpstream()
	// In an event of its own: the instance may be in one, and end with this.
	posted := a.ask.Loop.Post(func() {
		site.Retain(a.ask.Instance, -1)
		site.Leave()
	})
	if !posted {
		site.Leave()
	}
}
