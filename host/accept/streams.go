package accept

import (
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"bulkhead/csa"
	"bulkhead/host/listen"
	"bulkhead/host/loops"
	"bulkhead/selector"

	"golang.org/x/sys/unix"
)

// Streams are listening sockets of one address, and the loop that accepts on them.
type Streams struct {
	home    *loops.Loop
	address Address
	options listen.Options   // what the sockets have; of who has the right to reload
	sockets []*listen.Socket // more than one for localhost
	queued  *atomic.Int64    // counts those in arrived, of all addresses

	// The rest is the home loop's.
	server      Server
	descriptors []selector.Descriptor // of the sockets
	turn        int                   // the socket that is asked first
	retry       *csa.Timer            // accepts again after a wait; nil: it is not registered
	shortage    time.Duration         // the wait after the last shortage; 0: there is none
	// shortageLogged is when the log last had a line about one.
	shortageLogged int64
	stopped        bool
	earlier        *listen.Options // what those have who wait in the kernel's queue; nil: what options is
	arrived        []arrival       // who waited in the kernel's queue when it stopped
}

var _ Sockets = (*Streams)(nil)

// arrival is a connection that was accepted and has no place.
type arrival struct {
	fd       int
	peer     netip.AddrPort
	accepted int64 // on the home loop's clock
}

const (
	// batch is how many connections are accepted in one turn of the
	// loop: what takes some 200 µs.
	batch = 16
	// The wait after a shortage of descriptors or memory doubles from the
	// first to the last value.
	firstShortage = 20 * time.Millisecond
	lastShortage  = time.Second
)

// OpenStreams opens the listening sockets of an address, on which nothing is accepted yet. s is
// whose the first connection is; home accepts. queued counts connections, of all addresses, that
// were accepted when their socket was closed and wait for a place. The error leaves nothing open.
func OpenStreams(s Server, home *loops.Loop, at Address, o listen.Options, queued *atomic.Int64) (*Streams, error) {
	sockets, err := listen.OpenAll(at.Network, at.Host, o)
	if err != nil {
		return nil, err
	}
	return &Streams{server: s, home: home, address: at, options: o, sockets: sockets, queued: queued}, nil
}

// Address is what they were opened by.
func (k *Streams) Address() Address { return k.address }

// Listening is where they listen.
func (k *Streams) Listening() (all []string) {
	for _, socket := range k.sockets {
		all = append(all, socket.Addr)
	}
	return all
}

// Options are those that they have.
func (k *Streams) Options() listen.Options { return k.options }

// Descriptors are those of the sockets that are open.
func (k *Streams) Descriptors() (all []int) {
	k.home.Call(func() {
		if !k.stopped {
			for _, socket := range k.sockets {
				all = append(all, socket.FD)
			}
		}
	})
	return all
}

// Register has the selector know the sockets.
func (k *Streams) Register() (err error) {
	k.home.Call(func() {
		if k.stopped || k.retry != nil {
			return
		}
		k.retry = k.home.NewTimer(k.Accept)
		k.descriptors = make([]selector.Descriptor, len(k.sockets))
		for i, socket := range k.sockets {
			if err == nil {
				err = k.home.Selector().Add(&k.descriptors[i], socket.FD, k)
			}
		}
	})
	return err
}

// Begin starts to accept.
func (k *Streams) Begin() error {
	if err := k.Register(); err != nil {
		return err
	}
	k.home.Call(func() {
		if !k.stopped {
			k.newReader()
		}
	})
	return nil
}

// Serve has all who come from now on be the server's.
func (k *Streams) Serve(s Server) {
	k.home.Call(func() {
		k.server = s
		if !k.stopped {
			k.Accept()
		}
	})
}

// Serving is whose the next connection is; nil: nothing is accepted yet. It is called on the home
// loop.
func (k *Streams) Serving() Server {
	if k.retry == nil {
		return nil
	}
	return k.server
}

// Home is the loop that accepts.
func (k *Streams) Home() *loops.Loop { return k.home }

// Retune gives the open sockets other options.
func (k *Streams) Retune(before, now listen.Options) (err error) {
	k.options = now
	k.home.Call(func() {
		if k.stopped {
			return
		}
		for _, socket := range k.sockets {
			err = errors.Join(err, socket.Change(k.address.Network, before, now))
		}
		k.earlier = &before
	})
	return err
}

// StopAccepting closes the sockets, and who waits for a place.
func (k *Streams) StopAccepting() {
	k.home.Call(func() {
		k.closeSockets()
		k.giveUp()
	})
}

// Close does the same.
func (k *Streams) Close(csa.Reason) { k.StopAccepting() }

// closeSockets closes the listening sockets, on the home loop.
func (k *Streams) closeSockets() {
	if k.stopped {
		return
	}
	k.stopped = true
	if k.retry != nil && len(k.arrived) == 0 {
		k.retry.Stop()
	}
	for i := range k.descriptors {
		k.home.Selector().Remove(&k.descriptors[i])
	}
	for _, socket := range k.sockets {
		_ = socket.Close()
	}
}

// Drain accepts no more, but who waits in the kernel's queue.
func (k *Streams) Drain(unrouted bool) {
	k.home.Call(func() {
		if k.stopped {
			return
		}
		if k.server.HasRoutes() {
			k.Accept() // who has said where it belongs goes there
		} else {
			k.emptyQueue()
		}
		k.closeSockets()
		if unrouted {
			k.server.StopRouting()
		}
		k.Accept()
	})
}

