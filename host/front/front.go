// Package front has what happens to a connection before its handler: which route its first bytes
// take, the header of the PROXY protocol, TLS, and the request for WebSocket.
//
// A Router looks at connections that are not on a loop yet. The other parts are handlers, each of
// which leads its connection to the next one when it has done its work. What a Router needs of its
// servers is the interface Site.
package front

import (
	"net/netip"
	"time"

	"bulkhead/csa"
	"bulkhead/host/arriving"
	"bulkhead/host/config"
	"bulkhead/host/handlers"
	"bulkhead/host/loops"
)

// Site is the server of a listener, or of one of its routes, as a router sees it. All methods are
// called on the home loop, which a listener has in common with its routes, and do not block.
type Site interface {
	// Config is how the listener, or route, was configured. A router reads its rules alone, which
	// are not changed.
	Config() *config.Listener
	// RouteTimeout is how long a connection may be without a route, and MostConnections how many
	// connections the tenant may have. Both may change.
	RouteTimeout() time.Duration
	MostConnections() int
	// Home is the loop that the listener accepts on.
	Home() *loops.Loop
	// Budget is its tenant's.
	Budget() csa.Budget

	// WantsProxyHeader reports whether connections from an address begin with a PROXY header.
	WantsProxyHeader(peer netip.AddrPort) bool
	// TakeSource takes a place for an arrival among those of its peer's address, and notes that
	// in it. Where there is none, it counts and logs that, and reports false.
	TakeSource(a *handlers.Arrival, now int64) bool

	// Enter has a connection of the listener's become the site's, and provides it with a handler.
	// It reports false when there is no place: then Router.Resume is called when there may be
	// one, or has to be called after wait, in nanoseconds, if that is not zero.
	Enter(a handlers.Arrival) (ok bool, wait int64)
	// CountRefused counts and logs the end of a connection that the site has no place for.
	CountRefused(a *handlers.Arrival, why csa.Reason)
	// CountUnrouted counts and logs the end of a connection of the listener's without a route.
	CountUnrouted(a *handlers.Arrival, why csa.Reason, args ...any)
	// Discard closes a connection of the listener's that did not become a site's, and gives its
	// places back.
	Discard(a handlers.Arrival)
}

// HandlerOf is the handler that a connection has, or will have when those of this package have done
// their work. It is called on the connection's loop.
func HandlerOf(c *csa.CSA) csa.Handler {
	h := c.Handler()
	for {
		switch e := h.(type) {
		case *proxyConn:
			h = e.next
		case *Handshaking:
			h = e.Handler
		case *upgrading:
			h = e.next
		default:
			return h
		}
	}
}

// Awaits is what the peer has to send before a connection's handler hears of it; false: nothing. It
// is called on the connection's loop.
func Awaits(c *csa.CSA) (what arriving.Awaits, is bool) {
	switch c.Handler().(type) {
	case *proxyConn:
		return arriving.ProxyHeader, true
	case *upgrading:
		return arriving.Request, true
	}
	return 0, false
}
