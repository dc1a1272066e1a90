package host

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/host/budget"
	"bulkhead/host/certs"
	"bulkhead/host/config"
	"bulkhead/host/crew"
	"bulkhead/host/listen"
	"bulkhead/host/loops"
	"bulkhead/host/proxy"
	"bulkhead/plugins"
	"bulkhead/selector"

	"golang.org/x/sys/unix"
)

// server is the TCPServer of one listener: it accepts connections on its home
// loop and hands each, as a CSA, to the loop and the handler that its crew
// chooses. The connections of UDP are made by its peers instead. The server of a route
// does not accept: its listener's router gives it connections, on the home loop that it
// has in common with that.
type server struct {
	host     *Host
	tenant   *tenant
	config   config.Listener
	log      *slog.Logger
	noisy    *limited // for what clients and handlers can cause at will
	closes   *limited // for connections that have ended by a limit, or by their peer
	settings csa.Settings
	dialled  csa.Settings // of connections that its handlers have dialled
	tuning   listen.Options
	sockets  []*listen.Socket // more than one for localhost; none for UDP
	addr     string           // where it listens, the first of them
	also     string           // and the second, "" where there is none
	udp      bool             // it is for datagrams
	peers    []*peers         // of a UDP listener
	serving  atomic.Bool      // of one: the host runs
	crew     crew.Provider
	// front is the listener whose route this is the server of; nil: it is a listener's, and
	// has a socket.
	front *server
	// router gives the listener's connections to its routes; nil: there are none.
	router *router
	// lives is where the instance of instance = "listener" lives.
	lives    *loops.Loop
	books    []books // one for each loop
	counters counters
	certs    *certs.Certificates // nil: there is no TLS
	// sources are whose connections begin with a PROXY header, which introduced reads, by
	// loop.
	sources proxy.Sources
	// bySource bounds what each source address has. A route has its
	// listener's.
	bySource   *budget.Sources
	introduced []introduced
	// upstreams connects for its handlers.
	upstreams *upstreams

	// The rest is the home loop's.
	home     *loops.Loop
	doors    []selector.Descriptor // of the sockets
	turn     int                   // the socket that is asked first
	resume   func()                // goes on when unparked
	retry    *csa.Timer            // accepts again after a wait
	shortage time.Duration         // the wait after the last shortage; 0: there is none
	// shortageLogged is when the log last had a line about one.
	shortageLogged int64
	stopped        bool
	callers        []crew.Arrival // who waited in the kernel's queue when it stopped

	// parked is set while the server waits for a place that another
	// connection's end, or a handler's restart, will make.
	parked atomic.Bool
}

// counters are what Stats tells of a listener.
type counters struct {
	crew.Counters
	accepted, shortages, traps, stopped atomic.Int64
	unrouted                            atomic.Int64
	ended                               [csa.Causes]atomic.Int64 // connections, by cause
	received, sent                      atomic.Int64
	lost                                [csa.Losses]atomic.Int64 // datagrams
}

const (
	// acceptBatch is how many connections are accepted in one turn of the
	// loop: what takes some 200 µs.
	acceptBatch = 16
	// The wait after a shortage of descriptors or memory doubles from the
	// first to the last value.
	firstShortage = 20 * time.Millisecond
	lastShortage  = time.Second
	// shortageLogEvery is the least time between two lines about shortages.
	shortageLogEvery = 10 * time.Second
)

// listenOn starts to accept, on the home loop, unless the host has been closed.
func (s *server) listenOn() error {
	if len(s.sockets) == 0 {
		return s.listenUDP()
	}
	s.doors = make([]selector.Descriptor, len(s.sockets))
	var err error
	s.home.Call(func() {
		if s.stopped {
			return
		}
		s.retry = s.home.NewTimer(s.accept)
		for i, socket := range s.sockets {
			if err == nil {
				err = s.home.Selector().Add(&s.doors[i], socket.FD, s)
			}
		}
		if err == nil {
			s.newReader()
		}
	})
	return err
}

// stopAccepting closes the listening socket, and the connections that have no route yet,
// on the home loop. That of UDP, which its peers need, stays, and nobody new is admitted.
func (s *server) stopAccepting() {
	if s.stopped || len(s.sockets) == 0 {
		return
	}
	s.stopped = true
	if s.router != nil {
		s.router.stop()
	}
	if s.retry != nil && len(s.callers) == 0 {
		s.retry.Stop()
	}
	for i := range s.doors {
		s.home.Selector().Remove(&s.doors[i])
	}
	for _, socket := range s.sockets {
		_ = socket.Close()
	}
}

