package play

import (
	"bulkhead/host/conns"
	"bulkhead/plugins"
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
	// Calls are those of its callbacks, in the order in which they were over.
	Calls []Call `json:"calls"`
}

// Call is one call of a callback of the handler.
type Call struct {
	Export string `json:"export"`         // such as "csa_data"
	Peer   string `json:"peer,omitempty"` // of the connection that it was about
	Fuel   int64  `json:"fuel"`
	// Memory is the linear memory of the instance when the call was over, in bytes. It never
	// shrinks.
	Memory int `json:"memory"`
	// HostCalls are how often it has called each function of the host.
	HostCalls map[string]int `json:"host_calls,omitempty"`

	stacks []plugins.Stack
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

// Costliest is the line's call that took most fuel. Not ok: none took any.
func (c *Cost) Costliest() (most Call, ok bool) {
	for _, one := range c.Calls {
		if one.Fuel > most.Fuel {
			most = one
		}
	}
	return most, most.Fuel > 0
}

// called notes a call, until the handler has come to rest.
func (s *stage) called(c plugins.Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fuel += c.Fuel
	s.calls = append(s.calls, Call{c.Export, c.Peer, c.Fuel, c.Memory, c.HostCalls, c.Stacks})
}

// account notes that the handler has come to rest behind a line.
func (p *player) account(line int, all []conns.Conn) {
	fuel, events, memory := p.fuel, p.events, p.memory
	p.sum(all)
	p.memory = p.host.Stats().Tenants[0].Memory
	p.mu.Lock()
	calls := p.calls
	p.calls = nil
	p.mu.Unlock()
	c := Cost{line, p.events - events, p.fuel - fuel, p.memory - memory, calls}
	if c.Events <= 0 && c.Fuel <= 0 && len(c.Calls) == 0 {
		return
	}
	if n := len(p.costs); n > 0 && p.costs[n-1].Line == line {
		last := &p.costs[n-1]
		last.Events, last.Fuel, last.Memory = last.Events+c.Events, last.Fuel+c.Fuel, last.Memory+c.Memory
		last.Calls = append(last.Calls, c.Calls...)
		return
	}
	p.costs = append(p.costs, c)
}

// sum adds up what the handler has used so far. Fuel is that of its calls, of which each is told. A
// connection that is over may not know of its csa_closed, which can come behind other events.
func (p *player) sum(all []conns.Conn) {
	p.mu.Lock()
	p.fuel = p.stage.fuel
	p.mu.Unlock()
	p.events = 0
	for _, c := range all {
		if _, ended := p.log.end(c.Peer); !ended { // it is counted below
			p.events += int(c.Events)
		}
	}
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	for _, e := range p.log.ends {
		p.events += e.Events
	}
}
