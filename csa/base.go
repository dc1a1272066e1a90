package csa

import "bulkhead/abi"

// Base is for embedding in a Handler, which then needs only the methods that do something else.
// Base has no window, so it reads nothing and does not hear that the peer has finished. A handler
// that reads has its own Window and Data; Base then closes the connection when the peer has
// finished sending, once the unsent bytes are sent. Base does nothing else.
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
