//go:build !wasip1

package guest

import "bulkhead/sdk/go/internal/seam"

// Outside a sandbox the host is whatever a test has put there: see package guesttest. The
// functions that go there are in imports_other.go, and the callbacks come from there by these.

func init() {
	seam.Start = func() int32 { return g.start() }
	seam.Window = func() []byte { return g.window }
	seam.Reseed = func() { g.reseed() }
	seam.Open = func(conn int32) int32 { return g.open(conn) }
	seam.Data = func(conn, n int32) int32 { return g.data(conn, n) }
	seam.Writable = func(conn int32) { g.writable(conn) }
	seam.Secured = func(conn, status int32) { g.secured(conn, status) }
	seam.EOF = func(conn int32) { g.eof(conn) }
	seam.Closed = func(conn, reason int32) { g.closed(conn, reason) }
	seam.Timer = func(conn, token int32) { g.timer(conn, token) }
	seam.Result = func(token, status int32, revision int64, n int32) { g.result(token, status, revision, n) }
	seam.Stop = func() { g.stop() }
	seam.Swap = func(handler any) func() {
		old := g
		g = instance{size: old.size}
		if h, ok := handler.(Handler); ok {
			g.register(h)
		}
		return func() { g = old }
	}
}
