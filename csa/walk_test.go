package csa

import "testing"

// A walk visits everybody who is there, once, in more than one turn; not who comes meanwhile, and
// not who has ended by then, the next one included.
func TestWalk(t *testing.T) {
	const many = 2*walkSlice + 10
	b := newBench(t)
	b.set = &Settings{}
	var all []*CSA
	seen := make(map[*CSA]int)
	done, turns := 0, 0
	b.on(func() {
		for range many {
			c := &CSA{loop: b.loop, wiring: Wiring{Settings: b.set}}
			b.loop.link(c)
			all = append(all, c)
		}
		late := &CSA{loop: b.loop, wiring: Wiring{Settings: b.set}}
		b.loop.Walk(func(c *CSA) {
			seen[c]++
			switch len(seen) {
			case 1:
				b.loop.link(late)
			case walkSlice:
				// The next is the one that was linked before this.
				b.loop.unlink(all[many-walkSlice-1])
				b.loop.unlink(all[0]) // and the last one
			}
		}, func() { done++ })
		turns = len(seen)
	})
	b.until("the walk is over", func() bool { return done == 1 })
	b.on(func() {
		if turns != walkSlice {
			t.Errorf("the first turn has visited %d", turns)
		}
		for i, c := range all {
			want := 1
			if i == 0 || i == many-walkSlice-1 {
				want = 0
			}
			if seen[c] != want {
				t.Errorf("connection %d of %d was visited %d times; want %d", i, many, seen[c], want)
			}
		}
		if len(seen) != many-2 || b.loop.walks != nil {
			t.Errorf("%d were visited, and a walk is left: %v", len(seen), b.loop.walks != nil)
		}
		b.loop.first, b.loop.count = nil, 0
		b.loop.Walk(func(*CSA) { t.Error("nobody is there") }, func() { done++ })
		if done != 2 {
			t.Error("a walk without anybody is not over")
		}
	})
}

// A walk goes on in another turn where its visit says so, also when the visit closes whom it
// visits.
func TestWalkWhile(t *testing.T) {
	const many, some = 50, 4
	b := newBench(t)
	b.set = &Settings{}
	inTurn := make(map[uint64]int)
	seen, closed := 0, 0
	b.on(func() {
		for range many {
			b.loop.link(&CSA{loop: b.loop, wiring: Wiring{Settings: b.set}})
		}
		b.loop.WalkWhile(func(c *CSA) bool {
			seen++
			inTurn[b.loop.Turn()]++
			b.loop.unlink(c)
			return inTurn[b.loop.Turn()] < some
		}, func() { closed++ })
	})
	b.until("the walk is over", func() bool { return closed == 1 })
	b.on(func() {
		if seen != many || b.loop.first != nil || b.loop.walks != nil {
			t.Errorf("%d of %d were visited", seen, many)
		}
		for turn, n := range inTurn {
			if n > some {
				t.Errorf("turn %d has visited %d", turn, n)
			}
		}
	})
}
