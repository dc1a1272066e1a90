package memory

import (
	"errors"
	"sync/atomic"
	"testing"
)

// wasmPage is by how much the memories of guests grow.
const wasmPage = 64 << 10

// account is a budget of memory or of mappings that counts; limit 0 is none.
type account struct{ held, limit atomic.Int64 }

func (a *account) Reserve(n int) bool {
	if l := a.limit.Load(); l != 0 && a.held.Load()+int64(n) > l {
		return false
	}
	a.held.Add(int64(n))
	return true
}
func (a *account) Release(n int)              { a.held.Add(-int64(n)) }
func (a *account) ReserveMappings(n int) bool { return a.Reserve(n) }
func (a *account) ReleaseMappings(n int)      { a.Release(n) }

func TestLinearMemory(t *testing.T) {
	acc := &account{}
	acc.limit.Store(3 * wasmPage)
	m, err := New(acc, Unlimited{}, 10*wasmPage, wasmPage)
	if err != nil {
		t.Fatal(err)
	}
	start := &m.b[0]
	m.b[0], m.b[wasmPage-1] = 1, 2
	b := m.Grow(3 * wasmPage)
	if len(b) != 3*wasmPage || &b[0] != start || b[0] != 1 || b[wasmPage-1] != 2 {
		t.Fatal("growing moved it, or lost something")
	}
	for k, v := range b[wasmPage:] {
		if v != 0 {
			t.Fatalf("byte %d is not zero", k)
		}
	}
	b[len(b)-1] = 1
	if m.Grow(4*wasmPage) != nil || acc.held.Load() != 3*wasmPage {
		t.Error("it grew beyond the account")
	}
	acc.limit.Store(0)
	if m.Grow(10*wasmPage) == nil || m.Grow(11*wasmPage) != nil || acc.held.Load() != 10*wasmPage {
		t.Error("it does not grow to its limit, grows beyond, or is charged for what it did not get")
	}
	m.Free()
	m.Free()
	if held := acc.held.Load(); held != 0 {
		t.Errorf("%d bytes are held after Free", held)
	}
	acc.limit.Store(wasmPage)
	if _, err := New(acc, Unlimited{}, 10*wasmPage, 2*wasmPage); !errors.Is(err, ErrNoRoom) || acc.held.Load() != 0 {
		t.Errorf("a memory that does not fit gives %v, and %d bytes are held", err, acc.held.Load())
	}
}

// Without mappings there is no memory, image or copy, and none grows that would take one; what was
// taken before that was found is given back.
func TestNoMappings(t *testing.T) {
	acc, maps := &account{}, &account{}
	g, err := NewImage(maps, make([]byte, 2*wasmPage), 40)
	if err != nil {
		t.Skip(err)
	}
	if held := maps.held.Load(); held != ImageMappings {
		t.Errorf("an image holds %d mappings", held)
	}
	m, err := g.Copy(acc, maps, 9*wasmPage, 0)
	if err != nil {
		t.Fatal(err)
	}
	held, charged := maps.held.Load(), acc.held.Load()
	if want := int64(m.Cost(0)); charged != want || want != CopyOverhead+40 {
		t.Errorf("a copy is charged %d bytes, and says that it costs %d", charged, want)
	}
	maps.limit.Store(held)
	if _, err := New(acc, maps, wasmPage, wasmPage); !errors.Is(err, ErrNoMappings) {
		t.Errorf("a memory gives %v", err)
	}
	if _, err := NewImage(maps, make([]byte, wasmPage), 0); !errors.Is(err, ErrNoMappings) {
		t.Errorf("an image gives %v", err)
	}
	if _, err := g.Copy(acc, maps, 9*wasmPage, 0); !errors.Is(err, ErrNoMappings) {
		t.Errorf("a copy gives %v", err)
	}
	if err := m.GrowTo(3 * wasmPage); err != ErrNoMappings {
		t.Errorf("growing gives %v", err)
	}
	if maps.held.Load() != held || acc.held.Load() != charged || len(m.Bytes()) != 2*wasmPage {
		t.Errorf("%d mappings and %d bytes are held; %d and %d before", maps.held.Load(), acc.held.Load(), held, charged)
	}
	maps.limit.Store(0)
	if err := m.GrowTo(3 * wasmPage); err != nil || m.Grown() != wasmPage {
		t.Errorf("it has grown by %d, %v", m.Grown(), err)
	}
	m.Free()
	g.Close()
	if maps.held.Load() != 0 || acc.held.Load() != 0 {
		t.Errorf("%d mappings and %d bytes are held at the end", maps.held.Load(), acc.held.Load())
	}
}
