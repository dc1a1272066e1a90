package csa

import "bulkhead/abi"

// Base is to be embedded in a Handler, which then has to say only what it does otherwise. By itself it
// reads nothing, for want of a window, and so does not hear that the peer has finished: a handler that
// reads has Window and Data of its own. Then it closes the connection when the peer has finished
// sending, after what is unsent is sent. It does nothing else.
type Base struct{}

var _ Handler = Base{}

// Open accepts the connection.
func (Base) Open(*CSA) {}

// Window gives no memory, so that nothing is read.
func (Base) Window(*CSA) []byte { return nil }

// Data consumes nothing.
func (Base) Data(*CSA, []byte) int { return 0 }

// Writable does nothing.
func (Base) Writable(*CSA) {}

// Secured does nothing.
func (Base) Secured(*CSA, abi.Code) {}

// EOF finishes, as the peer has said all it had to say.
func (Base) EOF(c *CSA) { c.ProducerFinished() }

// Timer does nothing.
func (Base) Timer(*CSA, int32) {}

// Closed does nothing.
func (Base) Closed(*CSA, Reason) {}
