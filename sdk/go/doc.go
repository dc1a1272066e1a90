// Package guest is the guest library for handlers written in Go: an author
// writes a type with a few callbacks, registers it, and never sees a pointer.
//
//	package main
//
//	import "bulkhead/sdk/go"
//
//	type echo struct{ guest.Base }
//
//	func (echo) Data(c *guest.Conn, p []byte) (int, error) { return c.Send(p) }
//
//	func init() { guest.Register(echo{}) }
//
//	func main() {}
//
// It is built with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o echo.wasm .
//
// In this build mode main is never run, so a handler is registered from an init
// function.
//
// # One thing at a time
//
// The host calls one callback at a time, and everything in this package is to be
// used from within one. A callback has to be short, because the other
// connections of the instance wait for it. Goroutines that are ready go on at the
// end of a callback, until they wait; what waits for a time goes on with the first
// callback after that, so use timers. A callback may not wait for what only a later
// one brings.
//
// A panic ends the instance, with all its connections; what it prints goes to
// the tenant's log, as does everything else that is written to standard output
// and standard error.
//
// # Size
//
// The package imports neither time, which makes a guest a seventh larger, nor
// fmt, which makes it two fifths larger, and durations here are its own. A
// handler may import what it likes.
//
// # Tests
//
// On any other system than wasip1 the package builds as well, and stands on an
// in-memory host: see package guesttest.
package guest
