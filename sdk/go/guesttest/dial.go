package guesttest

import (
	"net"
	"strconv"
	"strings"

	"bulkhead/sdk/go"
)

// Dial is one call of guest.Connect, which waits for the test to say how it ends.
type Dial struct {
	// Address is what the handler has asked for.
	Address string

	peer *Peer
}

// Dials is every connection that the handler has begun so far, in this order. The
// slice is the host's own.
func (h *Host) Dials() []*Dial { return h.dials }

// Pending reports whether the dial waits for its end: it was neither accepted nor
// refused, and the handler has not given it up.
func (d *Dial) Pending() bool { return d.peer.pending && !d.peer.dead }

// Accept has the connection come up, and returns its far end. For a "tls" address it
// is secured; for a "udp" one it is a peer as ConnectUDP makes it.
func (d *Dial) Accept() *Peer {
	p := d.peer
	p.h.t.Helper()
	d.expectPending()
	p.pending = false
	if rest, ok := strings.CutPrefix(d.Address, "tls://"); ok {
		host, _, _ := net.SplitHostPort(strings.SplitN(rest, "?", 2)[0])
		p.secure(TLS{ServerName: host})
	}
	p.open()
	return p
}

// Refuse has the dial fail: the handler hears Closed with this code, and no Open. (A dial over
// UDP comes up, and what says that nobody is there comes after: Peer.Drop with guest.Refused.)
func (d *Dial) Refuse(code guest.Code) {
	p := d.peer
	p.h.t.Helper()
	d.expectPending()
	p.kill(int32(code))
	p.h.settle()
}

func (d *Dial) expectPending() {
	d.peer.h.t.Helper()
	if !d.Pending() {
		d.peer.h.t.Fatalf("guesttest: the dial of %s is over already", d.Address)
	}
}

// Connect is refused while the instance starts, as there is no loop yet.
func (f functions) Connect(address []byte) int32 {
	h := f.h
	text := string(address)
	switch {
	case !validAddress(text):
		return int32(guest.Invalid)
	case !h.started:
		return int32(guest.Denied)
	}
	if h.options.MayDial != nil {
		if code := h.options.MayDial(text); code < 0 {
			return int32(code)
		}
	}
	p := h.newPeer()
	p.pending = true
	p.udp = strings.HasPrefix(text, "udp:")
	p.dial = &Dial{Address: text, peer: p}
	h.dials = append(h.dials, p.dial)
	return p.handle
}

// validAddress is about the form alone; a host looks closer.
func validAddress(s string) bool {
	if len(s) > guest.MaxAddress {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	network, rest, _ := strings.Cut(s, "://")
	if rest, proxy, ok := strings.Cut(rest, "?"); ok {
		return (proxy == "proxy=v1" || proxy == "proxy=v2") && network != "udp" && validAddress(network+"://"+rest)
	}
	switch network {
	case "unix":
		return strings.HasPrefix(rest, "/") && len(rest) > 1
	case "tcp", "tls", "udp":
		host, port, err := net.SplitHostPort(rest)
		n, wrong := strconv.ParseUint(port, 10, 16)
		return err == nil && wrong == nil && n > 0 && host != "" && !strings.ContainsAny(host, "/@%[]\\") &&
			(!strings.Contains(host, ":") || net.ParseIP(host) != nil)
	}
	return false
}

func (p *Peer) transport() string {
	switch {
	case p.pending:
		return ""
	case p.udp:
		return "udp"
	case p.dial != nil && strings.HasPrefix(p.dial.Address, "unix:"):
		return "unix"
	}
	return "tcp"
}

// remote is the peer's address: every dialled host is 198.51.100.1, or itself where
// it is an address.
func (p *Peer) remote() string {
	switch {
	case p.pending:
		return ""
	case p.dial == nil:
		return "192.0.2.1:" + strconv.Itoa(10000+int(p.handle))
	}
	network, rest, _ := strings.Cut(p.dial.Address, "://")
	rest, _, _ = strings.Cut(rest, "?")
	if network == "unix" {
		return rest
	}
	host, port, _ := net.SplitHostPort(rest)
	if net.ParseIP(host) == nil {
		host = "198.51.100.1"
	}
	return net.JoinHostPort(host, port)
}

func (p *Peer) local() string {
	switch {
	case p.pending:
		return ""
	case p.transport() == "unix":
		return ""
	case p.dial != nil:
		return "192.0.2.2:" + strconv.Itoa(40000+int(p.handle))
	}
	return "192.0.2.2:7000"
}
