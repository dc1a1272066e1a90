package host

import (
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/csa"
	"bulkhead/host/accept"
	"bulkhead/host/config"
	"bulkhead/host/tenant"
)

// generation is one listener as one configuration has it: its server, and those of its routes.
// A connection belongs to the generation that accepted it until it ends.
type generation struct {
	host    *Host
	servers []*server // the listener's, and then those of its routes
	// socket is what it has listened on, and listens on unless it is retired.
	socket accept.Sockets
	// open counts the connections that are its own: accepted, on their way, and dialled.
	open atomic.Int64
	// instances counts those of its servers that are alive.
	instances atomic.Int64
	// since is when it was made, and changed the keys that made it differ from the one before;
	// none: its listener was new. Both are set before it is in force.
	since   time.Time
	changed []string
	number  int64 // of the configuration that has made it
	// retired says that no connection comes to it any more but those that wait for a
	// place. It is closed when none is left.
	retired atomic.Bool
	until   atomic.Int64 // when old_for is over: Unix time in nanoseconds; 0: it is not retired
	removes bool         // its sockets end with it
	// over is when old_for is, and then when the next connections are closed; nil: it is not
	// retired, or it is closed. It is the home loop's, as closing is.
	over    *csa.Timer
	closing *closing
	ending  atomic.Bool // it is closed, or will be soon, whoever goes on
	once    sync.Once
}

// name is its listener's.
func (g *generation) name() string { return g.servers[0].config.Name }

// connections are those that are its own.
func (g *generation) connections() int { return int(g.open.Load()) }

// join counts a connection. Any goroutine may call it.
func (g *generation) join() { g.open.Add(1) }

// leave is the end of one, after which nothing is done with the generation's servers on its
// account. Any goroutine may call it.
func (g *generation) leave() {
	if g.open.Add(-1) == 0 && g.retired.Load() {
		go g.host.end(g)
	}
}

// state is what a host serves. It is replaced as a whole, and never changed.
type state struct {
	number      int64 // 1 is the first configuration that is served, and each reload's the next
	config      *config.Config
	since       time.Time                 // it is in force
	tenants     map[string]*tenant.Tenant // also those that a configuration had and that are not over
	generations []*generation             // of the configuration's listeners, in its order
	retired     []*generation             // that are not over
	past        *past                     // what a rollback goes back to; nil: there is nothing
}

// servers are those of the configuration's listeners and routes, in its order.
func (n *state) servers() (all []*server) {
	for _, g := range n.generations {
		all = append(all, g.servers...)
	}
	return all
}

// each calls f for every server, of retired generations, too.
func (n *state) each(f func(*server)) {
	for _, list := range [][]*generation{n.generations, n.retired} {
		for _, g := range list {
			for _, s := range g.servers {
				f(s)
			}
		}
	}
}

// eachSocket calls f for the sockets of every address, also for those that are kept for a retired
// generation.
func (n *state) eachSocket(f func(accept.Sockets)) {
	seen := make(map[accept.Sockets]bool)
	for _, list := range [][]*generation{n.generations, n.retired} {
		for _, g := range list {
			if k := g.socket; k != nil && !seen[k] {
				seen[k] = true
				f(k)
			}
		}
	}
}
