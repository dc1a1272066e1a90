// Package dial connects for handlers: to whom their tenant's connect list names, by addresses that
// were checked, and to as many as the tenant may.
//
// What it needs of the server whose handlers these are is the interface Site.
package dial

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/host/egress"
	"bulkhead/host/listen"
	"bulkhead/host/loops"
	"bulkhead/host/stats"
	"bulkhead/plugins"
)

// Site is the server of a listener, or a route, for whose handlers connections are dialled. Methods
// are called on loops and do not block, where nothing else is said.
type Site interface {
	// ConnectTimeout is connect_timeout of the listener, or the route. It may change.
	ConnectTimeout() time.Duration
	// Loops are the host's.
	Loops() []*loops.Loop
	// Budget is its tenant's. Any goroutine may call it.
	Budget() csa.Budget
	// Policy is whom the tenant's handlers may dial now. Any goroutine may call it.
	Policy() *egress.Policy
	// Resolver finds the addresses of names. Any goroutine may call it.
	Resolver() egress.Resolver
	// Redirect, if it is not nil, says where every connection goes, instead of Policy and Resolver;
	// its error is one of package egress. It is called off the loops.
	Redirect() func(egress.Target) (csa.Address, error)
	// DialledSettings are those of connections that were dialled, and DialledTuning is what
	// their sockets over TCP get.
	DialledSettings() *csa.Settings
	DialledTuning() listen.Options
	// ClientHandshake is the host's part of TLS with a server of this name.
	ClientHandshake(name string, timeout time.Duration) csa.Handshake

	// Stopping reports whether no connection is made any more.
	Stopping() bool
	// TakeDial takes what a connection that is dialled needs of the budgets, or reports false.
	// Of that DialOver gives back what is held until it is there, or will not be; ReleaseUpstream
	// gives back the rest when it is over, or will not be. Any goroutine may call these two.
	TakeDial() bool
	DialOver()
	ReleaseUpstream()
	// Leave says, once for each TakeDial and last, that nothing is done with the site any more
	// on the connection's account. Any goroutine may call it.
	Leave()
	// Retain says that n connections more, or less, keep the instance alive for which they were
	// dialled. It is called on the instance's loop.
	Retain(i *plugins.Instance, n int)

	// CountDial counts, once for each dial, what has become of it. Any goroutine may call it.
	CountDial(o stats.DialOutcome)
	// Ended counts and logs how a connection that was dialled has ended.
	Ended(c *csa.CSA, r csa.Reason)
	// CountLost counts n datagrams of such a connection that were lost. It returns how many
	// were so far.
	CountLost(why csa.Loss, n int) int64
	// LogLimited is for lines that clients and handlers can cause at will: it writes a few a
	// second.
	LogLimited(level slog.Level, what string, args ...any)
	// Guard is deferred on a goroutine beside the loops: it makes a panic an error.
	Guard(doing string, err *error)
}

// Dialer connects for the handlers of one site. It is a plugins.Dialer.
type Dialer struct {
	site    Site
	ctx     context.Context // ends with Stop
	cancel  context.CancelFunc
	lookups sync.WaitGroup
	pending []map[*attempt]struct{} // by loop, whose they are
	dialled []map[*csa.CSA]*Dialled // likewise, for connections that are open
}

var _ plugins.Dialer = (*Dialer)(nil)

// New makes one. It has to be stopped.
func New(site Site) *Dialer {
	d := &Dialer{site: site, pending: make([]map[*attempt]struct{}, len(site.Loops())), dialled: make([]map[*csa.CSA]*Dialled, len(site.Loops()))}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	for i := range d.pending {
		d.pending[i], d.dialled[i] = make(map[*attempt]struct{}), make(map[*csa.CSA]*Dialled)
	}
	return d
}

