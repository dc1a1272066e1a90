// Package conns lists the connections of a host, and closes those that an operator names. It walks
// the loops in pieces, so that none is held for long, however many connections are on it.
package conns

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"bulkhead/csa"
)

// Owner says whose connections are: those of one listener, or route, of one generation.
type Owner struct {
	// Listener is the listener's name, Route the route's; "": it is the listener's own.
	Listener, Route string
	Tenant          string
	// Generation is the number of the configuration that has made the listener as it is.
	Generation int64
}

// Whose says whose a connection is, on its loop, and whether a handler has dialled it. Nil: it is
// nobody's.
type Whose func(c *csa.CSA) (o *Owner, dialled bool)

// Filter says which connections are meant: those that all of it fits. The zero value is all.
type Filter struct {
	// IDs are numbers of connections. Nil: any.
	IDs []uint64 `json:"ids,omitempty"`
	// Listener is a listener, with its routes, or a route as LISTENER/ROUTE. "": any.
	Listener string `json:"listener,omitempty"`
	// Tenant is a tenant's name. "": any.
	Tenant string `json:"tenant,omitempty"`
	// Generation is a generation's number. 0: any.
	Generation int64 `json:"generation,omitempty"`
}

// All reports whether it means every connection.
func (f *Filter) All() bool {
	return len(f.IDs) == 0 && f.Listener == "" && f.Tenant == "" && f.Generation == 0
}

// fits reports whether an owner's connections may be meant.
func (f *Filter) fits(o *Owner) bool {
	if f.Tenant != "" && f.Tenant != o.Tenant || f.Generation != 0 && f.Generation != o.Generation {
		return false
	}
	if f.Listener == "" || f.Listener == o.Listener {
		return true
	}
	listener, route, ok := strings.Cut(f.Listener, "/")
	return ok && listener == o.Listener && route == o.Route
}

// DefaultLimit is how many connections are listed where nothing is said, and MostListed the most
// that can be asked for.
const (
	DefaultLimit = 1000
	MostListed   = 100_000
)

// LongestOver is the longest time that rates may be taken over.
const LongestOver = 10 * time.Second

// Query says what to list.
type Query struct {
	Filter
	// Sort is one of Keys. "": id.
	Sort string
	// Limit is how many are listed at most: the first in that order. Zero or less: DefaultLimit.
	Limit int
	// Over is for how long bytes are counted for the rates. Zero or less: there are none.
	Over time.Duration
}

// List is what there is.
type List struct {
	// Matched is how many connections the filter fits, Limit how many are listed at most.
	Matched     int    `json:"matched"`
	Limit       int    `json:"limit"`
	Connections []Conn `json:"connections"`
}

// Conn is one connection.
type Conn struct {
	// ID is its own as long as the daemon lives: that of the log, and of kill.
	ID       uint64 `json:"id"`
	Listener string `json:"listener"`
	// Route is the route's name, without its listener's; "": none has taken it.
	Route      string `json:"route,omitempty"`
	Tenant     string `json:"tenant"`
	Generation int64  `json:"generation"`
	// Dialled says that a handler has dialled it.
	Dialled   bool   `json:"dialled,omitempty"`
	Transport string `json:"transport"` // tcp, unix, udp, ws
	Peer      string `json:"peer"`      // "" where it has no address
	// Age is how old it is, Idle how long ago a byte has moved, in seconds.
	Age  float64 `json:"age_seconds"`
	Idle float64 `json:"idle_seconds"`
	// In and Out are bytes, with those of TLS. InRate and OutRate are bytes a second; nil: they
	// were not asked for.
	In      int64    `json:"in"`
	Out     int64    `json:"out"`
	InRate  *float64 `json:"in_rate,omitempty"`
	OutRate *float64 `json:"out_rate,omitempty"`
	// Unsent bytes wait for the peer, Unconsumed ones for the handler.
	Unsent     int `json:"unsent"`
	Unconsumed int `json:"unconsumed"`
	// State is what it does, or what it awaits before it has a handler; ThrottledBy are the keys of
	// the limits that it waits for, where throttled is one of them.
	State       []string `json:"state"`
	ThrottledBy []string `json:"throttled_by,omitempty"`
	// Events is how often its loop has turned to it, Fuel and CPU (seconds) what its handler has
	// used for it.
	Events uint32  `json:"events"`
	Fuel   int64   `json:"fuel"`
	CPU    float64 `json:"cpu_seconds"`
	TLS    *TLS    `json:"tls,omitempty"`
}

