package dial

import (
	"net/netip"

	"bulkhead/csa"
)

// MostDialled is how many of the connections that were dialled for one are remembered.
const MostDialled = 8

// Dialled are the connections that were dialled for one.
type Dialled struct {
	// First are the first of them, MostDialled at most.
	First []One
	// More is how many others there were.
	More int
}

// One is a connection that was dialled.
type One struct {
	Number uint64         // csa.CSA.Number
	Peer   netip.AddrPort // not valid: it is over a Unix socket
}

// note remembers, on the loop, that a connection is there which a handler has dialled in an event
// of from.
func (d *Dialer) note(at int, from *csa.CSA, number uint64, to netip.AddrPort) {
	if from == nil || from.Over() {
		return // its line is written, or nobody's
	}
	all := d.dialled[at]
	of := all[from]
	if of == nil {
		of = new(Dialled)
		all[from] = of
	}
	if len(of.First) == MostDialled {
		of.More++
		return
	}
	of.First = append(of.First, One{number, to})
}

// TakeDialled says which connections were dialled for one that has ended, and forgets them. It is
// called on the connection's loop. Nil: there was none.
func (d *Dialer) TakeDialled(from *csa.CSA) *Dialled {
	all := d.dialled[d.indexOf(from.Loop())]
	of := all[from]
	if of != nil {
		delete(all, from)
	}
	return of
}

// DialledFor says which connections were dialled for one so far. It is called on the connection's
// loop, and what it returns is right until the end of the event. Nil: there was none.
func (d *Dialer) DialledFor(from *csa.CSA) *Dialled { return d.dialled[d.indexOf(from.Loop())][from] }

// indexOf is a loop's index.
func (d *Dialer) indexOf(loop *csa.Loop) int {
	for i, l := range d.site.Loops() {
		if l.Loop == loop {
			return i
		}
	}
	return 0
}