// takeCallers accepts who waits in the kernel's queue, beyond what the budgets allow, so that they are not reset
// when it is closed: they wait here instead. As many are taken as may wait there.
func (s *server) takeCallers() {
	for range s.config.Backlog + 1 {
		fd, sa, err := s.acceptOne()
		switch {
		case err == nil:
			s.host.callers.Add(1)
			s.callers = append(s.callers, crew.Arrival{FD: fd, Peer: csa.AddrPortOf(sa)})
		case err == unix.ECONNABORTED || err == unix.EINTR:
		default:
			return
		}
	}
}

// nextCaller is the next connection; the error is EAGAIN when there is none.
func (s *server) nextCaller() (a crew.Arrival, err error) {
	if s.stopped {
		if len(s.callers) == 0 {
			return a, unix.EAGAIN
		}
		a = s.callers[0]
		s.callers = s.callers[1:]
		s.host.callers.Add(-1)
		return a, nil
	}
	fd, sa, err := s.acceptOne()
	if err != nil {
		return a, err
	}
	return crew.Arrival{FD: fd, Peer: csa.AddrPortOf(sa)}, nil
}

// dropCallers closes those who have found no place.
func (s *server) dropCallers() {
	if s.retry != nil {
		s.retry.Stop()
	}
	for _, a := range s.callers {
		resetOnClose(a.FD)
		_ = unix.Close(a.FD)
		s.counters.Refused.Add(1)
		s.counters.ended[csa.HostStopped].Add(1)
	}
	s.host.callers.Add(-int64(len(s.callers)))
	s.callers = nil
}

// resetOnClose has the peer not take the end for an answer that is empty.
func resetOnClose(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// newReader asks to be told when connections wait.
func (s *server) newReader() {
	for i := range s.doors {
		s.doors[i].NewReader()
	}
}

// readBlocked says that none waits.
func (s *server) readBlocked() {
	for i := range s.doors {
		s.doors[i].ReadBlocked()
	}
}

// acceptOne takes a connection from the next socket that has one. It answers EAGAIN when
// none has.
func (s *server) acceptOne() (fd int, sa unix.Sockaddr, err error) {
	for range s.sockets {
		fd, sa, err = s.sockets[s.turn].Accept()
		if err != unix.EAGAIN {
			return fd, sa, err
		}
		s.turn = (s.turn + 1) % len(s.sockets)
	}
	return fd, sa, err
}

// ReadReady is the selector's notice that connections wait.
func (s *server) ReadReady() { s.home.Event(s.accept) }

// Faulted goes on accepting after a panic.
func (s *server) Faulted(any) {
	if !s.stopped {
		s.newReader()
	}
}

// Instantiate starts an instance, beside the loops.
func (s *server) Instantiate(m *plugins.Module, l *plugins.Listener) (i *plugins.Instance, err error) {
	defer s.host.bugs.guard(s, "starting a handler", &err)
	return m.Instantiate(l)
}

// SendReady and Exceptional have no meaning for a listening socket.
func (s *server) SendReady() {}

// Exceptional is not asked for.
func (s *server) Exceptional() {}

// accept takes what waits in the kernel's queue, as far as the budgets go. A
// connection that is over one of them stays in the queue: its client waits.
func (s *server) accept() {
	s.home.Charge(s.tenant)
	for range acceptBatch {
		if s.stopped && len(s.callers) == 0 {
			return
		}
		at := 0
		if s.router == nil {
			if at = s.crew.Reserve(); at < 0 {
				s.park(func() bool { return s.crew.Reserve() < 0 })
				return
			}
		}
		if !s.tenant.connections.Take() {
			s.tenant.makeRoom()
			if s.full(s.tenant.connections.Full) {
				return
			}
			continue
		}
		if !s.host.connections.Take() {
			s.tenant.connections.Release()
			if s.full(s.host.connections.Full) {
				return
			}
			continue
		}
		if wait := max(s.tenant.accepts.Spend(0, s.home.Now()), s.tenant.Rest()); wait > 0 {
			s.putBack()
			s.retry.Reset(time.Duration(wait))
			return
		}
		a, err := s.nextCaller()
		if err != nil {
			s.putBack()
			if !s.acceptFailed(err) {
				return
			}
			continue
		}
		s.shortage = 0
		s.counters.accepted.Add(1)
		if !s.introduces(a.Peer) && !s.takeSource(&a, s.home.Now()) {
			// It is not one of the accepts a second, which are the others' too.
			_ = unix.Close(a.FD)
			s.putBack()
			continue
		}
		s.tenant.accepts.Spend(1, s.home.Now())
		listen.Tune(a.FD, s.tuning)
		if s.router != nil {
			s.router.take(a)
			continue
		}
		a.At = at
		s.host.loops[at].Connections.Add(1)
		s.crew.Assign(a)
	}
	// There may be more: a turn for the others first.
	if s.stopped {
		s.home.Post(s.resume)
	} else {
		s.newReader()
	}
}

// full deals with a lack of places. It reports false when one has been made, and else
// parks.
func (s *server) full(still func() bool) bool {
	if s.router != nil && s.router.looked.n > 0 {
		switch {
		case !s.connectionWaits():
			// The next one is told of, and may find somebody who has to make room by then.
			s.readBlocked()
			s.newReader()
		case s.router.makeRoom():
			return false
		default:
			s.retry.Reset(s.router.roomIn())
		}
	}
	s.park(still)
	return true
}

// connectionWaits reports whether accept would answer with a connection.
func (s *server) connectionWaits() bool {
	ask := make([]unix.PollFd, len(s.sockets))
	for i, socket := range s.sockets {
		ask[i] = unix.PollFd{Fd: int32(socket.FD), Events: unix.POLLIN}
	}
	n, err := unix.Poll(ask, 0)
	return err != nil || n > 0
}

// putBack gives the places back that were taken for a connection, which has
// ended or did not come. Either way another server may have found them taken
// and parked. Any goroutine may call it.
func (s *server) putBack() {
	s.host.connections.Release()
	s.tenant.connections.Release()
	s.host.wake()
}

// acceptFailed deals with an error of accept. It reports whether to go on.
func (s *server) acceptFailed(err error) bool {
	switch {
	case s.stopped:
		return false
	case err == unix.EAGAIN:
		s.readBlocked()
		s.newReader()
		return false
	case outOf(err):
		times := s.counters.shortages.Add(1)
		if now := s.home.Now(); times == 1 || now-s.shortageLogged >= int64(shortageLogEvery) {
			s.shortageLogged = now
			s.log.Error("cannot accept connections, they wait in the kernel's queue: the system is out of descriptors or memory; raise RLIMIT_NOFILE or lower [host] connections",
				"error", err, "times_so_far", times)
		}
		s.shortage = min(max(2*s.shortage, firstShortage), lastShortage)
		s.retry.Reset(s.shortage)
		return false
	case err == unix.EINVAL || err == unix.EBADF || err == unix.ENOTSOCK:
		s.log.Error("the listening socket is broken; nothing more is accepted on it", "error", err)
		return false
	}
	// The rest, ECONNABORTED above all, is of the one connection, or EINTR.
	return true
}

// outOf reports whether an error means that the system has run out of
// something that may come back.
func outOf(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.ENOBUFS)
}

