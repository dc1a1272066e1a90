// Command panics is a guest that panics, at the verb panic, or where Go's runtime does, at nil.
package main

import "bulkhead/sdk/go"

type handler struct{ guest.Base }

var tables map[string]*[4]int

// Data answers the verbs that it knows.
func (handler) Data(c *guest.Conn, p []byte) (int, error) {
	switch verb := string(p); verb {
	case "nil":
		return lookUp(verb), nil
	case "panic":
		panic("no such verb: " + verb)
	}
	_, err := c.Send(p)
	return len(p), err
}

//go:noinline
func lookUp(verb string) int { return tables[verb][2] }

func init() { guest.Register(handler{}) }

func main() {}