// TLS is what is known of a connection's.
type TLS struct {
	Version    string `json:"version"`
	Cipher     string `json:"cipher"`
	ServerName string `json:"server_name,omitempty"`
	ALPN       string `json:"alpn,omitempty"`
	Resumed    bool   `json:"resumed"`
}

// row is a connection as it is written down on its loop.
type row struct {
	owner     *Owner
	account   csa.Account
	transport string
	peer      netip.AddrPort
	dialled   bool
	doing     doing
	tls       *TLS
	awaits    string // what it waits for before it is a CSA; "": it is one
	inRate    float64
	outRate   float64
}

// Keys are what a list can be sorted by. id is by number, age the oldest first, the others the
// largest first.
func Keys() []string {
	return []string{"id", "age", "idle", "in", "out", "in_rate", "out_rate", "unsent", "unconsumed", "events", "fuel", "cpu"}
}

// before gives the order of a key: whether a comes before b.
func before(key string) (func(a, b *row) bool, error) {
	largest := func(of func(r *row) float64) func(a, b *row) bool {
		return func(a, b *row) bool {
			if x, y := of(a), of(b); x != y {
				return x > y
			}
			return a.account.Number < b.account.Number
		}
	}
	switch key {
	case "", "id":
		return func(a, b *row) bool { return a.account.Number < b.account.Number }, nil
	case "age":
		return largest(func(r *row) float64 { return float64(r.account.Age) }), nil
	case "idle":
		return largest(func(r *row) float64 { return float64(r.account.Idle) }), nil
	case "in":
		return largest(func(r *row) float64 { return float64(r.account.Received) }), nil
	case "out":
		return largest(func(r *row) float64 { return float64(r.account.Sent) }), nil
	case "in_rate":
		return largest(func(r *row) float64 { return r.inRate }), nil
	case "out_rate":
		return largest(func(r *row) float64 { return r.outRate }), nil
	case "unsent":
		return largest(func(r *row) float64 { return float64(r.account.Unsent) }), nil
	case "unconsumed":
		return largest(func(r *row) float64 { return float64(r.account.Unconsumed) }), nil
	case "events":
		return largest(func(r *row) float64 { return float64(r.account.Events) }), nil
	case "fuel":
		return largest(func(r *row) float64 { return float64(r.account.Fuel) }), nil
	case "cpu":
		return largest(func(r *row) float64 { return float64(r.account.CPU) }), nil
	}
	return nil, fmt.Errorf("connections cannot be sorted by %q; the keys are %s", clip(key), strings.Join(Keys(), ", "))
}

// Check says what is wrong with a query.
func (q *Query) Check() error {
	if _, err := before(q.Sort); err != nil {
		return err
	}
	switch {
	case q.Limit > MostListed:
		return fmt.Errorf("a limit of %d connections is more than the %d that can be listed; sort them, and ask for fewer", q.Limit, MostListed)
	case q.Over > LongestOver:
		return fmt.Errorf("rates over %v take too long; ask for %v at most", q.Over, LongestOver)
	case q.Over <= 0 && slices.Contains([]string{"in_rate", "out_rate"}, q.Sort):
		return fmt.Errorf("connections are to be sorted by %s, and rates are not asked for; say over how long they are to be taken", q.Sort)
	}
	return nil
}

// conn is the row for others.
func (r *row) conn(rates bool) Conn {
	a := &r.account
	c := Conn{
		ID: a.Number, Listener: r.owner.Listener, Route: r.owner.Route, Tenant: r.owner.Tenant, Generation: r.owner.Generation,
		Dialled: r.dialled, Transport: r.transport, Age: a.Age.Seconds(), Idle: a.Idle.Seconds(), In: a.Received, Out: a.Sent,
		Unsent: a.Unsent, Unconsumed: a.Unconsumed, Events: a.Events, Fuel: a.Fuel, CPU: a.CPU.Seconds(), TLS: r.tls,
	}
	if r.peer.IsValid() {
		c.Peer = r.peer.String()
	}
	if rates {
		c.InRate, c.OutRate = &r.inRate, &r.outRate
	}
	if r.awaits != "" {
		c.State = []string{r.awaits}
	} else {
		c.State, c.ThrottledBy = words(a.State, r.doing)
	}
	return c
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}
