package host

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync/atomic"
	"time"

	"bulkhead/csa"
	"bulkhead/host/accept"
	"bulkhead/host/budget"
	"bulkhead/host/config"
	"bulkhead/host/cores"
	"bulkhead/host/counts"
	"bulkhead/host/egress"
	"bulkhead/host/logs"
	"bulkhead/plugins"
)

// bandwidthBurst is how far a tenant may run ahead of its bandwidth.
const bandwidthBurst = time.Second / 4

// acceptBurst is how far a tenant may run ahead of its accept rate.
const acceptBurst = time.Second

// tenant is one tenant's share: what bounds all of its listeners together. It
// is the csa.Budget of its connections. Any goroutine may use it. Its limits can be set while it
// is in use.
type tenant struct {
	name        string
	limits      atomic.Pointer[config.Tenant] // not changed: replaced
	memory      *budget.Memory
	connections *budget.Count
	egress      atomic.Pointer[egress.Policy] // whom its handlers may dial
	client      *tls.Config                   // of TLS with those they dial
	dials       *budget.Count                 // under way
	upstreams   *budget.Count                 // dialled, and under way
	lookups     *egress.Lookups               // of names that are dialled
	handshakes  *csa.HandshakeShare           // of TLS
	handshaking *budget.PoolShare             // under way
	accepts     *budget.Rate
	in, out     *budget.Rate
	sockets     *budget.Sockets // what they hold in the system
	timers      *budget.Memory
	mappings    *budget.PoolShare
	pipes       *budget.PoolShare // of its relays
	cpu         *cores.Share
	udp         accept.UDPSockets
	counts      counts.Counts
	runtime     atomic.Pointer[plugins.Runtime] // nil until it has a plugin
	log         atomic.Pointer[logs.Handlers]   // of its handlers; nil as long
}

var _ csa.Budget = (*tenant)(nil)

// pools are what all tenants have their parts of.
type pools struct {
	cores      *cores.Cores
	mappings   *budget.Pool
	handshakes *budget.Pool
	pipes      *budget.Pool
	lookups    *egress.Shared
}

// config is the tenant as it is configured now.
func (t *tenant) config() *config.Tenant { return t.limits.Load() }

func newTenant(c config.Tenant, all pools, roots *x509.CertPool) (*tenant, error) {
	policy, err := dialPolicy(&c)
	if err != nil {
		return nil, err
	}
	t := &tenant{
		name:        c.Name,
		memory:      budget.NewMemory(c.Memory),
		connections: budget.NewCount(c.Connections),
		client:      newClientConfig(roots),
		dials:       budget.NewCount(c.Dials),
		upstreams:   budget.NewCount(c.Upstreams),
		lookups:     all.lookups.Tenant(c.Dials),
		handshaking: all.handshakes.Share(handshakesOf(&c)),
		accepts:     budget.NewRate(c.AcceptRate, acceptBurst),
		in:          budget.NewRate(float64(c.Bandwidth), bandwidthBurst),
		out:         budget.NewRate(float64(c.Bandwidth), bandwidthBurst),
		sockets:     budget.NewSockets(c.SocketMemory),
		timers:      budget.NewMemory(int64(c.Timers)),
		mappings:    all.mappings.Share(c.Mappings),
		pipes:       all.pipes.Share(0),
		cpu:         all.cores.Share(c.CPU),
	}
	t.limits.Store(&c)
	t.egress.Store(policy)
	t.handshakes = csa.NewHandshakeShare(handshakeAccount{t.handshaking}, t.cpu)
	return t, nil
}

func dialPolicy(c *config.Tenant) (*egress.Policy, error) {
	policy, err := egress.Parse(c.Connect)
	if err != nil {
		return nil, fmt.Errorf("tenant %q: connect: %w", c.Name, err)
	}
	return policy, nil
}

// Reserve takes n bytes of the tenant's memory.
func (t *tenant) Reserve(n int) bool { return t.memory.Reserve(n) }

// Release gives n bytes back.
func (t *tenant) Release(n int) { t.memory.Release(n) }

// ReserveTimer takes one of the tenant's timers.
func (t *tenant) ReserveTimer() bool { return t.timers.Reserve(1) }

// ReleaseTimers gives n back.
func (t *tenant) ReleaseTimers(n int) { t.timers.Release(n) }

// Received books bytes from a peer.
func (t *tenant) Received(n int, now int64) (wait int64) { return t.in.Spend(n, now) }

// Book books processor time that a loop has used for it.
func (t *tenant) Book(ns int64) { t.cpu.Book(ns) }

// CPUWait is for how long its accepts, datagrams and relays wait when it is over its cpu.
func (t *tenant) CPUWait() (wait int64) { return t.cpu.CPUWait() }

// Sent books bytes to a peer.
func (t *tenant) Sent(n int, now int64) (wait int64) { return t.out.Spend(n, now) }

// lastWords says which lines of its handlers were left out and not told of yet.
func (t *tenant) lastWords() {
	if l := t.log.Load(); l != nil {
		l.End()
	}
}
