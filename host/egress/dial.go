package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
)

// DefaultStagger is how long a connection attempt goes on alone before the
// next address is tried beside it: what RFC 8305 recommends.
const DefaultStagger = 250 * time.Millisecond

// Gate bounds how many dials may be under way. A *budget.Count is one. It must
// be good for any goroutine.
type Gate interface {
	// Take takes a place, or reports false when all are taken.
	Take() bool
	// Release gives a place back.
	Release()
}

// Enter takes a place in each gate, or, when one is full, in none: then the
// error is an *Error of the kind Quota. leave gives the places back; it must
// be called once, and is nil with an error.
//
// Dialer does this by itself. It is for those who resolve a name here and
// connect on their own, and want both counted as one pending dial.
func Enter(gates ...Gate) (leave func(), err error) {
	for i, g := range gates {
		if !g.Take() {
			release(gates[:i])
			return nil, &Error{Kind: Quota, Target: "a peer", Err: errors.New("too many dials are under way; wait until one has ended, or raise their limit")}
		}
	}
	return func() { release(gates) }, nil
}

func release(gates []Gate) {
	for _, g := range gates {
		g.Release()
	}
}

// Dialer connects the handlers of one tenant. It must not change once it is in
// use; then any goroutine may use it. Its methods block until they have
// succeeded or failed or ctx has ended, so they are not for a loop; a ctx
// without a deadline leaves the time to the kernel, which is minutes.
//
// A connection that it returns is the caller's, and ctx has no power over it
// any more. The errors are *Error.
type Dialer struct {
	// Resolver looks names up; nil is net.DefaultResolver. Tenants should
	// have one that Share made in common.
	Resolver Resolver
	// Gates bound the dials under way, usually one of the process and one of
	// the tenant. A dial holds its places from before the lookup until it is
	// connected or has failed.
	Gates []Gate
	// Stagger is how long an attempt goes on before the next begins beside
	// it; one that fails makes way at once. Zero is DefaultStagger; less than
	// zero begins all at once.
	Stagger time.Duration
}

// Connect finds the addresses of t and connects to one of them, or to its Unix
// socket. The connection is a *net.TCPConn or a *net.UnixConn; for tls it is
// TCP too, and the handshake is the caller's. A target of udp has no connection, and is
// Invalid. What p does not list costs neither a place in the gates nor a query.
func (d *Dialer) Connect(ctx context.Context, p *Policy, t Target) (net.Conn, error) {
	if t.network == "udp" {
		return nil, fail(Invalid, t, "nothing is connected over UDP; send to what Resolve returns")
	}
	if err := p.Check(t); err != nil {
		return nil, err
	}
	leave, err := d.enter(t)
	if err != nil {
		return nil, err
	}
	defer leave()
	if t.network == "unix" {
		return orNil(dialUnix(ctx, p, t))
	}
	addrs, err := p.Resolve(ctx, d.Resolver, t)
	if err != nil {
		return nil, err
	}
	return orNil(d.dial(ctx, t.String(), addrs))
}

// Dial connects to the first of addrs that answers. They should be what
// Resolve returned, since they are dialled without another look. No attempt is
// left behind when it returns, and at most len(addrs) sockets are open before.
//
// When all fail, the kind is that of the attempt that came nearest: Quota
// (nothing can be said of the peer), then Refused, Timeout, Denied,
// Unreachable. No addresses, or one without a port, are Invalid.
func (d *Dialer) Dial(ctx context.Context, addrs []netip.AddrPort) (*net.TCPConn, error) {
	what := "no address"
	for _, a := range addrs {
		if what = a.String(); !a.IsValid() || a.Port() == 0 || a.Addr().Unmap().IsUnspecified() {
			return nil, &Error{Kind: Invalid, Target: what, Err: errors.New("that is no address to dial; pass what Resolve returned")}
		}
	}
	if len(addrs) == 0 {
		return nil, &Error{Kind: Invalid, Target: what, Err: errors.New("there is nothing to dial; pass what Resolve returned")}
	}
	leave, err := Enter(d.Gates...)
	if err != nil {
		return nil, err
	}
	defer leave()
	if len(addrs) > 1 {
		what = fmt.Sprintf("one of %d addresses", len(addrs))
	}
	return d.dial(ctx, what, addrs)
}

// DialUnix connects to the Unix socket of t, a stream socket. The path that t
// has must be listed, and so must the path of the socket it leads to when
// links on the way are followed. On Linux the very socket whose path was
// checked is connected to, whatever becomes of the path meanwhile; elsewhere
// it is the checked path, and who may write to its folders can still exchange
// what is there. ctx does not bound the opening of a path on a file system
// that hangs.
func (d *Dialer) DialUnix(ctx context.Context, p *Policy, t Target) (*net.UnixConn, error) {
	if t.network != "unix" {
		return nil, fail(Invalid, t, "it is not a unix target; use Connect")
	}
	if err := p.Check(t); err != nil {
		return nil, err
	}
	leave, err := d.enter(t)
	if err != nil {
		return nil, err
	}
	defer leave()
	return dialUnix(ctx, p, t)
}

func (d *Dialer) enter(t Target) (leave func(), err error) {
	leave, err = Enter(d.Gates...)
	if e, ok := errors.AsType[*Error](err); ok {
		e.Target = t.String()
	}
	return leave, err
}

func (d *Dialer) dial(ctx context.Context, what string, addrs []netip.AddrPort) (*net.TCPConn, error) {
	stagger := d.Stagger
	if stagger == 0 {
		stagger = DefaultStagger
	}
	conn, err := race(ctx, addrs, max(stagger, 0), dialTCP)
	if err != nil {
		return nil, &Error{Kind: worst(err), Target: what, Err: err}
	}
	return conn, nil
}

func dialTCP(ctx context.Context, addr netip.AddrPort) (*net.TCPConn, error) {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	var nd net.Dialer
	nd.SetMultipathTCP(false) // it would take socket options away
	network := "tcp6"
	if addr.Addr().Is4() {
		network = "tcp4"
	}
	conn, err := nd.DialTCP(ctx, network, netip.AddrPort{}, addr)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = context.DeadlineExceeded // the socket's deadline is ctx's, and may be noticed first
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", addr, cause(err))
	}
	return conn, nil
}

// orNil keeps a nil pointer from becoming a net.Conn that is not nil.
func orNil[C net.Conn](c C, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}
