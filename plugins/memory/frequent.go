package memory

import (
	"slices"
	"sync"
	"sync/atomic"
)

// frequent is which pages most copies of an image write to. They are learnt from the first copies
// that have run, and given to each later one when it is mapped: to fault one by one would take
// longer, above all for pages that are read first, which fault twice. Any goroutine may use it.
type frequent struct {
	copies atomic.Uint32         // that were made since the first runs were known
	seen   atomic.Int32          // copies that it was learnt from
	runs   atomic.Pointer[[]run] // nil: none is known yet

	mu     sync.Mutex
	counts []pageCount
}

// run is pages that follow on each other.
type run struct{ first, n int32 }

// pageCount is how many copies have written to a page.
type pageCount struct{ page, n int32 }

const (
	// firstSeen is how many copies are looked at before anything is said of them, and mostSeen
	// how many in all.
	firstSeen, mostSeen = 4, 16
	// lookedAt is of how many copies one is given nothing, until mostSeen are seen: else pages
	// that were frequent once would be for ever. Behind the first lookedAtOften they are
	// lookedAtLater: those may live on, and tell late.
	lookedAt, lookedAtOften, lookedAtLater = 8, 512, 64
	// mostCounted is how many pages are counted at most.
	mostCounted = 4 * KeptPages
)

// see notes which pages a copy has written to, in order, of which there are some.
func (f *frequent) see(pages []int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := f.seen.Load()
	if seen == mostSeen {
		return
	}
	for _, p := range pages {
		k := slices.IndexFunc(f.counts, func(c pageCount) bool { return c.page == p })
		switch {
		case k >= 0:
			f.counts[k].n++
		case len(f.counts) < mostCounted:
			f.counts = append(f.counts, pageCount{p, 1})
		}
	}
	if seen++; seen >= firstSeen {
		runs := f.most(seen)
		f.runs.Store(&runs)
	}
	if seen == mostSeen {
		f.counts = nil
	}
	f.seen.Store(seen)
}

// most are the pages that three of four of the copies seen have written to. mu is held.
func (f *frequent) most(seen int32) (runs []run) {
	slices.SortFunc(f.counts, func(a, b pageCount) int { return int(a.page - b.page) })
	for _, c := range f.counts {
		if 4*c.n < 3*seen {
			continue
		}
		if k := len(runs) - 1; k >= 0 && runs[k].first+runs[k].n == c.page {
			runs[k].n++
		} else {
			runs = append(runs, run{c.page, 1})
		}
	}
	return slices.Clip(runs)
}

// give gives a new copy pages of its own that most copies write to, as many as were charged with
// it. While there is something to learn, some copies get none, so that it can be told what they
// write to.
func (f *frequent) give(m *Linear) {
	runs := f.runs.Load()
	if f.seen.Load() < mostSeen && (runs == nil || f.toldBy(f.copies.Add(1))) {
		m.tells = true
		return
	}
	left := m.written.before / systemPage
	for _, r := range *runs {
		n := min(int(r.n), left)
		if n == 0 {
			return
		}
		m.written.known += n * systemPage
		left -= n
		if !ownPages(m.b[int(r.first)*systemPage:][:n*systemPage]) {
			return
		}
	}
}

// toldBy reports whether the n-th copy since the first runs were known is to tell.
func (f *frequent) toldBy(n uint32) bool {
	return n <= lookedAtOften && n%lookedAt == 0 || n%lookedAtLater == 0
}

// Learn has the image know what a copy has written to so far, if nothing is known yet of what
// copies write to; then it takes some microseconds. Nothing may run in the copy.
func (m *Linear) Learn() {
	if !m.tells || m.image.frequent.seen.Load() >= firstSeen {
		return
	}
	var pages [KeptPages]int32
	if n, ok := writtenTo(m.b[:len(m.image.bytes)], pages[:]); ok {
		m.tell(pages[:min(n, KeptPages)])
	}
}

// tell has the image know which pages of a copy were written to, in order.
func (m *Linear) tell(pages []int32) {
	if m.tells && len(pages) > 0 {
		m.tells = false
		m.image.frequent.see(pages)
	}
}
