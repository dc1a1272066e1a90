package host

import (
	"errors"
	"time"

	"bulkhead/csa"
	"bulkhead/host/handlers"
	"bulkhead/host/listen"
	"bulkhead/host/loops"
	"bulkhead/selector"

	"golang.org/x/sys/unix"
)

// acceptor is what a host has at one address: listening sockets, and the loop that accepts
// on them. It outlives configurations: a reload gives it another server, and what waits in
// the kernel's queue is that one's. For UDP it has the sockets of the peers.
type acceptor struct {
	host *Host
	home *loops.Loop
	addr string   // where it listens, the first of them
	also string   // and the second, "" where there is none
	udp  bool     // it is for datagrams
	by   listenAt // what it was opened by

	sockets []*listen.Socket // more than one for localhost; none for UDP
	peers   []*peers         // of UDP
	tuned   listen.Options   // what they have; of who has the right to reload

	// The rest is the home loop's.
	s        *server               // whose the next connection is
	doors    []selector.Descriptor // of the sockets
	turn     int                   // the socket that is asked first
	retry    *csa.Timer            // accepts again after a wait
	shortage time.Duration         // the wait after the last shortage; 0: there is none
	// shortageLogged is when the log last had a line about one.
	shortageLogged int64
	stopped        bool
	queued         *listen.Options    // what those have who wait in the kernel's queue; nil: what tuned is
	callers        []handlers.Arrival // who waited in the kernel's queue when it stopped
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

// listenAt is the address that an acceptor was opened by, as configured.
type listenAt struct{ network, host string }

// open opens the sockets of a server's address, on which nothing is accepted yet.
func (h *Host) open(s *server) (*acceptor, error) {
	k := &acceptor{host: h, home: s.home, udp: s.udp, s: s, by: listenAt{s.config.Address.Network, s.config.Address.Host}, tuned: s.terms.Load().tuning}
	if s.udp {
		return k, k.openUDP()
	}
	var err error
	if k.sockets, err = listen.OpenAll(k.by.network, k.by.host, s.terms.Load().tuning); err == nil {
		k.listensAt(k.sockets...)
	}
	return k, err
}

// listensAt notes where it listens.
func (k *acceptor) listensAt(sockets ...*listen.Socket) {
	for _, socket := range sockets {
		if k.addr == "" {
			k.addr = socket.Addr
		} else {
			k.also = socket.Addr
		}
	}
}

// register has the selector know the sockets, unless the host has been closed. It is not called
// on a loop.
func (k *acceptor) register() (err error) {
	k.home.Call(func() {
		if k.stopped || k.retry != nil {
			return
		}
		k.retry = k.home.NewTimer(k.accept)
		k.doors = make([]selector.Descriptor, len(k.sockets))
		for i, socket := range k.sockets {
			if err == nil {
				err = k.home.Selector().Add(&k.doors[i], socket.FD, k)
			}
		}
	})
	return err
}

// begin starts to accept, or to read datagrams, unless the host has been closed. It is not
// called on a loop.
func (k *acceptor) begin() error {
	if k.udp {
		return k.beginUDP()
	}
	if err := k.register(); err != nil {
		return err
	}
	k.home.Call(func() {
		if !k.stopped {
			k.newReader()
		}
	})
	return nil
}

// serve has all who come from now on be a server's. It is not called on a loop.
func (k *acceptor) serve(s *server) {
	if k.udp {
		k.serveUDP(s)
		return
	}
	k.home.Call(func() {
		k.s = s
		if !k.stopped {
			k.accept()
		}
	})
}

// remove closes the sockets, and who waits for a place. It is not called on a loop.
func (k *acceptor) remove() {
	if k.udp {
		k.closeUDP(csa.HostStopped.Reason())
		if len(k.peers) > 0 { // which are of one tenant
			k.peers[0].tenant.dropPeers(k)
		}
		return
	}
	k.home.Call(func() {
		k.stopAccepting()
		k.dropCallers()
	})
}

// stopAccepting closes the listening sockets, on the home loop. Those of UDP, which its peers
// need, stay, and nobody new is admitted.
func (k *acceptor) stopAccepting() {
	if k.stopped || k.udp {
		return
	}
	k.stopped = true
	if k.retry != nil && len(k.callers) == 0 {
		k.retry.Stop()
	}
	for i := range k.doors {
		k.home.Selector().Remove(&k.doors[i])
	}
	for _, socket := range k.sockets {
		_ = socket.Close()
	}
}

// drain accepts no more, but who waits in the kernel's queue. With unrouted, connections that have
// no route yet are closed. It is not called on a loop.
func (k *acceptor) drain(unrouted bool) {
	if k.udp {
		return
	}
	k.home.Call(func() {
		if k.stopped {
			return
		}
		if k.s.router != nil {
			k.accept() // who has said where it belongs goes there
		} else {
			k.takeCallers()
		}
		k.stopAccepting()
		if unrouted && k.s.router != nil {
			k.s.router.Stop()
		}
		k.accept()
	})
}

// takeCallers accepts who waits in the kernel's queue, beyond what the budgets allow, so that they are not reset
// when it is closed: they wait here instead. As many are taken as may wait there.
func (k *acceptor) takeCallers() {
	for range k.s.terms.Load().tuning.Backlog + 1 {
		fd, sa, err := k.acceptOne()
		switch {
		case err == nil:
			k.host.callers.Add(1)
			k.s.gen.join()
			k.callers = append(k.callers, handlers.Arrival{FD: fd, Peer: csa.AddrPortOf(sa)})
		case err == unix.ECONNABORTED || err == unix.EINTR:
		default:
			return
		}
	}
}

// nextCaller is the next connection; the error is EAGAIN when there is none.
func (k *acceptor) nextCaller() (a handlers.Arrival, err error) {
	if k.stopped {
		if len(k.callers) == 0 {
			return a, unix.EAGAIN
		}
		a = k.callers[0]
		k.callers = k.callers[1:]
		k.host.callers.Add(-1)
		return a, nil
	}
	fd, sa, err := k.acceptOne()
	if err != nil {
		return a, err
	}
	return handlers.Arrival{FD: fd, Peer: csa.AddrPortOf(sa)}, nil
}

// dropCallers closes those who have found no place.
func (k *acceptor) dropCallers() {
	if k.retry != nil {
		k.retry.Stop()
	}
	for _, a := range k.callers {
		resetOnClose(a.FD)
		_ = unix.Close(a.FD)
		k.s.counters.Refused.Add(1)
		k.s.counters.ended[csa.HostStopped].Add(1)
		k.s.gen.leave()
	}
	k.host.callers.Add(-int64(len(k.callers)))
	k.callers = nil
}

// resetOnClose has the peer not take the end for an answer that is empty.
func resetOnClose(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// newReader asks to be told when connections wait.
func (k *acceptor) newReader() {
	for i := range k.doors {
		k.doors[i].NewReader()
	}
}

// readBlocked says that none waits.
func (k *acceptor) readBlocked() {
	for i := range k.doors {
		k.doors[i].ReadBlocked()
	}
}

// acceptOne takes a connection from the next socket that has one. It answers EAGAIN when
// none has.
func (k *acceptor) acceptOne() (fd int, sa unix.Sockaddr, err error) {
	for range k.sockets {
		fd, sa, err = k.sockets[k.turn].Accept()
		if err != unix.EAGAIN {
			return fd, sa, err
		}
		k.turn = (k.turn + 1) % len(k.sockets)
	}
	return fd, sa, err
}

// ReadReady is the selector's notice that connections wait.
func (k *acceptor) ReadReady() { k.home.Event(k.accept) }

// Faulted goes on accepting after a panic.
func (k *acceptor) Faulted(any) {
	if !k.stopped {
		k.newReader()
	}
}

// SendReady and Exceptional have no meaning for a listening socket.
func (k *acceptor) SendReady() {}

// Exceptional is not asked for.
func (k *acceptor) Exceptional() {}

// accept takes what waits in the kernel's queue, as far as the budgets go. A
// connection that is over one of them stays in the queue: its client waits.
func (k *acceptor) accept() {
	s := k.s
	k.home.Charge(s.tenant)
	for range acceptBatch {
		if k.stopped && len(k.callers) == 0 {
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
			if k.full(s.tenant.connections.Full) {
				return
			}
			continue
		}
		if !s.host.connections.Take() {
			s.tenant.connections.Release()
			if k.full(s.host.connections.Full) {
				return
			}
			continue
		}
		if wait := max(s.tenant.accepts.Spend(0, k.home.Now()), s.tenant.Rest()); wait > 0 {
			s.putBack()
			k.retry.Reset(time.Duration(wait))
			return
		}
		a, err := k.nextCaller()
		if err != nil {
			s.putBack()
			if !k.acceptFailed(err) {
				return
			}
			continue
		}
		k.shortage = 0
		if !k.stopped { // else takeCallers has
			s.gen.join()
		}
		s.counters.accepted.Add(1)
		s.since.Came()
		if !s.WantsProxyHeader(a.Peer) && !s.TakeSource(&a, k.home.Now()) {
			// It is not one of the accepts a second, which are the others' too.
			_ = unix.Close(a.FD)
			s.putBack()
			s.gen.leave()
			continue
		}
		s.tenant.accepts.Spend(1, k.home.Now())
		tuning := &s.terms.Load().tuning
		listen.Tune(a.FD, *tuning)
		if k.queued != nil {
			_ = listen.Retune(a.FD, *k.queued, *tuning)
		}
		if s.router != nil {
			s.router.Take(a)
			continue
		}
		a.At = at
		s.host.loops[at].Connections.Add(1)
		s.crew.Assign(a)
	}
	// There may be more: a turn for the others first.
	if k.stopped {
		k.home.Post(k.accept)
	} else {
		k.newReader()
	}
}

// full deals with a lack of places. It reports false when one has been made, and else
// parks.
func (k *acceptor) full(still func() bool) bool {
	s := k.s
	if s.router != nil && s.router.Peeks() {
		switch {
		case !k.connectionWaits():
			// The next one is told of, and may find somebody who has to make room by then.
			k.readBlocked()
			k.newReader()
		case s.router.MakeRoom():
			return false
		default:
			k.retry.Reset(s.router.RoomIn())
		}
	}
	s.park(still)
	return true
}

// connectionWaits reports whether accept would answer with a connection.
func (k *acceptor) connectionWaits() bool {
	ask := make([]unix.PollFd, len(k.sockets))
	for i, socket := range k.sockets {
		ask[i] = unix.PollFd{Fd: int32(socket.FD), Events: unix.POLLIN}
	}
	n, err := unix.Poll(ask, 0)
	return err != nil || n > 0
}

// acceptFailed deals with an error of accept. It reports whether to go on.
func (k *acceptor) acceptFailed(err error) bool {
	s := k.s
	switch {
	case k.stopped:
		return false
	case err == unix.EAGAIN:
		k.queued = nil
		k.readBlocked()
		k.newReader()
		return false
	case outOf(err):
		times := s.counters.shortages.Add(1)
		if now := k.home.Now(); times == 1 || now-k.shortageLogged >= int64(shortageLogEvery) {
			k.shortageLogged = now
			s.log.Error("cannot accept connections, they wait in the kernel's queue: the system is out of descriptors or memory; raise RLIMIT_NOFILE or lower [host] connections",
				"error", err, "times_so_far", times)
		}
		k.shortage = min(max(2*k.shortage, firstShortage), lastShortage)
		k.retry.Reset(k.shortage)
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