// Dial connects, on the loop of the handler that asks: see plugins.Dialer.
func (d *Dialer) Dial(ask *plugins.Dial) (cancel func(), code abi.Code) {
	cancel, code = d.dial(ask)
	if code != abi.OK {
		d.site.CountDial(outcomeOf(code))
	}
	return cancel, code
}

func (d *Dialer) dial(ask *plugins.Dial) (cancel func(), code abi.Code) {
	address, version, ok := cutProxy(ask.Address)
	if !ok {
		return nil, abi.Invalid
	}
	target, err := egress.ParseTarget(address)
	if err != nil || version != 0 && target.Network() == "udp" {
		return nil, abi.Invalid
	}
	redirected := d.site.Redirect() != nil
	if err := d.site.Policy().Check(target); err != nil && !redirected {
		args := []any{"error", err, "key", "connect"}
		if ask.From != nil {
			args = append(args, "connection", ask.From.Number(), "peer", ask.From.Peer())
		}
		d.site.LogLimited(slog.LevelWarn, "a handler may not dial", args...)
		return nil, codeOf(err)
	}
	if d.site.Stopping() {
		return nil, abi.Denied
	}
	if !d.site.TakeDial() {
		return nil, abi.Quota
	}
	a := &attempt{d: d, ask: ask, at: d.indexOf(ask.Loop), target: target, proxy: version, began: ask.Loop.Now()}
	d.pending[a.at][a] = struct{}{}
	d.site.Retain(ask.Instance, 1)
	begun := false
	defer func() {
		if !begun { // a panic goes by, and nobody else would give up
			a.giveUp()
		}
	}()
	if ask.From != nil {
		a.asker, a.askerPeer = ask.From.Number(), ask.From.Peer()
	}
	if version != 0 && ask.From != nil {
		a.from, a.to = ask.From.Addresses()
	}
	if ip, ok := d.site.Policy().Direct(target); ok && !redirected {
		a.connect([]csa.Address{{IP: ip, UDP: a.overUDP()}})
	} else {
		a.lookUp()
	}
	begun = true
	return a.giveUp, abi.OK
}

// Stop ends all that is under way, and returns when it is over. It is not called on a loop.
func (d *Dialer) Stop() {
	d.cancel()
	for at, l := range d.site.Loops() {
		l.Call(func() {
			for a := range d.pending[at] {
				a.giveUp()
			}
		})
	}
	d.lookups.Wait()
}

// cutProxy takes "?proxy=v1" or "?proxy=v2" off an address.
func cutProxy(address string) (rest string, version int, ok bool) {
	rest, query, found := strings.Cut(address, "?")
	switch {
	case !found:
		return rest, 0, true
	case query == "proxy=v1":
		return rest, 1, true
	case query == "proxy=v2":
		return rest, 2, true
	}
	return "", 0, false
}

// codeOf is what a guest is told of an error of package egress.
func codeOf(err error) abi.Code {
	switch egress.KindOf(err) {
	case egress.Invalid:
		return abi.Invalid
	case egress.Denied:
		return abi.Denied
	case egress.NotFound:
		return abi.NotFound
	case egress.Refused:
		return abi.Refused
	case egress.Timeout:
		return abi.Timeout
	case egress.Quota:
		return abi.Quota
	}
	return abi.Unreachable
}

// outcomeOf is the outcome of a dial of which the guest is told a code.
func outcomeOf(code abi.Code) stats.DialOutcome {
	switch code {
	case abi.OK:
		return stats.DialConnected
	case abi.Invalid:
		return stats.DialInvalid
	case abi.Denied:
		return stats.DialDenied
	case abi.NotFound:
		return stats.DialNotFound
	case abi.Refused:
		return stats.DialRefused
	case abi.Unreachable:
		return stats.DialUnreachable
	case abi.Timeout:
		return stats.DialTimeout
	case abi.Quota:
		return stats.DialQuota
	}
	return stats.DialFailed
}

func reasonOf(err error) csa.Reason { return csa.NotConnected.With(codeOf(err), err.Error()) }
