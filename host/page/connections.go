package page

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"bulkhead/host/conns"
)

const (
	// mostLooked is how many connections are looked at: those whose handlers have used the most
	// CPU.
	mostLooked = 10_000
	// mostConnections is how many rows of connections a frame has.
	mostConnections = 100
	// lookTime is how long the loops may take to list their connections.
	lookTime = 2 * time.Second
	// restOf is how many times as long as a look has taken there is none, and longestRest the most.
	restOf      = 20
	longestRest = 10 * time.Second
)

// connections are those that were looked at last.
type connections struct {
	last    []conns.Conn
	rates   []connRates // of last
	matched int
	problem string // why there are none newer; "": there are

	was   map[uint64]connTotals
	spare map[uint64]connTotals
	at    time.Time
	next  time.Time // no look before
	holds map[uint64]string
}

type connTotals struct {
	in, out int64
	cpu     float64
}

// connRates are of a second.
type connRates struct{ in, out, cpu float64 }

// look asks for the connections, unless the last time was too short ago for what it took.
func (c *connections) look(ctx context.Context, host Host, now time.Time) {
	if now.Before(c.next) {
		return
	}
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, lookTime, errors.New("the loops do not answer: one of them stands still"))
	defer cancel()
	list, err := host.Connections(ctx, conns.Query{Sort: "cpu", Limit: mostLooked})
	c.next = now.Add(min(restOf*time.Since(began), longestRest) - every/2)
	if err != nil {
		c.problem = err.Error()
		return
	}
	c.problem, c.last, c.matched = "", list.Connections, list.Matched
	over := now.Sub(c.at).Seconds()
	fresh := c.spare
	if fresh == nil {
		fresh = make(map[uint64]connTotals)
	}
	clear(fresh)
	c.rates = make([]connRates, len(c.last))
	for i := range c.last {
		one := &c.last[i]
		t := connTotals{one.In, one.Out, one.CPU}
		fresh[one.ID] = t
		if then, ok := c.was[one.ID]; ok && over > 0 {
			c.rates[i] = connRates{float64(t.in-then.in) / over, float64(t.out-then.out) / over, (t.cpu - then.cpu) / over}
		} else if one.Age > 0 && over > 0 && one.Age < over { // it has come since
			c.rates[i] = connRates{float64(t.in) / over, float64(t.out) / over, t.cpu / over}
		}
	}
	c.was, c.spare, c.at = fresh, c.was, now
}

// waiting reports whether a connection waits for somebody.
func waiting(c *conns.Conn) bool {
	return len(c.ThrottledBy) > 0 || slices.Contains(c.State, "blocked")
}

// rows are those connections that say the most: who holds others back, who waits, and then who
// uses the most.
func (c *connections) rows() []connRow {
	order := make([]int, len(c.last))
	rank := make([]int, len(c.last))
	for i := range c.last {
		order[i] = i
		switch _, holds := c.holds[c.last[i].ID]; {
		case holds:
			rank[i] = 0
		case waiting(&c.last[i]):
			rank[i] = 1
		default:
			rank[i] = 2
		}
	}
	slices.SortFunc(order, func(a, b int) int {
		x, y := &c.rates[a], &c.rates[b]
		return cmp.Or(cmp.Compare(rank[a], rank[b]), cmp.Compare(round(y.cpu), round(x.cpu)), cmp.Compare(y.in+y.out, x.in+x.out), cmp.Compare(c.last[a].ID, c.last[b].ID))
	})
	order = order[:min(len(order), mostConnections)]
	all := make([]connRow, 0, len(order))
	for _, i := range order {
		one, rates := &c.last[i], c.rates[i]
		all = append(all, connRow{
			ID: one.ID, Of: ownerOf(one), Tenant: one.Tenant, Generation: one.Generation, Peer: peerOf(one), Dialled: one.Dialled,
			Age: int64(one.Age), Idle: int64(one.Idle), InRate: round(rates.in), OutRate: round(rates.out), CPU: round(rates.cpu),
			Unsent: one.Unsent, Unconsumed: one.Unconsumed, State: one.State, Waits: one.ThrottledBy, HoldsBack: c.holds[one.ID],
		})
	}
	return all
}

// ownerOf is the listener of a connection, or its route.
func ownerOf(c *conns.Conn) string {
	if c.Route == "" {
		return c.Listener
	}
	return c.Listener + "/" + c.Route
}

func peerOf(c *conns.Conn) string {
	if c.Peer == "" {
		return c.Transport
	}
	return c.Peer
}
