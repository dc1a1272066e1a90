package play

import (
	"bulkhead/host/conns"
)

// Cost is what the handler has used for what a line has brought about: bytes that were sent, time
// that went by, a connection.
type Cost struct {
	Line   int   `json:"line"`   // of the file; for bytes that were sent, where they begin
	Events int   `json:"events"` // of its connections
	Fuel   int64 `json:"fuel"`
	// Memory is by how many bytes what the handler holds has grown: linear memory, stacks and
	// buffers. It is negative where that has shrunk.
	Memory int64 `json:"memory"`
}

// Costliest is the line that took most fuel. Not ok: none took any.
func (r *Report) Costliest() (most Cost, ok bool) {
	for _, c := range r.Costs {
		if c.Fuel > most.Fuel {
			most = c
		}
	}
	return most, most.Fuel > 0
}

// account notes that the handler has come to rest behind a line.
func (p *player) account(line int, all []conns.Conn) {
	fuel, events, memory := p.fuel, p.events, p.memory
	p.sum(all)
	p.memory = p.host.Stats().Tenants[0].Memory
	c := Cost{line, p.events - events, p.fuel - fuel, p.memory - memory}
	if c.Events <= 0 && c.Fuel <= 0 {
		return
	}
	if n := len(p.costs); n > 0 && p.costs[n-1].Line == line {
		last := &p.costs[n-1]
		last.Events, last.Fuel, last.Memory = last.Events+c.Events, last.Fuel+c.Fuel, last.Memory+c.Memory
		return
	}
	p.costs = append(p.costs, c)
}

// sum adds up what the handler has used so far, for all connections.
func (p *player) sum(all []conns.Conn) {
	p.fuel, p.events = 0, 0
	for _, c := range all {
		if _, ended := p.log.end(c.Peer); !ended { // it is counted below
			p.fuel += c.Fuel
			p.events += int(c.Events)
		}
	}
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	for _, e := range p.log.ends {
		p.fuel += e.Fuel
		p.events += e.Events
	}
}
