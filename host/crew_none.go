package host

import (
	"bulkhead/csa"
	"bulkhead/plugins"
)

// noCrew is for a listener whose routes take every connection, or leave the others unserved.
type noCrew struct{}

func (noCrew) begin()                      {}
func (noCrew) place() int                  { return -1 }
func (noCrew) peer(int) csa.Handler        { return nil }
func (noCrew) take(arrival)                {}
func (noCrew) release(csa.Handler)         {}
func (noCrew) stop()                       {}
func (noCrew) stopOne(csa.Handler)         {}
func (noCrew) hold(*plugins.Instance, int) {}
func (noCrew) close()                      {}
