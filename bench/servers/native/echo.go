package main

import (
	"bulkhead/abi"
	"bulkhead/csa"
)

// window is as long as that of the Wasm echo.
const window = 64 << 10

// echo sends back what comes. The connections of a loop share one, and its
// window.
type echo struct{ window []byte }

func newEcho(*csa.Loop) csa.Handler { return &echo{make([]byte, window)} }

func (e *echo) Open(*csa.CSA)          {}
func (e *echo) Window(*csa.CSA) []byte { return e.window }

// Data consumes what the inbox takes; the rest comes again after Writable.
func (e *echo) Data(c *csa.CSA, p []byte) int {
	n, _ := c.Send(p)
	return n
}

func (e *echo) Writable(*csa.CSA)           {}
func (e *echo) Secured(*csa.CSA, abi.Code)  {}
func (e *echo) EOF(c *csa.CSA)              { c.ProducerFinished() }
func (e *echo) Timer(*csa.CSA, int32)       {}
func (e *echo) Closed(*csa.CSA, csa.Reason) {}