// emptyQueue accepts who waits in the kernel's queue, beyond what the budgets allow, so that they
// are not reset when it is closed: they wait here instead. As many are taken as may wait there.
func (k *Streams) emptyQueue() {
	for range k.server.Options().Backlog + 1 {
		fd, sa, err := k.acceptOne()
		switch {
		case err == nil:
			k.queued.Add(1)
			k.server.Join()
			k.arrived = append(k.arrived, arrival{fd, csa.AddrPortOf(sa), k.home.Now()})
		case err == unix.ECONNABORTED || err == unix.EINTR:
		default:
			return
		}
	}
}

// giveUp closes those who have found no place.
func (k *Streams) giveUp() {
	if k.retry != nil {
		k.retry.Stop()
	}
	for _, a := range k.arrived {
		listen.ResetOnClose(a.fd)
		_ = unix.Close(a.fd)
		k.server.GiveUp(a.peer, a.accepted)
	}
	k.queued.Add(-int64(len(k.arrived)))
	k.arrived = nil
}

// next is the next connection; the error is EAGAIN when there is none.
func (k *Streams) next() (a arrival, err error) {
	if k.stopped {
		if len(k.arrived) == 0 {
			return a, unix.EAGAIN
		}
		a = k.arrived[0]
		k.arrived = k.arrived[1:]
		k.queued.Add(-1)
		return a, nil
	}
	fd, sa, err := k.acceptOne()
	if err != nil {
		return a, err
	}
	return arrival{fd, csa.AddrPortOf(sa), k.home.Now()}, nil
}

// acceptOne takes a connection from the next socket that has one. It answers EAGAIN when
// none has.
func (k *Streams) acceptOne() (fd int, sa unix.Sockaddr, err error) {
	for range k.sockets {
		fd, sa, err = k.sockets[k.turn].Accept()
		if err != unix.EAGAIN {
			return fd, sa, err
		}
		k.turn = (k.turn + 1) % len(k.sockets)
	}
	return fd, sa, err
}

// newReader asks to be told when connections wait.
func (k *Streams) newReader() {
	for i := range k.descriptors {
		k.descriptors[i].NewReader()
	}
}

// readBlocked says that none waits.
func (k *Streams) readBlocked() {
	for i := range k.descriptors {
		k.descriptors[i].ReadBlocked()
	}
}

// ReadReady is the selector's notice that connections wait.
func (k *Streams) ReadReady() { k.home.Event(k.Accept) }

// Faulted goes on accepting after a panic.
func (k *Streams) Faulted(any) {
	if !k.stopped {
		k.newReader()
	}
}

// SendReady has no meaning for a listening socket.
func (k *Streams) SendReady() {}

// Exceptional is not asked for.
func (k *Streams) Exceptional() {}

// Accept takes what waits in the kernel's queue, as far as the server has places. Whoever finds
// none stays in the queue: its client waits. It is called on the home loop.
func (k *Streams) Accept() {
	s := k.server
	k.home.Charge(s.Budget())
	for range batch {
		if k.stopped && len(k.arrived) == 0 {
			return
		}
		at, next := s.Reserve(k)
		switch next {
		case Wait:
			return
		case Again:
			continue
		}
		a, err := k.next()
		if err != nil {
			s.PutBack()
			if !k.failed(err) {
				return
			}
			continue
		}
		k.shortage = 0
		if !k.stopped { // else it joined when the queue was emptied
			s.Join()
		}
		s.Take(k, a.fd, a.peer, a.accepted, at)
	}
	// There may be more: a turn for the others first.
	if k.stopped {
		k.home.Post(k.Accept)
	} else {
		k.newReader()
	}
}

// Tune gives a connection the options of its server. It is for Server.Take.
func (k *Streams) Tune(fd int, o *listen.Options) {
	listen.Tune(fd, *o)
	if k.earlier != nil {
		_ = listen.Retune(fd, *k.earlier, *o)
	}
}

// AcceptIn has Accept be called after a time. It is for Server.Reserve.
func (k *Streams) AcceptIn(d time.Duration) { k.retry.Reset(d) }

// TellNext has Accept be called when the next connection comes. It is for Server.Reserve, when
// Queued says that there is none.
func (k *Streams) TellNext() {
	k.readBlocked()
	k.newReader()
}

// Queued reports whether a connection waits in the kernel's queue. It is for Server.Reserve.
func (k *Streams) Queued() bool {
	ask := make([]unix.PollFd, len(k.sockets))
	for i, socket := range k.sockets {
		ask[i] = unix.PollFd{Fd: int32(socket.FD), Events: unix.POLLIN}
	}
	n, err := unix.Poll(ask, 0)
	return err != nil || n > 0
}

// failed deals with an error of accept. It reports whether to go on.
func (k *Streams) failed(err error) bool {
	switch {
	case k.stopped:
		return false
	case err == unix.EAGAIN:
		k.earlier = nil
		k.TellNext()
		return false
	case outOf(err):
		times := k.server.CountShortage()
		if now := k.home.Now(); times == 1 || now-k.shortageLogged >= int64(logEvery) {
			k.shortageLogged = now
			k.server.Log().Error("cannot accept connections, they wait in the kernel's queue: the system is out of descriptors or memory; raise RLIMIT_NOFILE or lower [host] connections",
				"error", err, "times_so_far", times)
		}
		k.shortage = min(max(2*k.shortage, firstShortage), lastShortage)
		k.retry.Reset(k.shortage)
		return false
	case err == unix.EINVAL || err == unix.EBADF || err == unix.ENOTSOCK:
		k.server.Log().Error("the listening socket is broken; nothing more is accepted on it", "error", err)
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
