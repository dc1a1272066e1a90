package memory

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// A page that was written to is found, and nothing else.
func TestWrittenTo(t *testing.T) {
	g, err := NewImage(Unlimited{}, bytes.Repeat([]byte{1, 0}, 10*wasmPage), 0)
	if err != nil {
		t.Skip(err)
	}
	defer g.Close()
	m, err := g.Copy(&account{}, Unlimited{}, 20*wasmPage, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	sum := 0
	for k := 0; k < len(m.b); k += 512 {
		sum += int(m.b[k]) // reading counts for nothing
	}
	want := []int32{0, 3, 77, int32(len(m.b)/systemPage) - 1}
	for _, p := range want {
		m.b[int(p)*systemPage+9] = 5
	}
	var pages [KeptPages]int32
	n, ok := writtenTo(m.b, pages[:])
	if !ok || sum == 0 || fmt.Sprint(pages[:n]) != fmt.Sprint(want) {
		t.Errorf("it finds %v, %v; want %v", pages[:n], ok, want)
	}
}

// What a guest has written to is charged, by more than it is and not by much, and
// what it has not written to is not.
func TestWrittenPagesAreCharged(t *testing.T) {
	big, err := NewImage(Unlimited{}, make([]byte, 100*wasmPage), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer big.Close()
	acc := &account{}
	m, err := big.Copy(acc, Unlimited{}, 200*wasmPage, 2*systemPage)
	if err != nil {
		t.Fatal(err)
	}
	if held := acc.held.Load(); held != int64(CopyOverhead+2*systemPage) {
		t.Errorf("%d bytes are held at first", held)
	}
	for range 1000 {
		m.Ran(FaultTime() - 1)
	}
	if held := acc.held.Load(); held != int64(CopyOverhead+2*systemPage) {
		t.Errorf("%d bytes are held for calls that were too short to write to anything", held)
	}
	for p := range 500 {
		m.b[p*systemPage] = 1
		if !m.Ran(FaultTime()) {
			t.Fatal("it is refused")
		}
		if held := acc.held.Load(); held < int64((p+1)*systemPage) || held > int64((p+1)*systemPage+mostUnknown+CopyOverhead+2*systemPage) {
			t.Fatalf("%d bytes are held for %d pages", held, p+1)
		}
	}
	// At the limit the kernel is asked, and then it is over.
	acc.limit.Store(acc.held.Load())
	for range 100 {
		if !m.Ran(3 * FaultTime()) {
			t.Fatal("it is refused what it does not use")
		}
	}
	for p := 500; p < 600; p++ {
		m.b[p*systemPage] = 1
	}
	if m.Ran(100 * FaultTime()) {
		t.Error("it may write to more than its account has")
	}
	m.Free()
	if held := acc.held.Load(); held != 0 {
		t.Errorf("%d bytes are held at the end", held)
	}
}

// A copy that is put back is as its image, whatever was written to it, is charged for the pages
// that it keeps, and for as many as are usual when it is used again.
func TestPutBack(t *testing.T) {
	b := bytes.Repeat([]byte{7}, 10*wasmPage)
	clear(b[wasmPage:][:wasmPage])
	g, err := NewImage(Unlimited{}, b, 0)
	if err != nil {
		t.Skip(err)
	}
	defer g.Close()
	acc := &account{}
	m, err := g.Copy(acc, Unlimited{}, 20*wasmPage, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ pages, kept int }{{3, 3}, {0, 3}, {KeptPages + 1, 0}, {1, 1}} {
		if m.Grow(11*wasmPage) == nil {
			t.Fatal("it does not grow")
		}
		for p := range c.pages {
			m.Bytes()[p*systemPage]++
		}
		m.Bytes()[10*wasmPage]++
		if wrote, ok := m.PutBack(); !ok || wrote < c.pages*systemPage {
			t.Fatalf("putting it back reports %d bytes, %v; %d pages were written to", wrote, ok, c.pages)
		}
		if !bytes.Equal(m.Bytes(), b) {
			t.Fatal("it is not as its image")
		}
		if held := acc.held.Load(); held != int64(CopyOverhead+c.kept*systemPage) {
			t.Errorf("%d bytes are held with %d pages written to", held, c.pages)
		}
	}
	if err := m.Reuse(5 * systemPage); err != nil || acc.held.Load() != int64(CopyOverhead+5*systemPage) {
		t.Errorf("%d bytes are held when it is used again, %v", acc.held.Load(), err)
	}
	acc.limit.Store(acc.held.Load())
	if err := m.Reuse(6 * systemPage); !errors.Is(err, ErrNoRoom) {
		t.Errorf("without room it is used again with %v", err)
	}
	m.Free()
	if held := acc.held.Load(); held != 0 {
		t.Errorf("%d bytes are held at the end", held)
	}
}

// BenchmarkCopy maps a copy of an image anew, has it grow or not, and unmaps it.
func BenchmarkCopy(b *testing.B) {
	g, err := NewImage(Unlimited{}, make([]byte, 40*wasmPage), 0)
	if err != nil {
		b.Skip(err)
	}
	defer g.Close()
	for name, grow := range map[string]uint64{"as it is": 40, "grown": 41} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				m, err := g.Copy(Unlimited{}, Unlimited{}, 4096*wasmPage, 0)
				if err != nil {
					b.Fatal(err)
				}
				m.Grow(grow * wasmPage)
				m.Free()
			}
		})
	}
}
