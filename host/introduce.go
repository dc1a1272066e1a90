package host

import (
	"net/netip"
	"time"

	"bulkhead/csa"
	"bulkhead/host/proxy"
)

// introductionTimeout is how long a load balancer may take to say whose connection it
// passes on. It has no reason to wait.
const introductionTimeout = 5 * time.Second

// introduced is the handler of a connection that has to begin with a PROXY header, until
// that is there. The connections of one loop share it.
type introduced struct {
	s      *server
	window []byte
}

// introduction is the same for one connection, which it leads to its handler.
type introduction struct {
	csa.Base // a connection that has said nothing is a health check, mostly
	*introduced
	next csa.Handler
}

// Open gives the peer its time.
func (i *introduction) Open(c *csa.CSA) { _ = c.SetTimer(0, introductionTimeout) }

// Window is as long as a header can be.
func (i *introduction) Window(*csa.CSA) []byte { return i.window }

// Data takes the header, and leaves the rest to the handler.
func (i *introduction) Data(c *csa.CSA, p []byte) int {
	h, n, err := proxy.Parse(p)
	switch {
	case err != nil:
		i.refuse(c, err.Error())
	case n > 0 && !h.Local && !i.s.sourceOf(c, h.Source):
		c.ShutdownMicroprocess(csa.SourceFull.Reason())
	case n > 0:
		if !h.Local {
			c.SetAddresses(h.Source, h.Destination)
		}
		c.StopTimer(0)
		if n == len(p) {
			c.AwaitFirstByte()
		}
		c.Receive(false)
		// Posted, since the handler may pass the loop on when it is opened.
		c.Loop().Post(func() {
			if !c.Over() {
				c.Rewire(i.next)
				c.Receive(true)
				i.next.Open(c)
			}
		})
	}
	return n
}

func (i *introduction) refuse(c *csa.CSA, why string) {
	c.ShutdownMicroprocess(csa.ProxyHeader.Because(csa.ProxyHeader.Info().Words + ", and " + why))
}

// Timer is the end of its time.
func (i *introduction) Timer(c *csa.CSA, _ int32) { i.refuse(c, "it does not come") }

// addressed is the handler of a connection whose addresses have been said by a header that was
// read before it came to its loop; then next is.
type addressed struct {
	csa.Handler // next
	peer, local netip.AddrPort
}

// Open sets the addresses, and leads it to its handler.
func (a *addressed) Open(c *csa.CSA) {
	c.SetAddresses(a.peer, a.local)
	c.Rewire(a.Handler)
	a.Handler.Open(c)
}

// introduces is the handler of a connection to an upstream that is to begin with a PROXY
// header; then next is.
type introduces struct {
	csa.Handler // next
	header      []byte
}

// Open sends the header.
func (i *introduces) Open(c *csa.CSA) {
	c.Send(i.header)
	c.Rewire(i.Handler)
	i.Handler.Open(c)
}
