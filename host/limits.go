package host

import (
	"fmt"
	"strings"

	"bulkhead/csa"
	"bulkhead/host/accept"
	"bulkhead/host/budget"
	"bulkhead/host/config"
	"bulkhead/host/egress"
	"bulkhead/host/loops"
	"bulkhead/host/shares"
)

// tenantLimits is what a tenant that there is goes by next.
type tenantLimits struct {
	tenant *tenant
	config config.Tenant
	dials  *egress.Policy
}

// limitsOf is what t goes by with another configuration, or says why that cannot be had.
func limitsOf(t *tenant, c config.Tenant) (tenantLimits, error) {
	dials, err := dialPolicy(&c)
	return tenantLimits{t, c, dials}, err
}

// setLimits has tenants go by other limits from now on, and returns who they are, for tellLoops.
// Nobody is closed for a limit that is lower; whoever waits for one that is higher
// asks again when the loops are told. Any goroutine may call it but a loop's, one at a time.
//
// What an instance's own memory may grow to is part of its compiled code. So instances of modules that
// are there keep to the memory of the tenant as it was, and to as much as the account has; modules that
// a new runtime loads have the new one.
func (h *Host) setLimits(all []tenantLimits) (changed map[*tenant]bool) {
	changed = make(map[*tenant]bool, len(all))
	for _, l := range all {
		l.tenant.set(l.config, l.dials, h.clock.Now())
		changed[l.tenant] = true
	}
	return changed
}

// tellLoops has all who wait for something of these tenants' ask again, and the connections that
// there are go by what these servers do now. Each loop is told once; it visits its connections some
// at a time.
func (h *Host) tellLoops(tenants map[*tenant]bool, servers map[*server]*before) {
	if len(tenants) > 0 {
		h.askAgain(tenants)
	}
	if len(tenants) == 0 && len(servers) == 0 {
		return
	}
	for _, l := range h.loops {
		l.Post(func() {
			l.Walk(func(c *csa.CSA) {
				if t, ok := c.Budget().(*tenant); ok && tenants[t] {
					c.AskBudget()
				}
				if s := serverOf(c); s != nil {
					if b := servers[s]; b != nil {
						b.goesBy(c, s, c.Creator() != csa.Creator(s))
					}
				}
			}, nil)
		})
	}
}

// askAgain has all ask again who wait for something of these tenants' and are no connections.
func (h *Host) askAgain(changed map[*tenant]bool) {
	for t := range changed {
		if r := t.runtime.Load(); r != nil {
			r.AskAgain()
		}
	}
	h.wake()
	now := h.now.Load()
	now.each(func(s *server) {
		if s.front != nil && changed[s.tenant] {
			s.home.Post(s.resume)
		}
	})
	accepts := make(map[*loops.Loop][]*accept.Streams)
	now.eachSocket(func(k accept.Sockets) {
		switch k := k.(type) {
		case *accept.Streams:
			accepts[k.Home()] = append(accepts[k.Home()], k)
		case *accept.Datagrams:
			if t, ok := k.Budget().(*tenant); ok && changed[t] {
				k.AskBudget()
			}
		}
	})
	for l, all := range accepts {
		l.Post(func() {
			for _, k := range all {
				if s, ok := k.Serving().(*server); ok && changed[s.tenant] { // else it does not accept, or not yet
					l.Post(s.resume)
				}
			}
		})
	}
}

