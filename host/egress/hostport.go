package egress

import (
	"fmt"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxText bounds a target and an entry of a list, in bytes.
const maxText = 512

// splitHostPort splits at the colon before the port. Brackets stay on the host.
func splitHostPort(s string) (host, port, problem string) {
	if strings.HasPrefix(s, "[") {
		host, port, ok := strings.Cut(s, "]")
		switch {
		case !ok:
			return "", "", `has a "[" without a "]"`
		case !strings.HasPrefix(port, ":"):
			return "", "", `has no port behind the "]"`
		}
		return host + "]", port[1:], ""
	}
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 {
		return "", "", "has no port"
	}
	if host = s[:colon]; strings.Contains(host, ":") {
		return "", "", "has an IPv6 address without brackets"
	}
	return host, s[colon+1:], ""
}

// parsePort reads a port from 1 to 65535 in its one spelling.
func parsePort(s string) (port uint16, problem string) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != s {
		return 0, "has a bad port " + quote(s)
	}
	return uint16(n), ""
}

// parseHost reads a name or an IP address, IPv6 in brackets; one of name and
// addr is set. A name comes back in lower case and without its final dot. An
// IPv4 address in IPv6 clothes comes back as it is.
//
// What some resolver would take for a number is no name: 0177.0.0.1, 127.1,
// 2130706433 and 0x7f000001 are all 127.0.0.1 to somebody, and so is no
// spelling of an IPv4 address good but the usual one.
func parseHost(s string) (name string, addr netip.Addr, problem string) {
	if bare, ok := strings.CutPrefix(s, "["); ok {
		bare = strings.TrimSuffix(bare, "]")
		addr, err := netip.ParseAddr(bare)
		switch {
		case err != nil || !addr.Is6():
			return "", netip.Addr{}, "has a bad IPv6 address " + quote(bare)
		case addr.Zone() != "":
			return "", netip.Addr{}, "has an IPv6 address with a zone " + quote(bare)
		}
		return "", addr, ""
	}
	name, problem = parseName(s)
	if problem != "" || !number(lastLabel(name)) {
		return name, netip.Addr{}, problem
	}
	if addr, err := netip.ParseAddr(s); err == nil && addr.Is4() {
		return "", addr, ""
	}
	return "", netip.Addr{}, "has a host " + quote(s) + " that is neither a name nor an IPv4 address in its usual form"
}

// parseName reads a DNS name: letters, digits, "-" and "_", as it goes over the wire.
func parseName(s string) (name, problem string) {
	for i := range len(s) { // before ToLower, which makes ASCII of some letters that are not
		if c := s[i]; !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return "", fmt.Sprintf("has a host %s with %s in it, where only letters, digits, \"-\", \"_\" and \".\" may be (other scripts in their xn-- form)", quote(s), quote(s[i:i+1]))
		}
	}
	name = strings.ToLower(strings.TrimSuffix(s, "."))
	switch {
	case name == "":
		return "", "has no host"
	case len(name) > 253:
		return "", "has a host of more than 253 bytes"
	}
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case label == "" || len(label) > 63:
			return "", "has a host " + quote(s) + " with a label that is not 1 to 63 bytes long"
		case label[0] == '-' || label[len(label)-1] == '-':
			return "", "has a host " + quote(s) + ` with a label that begins or ends with "-"`
		}
	}
	return name, ""
}

func lastLabel(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// number tells whether a label, in lower case, is digits alone or a number with 0x
// before it, or with 0o or 0b, as Go writes them.
func number(label string) bool {
	for prefix, digits := range map[string]string{"0x": "0123456789abcdef", "0o": "01234567", "0b": "01"} {
		if rest, ok := strings.CutPrefix(label, prefix); ok {
			return strings.Trim(rest, digits) == ""
		}
	}
	return strings.Trim(label, "0123456789") == ""
}

// checkPath looks over the path of a Unix socket. It has one spelling, so that
// what is compared with the list is what the kernel walks.
func checkPath(p string) (problem string) {
	if p == "" || p[0] != '/' {
		return "has a path that does not begin with /"
	}
	if !utf8.ValidString(p) || strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "has a path with bytes that cannot be printed"
	}
	if path.Clean(p) != p {
		return `has a path with ".", ".." or a "/" too many`
	}
	if p == "/" {
		return "has a path that names no socket"
	}
	return ""
}
