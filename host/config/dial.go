package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// dialForms is the mend of an entry of connect.
const dialForms = `write HOST:PORT or NETWORK/BITS:PORT with a port from 1 to 65535, like "db.internal:5432", "10.0.0.0/8:443" or "[2001:db8::/32]:443"`

// checkDial looks over one entry of a tenant's connect list: a name, an IP
// address or a network, and a port. The fault is nil when it is good.
func checkDial(s string) *fault {
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 {
		return &fault{"has no port", dialForms}
	}
	host, port := s[:colon], s[colon+1:]
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return &fault{fmt.Sprintf("has a bad port %s", quote(port)), dialForms}
	}
	bracketed := strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") && len(host) >= 2
	if bracketed {
		host = host[1 : len(host)-1]
	} else if strings.Contains(host, ":") {
		return &fault{"has an IPv6 host without brackets", dialForms}
	}
	if strings.Contains(host, "/") {
		p, err := netip.ParsePrefix(host)
		if err != nil || p.Addr().Is6() != bracketed {
			return &fault{fmt.Sprintf("has a bad network %s", quote(host)), dialForms}
		}
		if m := p.Masked(); m != p {
			return &fault{fmt.Sprintf("has a network %s with bits set behind its mask", quote(host)), fmt.Sprintf("write %s, or %s for the one address", m, p.Addr())}
		}
		return nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.Is6() != bracketed || !plainWord(ip.Zone()) {
			return &fault{fmt.Sprintf("has a bad host %s", quote(host)), dialForms}
		}
		return nil
	}
	if bracketed || !hostName(host) {
		return &fault{fmt.Sprintf("has a bad host %s", quote(host)), dialForms}
	}
	return nil
}

// hostName tells whether s can be a DNS name. A last label of digits cannot:
// such a name is a mistyped IPv4 address.
func hostName(s string) bool {
	if s == "" || len(s) > 253 || strings.Contains(s, "..") {
		return false
	}
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || !plainWord(l) || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}