// park stops accepting until Unpark, unless what it waits for has come true
// meanwhile.
func (s *server) park(still func() bool) {
	if s.parked.CompareAndSwap(false, true) {
		s.host.parked.Add(1)
	}
	if !still() {
		s.Unpark()
	}
}

// Unpark goes on, if the server is parked. Any goroutine may call it.
func (s *server) Unpark() {
	if s.parked.Load() && s.parked.CompareAndSwap(true, false) {
		s.host.parked.Add(-1)
		s.home.Post(s.resume)
	}
}

// HandOver has the connection wired on its loop to the handler that is found
// there; nil drops it. Any goroutine may call it.
func (s *server) HandOver(a crew.Arrival, find func() csa.Handler) {
	wire := func() {
		if h := find(); h != nil {
			s.wire(a, h)
		} else {
			s.drop(a)
		}
	}
	l := s.host.loops[a.At]
	if !l.Post(func() {
		l.Charge(s.tenant)
		wire()
	}) {
		wire() // finds that the host is stopping, and lets go of both
	}
}

// wire makes the connection a CSA of its loop, which calls it.
func (s *server) wire(a crew.Arrival, h csa.Handler) {
	if s.host.stopping.Load() {
		s.crew.Release(h)
		s.drop(a)
		return
	}
	if s.host.draining.Load() {
		// It was accepted before, and came too late to be told. Posted, since its
		// handler may pass the loop on when it is opened.
		s.host.loops[a.At].Post(func() { s.crew.StopOne(h) })
	}
	handler := h
	if s.certs != nil && !s.config.TLS.StartTLS {
		handler = &secures{Handler: h, handshake: s.serverHandshake, early: true}
	}
	switch {
	case a.Local.IsValid():
		handler = &addressed{Handler: handler, peer: a.Peer, local: a.Local}
	case !a.Introduced && s.introduces(a.Peer):
		handler = &introduction{&s.introduced[a.At], handler}
	}
	_, err := s.host.loops[a.At].NewCSA(a.FD, a.Peer, csa.Wiring{
		Handler: handler, Settings: &s.settings, Budget: s.tenant, Creator: s, Signal: s.signal(a.At, a.Source),
	})
	if err != nil {
		s.releaseSource(a.Source)
		s.noisy.event(slog.LevelError, "a connection was dropped: the selector does not take it", "error", err)
		s.counters.Refused.Add(1)
		s.counters.ended[csa.SystemFull].Add(1)
		s.crew.Release(h)
		s.gone(a.At)
	}
}

