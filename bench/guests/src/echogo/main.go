// Echogo is the echo in Go, with sdk/go: what an instance of a Go guest costs that
// does nothing else.
package main

import "bulkhead/sdk/go"

func init() { guest.Register(&echo{}) }

// main is not run in a guest; see init.
func main() {}

type echo struct{ guest.Base }

// Data sends back what has come, as far as the inbox takes it.
func (*echo) Data(c *guest.Conn, p []byte) (int, error) { return c.Send(p) }
