package tenant

import (
	"fmt"

	"bulkhead/host/config"
	"bulkhead/host/egress"
)

// Limits are what a tenant goes by next, once Set is called.
type Limits struct {
	Tenant *Tenant
	config config.Tenant
	policy *egress.Policy
}

// Limits are what the tenant goes by with another configuration. The error is that its connect list
// cannot be read. Nothing changes before Set.
func (t *Tenant) Limits(c config.Tenant) (Limits, error) {
	policy, err := dialPolicy(&c)
	return Limits{t, c, policy}, err
}

// Memory is the tenant's memory by them, in bytes.
func (l Limits) Memory() int64 { return l.config.Memory }

// Begin has modules be loaded by them, before Set; GiveUp has it be as it was, where Set is not
// called.
func (l Limits) Begin() { l.Tenant.instance.Store(l.config.Memory) }

// GiveUp is Begin's opposite.
func (l Limits) GiveUp() { l.Tenant.instance.Store(l.Tenant.Config().Memory) }

// Set has the tenant be configured so from now on; now is the host's clock. Nobody is closed for a
// limit that is lower. Who waits for cpu is woken; whoever else waits for a limit that is higher
// has to ask again, and the caller sees to that. One goroutine at a time may call it, and no loop.
//
// What an instance's own memory may grow to is part of its compiled code. So instances that are
// there keep to the memory of the tenant as it was, and to as much as the account has; modules that
// are loaded from Begin or Set on have the new one.
func (l Limits) Set(now int64) {
	t, c := l.Tenant, l.config
	t.config.Store(&c)
	t.policy.Store(l.policy)
	t.memory.SetLimit(c.Memory)
	t.instance.Store(c.Memory)
	t.Connections.SetLimit(c.Connections)
	t.dials.SetLimit(c.Dials)
	t.upstreams.SetLimit(c.Upstreams)
	t.lookups.SetLimit(c.Dials)
	t.handshaking.SetLimit(handshakesOf(&c))
	t.Accepts.SetRate(c.AcceptRate, now)
	t.in.SetRate(float64(c.Bandwidth), now)
	t.out.SetRate(float64(c.Bandwidth), now)
	t.SocketMemory.SetLimit(c.SocketMemory)
	t.timers.SetLimit(int64(c.Timers))
	t.mappings.SetLimit(c.Mappings)
	t.cpu.SetCPU(c.CPU)
	t.setRuntime(now)
}

func dialPolicy(c *config.Tenant) (*egress.Policy, error) {
	policy, err := egress.Parse(c.Connect)
	if err != nil {
		return nil, fmt.Errorf("tenant %q: connect: %w", c.Name, err)
	}
	return policy, nil
}

// handshakesOf is how many a tenant may have under way: as many as there are where it has no bound
// of its own.
func handshakesOf(c *config.Tenant) int {
	if c.Handshakes > 0 {
		return c.Handshakes
	}
	return 1 << 30
}
