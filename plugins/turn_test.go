package plugins

import (
	"math/rand/v2"
	"slices"
	"testing"

	"bulkhead/selector"

	w "bulkhead/internal/wasmtest"
)

// Instances whose tenant has used up a turn go on in the order in which they came, as many in a
// turn as their part of it lasts for, and who is asked by others meanwhile keeps its place.
func TestLine(t *testing.T) {
	g := newGuestsOn(t, selector.System, w.Echo(), listener())
	instances := []*Instance{g.i}
	for range 5 {
		i := g.start(w.Echo(), listener())
		g.l.on(func() { i.Attach(g.l.Loop) })
		t.Cleanup(func() { g.l.on(i.Close) })
		instances = append(instances, i)
	}
	var let []*Instance
	waiting := func() (w []*Instance) {
		for i := g.i.turn.first; i != nil; i = i.behind {
			w = append(w, i)
		}
		return w
	}
	g.l.on(func() {
		turn := g.i.turn
		turn.at, turn.spent = g.l.Turn(), turnSlice
		for _, i := range instances {
			for range 2 {
				if i.free(false) {
					t.Error("it may go on in a turn that its tenant has used up")
				}
			}
		}
		if !slices.Equal(waiting(), instances) {
			t.Error("they do not wait in the order in which they came, once each")
		}
		instances[2].drain()
		turn.letIn() // in the same turn
		if !slices.Equal(waiting(), instances) || !turn.posted {
			t.Error("somebody went on, or lost its place, in a turn that was used up")
		}
		turn.spent = 0 // as in the next
		for turn.first != nil {
			i := turn.leave()
			let = append(let, i)
			if i.drainAs(true); i.suspended || i.inLine {
				t.Error("it waits though there is time for it")
			}
		}
		if turn.last != nil || !slices.Equal(let, instances) {
			t.Error("they have not left in the order in which they came")
		}
	})
	g.l.on(func() { // by their post
		g.i.turn.at, g.i.turn.spent = g.l.Turn(), turnSlice
		for _, i := range instances {
			i.free(false)
		}
	})
	until(t, "all go on", func() (ok bool) {
		g.l.on(func() { ok = g.i.turn.first == nil && !instances[5].suspended })
		return ok
	})
}

// A queue of events holds what was pushed, in order, whatever is taken out between.
func TestEventQueue(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var q eventQueue
	var want []event
	turn := &turn{}
	for n := range uint64(20_000) {
		switch r := rng.IntN(100); {
		case r < 50 && len(want) < 6:
			e := event{arg: n, handle: int32(n % 5)}
			q.push(e, turn)
			want = append(want, e)
		case r < 97 && len(want) > 0:
			if e := q.pop(); e != want[0] {
				t.Fatalf("step %d: %v, want %v", n, e, want[0])
			}
			want = want[1:]
		case r == 98:
			h := int32(rng.IntN(5))
			other := func(e event) bool { return e.handle != h }
			q.keep(other)
			want = slices.DeleteFunc(want, func(e event) bool { return !other(e) })
		}
		if q.len() != len(want) {
			t.Fatalf("step %d: it has %d, want %d", n, q.len(), len(want))
		}
		if len(want) == 0 && rng.IntN(2) == 0 {
			q.free(turn)
		}
	}
	// A small one's memory goes to the next, a large one's does not.
	turn.spare = nil
	for _, c := range []struct{ events, spare int }{{smallQueue, 1}, {smallQueue + 1, 0}} {
		q, turn.spare = eventQueue{}, nil
		for range c.events {
			q.push(event{}, turn)
		}
		for q.len() > 0 {
			q.pop()
		}
		q.free(turn)
		if len(turn.spare) != c.spare {
			t.Errorf("after %d events %d queues were kept, want %d", c.events, len(turn.spare), c.spare)
		}
		if q.push(event{}, turn); len(turn.spare) != 0 {
			t.Error("what was kept is not used")
		}
	}
	// One that is never empty holds no more than what is in it, about.
	q = eventQueue{}
	q.push(event{}, nil)
	for range 10_000 {
		q.push(event{}, nil)
		q.pop()
	}
	if c := cap(q.events); c > smallQueue {
		t.Errorf("a queue of one takes the memory of %d", c)
	}
}
