package service

import (
	"sync/atomic"

	"bulkhead/csa"
	"bulkhead/host/handlers"
	"bulkhead/host/loader"
	"bulkhead/host/stats"
)

// Totals are what a listener, or route, has counted in all of its generations, which have the same.
type Totals struct {
	handlers.Counters
	accepted, shortages, traps, stopped atomic.Int64
	errors                              atomic.Int64
	unrouted                            atomic.Int64
	ended                               [csa.Causes]atomic.Int64 // connections, by cause
	clients, upstreams                  *csa.Tallies             // of those that have come, and that its handlers have dialled
	lost                                [csa.Losses]atomic.Int64 // datagrams
	dials                               [stats.DialOutcomes]atomic.Int64
	booked                              stats.Used // see Book
}

func newTotals(loops int) *Totals {
	return &Totals{clients: csa.NewTallies(loops), upstreams: csa.NewTallies(loops)}
}

// show has everybody see what the loop has counted, which calls it.
func (c *Totals) show(l *csa.Loop) {
	c.clients.Show(l)
	c.upstreams.Show(l)
}

// Tallies are what its loops count, which they show when they are asked.
func (c *Totals) Tallies() [2]*csa.Tallies { return [2]*csa.Tallies{c.clients, c.upstreams} }

// ShowAll has everybody see what all loops have counted, which have stopped.
func (c *Totals) ShowAll() {
	c.clients.ShowAll()
	c.upstreams.ShowAll()
}

// Used is what the listener's, or route's, connections have used that was not booked, as far as the
// loops have shown it: all but Fuel and CPU. open are those that came and are open. It is called by
// one goroutine at a time, as Book is.
func (c *Totals) Used() (used stats.Used, open int64) {
	clients := c.clients.Shown()
	return c.used(&clients).Less(c.booked), clients.Opened - clients.Closed
}

// Book is Used, of which Used does not tell any more.
func (c *Totals) Book() stats.Used {
	clients := c.clients.Shown()
	used := c.used(&clients)
	fresh := used.Less(c.booked)
	c.booked = used
	return fresh
}

func (c *Totals) used(clients *csa.Tally) stats.Used {
	upstreams := c.upstreams.Shown()
	return stats.Used{
		In: clients.Received, Out: clients.Sent, UpstreamIn: upstreams.Received, UpstreamOut: upstreams.Sent,
		Connections: clients.Opened, Upstreams: upstreams.Opened,
		DatagramsIn: clients.DatagramsIn + upstreams.DatagramsIn, DatagramsOut: clients.DatagramsOut + upstreams.DatagramsOut,
	}
}

// Totals are what its listener, or route, has counted.
func (s *Server) Totals() *Totals { return s.totals }

// FillStats is what its listener, or route, has done in all of its generations, in the memory that
// st has from before. removed says that the configuration does not have it any more. Any goroutine
// may call it.
func (s *Server) FillStats(st *stats.Listener, removed bool) {
	c := s.totals
	pending, _ := s.provider.(*loader.Pending)
	ended, lost, dials := st.Ended, st.DatagramsLost, st.Dials
	clients, upstreams := c.clients.Shown(), c.upstreams.Shown()
	*st = stats.Listener{
		Name:              s.config.Name,
		Tenant:            s.config.Tenant,
		Removed:           removed,
		Active:            clients.Opened - clients.Closed,
		Upstreams:         upstreams.Opened - upstreams.Closed,
		Accepted:          c.accepted.Load(),
		ClosedBeforeRoute: c.unrouted.Load(),
		Refused:           c.Refused.Load(),
		AcceptErrors:      c.shortages.Load(),
		StartFailures:     c.Failed.Load(),
		Traps:             c.traps.Load(),
		LimitStops:        c.stopped.Load(),
		HandlerErrors:     c.errors.Load(),
		Instances:         c.Instances.Load(),
		Received:          clients.Received,
		Sent:              clients.Sent,
		UpstreamReceived:  upstreams.Received,
		UpstreamSent:      upstreams.Sent,
		Handshakes:        clients.Handshakes,
		Resumed:           clients.Resumed,
		Events:            clients.Events,
		FirstByte:         clients.FirstByte,

		Ended:         named(ended, c.ended[:], func(i int) string { return csa.Cause(i).Info().Name }),
		Dials:         named(dials, c.dials[:], func(i int) string { return stats.DialOutcome(i).String() }),
		DatagramsLost: named(lost, c.lost[:], func(i int) string { return csa.Loss(i).Info().Name }),
	}
	if !removed {
		st.Quarantine = pending.Quarantine()
		st.Drained = s.Drained()
	}
	if certs := s.Certificates(); certs != nil {
		st.CertificateEnds = certs.Expires()
	}
}

// named are those counts that are not zero, in by, which may be nil.
func named(by map[string]int64, counts []atomic.Int64, name func(i int) string) map[string]int64 {
	if by == nil {
		by = make(map[string]int64)
	}
	clear(by)
	for i := range counts {
		if n := counts[i].Load(); n > 0 {
			by[name(i)] = n
		}
	}
	return by
}
