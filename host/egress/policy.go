package egress

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"
)

// Policy is a list of who may be dialled. An entry is one of
//
//	db.internal:5432            a name
//	*.example.com:443           every name under a suffix, one or more labels deep; not the suffix
//	192.0.2.7:25                an address
//	[2001:db8::7]:25
//	10.0.0.0/8:443              a network
//	[2001:db8::/32]:8000-8100
//	unix:///run/db.sock         a Unix socket
//	unix:///run/acme/*          every socket in a folder, not in the folders below
//	udp://10.0.0.53:53          any of the first five with udp:// before it
//
// with a port, a range of ports, or "*" for every port. A name is compared
// without regard to case and to a final dot. An entry with udp:// is for targets of
// udp alone, and one without it for those of tcp and tls alone.
//
// An address in a target has to be listed as an address or in a network. A
// name has to be listed as a name, and gives access to the public addresses it
// resolves to, and to those that are listed besides, with the port.
//
// A special address (loopback, private, link-local, shared, for benchmarks or documentation,
// reserved, an IPv4 address of these kinds inside an IPv6 one, a cloud's metadata service) is
// listed only by an entry that has nothing else in it: 0.0.0.0/0 is the public internet, and not
// this machine and its neighbours; 10.0.0.0/8 is listed when it is written. So a metadata service
// is listed by its own address, and not by the private network around it. Unspecified, multicast,
// broadcast and IPv6 link-local addresses are never dialled. A NAT64 prefix other than the
// well-known one cannot be told from public addresses: a network that has one must itself keep
// translated packets away from its private addresses.
//
// A public address of this machine, or of a network on its loopback interface, leads to
// what listens here, past the firewall in front of it; it too is dialled only when it is
// listed by itself.
//
// The zero Policy, and a nil one, allow nothing. A Policy does not change;
// any goroutine may use it.
type Policy struct {
	names    map[string][]ports
	suffixes map[string][]ports
	networks []network
	sockets  map[string]bool
	folders  map[string]bool

	own      func() []netip.Prefix   // nil: those of the interfaces
	loopback func(netip.Prefix) bool // nil: what the interfaces say
}

type network struct {
	prefix netip.Prefix
	ports  ports
}

// ports is a range, both ends included, of UDP or of TCP.
type ports struct {
	low, high uint16
	udp       bool
}

// hold tells whether the range is for the port and the network of t.
func (p ports) hold(t Target) bool {
	return p.low <= t.port && t.port <= p.high && p.udp == (t.network == "udp")
}

func hold(ranges []ports, t Target) bool {
	for _, r := range ranges {
		if r.hold(t) {
			return true
		}
	}
	return false
}

// EntryError says what is wrong with one entry of a list, and the mend.
type EntryError struct {
	Index   int    // counted from 0
	Entry   string // as it was given; outside text, so quote it
	Problem string // completes "the entry ...", such as "has no port"
	Mend    string // what to write
}

// Error is one line: the index, the entry, the problem and the mend.
func (e *EntryError) Error() string {
	return fmt.Sprintf("connect[%d] = %s %s; %s", e.Index, quote(e.Entry), e.Problem, e.Mend)
}

// Parse reads a list; see Policy for the entries. An empty list allows nothing.
// The error joins one *EntryError for each bad entry, in order, and has the
// method Unwrap() []error. A Policy comes back only without one. The list is
// not kept.
func Parse(list []string) (*Policy, error) {
	p := &Policy{
		names:    make(map[string][]ports),
		suffixes: make(map[string][]ports),
		sockets:  make(map[string]bool),
		folders:  make(map[string]bool),
	}
	var bad []error
	for i, entry := range list {
		if problem, mend := p.add(entry); problem != "" {
			bad = append(bad, &EntryError{Index: i, Entry: entry, Problem: problem, Mend: mend})
		}
	}
	if len(bad) > 0 {
		return nil, errors.Join(bad...)
	}
	return p, nil
}

// entryForms is the mend when nothing better can be said.
const entryForms = `write HOST:PORT, *.SUFFIX:PORT, ADDRESS:PORT or NETWORK/BITS:PORT, like "db.internal:5432", "10.0.0.0/8:443" or "[2001:db8::/32]:8000-8100"; udp:// before one of them for UDP; or unix:///PATH`

