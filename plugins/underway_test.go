package plugins

import (
	"testing"

	"bulkhead/csa"
)

// What a call has used that computes beside the loop is known while it runs, and is told of once.
func TestUnderWay(t *testing.T) {
	n := newTenant(t, 0)
	i := n.start(slow(""), listener())
	l := newLoop(t) // which ends before the instance is closed
	peer, end := l.wire(i)
	if _, err := peer.Write([]byte("e")); err != nil { // it spins
		t.Fatal(err)
	}
	var c *csa.CSA
	until(t, "it is seen", func() (seen bool) {
		l.on(func() {
			l.Each(func(one *csa.CSA) { c = one })
			if c != nil {
				fuel, cpu := i.UnderWay(c)
				seen = fuel > 0 && cpu > 0
			}
		})
		return seen
	})
	end.wait(t) // event_timeout
	l.on(func() {
		if fuel, cpu := i.UnderWay(c); fuel != 0 || cpu != 0 {
			t.Errorf("%d units and %d ns are under way in a call that is over", fuel, cpu)
		}
	})
}
