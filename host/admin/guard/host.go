package guard

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// Host is a name or an address, with a port, as a request's Host header has it. Equal ones are ==.
// The zero value is no host.
type Host struct {
	name string // in lower case, or an address as netip writes it
	port uint16
}

// webPort is the port that is meant where none is given.
const webPort = 80

// ParseHost reads NAME, NAME:PORT, or an address in the place of NAME, in brackets if it is one of
// IPv6. Without a port, 80 is meant. A name is ASCII; the way that a resolver may spell an address,
// such as 127.1 or 0x7f000001, is not taken for one, and neither is a dot at the end.
func ParseHost(s string) (Host, error) {
	name, port := s, uint16(webPort)
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		n, err := strconv.ParseUint(s[i+1:], 10, 16)
		if err != nil || n == 0 || s[i+1] == '0' || s[i+1] == '+' {
			return Host{}, errors.New("the port is not one of 1 to 65535")
		}
		name, port = s[:i], uint16(n)
	}
	if inside, is := strings.CutPrefix(name, "["); is {
		inside, is = strings.CutSuffix(inside, "]")
		a, err := netip.ParseAddr(inside)
		if !is || err != nil || !a.Is6() || a.Zone() != "" {
			return Host{}, errors.New("there is no IPv6 address in the brackets")
		}
		return Host{a.String(), port}, nil
	}
	if a, err := netip.ParseAddr(name); err == nil && a.Is4() {
		return Host{a.String(), port}, nil
	}
	if !isName(name) {
		return Host{}, errors.New("it is neither a name nor an address")
	}
	return Host{strings.ToLower(name), port}, nil
}

// mostName is how many bytes a name may have, and mostLabel one part of it.
const (
	mostName  = 253
	mostLabel = 63
)

// isName reports whether a text is the name of a host: parts of letters, digits and hyphens, the
// last of which does not begin with a digit, as that of an address would.
func isName(s string) bool {
	if len(s) > mostName {
		return false
	}
	labels := strings.Split(s, ".")
	for _, label := range labels {
		if label == "" || len(label) > mostLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if c != '-' && !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'z') {
				return false
			}
		}
	}
	return !isDigit(labels[len(labels)-1][0])
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// String writes a host so that ParseHost reads it, with its port.
func (h Host) String() string {
	port := ":" + strconv.Itoa(int(h.port))
	if strings.Contains(h.name, ":") {
		return "[" + h.name + "]" + port
	}
	return h.name + port
}

// Of are the hosts that a request may name to a listener at an address: that address, if it is one
// of a machine, and localhost if it is a loopback one.
func Of(at netip.AddrPort) []Host {
	addr := at.Addr().Unmap().WithZone("")
	if addr.IsUnspecified() {
		return nil
	}
	all := []Host{{addr.String(), at.Port()}}
	if addr.IsLoopback() {
		all = append(all, Host{"localhost", at.Port()})
	}
	return all
}
