package service

import (
	"testing"
	"time"
)

// Each connection is due once, in its turn: the first at once, and the last before the time is
// over.
func TestConnectionsAreDueEvenly(t *testing.T) {
	const over = time.Minute
	for _, n := range []int{1, 2, 3, 7, 1000} {
		p := &closingPart{n: n}
		for i := range n {
			at := p.at(i, over)
			if want := over * time.Duration(i) / time.Duration(n); (at - want).Abs() > time.Microsecond {
				t.Errorf("connection %d of %d is due after %v, want %v", i, n, at, want)
			}
			if due := p.due(at, over); due != i+1 {
				t.Errorf("after %v %d of %d are due, want %d", at, due, n, i+1)
			}
			if i > 0 {
				if due := p.due(at-time.Microsecond, over); due != i {
					t.Errorf("before %v %d of %d are due, want %d", at, due, n, i)
				}
			}
		}
		if due := p.due(over, over); due != n {
			t.Errorf("at the end %d of %d are due", due, n)
		}
	}
}