func (p *Policy) add(entry string) (problem, mend string) {
	if len(entry) > maxText {
		return fmt.Sprintf("is longer than %d bytes", maxText), entryForms
	}
	if socket, ok := strings.CutPrefix(entry, "unix://"); ok {
		return p.addSocket(socket)
	}
	hostPort, udp := strings.CutPrefix(entry, "udp://")
	if scheme, rest, ok := strings.Cut(hostPort, "://"); ok {
		return "has a network " + quote(scheme), "write " + quote(rest) + ", which is for tcp and tls"
	}
	host, port, problem := splitHostPort(hostPort)
	if problem != "" {
		return problem, entryForms
	}
	r, problem := parsePorts(port)
	if problem != "" {
		return problem, `write a port from 1 to 65535, a range like 8000-8100, or "*" for every port`
	}
	r.udp = udp
	if strings.Contains(host, "/") {
		return p.addNetwork(host, r)
	}
	if suffix, ok := strings.CutPrefix(host, "*"); ok {
		return p.addSuffix(suffix, r)
	}
	name, addr, problem := parseHost(host)
	switch {
	case problem != "":
		return problem, entryForms
	case addr.Is4In6():
		return "has an IPv4 address in IPv6 clothes", fmt.Sprintf("write %s%s:%s", strings.TrimSuffix(entry, hostPort), addr.Unmap(), port)
	case addr.IsValid():
		return p.addPrefix(netip.PrefixFrom(addr, addr.BitLen()), r)
	}
	p.names[name] = append(p.names[name], r)
	return "", ""
}

func (p *Policy) addSocket(socket string) (problem, mend string) {
	const mendPath = `write the whole path, like "unix:///run/db.sock", or "unix:///run/acme/*" for every socket in a folder`
	if problem = checkPath(socket); problem != "" {
		return problem, mendPath
	}
	folder, all := strings.CutSuffix(socket, "/*")
	if strings.Contains(folder, "*") {
		return `has a "*" that is not its last name`, mendPath
	}
	if folder == "" {
		folder = "/"
	}
	if all {
		p.folders[folder] = true
	} else {
		p.sockets[folder] = true
	}
	return "", ""
}

func (p *Policy) addNetwork(host string, r ports) (problem, mend string) {
	bare, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		bare = strings.TrimSuffix(bare, "]")
	}
	prefix, err := netip.ParsePrefix(bare)
	switch {
	case err != nil || prefix.Addr().Is6() != bracketed:
		return "has a bad network " + quote(bare), entryForms
	case prefix.Addr().Is4In6():
		return "has an IPv4 network in IPv6 clothes", fmt.Sprintf("write the network of %s", prefix.Addr().Unmap())
	case prefix != prefix.Masked():
		return fmt.Sprintf("has a network %s with bits set behind its mask", quote(bare)), fmt.Sprintf("write %s, or %s for the one address", prefix.Masked(), prefix.Addr())
	}
	return p.addPrefix(prefix, r)
}

func (p *Policy) addPrefix(prefix netip.Prefix, r ports) (problem, mend string) {
	if b, ok := blockOf(prefix.Addr()); ok && b.never && b.holds(prefix) {
		return "has " + b.what + ", to which nothing can connect", "write the address of a host, or leave the entry out"
	}
	p.networks = append(p.networks, network{prefix, r})
	return "", ""
}

func (p *Policy) addSuffix(suffix string, r ports) (problem, mend string) {
	bare, ok := strings.CutPrefix(suffix, ".")
	if !ok {
		return `has a "*" that is not a label of its own`, `write the names one by one, or all under a suffix, like "*.example.com:443"`
	}
	name, addr, problem := parseHost(bare)
	if problem != "" || addr.IsValid() {
		return `has no name behind the "*."`, `write a name there, like "*.example.com:443", or a network, like "10.0.0.0/8:443"`
	}
	p.suffixes[name] = append(p.suffixes[name], r)
	return "", ""
}

func parsePorts(s string) (r ports, problem string) {
	if s == "*" {
		return ports{low: 1, high: 65535}, ""
	}
	low, high, isRange := strings.Cut(s, "-")
	if r.low, problem = parsePort(low); problem != "" {
		return r, problem
	}
	if !isRange {
		return ports{low: r.low, high: r.low}, ""
	}
	if r.high, problem = parsePort(high); problem != "" {
		return r, problem
	}
	if r.high < r.low {
		return r, "has a range of ports " + quote(s) + " that ends before it begins"
	}
	return r, ""
}

// Check tells whether t is listed: a name as a name, an address as an address,
// a socket by the path in t. The error is an *Error of the kind Denied, or
// Invalid for the zero Target. It asks nobody, neither the DNS nor the kernel,
// so it may be called on a loop; the last word on addresses is Resolve's, and
// on sockets DialUnix's.
func (p *Policy) Check(t Target) error {
	listed := false
	switch {
	case t.network == "":
		return fail(Invalid, t, "there is no target; make one with ParseTarget")
	case p == nil:
	case t.network == "unix":
		listed = p.listsPath(t.path)
	case t.addr.IsValid():
		return p.checkAddr(t, t.addr)
	default:
		listed = p.listsName(t)
	}
	if !listed {
		return notListed(t)
	}
	return nil
}

