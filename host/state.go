package host

import (
	"time"

	"bulkhead/host/accept"
	"bulkhead/host/config"
	"bulkhead/host/service"
	"bulkhead/host/tenant"
)

// state is what a host serves. It is replaced as a whole, and never changed.
type state struct {
	number      int64 // 1 is the first configuration that is served, and each reload's the next
	config      *config.Config
	since       time.Time                 // it is in force
	tenants     map[string]*tenant.Tenant // also those that a configuration had and that are not over
	generations []*service.Generation     // of the configuration's listeners, in its order
	retired     []*service.Generation     // that are not over
	past        *past                     // what a rollback goes back to; nil: there is nothing
}

// servers are those of the configuration's listeners and routes, in its order.
func (n *state) servers() (all []*service.Server) {
	for _, g := range n.generations {
		all = append(all, g.Servers()...)
	}
	return all
}

// each calls f for every server, of retired generations, too.
func (n *state) each(f func(*service.Server)) {
	for _, list := range [][]*service.Generation{n.generations, n.retired} {
		for _, g := range list {
			for _, s := range g.Servers() {
				f(s)
			}
		}
	}
}

// eachSocket calls f for the sockets of every address, also for those that are kept for a retired
// generation.
func (n *state) eachSocket(f func(accept.Sockets)) {
	seen := make(map[accept.Sockets]bool)
	for _, list := range [][]*service.Generation{n.generations, n.retired} {
		for _, g := range list {
			if k := g.Sockets(); k != nil && !seen[k] {
				seen[k] = true
				f(k)
			}
		}
	}
}
