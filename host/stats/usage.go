package stats

import "time"

// Usage is what one tenant has used since the host knows it. It never falls.
type Usage struct {
	Tenant string
	// Life tells tenants of one name apart: one that was removed, came to its end and has come
	// back begins at nothing, with another number.
	Life int64
	// Open connections there are now, those that its handlers have dialled left out. It is no part
	// of Used, since it falls.
	Open int64
	Used
}

// Used are amounts, each of which can be billed. Connections that are open count for what they have
// moved so far.
type Used struct {
	// Fuel is in units of docs/METER.md.
	Fuel int64
	CPU  time.Duration
	// In and Out are bytes from and to peers, those of TLS included. UpstreamIn and UpstreamOut are
	// those from and to whom its handlers have dialled.
	In, Out, UpstreamIn, UpstreamOut int64
	// Connections have come to its handlers, and Upstreams were dialled by them.
	Connections, Upstreams int64
	// DatagramsIn and DatagramsOut are those of UDP, of peers and upstreams together.
	DatagramsIn, DatagramsOut int64
}

// Add adds what another has.
func (u *Used) Add(o Used) {
	u.Fuel += o.Fuel
	u.CPU += o.CPU
	u.In += o.In
	u.Out += o.Out
	u.UpstreamIn += o.UpstreamIn
	u.UpstreamOut += o.UpstreamOut
	u.Connections += o.Connections
	u.Upstreams += o.Upstreams
	u.DatagramsIn += o.DatagramsIn
	u.DatagramsOut += o.DatagramsOut
}

// Less is u without what another has.
func (u Used) Less(o Used) Used {
	return Used{
		Fuel: u.Fuel - o.Fuel, CPU: u.CPU - o.CPU,
		In: u.In - o.In, Out: u.Out - o.Out, UpstreamIn: u.UpstreamIn - o.UpstreamIn, UpstreamOut: u.UpstreamOut - o.UpstreamOut,
		Connections: u.Connections - o.Connections, Upstreams: u.Upstreams - o.Upstreams,
		DatagramsIn: u.DatagramsIn - o.DatagramsIn, DatagramsOut: u.DatagramsOut - o.DatagramsOut,
	}
}