// Direct is the address to dial for t when Check has found it listed and there is nothing
// more to find out, neither from the DNS nor from the kernel; otherwise ok is false, and
// Resolve has to be asked. It asks nobody, so it may be called on a loop.
func (p *Policy) Direct(t Target) (addr netip.AddrPort, ok bool) {
	if p == nil || !t.addr.IsValid() {
		return addr, false
	}
	// Any other address may be one of this machine's own, see checkOwn.
	if _, isSpecial := blockOf(t.addr); !isSpecial && !p.listsAddr(t.addr, t, &block{prefix: netip.PrefixFrom(t.addr, t.addr.BitLen())}) {
		return addr, false
	}
	return netip.AddrPortFrom(t.addr, t.port), true
}

func notListed(t Target) error {
	entry := t.entry(t.hostPort())
	if t.network == "unix" {
		entry = t.String()
	}
	return fail(Denied, t, "it is not in the tenant's connect list; add %q to permit it", entry)
}

// listsName tells whether an entry names t, which has a name.
func (p *Policy) listsName(t Target) bool {
	name := t.name
	if hold(p.names[name], t) {
		return true
	}
	for {
		_, rest, ok := strings.Cut(name, ".")
		if !ok {
			return false
		}
		if hold(p.suffixes[rest], t) {
			return true
		}
		name = rest
	}
}

func (p *Policy) listsPath(socket string) bool {
	return p.sockets[socket] || p.folders[path.Dir(socket)]
}

// listsAddr tells whether an entry that lies within the block names addr, with the port and
// the network of t; any entry will do for a block that is nil.
func (p *Policy) listsAddr(addr netip.Addr, t Target, within *block) bool {
	for _, n := range p.networks {
		if n.prefix.Contains(addr) && n.ports.hold(t) && (within == nil || within.holds(n.prefix)) {
			return true
		}
	}
	return false
}

// checkAddr decides about one address that t, whose name is listed, leads to.
func (p *Policy) checkAddr(t Target, addr netip.Addr) error {
	b, isSpecial := blockOf(addr)
	switch {
	case b.never:
		return fail(Denied, t, "%s is %s, to which nothing may connect", addr, b.what)
	case isSpecial && !p.listsAddr(addr, t, &b):
		return fail(Denied, t, "%s is %s, which the tenant's connect list does not name by itself; add %q to permit it", addr, b.what, t.entry(netip.AddrPortFrom(addr, t.port).String()))
	case !isSpecial && t.addr.IsValid() && !p.listsAddr(addr, t, nil):
		return notListed(t)
	}
	return nil
}

// checkOwn is for public addresses that may be this machine's.
func (p *Policy) checkOwn(t Target, addr netip.Addr, own []netip.Prefix) error {
	if _, isSpecial := blockOf(addr); isSpecial {
		return nil // checkAddr wanted more already
	}
	for _, mine := range own {
		if !mine.Contains(addr) || mine.Addr() != addr && !p.isLoopback(mine) {
			continue
		}
		if !p.listsAddr(addr, t, &block{prefix: netip.PrefixFrom(addr, addr.BitLen())}) {
			return fail(Denied, t, "%s is an address of this machine, which the tenant's connect list does not name by itself; add %q to permit it", addr, t.entry(netip.AddrPortFrom(addr, t.port).String()))
		}
	}
	return nil
}

// ownAddrs are the addresses of this machine's interfaces, with the length of their
// networks. Where they cannot be had (some sandboxes) none is taken for ours.
func (p *Policy) ownAddrs() []netip.Prefix {
	if p.own != nil {
		return p.own()
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	return prefixes(all)
}

func prefixes(all []net.Addr) []netip.Prefix {
	own := make([]netip.Prefix, 0, len(all))
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				ones, bits := n.Mask.Size()
				own = append(own, netip.PrefixFrom(addr.Unmap(), ones-bits+addr.Unmap().BitLen()))
			}
		}
	}
	return own
}

// isLoopback tells whether an address of this machine is a loopback interface's, where
// the whole network is this machine.
func (p *Policy) isLoopback(own netip.Prefix) bool {
	if p.loopback != nil {
		return p.loopback(own)
	}
	all, err := net.Interfaces()
	if err != nil {
		return false
	}
	for _, i := range all {
		if i.Flags&net.FlagLoopback == 0 {
			continue
		}
		if addrs, err := i.Addrs(); err == nil && slices.Contains(prefixes(addrs), own) {
			return true
		}
	}
	return false
}
