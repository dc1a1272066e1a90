package csa

import (
	"testing"
	"time"
	"unsafe"

	"bulkhead/selector"
)

// What is counted of each connection stays within the size that the allocator gives it in any case:
// 480 bytes, and 576 for a peer over UDP.
func TestSizes(t *testing.T) {
	if n := unsafe.Sizeof(CSA{}); n > 480 && unsafe.Sizeof(uintptr(0)) == 8 {
		t.Errorf("a CSA takes %d bytes", n)
	}
	if n := unsafe.Sizeof(datagramPeer{}); n > 576 && unsafe.Sizeof(uintptr(0)) == 8 {
		t.Errorf("a peer over UDP takes %d bytes", n)
	}
}

// The times of first bytes are right to a unit, and no age is too long.
func TestFirstBytes(t *testing.T) {
	if at := unit(0); at >= 0 {
		t.Errorf("before there is a byte: %v", at)
	}
	clock := new(selector.Manual)
	sel, err := selector.New(selector.Options{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	defer sel.Stop()
	c := &CSA{loop: NewLoop(sel), born: sel.Now()}
	for _, one := range []struct{ born, want time.Duration }{{0, 0}, {-4 * time.Millisecond, 4 * time.Millisecond}, {-100 * time.Hour, 19 * time.Hour}} {
		c.spent = spent{}
		c.born = sel.Now() + int64(one.born)
		c.noteIn()
		first := c.spent.firstIn
		c.born -= int64(time.Second)
		c.noteIn()
		if at := unit(first); at != one.want && at.Truncate(time.Hour) != one.want || c.spent.firstIn != first {
			t.Errorf("a first byte after %v came at %v, and then at %v", -one.born, at, unit(c.spent.firstIn))
		}
	}
}
