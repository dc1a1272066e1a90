package memory

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"testing"
)

// An image that is made of a difference is what the memory was, wherever that has been written to.
func TestDifference(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("this system has no images")
	}
	r := rand.New(rand.NewPCG(5, 6))
	b := make([]byte, 8*wasmPage)
	for k := range b[2*wasmPage : 6*wasmPage] {
		b[2*wasmPage+k] = byte(r.Uint32())
	}
	from, err := NewImage(Unlimited{}, b, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	for round := range 100 {
		m, err := from.CopyWhole(Unlimited{}, Unlimited{}, 12*wasmPage)
		if err != nil {
			t.Fatal(err)
		}
		for range round % 3 {
			m.Grow(uint64(len(m.b)) + wasmPage)
		}
		for range r.IntN(20) {
			at, n := r.IntN(len(m.b)-9000), r.IntN(9000)
			switch r.IntN(3) {
			case 0:
				clear(m.b[at : at+n]) // pages of zeros that were none, too
			case 1:
				m.b[at/systemPage*systemPage+systemPage-1]++ // the last byte of a page
			default:
				for k := range m.b[at : at+n/100] {
					m.b[at+k] = byte(r.Uint32())
				}
			}
		}
		d, ok := m.Difference()
		if !ok {
			t.Fatalf("round %d: it has no difference", round)
		}
		g, err := d.Image(Unlimited{}, 40)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(g.Bytes(), m.Bytes()) || d.Size() != len(m.b) || g.Cost(0) != CopyOverhead+40 {
			t.Errorf("round %d: the image of the difference is not the memory", round)
		}
		for p, zero := range g.zero {
			if zero != bytes.Equal(m.b[p*systemPage:][:systemPage], zeros) {
				t.Errorf("round %d: of page %d it says that it is zero: %v", round, p, zero)
			}
		}
		g.Close()
		m.Free()
	}
}

// What differs in too much is kept whole, and so is what is no copy.
func TestNoDifference(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("this system has no images")
	}
	from, err := NewImage(Unlimited{}, make([]byte, 4*wasmPage), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	m, err := from.CopyWhole(Unlimited{}, Unlimited{}, 4*wasmPage)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	for k := range m.b[:mostDifference+1] {
		m.b[k] = byte(k) | 1
	}
	if _, ok := m.Difference(); ok {
		t.Errorf("it has a difference of more than %d bytes", mostDifference)
	}
	plain, err := New(Unlimited{}, Unlimited{}, wasmPage, wasmPage)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Free()
	if _, ok := plain.Difference(); ok {
		t.Error("a memory that is no copy has a difference")
	}
}
