package examples_test

import (
	"net"
	"testing"

	"bulkhead/internal/hosttest"
)

// What a Go guest panics with is in the log with its text and the lines of its source, by Go's own
// runtime, and the line of the trap has the functions by the names in the module.
func TestPanicsOfGo(t *testing.T) {
	h, lines := serveOne(t, "guest", "testdata/panics/panics.wasm")
	for _, c := range []struct {
		verb string
		said []string
		in   string
	}{
		{"panic", []string{"panic: no such verb: panic", "main.handler.Data(", "panics/main.go:16 "}, `"panic < main.handler.Data < `},
		{"nil", []string{"invalid memory address or nil pointer dereference", "main.lookUp(", "panics/main.go:23 ", "panics/main.go:14 "}, `"panic < main.lookUp < main.handler.Data < `},
	} {
		conn := hosttest.Dial(t, h.Addr("guest"))
		hosttest.Say(t, conn, c.verb)
		wait(t, conn)
		for _, said := range c.said {
			lines.Wait("handler says", said)
		}
		lines.Wait("a handler trapped", c.in)
	}
}

// wait reads to the end, however the connection ends.
func wait(t *testing.T, c net.Conn) {
	t.Helper()
	for b := make([]byte, 100); ; {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}
