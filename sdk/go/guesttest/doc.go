// Package guesttest runs a handler written with package guest in an ordinary test,
// without a sandbox, a socket or a clock.
//
//	func TestGreets(t *testing.T) {
//		h := guesttest.New(t, &handler{}, guesttest.Options{Config: `{"greeting":"hi"}`})
//		p := h.Connect()
//		p.Send("PING\r\n")
//		p.Expect("hi\r\nPONG\r\n")
//		h.Advance(5 * guest.Minute)
//		p.ExpectClosed(nil)
//	}
//
// The host in memory keeps the contract of the real one: the order of the
// callbacks, the shared window (which it overwrites after each event, so that a
// handler which keeps a slice of it is found out), bounded inboxes, and what is
// left unconsumed coming again. Every method returns when there is nothing left
// to do, so a test waits for nothing.
//
// The network beyond it is the test's: what the handler dials waits in Host.Dials for
// Accept or Refuse, a handshake that it begins for Peer.Handshake, and two peers that
// it splices hear each other.
//
// An instance has one handler, so a test that uses a Host must not run in
// parallel with another one. All methods are to be called from the test's own
// goroutine, and not from inside a callback.
package guesttest
