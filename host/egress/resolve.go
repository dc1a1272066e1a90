package egress

import (
	"context"
	"net"
	"net/netip"
	"slices"
)

// Resolver finds the addresses of a name. A *net.Resolver is one.
type Resolver interface {
	// LookupNetIP returns the addresses of host, best first. This package
	// asks for the network "ip" alone, and for names that ParseTarget let
	// through, never for an address. It may be called from many goroutines.
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// MaxAddrs is the most addresses of one name that are tried. It bounds the
// sockets that one Dial can hold at a time.
const MaxAddrs = 16

// Resolve returns the addresses to dial for t, 1 to MaxAddrs, in the order in
// which to try them. Each was checked, and nothing but them may be dialled: to
// look the name up once more is to ask its owner for another answer.
//
// A name that is not listed with its port is Denied before anybody is asked.
// One query is made of r (nil: net.DefaultResolver), whose search domains and
// hosts file count; it ends with ctx. The answers that p does not permit are
// dropped, and the rest is used: what is dialled has been checked one by one,
// so that a forbidden address beside a permitted one gains nobody anything,
// and to refuse the whole name would let one stray record (a private AAAA of a
// split DNS) take a service away. With none left the name is Denied.
//
// The families take turns, beginning with that of the first address, and each
// keeps the resolver's order (RFC 8305).
//
// It blocks, so it is not for a loop. Errors are *Error: Denied, NotFound,
// Unreachable (the DNS failed), Timeout, and Invalid for a target that has no
// addresses, which is a unix one.
func (p *Policy) Resolve(ctx context.Context, r Resolver, t Target) ([]netip.AddrPort, error) {
	if err := p.Check(t); err != nil {
		return nil, err
	}
	if t.network == "unix" {
		return nil, fail(Invalid, t, "a Unix socket has no address to look up; dial its path")
	}
	answer := []netip.Addr{t.addr}
	if !t.addr.IsValid() {
		if err := ctx.Err(); err != nil {
			return nil, fail(Timeout, t, "looking %s up: %w", t.name, err)
		}
		if r == nil {
			r = net.DefaultResolver
		}
		var err error
		if answer, err = r.LookupNetIP(ctx, "ip", t.name); err != nil {
			return nil, fail(KindOf(err), t, "looking %s up: %w", t.name, err)
		}
	}
	return p.permitted(t, answer)
}

// permitted picks the addresses to dial from an answer.
func (p *Policy) permitted(t Target, answer []netip.Addr) ([]netip.AddrPort, error) {
	var (
		families [2][]netip.Addr // the one to begin with, and the other
		own      = p.ownAddrs()
		refusal  error
	)
	for _, addr := range answer {
		addr = addr.Unmap()
		err := p.checkAddr(t, addr)
		if err == nil {
			err = p.checkOwn(t, addr, own)
		}
		if err != nil {
			if refusal == nil {
				refusal = err
			}
			continue
		}
		family := &families[0]
		if len(*family) > 0 && (*family)[0].Is4() != addr.Is4() {
			family = &families[1]
		}
		if len(*family) < MaxAddrs && !slices.Contains(*family, addr) {
			*family = append(*family, addr)
		}
	}
	if len(families[0]) == 0 {
		if refusal == nil {
			refusal = fail(NotFound, t, "the name %s has no addresses", t.name)
		}
		return nil, refusal
	}
	var addrs []netip.AddrPort
	for i := range MaxAddrs {
		for _, family := range families {
			if i < len(family) && len(addrs) < MaxAddrs {
				addrs = append(addrs, netip.AddrPortFrom(family[i], t.port))
			}
		}
	}
	return addrs, nil
}
