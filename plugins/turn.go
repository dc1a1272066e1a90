package plugins

import "bulkhead/csa"

// turn is what a tenant's guests have used of a loop's turn, and the line of its instances
// that wait for a later one. It is the loop's.
type turn struct {
	loop  *csa.Loop
	at    uint64 // the loop's turn
	spent int64
	// Who has waited longest is first.
	first, last *Instance
	posted      bool // letIn is on its way
	spare       [][]event
}

// mostSpare is how many small queues a turn keeps for instances that have to wait, so that
// waiting allocates nothing, and smallQueue how many events one of them may hold.
const (
	mostSpare  = 64
	smallQueue = 8
)

// usedUp reports whether they have had their part of the turn that has this number.
func (t *turn) usedUp(number uint64) bool {
	if t.at != number {
		t.at, t.spent = number, 0
	}
	return t.spent >= turnSlice
}

// join has an instance wait at the end of the line, or where it waits already.
func (t *turn) join(i *Instance) {
	if i.inLine {
		return
	}
	i.inLine = true
	if t.last == nil {
		t.first = i
	} else {
		t.last.behind = i
	}
	t.last = i
	t.callLine()
}

// leave takes the first out of the line, which there has to be.
func (t *turn) leave() *Instance {
	i := t.first
	t.first, i.behind, i.inLine = i.behind, nil, false
	if t.first == nil {
		t.last = nil
	}
	return i
}

// callLine has letIn run in the next turn.
func (t *turn) callLine() {
	if !t.posted {
		t.posted = t.loop.Post(t.letIn)
	}
}

// letIn lets those go on who wait, for as long as their part of this turn lasts. One post does
// that for all, since a post each would cost as much for each turn as there are who wait.
func (t *turn) letIn() {
	t.posted = false
	for t.first != nil && !t.usedUp(t.loop.Turn()) {
		i := t.leave()
		if t.first != nil {
			t.callLine() // at once: should the guest pass the loop on, nothing here goes on
		}
		i.drainAs(true)
	}
	if t.first != nil {
		t.callLine()
	}
}

// eventQueue is the events of an instance that wait, in their order. The zero value is empty, and
// holds no memory.
type eventQueue struct {
	events []event
	head   int // of the first
}

func (q *eventQueue) len() int { return len(q.events) - q.head }

// push puts an event behind the others, into memory that t has to spare, if there is a turn.
func (q *eventQueue) push(e event, t *turn) {
	if q.events == nil && t != nil && len(t.spare) > 0 {
		n := len(t.spare) - 1
		q.events, t.spare = t.spare[n], t.spare[:n]
	}
	if len(q.events) == cap(q.events) && q.head > len(q.events)/2 {
		q.keep(func(event) bool { return true }) // else it would grow while it never is empty
	}
	q.events = append(q.events, e)
}

// pop takes the first, which there has to be.
func (q *eventQueue) pop() event {
	e := q.events[q.head]
	q.events[q.head] = event{}
	q.head++
	return e
}

// keep takes those out for which it does not report true.
func (q *eventQueue) keep(it func(event) bool) {
	kept := q.events[:0]
	for _, e := range q.events[q.head:] {
		if it(e) {
			kept = append(kept, e)
		}
	}
	clear(q.events[len(kept):])
	q.events, q.head = kept, 0
}

// free gives the memory of a queue that is empty to t, if there is a turn, or to the collector.
func (q *eventQueue) free(t *turn) {
	if t != nil && 0 < cap(q.events) && cap(q.events) <= smallQueue && len(t.spare) < mostSpare {
		t.spare = append(t.spare, q.events[:0])
	}
	*q = eventQueue{}
}
