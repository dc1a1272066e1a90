// Package seam joins package guest, outside a sandbox, to a host in the same
// process. It exists so that neither has to show the other's inside to authors.
package seam

// Host is where the host functions of package guest go; nil: nowhere.
var Host Functions

// The exports of package guest, which sets them. They are nil inside a sandbox.
var (
	Start    func() int32
	Window   func() []byte
	Reseed   func()
	Open     func(conn int32) int32
	Data     func(conn, n int32) int32
	Writable func(conn int32)
	Secured  func(conn, status int32)
	EOF      func(conn int32)
	Closed   func(conn, reason int32)
	Timer    func(conn, token int32)
	Result   func(token, status int32, revision int64, n int32)
	Stop     func()

	// Swap makes handler, a guest.Handler, the one of a fresh instance, which
	// has not started; what it returns brings the old instance back.
	Swap func(handler any) (restore func())
)