// set has the tenant be configured so, with the policy of its connect list. It wakes nobody but those
// who wait for cpu.
func (t *tenant) set(c config.Tenant, policy *egress.Policy, now int64) {
	t.limits.Store(&c)
	t.egress.Store(policy)
	t.memory.SetLimit(c.Memory)
	t.connections.SetLimit(c.Connections)
	t.dials.SetLimit(c.Dials)
	t.upstreams.SetLimit(c.Upstreams)
	t.lookups.SetLimit(c.Dials)
	t.handshaking.SetLimit(handshakesOf(&c))
	t.accepts.SetRate(c.AcceptRate, now)
	t.in.SetRate(float64(c.Bandwidth), now)
	t.out.SetRate(float64(c.Bandwidth), now)
	t.sockets.SetLimit(c.SocketMemory)
	t.timers.SetLimit(int64(c.Timers))
	t.mappings.SetLimit(c.Mappings)
	t.cpu.SetCPU(c.CPU)
	if r := t.runtime.Load(); r != nil {
		r.SetInstances(c.Instances)
	}
	if l := t.log.Load(); l != nil {
		l.SetRates(c.LogLines, float64(c.LogBytes), now)
	}
}

// held is what of the tenant's accounts is taken, by name; empty when all has been given back.
func (t *tenant) held() (held []string) {
	calls, _ := t.cpu.Background()
	for _, one := range []struct {
		name string
		n    int64
	}{
		{"bytes of memory", t.memory.Used()},
		{"connections", int64(t.connections.Used())},
		{"dials", int64(t.dials.Used())},
		{"upstreams", int64(t.upstreams.Used())},
		{"handshakes", t.handshaking.Used()},
		{"timers", t.timers.Used()},
		{"bytes of socket memory", t.sockets.Used()},
		{"mappings", t.mappings.Used()},
		{"pipes", t.pipes.Used()},
		{"calls in the background", int64(calls)},
	} {
		if one.n != 0 {
			held = append(held, fmt.Sprintf("%d %s", one.n, one.name))
		}
	}
	return held
}

// close gives the tenant's parts of what all share back, when its last connection, instance and module
// has gone and its runtime has ended. The error says what it still holds, and then
// nothing is closed.
func (t *tenant) close() error {
	held := t.held()
	if len(held) == 0 && !t.cpu.Close() {
		held = append(held, "events that wait for cpu")
	}
	if len(held) > 0 {
		return fmt.Errorf("tenant %q still holds %s", t.name, strings.Join(held, ", "))
	}
	for _, share := range []*budget.PoolShare{t.handshaking, t.mappings, t.pipes} {
		share.Close()
	}
	if l := t.log.Load(); l != nil {
		l.End()
	}
	return nil
}

// defaultHandshakes is how many TLS handshakes are under way where nothing else is said.
const defaultHandshakes = 4096

// newHandshakes makes the account of the handshakes that all tenants share, with one for each
// in any case.
func newHandshakes(cfg *config.Config) *budget.Pool {
	return budget.NewPool(handshakeLimit(cfg), len(cfg.Tenants))
}

func handshakeLimit(cfg *config.Config) int {
	most := cfg.Host.Handshakes
	if most <= 0 {
		most = defaultHandshakes
	}
	return max(most, 2*len(cfg.Tenants))
}

// setHost has the limits of the whole host be what a configuration says from now on. It is called
// as setLimits is.
func (h *Host) setHost(cfg *config.Config) {
	h.connections.SetLimit(shares.Connections(cfg, h.log))
	h.handshakes.SetLimit(handshakeLimit(cfg))
	held, _, _ := shares.Pipes(cfg)
	h.pipes.SetLimit(held)
	if h.plugins != nil {
		h.plugins.boundCode(cfg.Host.CodeCache)
	}
	h.wake()
}

// handshakesOf is how many a tenant may have under way: as many as there are where it has no bound
// of its own.
func handshakesOf(c *config.Tenant) int {
	if c.Handshakes > 0 {
		return c.Handshakes
	}
	return 1 << 30
}

// handshakeAccount is a tenant's share of the handshakes, as csa has it.
type handshakeAccount struct{ share *budget.PoolShare }

var _ csa.HandshakePlaces = handshakeAccount{}

// TakeHandshake takes a place, or reports false.
func (a handshakeAccount) TakeHandshake() bool { return a.share.Reserve(1) }

// ReturnHandshake gives one back.
func (a handshakeAccount) ReturnHandshake() { a.share.Release(1) }
