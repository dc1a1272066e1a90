package front

import (
	"net/http"
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/internal/websocket"
)

// UpgradeReader reads the requests that WebSocket connections of one loop begin with. It is the
// loop's.
type UpgradeReader struct {
	window []byte
	// last is the last request that has become a connection. Those that are the same share it:
	// thousands of clients ask for the same path from the same page.
	last *websocket.Request
}

// UpgradeTerms are what a connection's request goes by.
type UpgradeTerms struct {
	websocket.Rules
	// Timeout is how long the request may take.
	Timeout time.Duration
}

// Before is the handler of a connection until it speaks WebSocket; then next is. Terms are asked
// for when the connection is open.
func (r *UpgradeReader) Before(next csa.Handler, terms func() *UpgradeTerms) csa.Handler {
	return &upgrading{UpgradeReader: r, next: next, ask: terms}
}

// upgrading reads the request of one connection, which it leads to its handler.
type upgrading struct {
	csa.Base // a connection that has said nothing is a health check, mostly
	*UpgradeReader
	next  csa.Handler
	ask   func() *UpgradeTerms
	terms *UpgradeTerms
}

// Open gives the peer its time.
func (u *upgrading) Open(c *csa.CSA) {
	u.terms = u.ask()
	if code := c.SetTimer(0, u.terms.Timeout); code != abi.OK {
		c.ShutdownMicroprocess(csa.TimersFull.Reason())
	}
}

// Window is as long as a request can be.
func (u *upgrading) Window(*csa.CSA) []byte {
	if most := max(u.terms.MostHead, abi.MinWindow); len(u.window) < most {
		u.UpgradeReader.window = make([]byte, most)
	}
	return u.window
}

// Data takes the request, answers it, and leaves what follows to the connection's frames.
func (u *upgrading) Data(c *csa.CSA, b []byte) int {
	request, n, answer, refusal := websocket.Upgrade(b, &u.terms.Rules)
	if n == 0 {
		return 0
	}
	if taken, _ := c.Send(answer); taken < len(answer) {
		c.ShutdownMicroprocess(csa.MemoryFull.Because("its tenant has no memory left for the answer to its request"))
		return n
	}
	c.StopTimer(0)
	if refusal != nil {
		c.Refuse(causeOf(refusal).Because(refusal.Why))
		return n
	}
	if u.last == nil || *u.last != request {
		u.UpgradeReader.last = &request
	}
	same := u.last
	if n == len(b) {
		c.AwaitFirstByte()
	}
	c.Receive(false)
	// Posted, since the handler may pass the loop on when it is opened.
	c.Loop().Post(func() {
		if !c.Over() {
			c.Rewire(u.next)
			c.StartWebSocket(same)
			c.Receive(true)
			u.next.Open(c)
		}
	})
	return n
}

// causeOf is what a refused request is counted as.
func causeOf(r *websocket.Refusal) csa.Cause {
	switch r.Status {
	case http.StatusNotFound:
		return csa.WrongPath
	case http.StatusForbidden:
		return csa.WrongOrigin
	case http.StatusRequestHeaderFieldsTooLarge:
		return csa.RequestTooLong
	}
	return csa.NotWebSocket
}

// Timer is the end of its time.
func (u *upgrading) Timer(c *csa.CSA, _ int32) { c.ShutdownMicroprocess(csa.RequestTimeout.Reason()) }
