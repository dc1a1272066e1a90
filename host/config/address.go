package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"bulkhead/internal/suggest"
)

// Address is where a listener listens.
type Address struct {
	// Network is "tcp" (both families), "tcp4", "tcp6", "udp" (both families),
	// "udp4", "udp6", "unix" or "fd". WebSocket ("ws", "wss") is over "tcp".
	Network string
	// Host is, for the tcp and udp networks, host:port as net.JoinHostPort writes it:
	// the host is an IP address, "localhost", or empty for every address of
	// the machine; port 0 asks for any free port. For unix it is the socket's
	// absolute path, or "@name" in Linux's abstract namespace. For fd it is a
	// descriptor number of 3 or more, or the name systemd gave the descriptor;
	// a Host of digits alone is a number.
	Host string
	// Path is the path of a WebSocket's address, which begins with a slash; "": it is none. Secure
	// says that it is one over TLS ("wss").
	Path   string
	Secure bool
}

// String gives the address as the configuration file spells it, in full.
func (a Address) String() string {
	switch {
	case a.Path == "":
		return a.Network + "://" + a.Host
	case a.Secure:
		return "wss://" + a.Host + a.Path
	}
	return "ws://" + a.Host + a.Path
}

// WebSocket tells whether a's connections begin with a request for WebSocket.
func (a Address) WebSocket() bool { return a.Path != "" }

// abstract tells whether a is a unix socket that has no file.
func (a Address) abstract() bool { return a.Network == "unix" && strings.HasPrefix(a.Host, "@") }

// socketFile tells whether a is a unix socket with a file of its own.
func (a Address) socketFile() bool { return a.Network == "unix" && !a.abstract() }

// Datagrams tells whether a is surely of UDP. What is inherited ("fd") may be, too.
func (a Address) Datagrams() bool { return strings.HasPrefix(a.Network, "udp") }

// networks are the words an address may begin with.
var networks = []string{"tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "unix", "ws", "wss", "fd"}

// addressForms is the mend when nothing better can be said.
const addressForms = `write tcp://HOST:PORT, udp://HOST:PORT (also tcp4, tcp6, udp4, udp6), unix://PATH, unix://@NAME, ws://HOST:PORT/PATH, wss://HOST:PORT/PATH or fd://NUMBER-OR-NAME, like "tcp://127.0.0.1:7001"`

// fault is why a value was refused: problem completes the sentence "the value
// ...", mend says what to write.
type fault struct{ problem, mend string }

// parseAddress reads an address. Relative socket paths are taken from dir,
// which must be absolute. The fault is nil when the address is good.
func parseAddress(s, dir string) (Address, *fault) {
	network, rest, ok := strings.Cut(s, "://")
	if !ok {
		mend := addressForms
		if host, f := parseHostPort("tcp", s); f == nil {
			mend = "write " + quote("tcp://"+host)
		}
		return Address{}, &fault{"has no network", mend}
	}
	var host string
	var f *fault
	switch network {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
		host, f = parseHostPort(network, rest)
	case "ws", "wss":
		return parseWebSocket(network, rest)
	case "unix":
		host, f = parseSocketPath(rest, dir)
	case "fd":
		host, f = parseDescriptor(rest)
	default:
		mend := addressForms
		if n := suggest.Word(network, networks); n != "" {
			mend = fmt.Sprintf("did you mean %s? %s", quote(n+"://"+rest), addressForms)
		}
		return Address{}, &fault{fmt.Sprintf("has an unknown network %s", quote(network)), mend}
	}
	if f != nil {
		return Address{}, f
	}
	return Address{Network: network, Host: host}, nil
}

// parseWebSocket reads what follows ws:// or wss://.
func parseWebSocket(scheme, s string) (Address, *fault) {
	at, path, _ := strings.Cut(s, "/")
	host, f := parseHostPort("tcp", at)
	if f != nil {
		f.mend = strings.ReplaceAll(f.mend, "tcp://", scheme+"://")
		return Address{}, f
	}
	a := Address{Network: "tcp", Host: host, Path: "/" + path, Secure: scheme == "wss"}
	switch {
	case at == s:
		return Address{}, &fault{"has no path", "write the path that clients ask for behind the port, like " + quote(scheme+"://"+host+"/chat") + ", or / for the root"}
	case !goodPath(a.Path):
		return Address{}, &fault{"has a path with characters that no path has as clients send it", "write it as it is in a request: letters, digits and -._~!$&'()*+,;=:@/, others as %XX, and no query"}
	}
	return a, nil
}

// goodPath tells whether s may be a path in an HTTP request.
func goodPath(s string) bool {
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~!$&'()*+,;=:@/%", c) >= 0) {
			return false
		}
	}
	return true
}

