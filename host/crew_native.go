package host

import (
	"bulkhead/csa"
	"bulkhead/plugins"
)

// Native makes the handler for the connections that a listener has on one
// loop; it is called once for each loop, on that loop. The handler is a Go
// value of the embedding program instead of a plugin's instance.
type Native func(l *csa.Loop) csa.Handler

// nativeCrew serves a listener with native handlers, one a loop.
type nativeCrew struct {
	s        *server
	handlers []csa.Handler
}

func newNativeCrew(s *server, native Native) *nativeCrew {
	n := &nativeCrew{s, make([]csa.Handler, len(s.host.loops))}
	for i, l := range s.host.loops {
		l.call(func() { n.handlers[i] = native(l.Loop) })
	}
	return n
}

func (n *nativeCrew) place() int {
	return leastLoaded(n.s.host.loops, anyLoop)
}

func (n *nativeCrew) take(a arrival) {
	n.s.handOver(a, func() csa.Handler { return n.handlers[a.at] })
}

func (n *nativeCrew) peer(at int) csa.Handler { return n.handlers[at] }

func (n *nativeCrew) release(csa.Handler) {}

func (n *nativeCrew) begin()              {}
func (n *nativeCrew) stop()               {}
func (n *nativeCrew) stopOne(csa.Handler) {}
func (n *nativeCrew) close()              {}

func (*nativeCrew) hold(*plugins.Instance, int) {}
