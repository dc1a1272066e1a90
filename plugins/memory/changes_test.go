package memory

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"testing"
)

// Whatever a guest has written where, it finds again.
func TestChanges(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("this system has no snapshots")
	}
	r := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, 1<<20)
	for k := range b[:1<<19] {
		b[k] = byte(r.Uint32())
	}
	g, err := NewImage(Unlimited{}, b, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	slept, grown, typically := 0, 0, 0
	var typical *Typical
	for round := range 400 {
		m, err := g.Copy(Unlimited{}, Unlimited{}, 24*wasmPage, 0)
		if err != nil {
			t.Fatal(err)
		}
		for range round % 3 * r.IntN(3) {
			m.Grow(uint64(len(m.b)) + wasmPage)
		}
		b := m.b
		if round%5 == 0 {
			b = m.b[len(m.b)/2:] // all in what it has grown by, or most
		}
		for range r.IntN(30) {
			at, n := r.IntN(len(b)-300), r.IntN(300)
			switch r.IntN(3) {
			case 0:
				at = at / systemPage * systemPage // at an edge
			case 1:
				n = r.IntN(12)
			}
			for k := range b[at : at+n] {
				if r.IntN(3) > 0 {
					b[at+k] = byte(r.Uint32())
				}
			}
		}
		b[r.IntN(len(b))]++
		changes, pages, ok := m.Changes(nil, nil)
		if !ok {
			m.Free()
			continue
		}
		slept++
		again, err := g.Copy(Unlimited{}, Unlimited{}, 24*wasmPage, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(m.b) > len(again.b) {
			grown++
			again.Grow(uint64(len(m.b)))
		}
		if !again.Apply(nil, changes, pages) {
			t.Fatal("it has no room")
		}
		if !bytes.Equal(again.b, m.b) || pages == 0 {
			t.Fatalf("%d bytes of changes on %d pages make something else", len(changes), pages)
		}
		again.Free()
		// The same beside what another had changed, on other pages or fewer of them, or on these.
		beside, both, ok := m.Changes(nil, typical)
		if ok {
			if again, err = g.Copy(Unlimited{}, Unlimited{}, 24*wasmPage, 0); err != nil {
				t.Fatal(err)
			}
			again.Grow(uint64(len(m.b)))
			if !again.Apply(typical, beside, both) || !bytes.Equal(again.b, m.b) || both < pages {
				t.Fatalf("%d bytes of changes on %d pages, %d beside what is typical, make something else", len(changes), both, len(beside))
			}
			again.Free()
			typically++
		}
		if round%3 == 0 {
			typical = NewTypical(changes)
			if beside, both, ok := m.Changes(nil, typical); !ok || len(beside) != 0 || both != pages {
				t.Fatalf("beside itself it has %d bytes of changes on %d pages; it has %d", len(beside), both, pages)
			}
		}
		m.Free()
	}
	if slept < 100 || grown < 50 || typically < 50 {
		t.Errorf("only %d of 400 had few changes, %d of those that have grown, and %d few beside those of others", slept, grown, typically)
	}
}

// Changes that the account has no room for are written, and said to be too many.
func TestChangesWithoutRoom(t *testing.T) {
	g, err := NewImage(Unlimited{}, make([]byte, 2*wasmPage), 0)
	if err != nil {
		t.Skip(err)
	}
	defer g.Close()
	acc := &account{}
	m, err := g.Copy(acc, Unlimited{}, 2*wasmPage, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	m.Bytes()[1] = 5
	changes, pages, ok := m.Changes(nil, nil)
	if !ok || pages != 1 {
		t.Fatalf("there are changes on %d pages, %v", pages, ok)
	}
	again, err := g.Copy(acc, Unlimited{}, 2*wasmPage, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Free()
	acc.limit.Store(acc.held.Load())
	if again.Apply(nil, changes, pages) || again.Bytes()[1] != 5 {
		t.Errorf("they are applied without room, and byte 1 is %d", again.Bytes()[1])
	}
}