// parseHostPort reads what follows tcp://, and gives it back in one spelling,
// so that two listeners on one address are seen to be so.
func parseHostPort(network, s string) (string, *fault) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if a, perr := netip.ParseAddr(strings.Trim(s, "[]")); perr == nil {
			return "", &fault{"has no port", "write the port behind the host: " + quote(network+"://"+net.JoinHostPort(a.String(), "7001"))}
		}
		if strings.Contains(s, "/") {
			return "", &fault{"has more than a host and a port", "end the address after the port: " + network + "://HOST:PORT"}
		}
		return "", &fault{"is not HOST:PORT", fmt.Sprintf(`write %s://HOST:PORT, with an IPv6 host in brackets, like %q`, network, network+"://"+exampleHost(network))}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != port {
		return "", &fault{fmt.Sprintf("has a bad port %s", quote(port)), "write a port from 0 to 65535 (0 takes any free port)"}
	}
	switch host {
	case "", "localhost":
		return net.JoinHostPort(host, port), nil
	case "*":
		return "", &fault{`has the host "*"`, fmt.Sprintf("leave the host empty for every address: %q", network+"://:"+port)}
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return "", &fault{fmt.Sprintf("has a host %s that is not an IP address", quote(host)), `write an IP address, "localhost", or nothing for every address of the machine`}
	}
	if ip.Is4In6() {
		return "", &fault{"is an IPv4-mapped IPv6 address", "write " + quote(network[:3]+"4://"+net.JoinHostPort(ip.Unmap().WithZone("").String(), port))}
	}
	kind := network[:3] // tcp or udp
	if network == kind+"4" && !ip.Is4() {
		return "", &fault{"has an IPv6 host on " + network, fmt.Sprintf(`write "%s6://" or "%s://" in front of it`, kind, kind)}
	}
	if network == kind+"6" && ip.Is4() {
		return "", &fault{"has an IPv4 host on " + network, fmt.Sprintf(`write "%s4://" or "%s://" in front of it`, kind, kind)}
	}
	if !plainWord(ip.Zone()) {
		return "", &fault{fmt.Sprintf("has a bad zone %s", quote(ip.Zone())), "write the interface's name behind the %, like fe80::1%eth0"}
	}
	return net.JoinHostPort(ip.String(), port), nil
}

// exampleHost is a host and port that network takes.
func exampleHost(network string) string {
	if strings.HasSuffix(network, "6") {
		return "[::1]:7001"
	}
	return "127.0.0.1:7001"
}

// plainWord tells whether s has only letters, digits, '_', '.' and '-'; it may be empty.
func plainWord(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '.' || c == '-') {
			return false
		}
	}
	return true
}

// maxSocketPath is the longest name the kernel's sockaddr_un has room for,
// with the NUL that ends it taken off.
func maxSocketPath() int {
	if runtime.GOOS == "linux" {
		return 107
	}
	return 103
}

// parseSocketPath reads what follows unix://. The path is taken as written:
// no percent signs, no variables.
func parseSocketPath(s, dir string) (string, *fault) {
	switch {
	case s == "" || s == "@":
		return "", &fault{"has no socket path", `write the path behind it, like "unix:///run/bulkhead/echo.sock", or "unix://@name"`}
	case strings.ContainsRune(s, 0):
		return "", &fault{"has a NUL byte in its path", "write a path without one"}
	case strings.HasSuffix(s, "/") || filepath.Base(s) == "." || filepath.Base(s) == "..":
		return "", &fault{"is a directory, not a socket's path", `write the socket's own name too, like "unix:///run/bulkhead/echo.sock"`}
	}
	path := s
	if s[0] == '@' {
		if runtime.GOOS != "linux" {
			return "", &fault{"is an abstract socket, which only Linux has", `write a path, like "unix:///run/bulkhead/echo.sock"`}
		}
	} else {
		path = absolute(s, dir)
	}
	if n := maxSocketPath(); len(path) > n {
		return "", &fault{fmt.Sprintf("is a path of %d bytes in full, more than a unix socket's name can hold", len(path)), fmt.Sprintf("write a path of at most %d bytes, counted from the root", n)}
	}
	return path, nil
}

// parseDescriptor reads what follows fd://.
func parseDescriptor(s string) (string, *fault) {
	const mend = `write the number of an inherited descriptor from 3 to 1048576, or the name systemd gives it (up to 255 printable characters without ":" and "/"), like "fd://3" or "fd://echo"`
	if s == "" || len(s) > 255 {
		return "", &fault{"names no descriptor", mend}
	}
	if strings.Trim(s, "0123456789") == "" {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil || n < 3 || n > 1<<20 || strconv.FormatUint(n, 10) != s {
			return "", &fault{"has a bad descriptor number", mend}
		}
		return s, nil
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == ':' || c == '/' {
			return "", &fault{"has a bad descriptor name", mend}
		}
	}
	return s, nil
}

// absolute makes a path of the file absolute: it is taken from dir unless it
// is so already.
func absolute(path, dir string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}
