package csa

import (
	"net/netip"
	"slices"
	"time"

	"bulkhead/abi"
	"bulkhead/selector"
)

// attemptDelay is how long one address is tried before the next is tried beside it
// (RFC 8305 calls it the connection attempt delay).
const attemptDelay = 250 * time.Millisecond

// Address is where a socket can be connected to: IP, or, where that is not valid, the
// unix socket with this path. With UDP it is a socket for datagrams, which asks nobody:
// that is connected at once where there is a route to IP.
type Address struct {
	IP   netip.AddrPort
	Path string
	// Via, where it is valid, is connected to in place of IP, which stays who the peer is for the
	// handler and the log.
	Via netip.AddrPort
	UDP bool
}

// Dial is a TCPClient: it connects a socket to the first of several addresses that
// answers. All its methods are the loop owner's.
type Dial struct {
	loop     *Loop
	payer    Payer
	left     []Address
	attempts []*attempt
	tune     func(fd int)
	done     func(fd int, to Address, r Reason)
	next     selector.Timer // tries the next address
	limit    selector.Timer
	last     Reason
	over     bool
}

// attempt is one address that is being tried.
type attempt struct {
	dial *Dial
	to   Address
	fd   int
	d    selector.Descriptor
}

// Dial begins to connect to addresses, the best first: to the next as soon as one has
// failed, and beside one that has not answered for 250 ms. timeout bounds all of it; zero
// or less is a minute. payer pays for the loop's time that it takes. tune may set options of each
// socket before it connects, and may be nil.
//
// done is called once, on the loop, after Dial has returned, as the last thing of an event:
// with a connected, non-blocking socket that is the callee's; or
// with -1, and in r why the last address failed. It is not called after Cancel.
func (l *Loop) Dial(payer Payer, addresses []Address, timeout time.Duration, tune func(fd int), done func(fd int, to Address, r Reason)) *Dial {
	if timeout <= 0 {
		timeout = time.Minute
	}
	d := &Dial{loop: l, payer: payer, left: addresses, tune: tune, done: done, last: NotConnected.With(abi.NotFound, "there is no address to connect to")}
	l.sel.SetTimer(&d.limit, d, l.Now()+int64(timeout))
	l.sel.SetTimer(&d.next, d, l.Now()) // all is done by notices
	return d
}

// Cancel gives up. Calling it again, or when done has been called, does nothing.
func (d *Dial) Cancel() { d.finish(nil) }

// finish closes every attempt but the winner.
func (d *Dial) finish(winner *attempt) {
	d.over = true
	d.left = nil
	d.loop.sel.StopTimer(&d.next)
	d.loop.sel.StopTimer(&d.limit)
	for _, a := range d.attempts {
		d.loop.sel.Remove(&a.d)
		if a != winner {
			closeSocket(a.fd)
		}
	}
	d.attempts = nil
}

// enter begins an event of the dial's.
func (d *Dial) enter() {
	d.loop.enterEvent()
	d.loop.Charge(d.payer)
}

// Expired is the selector's notice that the next address is to be tried, or that the
// time is over.
func (d *Dial) Expired(t *selector.Timer) {
	d.enter()
	switch {
	case d.over:
	case t == &d.limit:
		d.fail(ConnectTimeout.Reason())
	default:
		d.tryNext()
	}
	d.loop.leaveEvent()
}

// fail ends the dial without a socket.
func (d *Dial) fail(r Reason) {
	d.finish(nil)
	d.done(-1, Address{}, r)
}

// Faulted says that a panic has come out of a notice of the dial's. It fails, if it is not over.
func (d *Dial) Faulted(any) {
	// In an event of its own: what is told of it may pass the loop on.
	d.loop.Post(func() {
		d.loop.Charge(d.payer)
		if !d.over {
			d.fail(HostBug.Reason())
		}
	})
}

// tryNext begins with the next address that can be begun with.
func (d *Dial) tryNext() {
	for len(d.left) > 0 {
		to := d.left[0]
		d.left = d.left[1:]
		a := &attempt{dial: d, to: to}
		connected, err := a.connect()
		switch {
		case err != nil:
			d.last = dialReason(err)
			continue
		case connected:
			d.won(a)
			return
		}
		if len(d.left) > 0 {
			d.loop.sel.SetTimer(&d.next, d, d.loop.Now()+int64(attemptDelay))
		}
		return
	}
	if len(d.attempts) == 0 {
		d.fail(d.last)
	}
}

// connect makes the socket and connects it. After an error no socket is left.
func (a *attempt) connect() (connected bool, err error) {
	d := a.dial
	if a.fd, err = newSocket(a.to); err != nil {
		return false, err
	}
	d.attempts = append(d.attempts, a)
	if d.tune != nil {
		d.tune(a.fd)
	}
	connected, err = connectSocket(a.fd, a.to)
	if err == nil && !connected {
		if err = d.loop.sel.Add(&a.d, a.fd, a); err == nil {
			a.d.WriteBlocked() // until the kernel says that it is connected
			a.d.NewWriter()
			a.d.NewExceptional()
		}
	}
	if err != nil {
		a.drop()
	}
	return connected, err
}

// drop closes the socket of an attempt that has failed.
func (a *attempt) drop() {
	d := a.dial
	d.loop.sel.Remove(&a.d)
	closeSocket(a.fd)
	d.attempts = slices.DeleteFunc(d.attempts, func(other *attempt) bool { return other == a })
}

// won ends the dial with a connected socket.
func (d *Dial) won(a *attempt) {
	d.finish(a)
	d.done(a.fd, a.to, Orderly)
}

// ReadReady is never asked for.
func (a *attempt) ReadReady() {}

// SendReady is the selector's notice that the attempt is over, one way or the other.
func (a *attempt) SendReady() { a.notice() }

// Exceptional is its notice that it has failed.
func (a *attempt) Exceptional() { a.notice() }

// Faulted says that a panic has come out of a notice of the attempt's.
func (a *attempt) Faulted(v any) { a.dial.Faulted(v) }

func (a *attempt) notice() {
	a.dial.enter()
	a.look()
	a.dial.loop.leaveEvent()
}

func (a *attempt) look() {
	d := a.dial
	if d.over {
		return
	}
	connected, err := connectedSocket(a.fd, a.to)
	switch {
	case err != nil:
		d.failed(a, err)
	case connected:
		d.won(a)
	default:
		a.d.WriteBlocked()
		a.d.NewWriter()
		a.d.NewExceptional()
	}
}

// failed goes on with the next address at once.
func (d *Dial) failed(a *attempt, err error) {
	d.last = dialReason(err)
	a.drop()
	d.loop.sel.StopTimer(&d.next)
	d.tryNext()
}
