package egress

import (
	"net/netip"
	"strconv"
	"strings"
)

// Target is what a guest asks to be connected to. It is made by ParseTarget;
// the zero Target is good for nothing, and every policy refuses it. Targets
// may be compared, and copied freely.
type Target struct {
	network string     // "tcp", "tls", "udp" or "unix"
	name    string     // in lower case, without the final dot; or
	addr    netip.Addr // unmapped, without a zone; or
	path    string     // absolute and clean
	port    uint16     // not of a path
}

// targetForms is the mend of a target.
const targetForms = `write tcp://HOST:PORT, tls://HOST:PORT, udp://HOST:PORT or unix:///PATH, like "tcp://db.internal:5432" or "tls://[2001:db8::1]:443"`

// ParseTarget reads "tcp://HOST:PORT", "tls://HOST:PORT", "udp://HOST:PORT" or "unix:///PATH". HOST
// is a DNS name (other scripts in their xn-- form; a final dot is dropped, and
// letters are made lower case), an IPv4 address as four decimal numbers, or an
// IPv6 address in brackets without a zone; an IPv4 address in IPv6 clothes is
// undressed. Anything else a host might be is refused, other spellings of
// IPv4 addresses above all. PORT is 1 to 65535. PATH is taken as written, and
// must be absolute and clean. The text is at most 512 bytes long.
//
// The text comes from a guest; nothing is looked up. The error is an *Error of
// the kind Invalid.
func ParseTarget(s string) (Target, error) {
	t, problem := parseTarget(s)
	if problem != "" {
		return Target{}, &Error{Kind: Invalid, Target: quote(s), Err: faulty{"the target", problem, targetForms}}
	}
	return t, nil
}

func parseTarget(s string) (t Target, problem string) {
	if len(s) > maxText {
		return Target{}, "is longer than " + strconv.Itoa(maxText) + " bytes"
	}
	network, rest, ok := strings.Cut(s, "://")
	if !ok {
		return Target{}, "has no network"
	}
	t.network = network
	switch network {
	case "unix":
		t.path = rest
		return t, checkPath(rest)
	case "tcp", "tls", "udp":
		host, port, problem := splitHostPort(rest)
		if problem == "" {
			t.port, problem = parsePort(port)
		}
		if problem == "" {
			t.name, t.addr, problem = parseHost(host)
		}
		t.addr = t.addr.Unmap()
		return t, problem
	}
	return Target{}, "has an unknown network " + quote(network)
}

// faulty is what is wrong with a text, and the mend.
type faulty struct{ what, problem, mend string }

func (f faulty) Error() string { return f.what + " " + f.problem + "; " + f.mend }

// Network is "tcp", "tls", "udp" or "unix".
func (t Target) Network() string { return t.network }

// Host is the name or the address to dial, as TLS wants its server name: in
// lower case, without a final dot and without brackets. It is "" for unix.
func (t Target) Host() string {
	if t.addr.IsValid() {
		return t.addr.String()
	}
	return t.name
}

// Port is the port to dial; 0 for unix.
func (t Target) Port() uint16 { return t.port }

// Path is the socket to dial; "" for the others.
func (t Target) Path() string { return t.path }

// ServerName is whom the other side of a tls target has to prove to be: a name
// or an IP address, to be put into tls.Config. It is "" for the others.
func (t Target) ServerName() string {
	if t.network != "tls" {
		return ""
	}
	return t.Host()
}

// String is the target in its one spelling, which ParseTarget takes.
func (t Target) String() string {
	switch t.network {
	case "":
		return `""`
	case "unix":
		return "unix://" + t.path
	}
	return t.network + "://" + t.hostPort()
}

// entry is what the list would have for t, whose host and port, or an address of which, are
// hostPort.
func (t Target) entry(hostPort string) string {
	if t.network == "udp" {
		return "udp://" + hostPort
	}
	return hostPort
}

// hostPort is the host and the port as an entry of the list names them.
func (t Target) hostPort() string {
	if t.addr.IsValid() {
		return netip.AddrPortFrom(t.addr, t.port).String()
	}
	return t.name + ":" + strconv.Itoa(int(t.port))
}
