package memory

import (
	"bytes"
	"slices"
	"testing"
)

// ownOf is which pages of a copy are its own.
func ownOf(t *testing.T, m *Linear) []int32 {
	t.Helper()
	var pages [KeptPages]int32
	n, ok := writtenTo(m.b, pages[:])
	if !ok || n > len(pages) {
		t.Skip("the system does not tell")
	}
	return pages[:n]
}

// copyOf is a copy of an image, charged for so many pages.
func copyOf(t *testing.T, g *Image, acc *account, pages int) *Linear {
	t.Helper()
	m, err := g.Copy(acc, Unlimited{}, len(g.bytes), pages*systemPage)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// teach has a copy write to some pages, and end.
func teach(t *testing.T, g *Image, acc *account, pages ...int) {
	t.Helper()
	m := copyOf(t, g, acc, 0)
	for _, p := range pages {
		m.b[p*systemPage] = 99
	}
	if _, ok := m.PutBack(); !ok {
		t.Skip("the system does not tell")
	}
	m.Free()
}

func frequentImage(t *testing.T) *Image {
	t.Helper()
	g, err := NewImage(Unlimited{}, bytes.Repeat([]byte{1, 0, 0, 7}, 4*wasmPage/4), 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(g.Close)
	if m, err := g.Copy(Unlimited{}, Unlimited{}, len(g.bytes), 0); err != nil || !ownPages(m.b[:systemPage]) {
		t.Skip("the system does not give pages before they are written to")
	} else {
		m.Free()
	}
	return g
}

// A copy has pages of its own at once that most copies before it have written to, as the image has
// them, and no others. Faulted one by one they took a Go guest's first event 85 µs instead of 20.
func TestFrequentPages(t *testing.T) {
	g, acc := frequentImage(t), &account{}
	for k := range firstSeen {
		if m := copyOf(t, g, acc, 8); len(ownOf(t, m)) > 0 {
			t.Errorf("it is given %v when %d copies have told", ownOf(t, m), k)
		} else {
			m.Free()
		}
		teach(t, g, acc, 3, 4, 9, 20+k)
	}
	want := []int32{3, 4, 9}
	m := copyOf(t, g, acc, 8)
	if own := ownOf(t, m); !slices.Equal(own, want) {
		t.Errorf("it is given %v, not %v", own, want)
	}
	if !bytes.Equal(m.b, g.bytes) {
		t.Error("it is not what its image is")
	}
	if held := acc.held.Load(); held != int64(g.Cost(8*systemPage)) || m.written.known != len(want)*systemPage {
		t.Errorf("it holds %d bytes, and knows of %d", held, m.written.known)
	}
	if wrote, ok := m.PutBack(); !ok || wrote != len(want)*systemPage {
		t.Errorf("it is put back with %d bytes, %v", wrote, ok)
	}
	m.Free()

	// No more than was charged.
	m = copyOf(t, g, acc, 1)
	if own := ownOf(t, m); !slices.Equal(own, want[:1]) {
		t.Errorf("it is given %v, charged for one page", own)
	}
	m.Free()
	if m = copyOf(t, g, acc, 0); len(ownOf(t, m)) > 0 {
		t.Errorf("it is given %v, charged for nothing", ownOf(t, m))
	}
	m.Free()
	if held := acc.held.Load(); held != 0 {
		t.Errorf("%d bytes are held at the end", held)
	}
}

// What the first copies wrote to, and the others do not, is given to nobody in the end: whoever
// connects first may be a stranger. What copies were given says nothing of what they write to.
func TestFrequentPagesAreForgotten(t *testing.T) {
	g, acc := frequentImage(t), &account{}
	for range firstSeen {
		teach(t, g, acc, 40, 41, 42, 43, 44)
	}
	for k := 0; g.frequent.seen.Load() < mostSeen; k++ {
		if k > 2*lookedAt*mostSeen {
			t.Fatalf("%d copies were seen of %d", g.frequent.seen.Load(), k)
		}
		teach(t, g, acc, 5)
	}
	m := copyOf(t, g, acc, 8)
	defer m.Free()
	if own := ownOf(t, m); !slices.Equal(own, []int32{5}) {
		t.Errorf("it is given %v, not page 5", own)
	}
	if g.frequent.counts != nil {
		t.Error("it goes on counting")
	}
}

// When all connect at once none ends, so those that live tell.
func TestLivingCopiesTell(t *testing.T) {
	g, acc := frequentImage(t), &account{}
	var all []*Linear
	defer func() {
		for _, m := range all {
			m.Free()
		}
	}()
	for range firstSeen {
		m := copyOf(t, g, acc, 8)
		all = append(all, m)
		m.Learn() // which has written to nothing yet
		m.b[7*systemPage] = 1
		m.Learn()
		m.Learn() // which counts once
	}
	m := copyOf(t, g, acc, 8)
	all = append(all, m)
	if own := ownOf(t, m); !slices.Equal(own, []int32{7}) || g.frequent.seen.Load() != firstSeen {
		t.Errorf("it is given %v, and %d copies were seen", own, g.frequent.seen.Load())
	}
	plain, err := New(acc, Unlimited{}, wasmPage, wasmPage)
	if err != nil {
		t.Fatal(err)
	}
	plain.Learn() // it is no copy
	all = append(all, plain)
}

// What is known of a Difference's copies outlives its images, of which there is one only while
// somebody has a copy.
func TestFrequentPagesOfADifference(t *testing.T) {
	base := frequentImage(t)
	acc := &account{}
	m := copyOf(t, base, acc, 1)
	m.b[1] = 2
	d, ok := m.Difference()
	m.Free()
	if !ok {
		t.Fatal("there is no difference")
	}
	for range firstSeen {
		g, err := d.Image(Unlimited{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		teach(t, g, acc, 11)
		g.Close()
	}
	g, err := d.Image(Unlimited{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	m = copyOf(t, g, acc, 8)
	defer m.Free()
	if own := ownOf(t, m); !slices.Equal(own, []int32{11}) || m.b[1] != 2 {
		t.Errorf("it is given %v", own)
	}
}

// A guest that writes to very many pages makes the host count no more than some.
func TestFrequentPagesAreBounded(t *testing.T) {
	var f frequent
	for k := range mostSeen + 1 {
		pages := make([]int32, KeptPages)
		for p := range pages {
			pages[p] = int32(k*KeptPages + p)
		}
		f.see(pages)
		if len(f.counts) > mostCounted {
			t.Fatalf("%d pages are counted", len(f.counts))
		}
	}
	if runs := f.runs.Load(); runs == nil || len(*runs) > 0 {
		t.Errorf("pages are frequent that one copy of %d has written to: %v", mostSeen, runs)
	}
}
