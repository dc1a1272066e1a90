// Package tenant has what bounds one tenant: an account for each of its limits, which all of its
// listeners share, and the runtime of its plugins. The limits can be set while they are in use.
package tenant

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"sync"
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
	"bulkhead/host/stats"
	"bulkhead/plugins"
)

// bandwidthBurst is how far a tenant may run ahead of its bandwidth.
const bandwidthBurst = time.Second / 4

// acceptBurst is how far a tenant may run ahead of its accept rate.
const acceptBurst = time.Second

// Pools are what all tenants of a host have their parts of.
type Pools struct {
	Cores      *cores.Cores
	Mappings   *budget.Pool
	Handshakes *budget.Pool
	Pipes      *budget.Pool
	// Lookups are of names that handlers dial.
	Lookups *egress.Shared
}

// Tenant is one tenant's share of a host: what bounds all of its listeners together. It is the
// csa.Budget of its connections. Any goroutine may use it.
type Tenant struct {
	// Connections are those that are open, but for those that its handlers have dialled.
	Connections *budget.Count
	// Accepts are connections that come, and UDP's peers.
	Accepts *budget.Rate
	// Handshakes are its share of those of TLS.
	Handshakes *csa.HandshakeShare
	// Pipes are those of its relays.
	Pipes csa.PipeShare
	// SocketMemory is what its connections hold in the system.
	SocketMemory *budget.Sockets
	// UDP are its sockets for datagrams.
	UDP accept.UDPSockets
	// Life tells it apart from others of its name, before and after it. It is set before the tenant
	// is used.
	Life int64
	// Past is what listeners have used for it that are over. Whoever makes the tenant holds a lock
	// for it.
	Past stats.Used

	name        string
	config      atomic.Pointer[config.Tenant]   // not changed: replaced
	policy      atomic.Pointer[egress.Policy]   // whom its handlers may dial
	runtime     atomic.Pointer[plugins.Runtime] // nil until it has a plugin
	log         atomic.Pointer[logs.Handlers]   // of its handlers; nil as long
	setting     sync.Mutex                      // held to set what a runtime and a log go by
	client      *tls.Config                     // of TLS with those they dial
	memory      *budget.Memory
	instance    atomic.Int64      // see InstanceMemory
	dials       *budget.Count     // under way
	upstreams   *budget.Count     // dialled, and under way
	lookups     *egress.Lookups   // of names that are dialled
	handshaking *budget.PoolShare // under way
	in, out     *budget.Rate
	timers      *budget.Memory
	mappings    *budget.PoolShare
	pipes       *budget.PoolShare
	cpu         *cores.Share
	counts      counts.Counts
}

var _ csa.Budget = (*Tenant)(nil)

// New makes a tenant with its parts of the pools, which hold nothing yet. roots are whom the
// certificates of servers have to be signed by that its handlers dial with TLS; nil is the
// system's. The error is that its connect list cannot be read.
func New(c config.Tenant, all Pools, roots *x509.CertPool) (*Tenant, error) {
	policy, err := dialPolicy(&c)
	if err != nil {
		return nil, err
	}
	t := &Tenant{
		Connections:  budget.NewCount(c.Connections),
		Accepts:      budget.NewRate(c.AcceptRate, acceptBurst),
		SocketMemory: budget.NewSockets(c.SocketMemory),

		name:        c.Name,
		client:      newClientConfig(roots),
		memory:      budget.NewMemory(c.Memory),
		dials:       budget.NewCount(c.Dials),
		upstreams:   budget.NewCount(c.Upstreams),
		lookups:     all.Lookups.Tenant(c.Dials),
		handshaking: all.Handshakes.Share(handshakesOf(&c)),
		in:          budget.NewRate(float64(c.Bandwidth), bandwidthBurst),
		out:         budget.NewRate(float64(c.Bandwidth), bandwidthBurst),
		timers:      budget.NewMemory(int64(c.Timers)),
		mappings:    all.Mappings.Share(c.Mappings),
		pipes:       all.Pipes.Share(0),
		cpu:         all.Cores.Share(c.CPU),
	}
	t.config.Store(&c)
	t.instance.Store(c.Memory)
	t.policy.Store(policy)
	t.Handshakes = csa.NewHandshakeShare(handshakePlaces{t.handshaking}, t.cpu)
	t.Pipes = pipes{t.pipes}
	return t, nil
}

// Name is its name.
func (t *Tenant) Name() string { return t.name }

// Config is the tenant as it is configured now. It is not to be changed.
func (t *Tenant) Config() *config.Tenant { return t.config.Load() }

// InstanceMemory is how much memory an instance may have of a module that is loaded now, in bytes:
// as much as the tenant, by the configuration that is in force, or is coming into force.
func (t *Tenant) InstanceMemory() int64 { return t.instance.Load() }

// Reserve takes n bytes of the tenant's memory.
func (t *Tenant) Reserve(n int) bool { return t.memory.Reserve(n) }

// Release gives n bytes back.
func (t *Tenant) Release(n int) { t.memory.Release(n) }

// ReserveTimer takes one of the tenant's timers.
func (t *Tenant) ReserveTimer() bool { return t.timers.Reserve(1) }

// ReleaseTimers gives n back.
func (t *Tenant) ReleaseTimers(n int) { t.timers.Release(n) }

// Received books bytes from a peer.
func (t *Tenant) Received(n int, now int64) (wait int64) { return t.in.Spend(n, now) }

// Sent books bytes to a peer.
func (t *Tenant) Sent(n int, now int64) (wait int64) { return t.out.Spend(n, now) }

// Book books processor time that a loop has used for it.
func (t *Tenant) Book(ns int64) { t.cpu.Book(ns) }

// Crowded reports whether the last of its events that had to wait for its turn did so since as many
// calls of it ran beside the loops as may, and not for its cpu.
func (t *Tenant) Crowded() bool { return t.cpu.Crowded() }

// CPUWait is for how long its accepts, datagrams and relays wait when it is over its cpu.
func (t *Tenant) CPUWait() (wait int64) { return t.cpu.CPUWait() }

// Close gives the tenant's parts of the pools back, when its last connection, instance and module
// has gone and its runtime has ended. The error says what it still holds, and then nothing is
// closed.
func (t *Tenant) Close() error {
	held := t.Held()
	if len(held) == 0 && !t.cpu.Close() {
		held = append(held, "events that wait for cpu")
	}
	if len(held) > 0 {
		return fmt.Errorf("tenant %q still holds %s", t.name, strings.Join(held, ", "))
	}
	for _, share := range []*budget.PoolShare{t.handshaking, t.mappings, t.pipes} {
		share.Close()
	}
	t.EndLog()
	return nil
}

// Held is what of the tenant's accounts is taken, as in "3 timers"; empty when all has been given
// back.
func (t *Tenant) Held() (held []string) {
	calls, _ := t.cpu.Background()
	for _, one := range []struct {
		name string
		n    int64
	}{
		{"bytes of memory", t.memory.Used()},
		{"connections", int64(t.Connections.Used())},
		{"dials", int64(t.dials.Used())},
		{"upstreams", int64(t.upstreams.Used())},
		{"handshakes", t.handshaking.Used()},
		{"timers", t.timers.Used()},
		{"bytes of socket memory", t.SocketMemory.Used()},
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
