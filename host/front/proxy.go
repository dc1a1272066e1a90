package front

import (
	"net/netip"
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/host/proxy"
)

// proxyTimeout is how long a load balancer may take to say whose connection it
// passes on. It has no reason to wait.
const proxyTimeout = 5 * time.Second

// ProxyReader reads the PROXY headers that connections of one loop begin with. It is the loop's.
type ProxyReader struct {
	takeSource func(c *csa.CSA, source netip.AddrPort) bool
	window     []byte // nil until there is a connection
}

// NewProxyReader makes one. takeSource takes a place for a connection among those of the address
// that its header says, or reports false; then the connection is closed.
func NewProxyReader(takeSource func(c *csa.CSA, source netip.AddrPort) bool) *ProxyReader {
	return &ProxyReader{takeSource: takeSource}
}

// Before is the handler of a connection until its header is there; then next is.
func (r *ProxyReader) Before(next csa.Handler) csa.Handler {
	return &proxyConn{ProxyReader: r, next: next}
}

// proxyConn reads the header of one connection, which it leads to its handler.
type proxyConn struct {
	csa.Base // a connection that has said nothing is a health check, mostly
	*ProxyReader
	next csa.Handler
}

// Open gives the peer its time.
func (p *proxyConn) Open(c *csa.CSA) { _ = c.SetTimer(0, proxyTimeout) }

// Window is as long as a header can be.
func (p *proxyConn) Window(*csa.CSA) []byte {
	if p.window == nil {
		p.ProxyReader.window = make([]byte, max(proxy.MaxLength, abi.MinWindow))
	}
	return p.window
}

// Data takes the header, and leaves what follows to the handler.
func (p *proxyConn) Data(c *csa.CSA, b []byte) int {
	h, n, err := proxy.Parse(b)
	switch {
	case err != nil:
		p.refuse(c, err.Error())
	case n > 0 && !h.Local && !p.takeSource(c, h.Source):
		c.ShutdownMicroprocess(csa.SourceFull.Reason())
	case n > 0:
		if !h.Local {
			c.SetAddresses(h.Source, h.Destination)
		}
		c.StopTimer(0)
		if n == len(b) {
			c.AwaitFirstByte()
		}
		c.Receive(false)
		// Posted, since the handler may pass the loop on when it is opened.
		c.Loop().Post(func() {
			if !c.Over() {
				c.Rewire(p.next)
				c.Receive(true)
				p.next.Open(c)
			}
		})
	}
	return n
}

func (p *proxyConn) refuse(c *csa.CSA, why string) {
	c.ShutdownMicroprocess(csa.ProxyHeader.Because(csa.ProxyHeader.Info().Words + ", and " + why))
}

// Timer is the end of its time.
func (p *proxyConn) Timer(c *csa.CSA, _ int32) { p.refuse(c, "it does not come") }

// WithAddresses is the handler of a connection whose addresses were said by a header that was
// read before it came to its loop; then the one that is embedded is.
type WithAddresses struct {
	csa.Handler
	Peer, Local netip.AddrPort
}

// Open sets the addresses, and leads the connection to its handler.
func (w *WithAddresses) Open(c *csa.CSA) {
	c.SetAddresses(w.Peer, w.Local)
	c.Rewire(w.Handler)
	w.Handler.Open(c)
}

// ProxyWriter is the handler of a connection to an upstream that is to begin with a PROXY
// header; then the one that is embedded is.
type ProxyWriter struct {
	csa.Handler
	Header []byte
}

// Open sends the header.
func (w *ProxyWriter) Open(c *csa.CSA) {
	c.Send(w.Header)
	c.Rewire(w.Handler)
	w.Handler.Open(c)
}
