package front

import (
	"bulkhead/abi"
	"bulkhead/csa"
)

// Handshaking is the handler of a connection until its TLS handshake is over; then the one that is
// embedded is.
type Handshaking struct {
	csa.Handler
	// Handshake says how, when the connection is opened.
	Handshake func() csa.Handshake
	// Dialled says that the handler hears of the end also when the connection never was
	// secured.
	Dialled bool
	// Early says that the handshake may have begun to come.
	Early bool
}

// Open starts the handshake.
func (e *Handshaking) Open(c *csa.CSA) {
	h := e.Handshake()
	h.Early = e.Early
	if code := c.MakeSSL(h); code != abi.OK {
		c.ShutdownMicroprocess(csa.HandshakesFull.With(code, "there is no room for another TLS handshake"))
	}
}

// Secured hands over.
func (e *Handshaking) Secured(c *csa.CSA, code abi.Code) {
	if code == abi.OK {
		c.Rewire(e.Handler)
		e.Handler.Open(c)
	}
}

// Window is empty: nothing comes to the handler yet.
func (e *Handshaking) Window(*csa.CSA) []byte { return nil }

// Writable comes to nobody yet.
func (e *Handshaking) Writable(*csa.CSA) {}

// EOF is the end of a connection that has sent nothing.
func (e *Handshaking) EOF(c *csa.CSA) { c.ProducerFinished() }

// Closed is the end of a connection that was not secured.
func (e *Handshaking) Closed(c *csa.CSA, r csa.Reason) {
	if e.Dialled {
		e.Handler.Closed(c, r)
	}
}
