package play

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"bulkhead/csa"
	"bulkhead/host/egress"
	"bulkhead/internal/talk"
)

// dials are whom the handler dials in a conversation, as its lines say.
type dials struct {
	mu      sync.Mutex
	all     []*dial
	strange string // an address that no line has
}

// dial is one line that says what the handler dials.
type dial struct {
	step    *talk.Step
	asked   bool
	target  egress.Target
	address netip.AddrPort   // for the handler
	socket  *net.TCPListener // where it is connected to, until it is
	party   *party
}

// kinds are why a dial fails, by the codes of files.
var kinds = map[string]egress.Kind{
	"INVALID": egress.Invalid, "DENIED": egress.Denied, "NOT_FOUND": egress.NotFound, "REFUSED": egress.Refused,
	"UNREACHABLE": egress.Unreachable, "TIMEOUT": egress.Timeout, "QUOTA": egress.Quota,
}

// expectDials notes the lines, before the handler dials.
func (p *player) expectDials(steps []talk.Step) {
	p.dials.mu.Lock()
	defer p.dials.mu.Unlock()
	for i := range steps {
		if steps[i].Kind == talk.Dial {
			p.dials.all = append(p.dials.all, &dial{step: &steps[i]})
		}
	}
}

// redirect is the host's: see host.Options.
func (d *dials) redirect(target egress.Target) (csa.Address, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.all, func(one *dial) bool { return !one.asked && one.step.Address == target.String() })
	if i < 0 {
		d.strange = target.String()
		return csa.Address{}, &egress.Error{Kind: egress.Refused, Target: target.String(), Err: errors.New("the conversation does not have it")}
	}
	one := d.all[i]
	one.asked, one.target = true, target
	if one.step.Code != "" {
		return csa.Address{}, &egress.Error{Kind: kinds[one.step.Code], Target: target.String(), Err: errors.New("the conversation says so")}
	}
	socket, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return csa.Address{}, err
	}
	one.socket = socket
	one.address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(1 + i)}), target.Port())
	return csa.Address{IP: one.address, Via: socket.Addr().(*net.TCPAddr).AddrPort()}, nil
}

// accept takes the connections that the handler has made, as parties.
func (p *player) accept() (accepted bool, err error) {
	d := p.dials
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, one := range d.all {
		if one.socket == nil {
			continue
		}
		_ = one.socket.SetDeadline(time.Now().Add(time.Millisecond))
		conn, err := one.socket.AcceptTCP()
		if err != nil {
			continue // it is on its way
		}
		one.socket.Close()
		one.socket = nil
		if one.party, err = p.newParty(one.step.As, one.address.String(), conn); err != nil {
			return true, err
		}
		p.add(one.party)
		if one.target.Network() == "tls" {
			one.party.serveTLS(one.target.ServerName())
		}
		accepted = true
	}
	return accepted, nil
}

// expects reports whether someone of that name is dialled, sooner or later.
func (d *dials) expects(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.all, func(one *dial) bool { return one.step.As == name })
}

// done reports whether the handler has dialled what the step says.
func (d *dials) done(s *talk.Step) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.all, func(one *dial) bool { return one.step == s && one.asked })
}

// unexpected is an address that was dialled, and that no line has; "": there is none.
func (d *dials) unexpected() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.strange
}

// unasked are the lines whose addresses were not dialled.
func (d *dials) unasked() (all []*dial) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, one := range d.all {
		if !one.asked {
			all = append(all, one)
		}
	}
	return all
}

func (d *dials) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, one := range d.all {
		if one.socket != nil {
			one.socket.Close()
		}
	}
}
