package conns

import (
	"container/heap"
	"context"
	"errors"
	"slices"
	"time"

	"bulkhead/csa"
	"bulkhead/host/arriving"
	"bulkhead/host/loops"
)

// ErrStopped is the error of whoever asks a host that has stopped.
var ErrStopped = errors.New("the host has stopped")

// walk calls arrives for the connections of all loops that arrive, and visit for the others, each
// on its loop and some in each turn, with the loop's index, and waits until all have been visited,
// and until what was posted then is over. Where arrives answers false, the next is visited in
// another turn. One that goes from a loop to another meanwhile may be visited twice, but by visit
// last. With an error both may still be called.
func walk(ctx context.Context, all []*loops.Loop, arrives func(at int, c arriving.Conn) (more bool), visit func(at int, c *csa.CSA)) error {
	done := make(chan struct{}, len(all))
	for at, l := range all {
		over := func() { done <- struct{}{} }
		if !l.Post(func() {
			l.Arriving.Walk(l.Post, func(c arriving.Conn) bool { return arrives(at, c) }, func() {
				l.Walk(func(c *csa.CSA) { visit(at, c) }, func() { l.Post(over) })
			})
		}) {
			return ErrStopped
		}
	}
	for at := range all {
		select {
		case <-done:
		case <-all[at].Selector().Done():
			return ErrStopped
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// best are the first rows in an order, so many at most. The last of them is all[0].
type best struct {
	all    []*row
	most   int
	before func(a, b *row) bool
	seen   int
	next   row // that add looks at
}

func (b *best) Len() int           { return len(b.all) }
func (b *best) Less(i, j int) bool { return b.before(b.all[j], b.all[i]) }
func (b *best) Swap(i, j int)      { b.all[i], b.all[j] = b.all[j], b.all[i] }
func (b *best) Push(x any)         { b.all = append(b.all, x.(*row)) }
func (b *best) Pop() any           { panic("nothing is taken out") }

// add takes the next row in and returns it, if it is one of the first, and else nil.
func (b *best) add() *row {
	b.seen++
	full := len(b.all) == b.most
	if full && !b.before(&b.next, b.all[0]) {
		return nil
	}
	r := new(row)
	*r = b.next
	if full {
		b.all[0] = r
		heap.Fix(b, 0)
	} else {
		heap.Push(b, r)
	}
	return r
}

// Gather lists connections. It gives up when ctx is done. It is not called on a loop.
func Gather(ctx context.Context, all []*loops.Loop, whose Whose, q Query) (List, error) {
	if err := q.Check(); err != nil {
		return List{}, err
	}
	if q.Limit <= 0 {
		q.Limit = DefaultLimit
	}
	first, err := before(q.Sort)
	if err != nil {
		return List{}, err
	}
	var earlier *samples
	if q.Over > 0 {
		if earlier, err = sample(ctx, all, whose, &q); err != nil {
			return List{}, err
		}
	}
	ids := slices.Sorted(slices.Values(q.IDs))
	found := make([]best, len(all))
	for at, l := range all {
		room := min(q.Limit, int(l.Connections.Load())+8)
		found[at] = best{all: make([]*row, 0, max(room, 0)), most: q.Limit, before: first}
	}
	err = walk(ctx, all, func(at int, c arriving.Conn) bool {
		if a := c.Account(); meantArriving(&q.Filter, ids, &a) {
			b := &found[at]
			age := time.Duration(all[at].Now() - a.Accepted)
			b.next = row{owner: ownerOf(&a), peer: a.Peer, transport: "tcp", awaits: a.Awaits.String(), account: csa.Account{
				Number: a.Number, Age: age, Idle: age,
			}}
			if a.Unix {
				b.next.transport = "unix"
			}
			b.add()
		}
		return true
	}, func(at int, c *csa.CSA) {
		o, dialled := whose(c)
		if !meant(&q.Filter, ids, o, c) {
			return
		}
		b := &found[at]
		b.next = row{owner: o, account: accountOf(c), dialled: dialled}
		if earlier != nil {
			b.next.inRate, b.next.outRate = earlier.rates(&b.next.account, all[at].Now())
		}
		if r := b.add(); r != nil {
			r.transport, r.peer, r.doing, r.tls = c.Transport(), c.PeerAddress(), doingOf(c), TLSOf(c)
		}
	})
	if err != nil {
		return List{}, err
	}
	return collect(found, first, q), nil
}

// collect makes one list of those of the loops.
func collect(found []best, before func(a, b *row) bool, q Query) List {
	list := List{Limit: q.Limit, Connections: []Conn{}}
	var rows []*row
	for i := range found {
		rows = append(rows, found[i].all...)
		list.Matched += found[i].seen
	}
	slices.SortFunc(rows, func(a, b *row) int {
		switch {
		case before(a, b):
			return -1
		case before(b, a):
			return 1
		}
		return 0
	})
	rows = list.once(rows)
	rows = rows[:min(len(rows), q.Limit)]
	for _, r := range rows {
		list.Connections = append(list.Connections, r.conn(q.Over > 0))
	}
	return list
}

// once leaves out those that arrived when they were seen first, and then had a handler.
func (list *List) once(rows []*row) []*row {
	arriving := make(map[uint64]bool)
	for _, r := range rows {
		if r.awaits != "" {
			arriving[r.account.Number] = true
		}
	}
	if len(arriving) == 0 {
		return rows
	}
	for _, r := range rows {
		if r.awaits == "" {
			delete(arriving, r.account.Number)
		}
	}
	return slices.DeleteFunc(rows, func(r *row) bool {
		twice := r.awaits != "" && !arriving[r.account.Number]
		if twice {
			list.Matched--
		}
		return twice
	})
}

// ownerOf is whose a connection is that arrives.
func ownerOf(a *arriving.Account) *Owner {
	if of, ok := a.Of.(interface{ Owner() *Owner }); ok {
		return of.Owner()
	}
	return nil
}

// meantArriving is meant for a connection that arrives.
func meantArriving(f *Filter, ids []uint64, a *arriving.Account) bool {
	o := ownerOf(a)
	if o == nil || !f.fits(o) {
		return false
	}
	if f.IDs == nil {
		return true
	}
	_, ok := slices.BinarySearch(ids, a.Number)
	return ok
}

// meant reports whether a connection of an owner is meant. ids are sorted.
func meant(f *Filter, ids []uint64, o *Owner, c *csa.CSA) bool {
	if o == nil || !f.fits(o) || c.Over() {
		return false
	}
	if f.IDs == nil {
		return true
	}
	_, ok := slices.BinarySearch(ids, c.Number())
	return ok
}

// samples are the bytes that connections had moved by a time.
type samples struct {
	traffic map[uint64]traffic
}

type traffic struct{ in, out, at int64 }

// sample writes down the traffic of the connections that are meant, and waits for the query's time.
func sample(ctx context.Context, all []*loops.Loop, whose Whose, q *Query) (*samples, error) {
	type one struct {
		number uint64
		traffic
	}
	ids := slices.Sorted(slices.Values(q.IDs))
	seen := make([][]one, len(all))
	for at, l := range all {
		// A loop does not wait for its growing.
		seen[at] = make([]one, 0, max(int(l.Connections.Load())+64, 0))
	}
	err := walk(ctx, all, func(int, arriving.Conn) bool { return true }, func(at int, c *csa.CSA) {
		o, _ := whose(c)
		if meant(&q.Filter, ids, o, c) {
			in, out := c.Traffic()
			seen[at] = append(seen[at], one{c.Number(), traffic{in, out, all[at].Now()}})
		}
	})
	if err != nil {
		return nil, err
	}
	pause := time.NewTimer(q.Over)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	s := &samples{traffic: make(map[uint64]traffic)}
	for _, some := range seen {
		for _, one := range some {
			s.traffic[one.number] = one.traffic
		}
	}
	return s, nil
}

// rates are the bytes a second since then; of a connection that is younger, since it came.
func (s *samples) rates(a *csa.Account, now int64) (in, out float64) {
	before, ok := s.traffic[a.Number]
	passed := time.Duration(now - before.at)
	if !ok {
		passed = a.Age
	}
	if passed <= 0 {
		return 0, 0
	}
	return float64(a.Received-before.in) / passed.Seconds(), float64(a.Sent-before.out) / passed.Seconds()
}

// killBatch is how many connections are closed in one turn of a loop.
const killBatch = 32

// Kill closes the connections that are meant, and says which: how many, and the numbers of them
// where the filter has numbers. Their peers are reset where bytes wait for them. It is not called
// on a loop.
func Kill(ctx context.Context, all []*loops.Loop, whose Whose, f Filter) (killed []uint64, err error) {
	why := csa.OperatorClosed.Reason()
	ids := slices.Sorted(slices.Values(f.IDs))
	found := make([][]*csa.CSA, len(all))
	closed := make([][]uint64, len(all))
	arrived := make([]int, len(all)) // were closed, by loop
	if err := walk(ctx, all, func(at int, c arriving.Conn) bool {
		if a := c.Account(); meantArriving(&f, ids, &a) {
			closed[at] = append(closed[at], a.Number)
			c.Kill()
			arrived[at]++
			return arrived[at]%killBatch != 0
		}
		return true
	}, func(at int, c *csa.CSA) {
		if o, _ := whose(c); meant(&f, ids, o, c) {
			found[at] = append(found[at], c)
		}
	}); err != nil {
		return nil, err
	}
	done := make(chan struct{}, len(all))
	for at, l := range all {
		k := &killing{l: l, left: found[at], why: why, closed: &closed[at], done: done}
		if !l.Post(k.some) {
			return nil, ErrStopped
		}
	}
	for at := range all {
		select {
		case <-done:
		case <-all[at].Selector().Done():
			return nil, ErrStopped
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	for _, some := range closed {
		killed = append(killed, some...)
	}
	slices.Sort(killed)
	return killed, nil
}

// killing is what is closed of one loop.
type killing struct {
	l      *loops.Loop
	left   []*csa.CSA
	why    csa.Reason
	closed *[]uint64
	done   chan struct{}
}

// some closes some, in an event of its own: the handlers that hear of it at its end may pass the
// loop on, and the next turn is posted before.
func (k *killing) some() {
	batch := k.left[:min(len(k.left), killBatch)]
	k.left = k.left[len(batch):]
	if len(batch) == 0 {
		k.done <- struct{}{}
		return
	}
	k.l.Post(k.some)
	for _, c := range batch {
		if !c.Over() {
			*k.closed = append(*k.closed, c.Number())
			c.ShutdownMicroprocess(k.why)
		}
	}
}