// drain accepts no more and tells the handlers. It is not called on a loop.
func (s *server) drain() {
	if s.front == nil && len(s.sockets) > 0 {
		s.home.Call(func() {
			if s.stopped {
				return
			}
			if s.router != nil {
				s.accept() // who has said where it belongs goes there
			} else {
				s.takeCallers()
			}
			s.stopAccepting()
			s.accept()
		})
	}
	s.crew.Stop()
	for _, l := range s.host.loops {
		l.Call(func() {
			l.Each(func(c *csa.CSA) {
				if c.Creator() == csa.Creator(s) {
					h := handlerOf(c)
					l.Post(func() { s.crew.StopOne(h) })
				}
			})
		})
	}
}

// drop closes a connection that gets no handler. Any goroutine may call it.
func (s *server) drop(a crew.Arrival) {
	_ = unix.Close(a.FD)
	s.counters.Refused.Add(1)
	s.counters.ended[csa.NotStarted].Add(1)
	s.releaseSource(a.Source)
	s.gone(a.At)
}

// gone gives the places of a connection back. Any goroutine may call it.
func (s *server) gone(at int) {
	s.host.loops[at].Connections.Add(-1)
	s.putBack()
}

// SocketShutdown is the box CreatorFeedback: it writes down how a connection
// died.
func (s *server) SocketShutdown(c *csa.CSA, r csa.Reason) {
	s.writeDown(c, r, "connection closed")
	if !c.Spliced() {
		s.crew.Release(handlerOf(c))
	}
}

// writeDown counts a connection that has ended, and logs it.
func (s *server) writeDown(c *csa.CSA, r csa.Reason, line string) {
	received, sent := c.Traffic()
	s.counters.received.Add(received)
	s.counters.sent.Add(sent)
	s.counters.ended[r.Cause].Add(1)
	info := r.Cause.Info()
	level := info.Level
	if r.Cause == csa.Unknown && (r.Code == abi.Invalid || r.Code == abi.Quota) {
		level = slog.LevelWarn // of a handler written in Go
	}
	all := s.log.Enabled(context.Background(), slog.LevelDebug) // whoever asks for it gets all of them
	lines := s.closes
	if level >= slog.LevelWarn {
		lines = s.noisy
	}
	if !all && (level < slog.LevelInfo || !lines.may(level)) {
		return
	}
	args := make([]any, 0, 18) // room for lines_left_out
	args = append(args, "connection", c.Number(), "peer", c.Peer(), "reason", outside(r.Why), "code", r.Code.String())
	if info.Key != "" {
		args = append(args, "key", info.Key)
	}
	args = append(args, "cause", info.Name, "received", received, "sent", sent)
	if all {
		s.log.Log(context.Background(), level, line, args...)
	} else {
		lines.write(level, line, args...)
	}
}

// Died counts and logs that a handler has trapped, or was stopped by a limit,
// and what follows from it. What ends with the host is nobody's fault.
func (s *server) Died(t *plugins.Trap, who, then string, args ...any) {
	how := " was stopped; "
	switch t.Stop {
	case plugins.StopNot:
		s.counters.traps.Add(1)
		how = " trapped; "
	case plugins.StopHost:
		return
	default:
		s.counters.stopped.Add(1)
	}
	s.noisy.event(slog.LevelError, who+how+then, append(args, "call", t.Call, "why", t.Why)...)
}

// books is the box signal of the connections that a server has on one loop.
type books struct {
	s  *server
	at int
}

// ShutdownCSA gives the connection's places back.
func (b *books) ShutdownCSA(*csa.CSA) { b.s.gone(b.at) }

// listensAt notes where it listens.
func (s *server) listensAt(sockets ...*listen.Socket) {
	for _, socket := range sockets {
		if s.addr == "" {
			s.addr = socket.Addr
		} else {
			s.also = socket.Addr
		}
	}
}
