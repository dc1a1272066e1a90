package egress

import (
	"net/netip"
	"slices"
)

// block is a network whose addresses are not the public internet's.
type block struct {
	prefix netip.Prefix
	what   string // completes "is ..."
	never  bool   // no TCP connection can be meant, so not even a listed address is dialled
}

// special holds the blocks, small ones before those they lie in. They are
// those of the IANA registries of special-purpose addresses, and the addresses
// where clouds tell a machine its secrets.
var special = blocks(
	b("0.0.0.0/8", "an unspecified address").no(),
	b("10.0.0.0/8", "a private address"),
	b("100.64.0.0/10", "a shared address (carrier-grade NAT)"),
	b("100.100.100.200/32", metadata), // Alibaba
	b("127.0.0.0/8", "a loopback address"),
	b("168.63.129.16/32", metadata), // Azure: outside of every reserved network
	b("169.254.0.0/16", "a link-local address"),
	b("169.254.0.23/32", metadata),    // Tencent
	b("169.254.42.42/32", metadata),   // Scaleway
	b("169.254.169.254/32", metadata), // nearly everybody
	b("169.254.170.2/32", metadata),   // Amazon: containers
	b("169.254.170.23/32", metadata),  // Amazon: pods
	b("172.16.0.0/12", "a private address"),
	b("192.0.0.0/24", "an address of the IETF's protocols"),
	b("192.0.0.192/32", metadata), // Oracle
	b("192.0.2.0/24", documentation),
	b("192.88.99.0/24", "an address of the IETF's protocols"),
	b("192.168.0.0/16", "a private address"),
	b("198.18.0.0/15", "an address for benchmarks"),
	b("198.51.100.0/24", documentation),
	b("203.0.113.0/24", documentation),
	b("224.0.0.0/4", "a multicast address").no(),
	b("240.0.0.0/4", "a reserved address"),
	b("255.255.255.255/32", "the broadcast address").no(),

	// Of IPv6 only 2000::/3 is given out, so the rest is no host of the internet.
	b("::/3", "a reserved address"),
	b("4000::/2", "a reserved address"),
	b("8000::/1", "a reserved address"),
	b("::/128", "the unspecified address").no(),
	b("::1/128", "a loopback address"),
	b("::/96", "an IPv6 address that holds an IPv4 address"),
	b("::ffff:0:0:0/96", "an IPv6 address that holds an IPv4 address"),
	b("64:ff9b:1::/48", "an address of a local NAT64"),
	b("100::/64", "an address whose packets are discarded"),
	b("2001::/23", "an address of the IETF's protocols"),
	b("2001::/32", "an address of a Teredo tunnel"), // what it hides is not looked for: nobody runs one any more
	b("2001:2::/48", "an address for benchmarks"),
	b("2001:db8::/32", documentation),
	b("3fff::/20", documentation),
	b("fc00::/7", "a private address"),
	b("fd00:42::42/128", metadata),              // Scaleway
	b("fd00:100::100:200/128", metadata),        // Alibaba
	b("fd00:a9fe:a9fe::1/128", metadata),        // Linode
	b("fd00:c1::a9fe:a9fe/128", metadata),       // Oracle
	b("fd00:ec2::/32", metadata),                // Amazon
	b("fd20:ce::254/128", metadata),             // Google
	b("fe80::/10", "a link-local address").no(), // it needs a zone
	b("fec0::/10", "a site-local address"),
	b("ff00::/8", "a multicast address").no(),
)

const (
	metadata      = "a metadata service of a cloud"
	documentation = "an address for documentation"
)

func b(prefix, what string) block { return block{prefix: netip.MustParsePrefix(prefix), what: what} }

func (b block) no() block {
	b.never = true
	return b
}

func blocks(all ...block) []block {
	slices.SortStableFunc(all, func(a, b block) int { return b.prefix.Bits() - a.prefix.Bits() })
	return all
}

// embedded are the networks whose addresses are IPv4 addresses to whoever
// routes them: they are what the IPv4 address is.
var embedded = []struct {
	prefix netip.Prefix
	at     int // where the IPv4 address begins, in bytes
	what   string
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12, "NAT64"},
	{netip.MustParsePrefix("2002::/16"), 2, "6to4"},
}

// blockOf finds the smallest block that addr lies in; false means that addr is
// public. An IPv6 address that holds an IPv4 address is taken for the IPv4 address.
func blockOf(addr netip.Addr) (block, bool) {
	if !addr.IsValid() || addr.Zone() != "" {
		return block{what: "no address, or one with a zone", never: true}, true
	}
	addr = addr.Unmap()
	for _, e := range embedded {
		if !e.prefix.Contains(addr) {
			continue
		}
		raw := addr.As16()
		inner, ok := blockOf(netip.AddrFrom4([4]byte(raw[e.at : e.at+4])))
		if !ok {
			return block{}, false
		}
		lifted, _ := addr.Prefix(e.at*8 + inner.prefix.Bits())
		return block{prefix: lifted, what: inner.what + " behind " + e.what, never: inner.never}, true
	}
	for _, have := range special {
		if have.prefix.Contains(addr) {
			return have, true
		}
	}
	return block{}, false
}

// holds tells whether a lies in b as a whole.
func (b block) holds(a netip.Prefix) bool {
	return b.prefix.Bits() <= a.Bits() && b.prefix.Contains(a.Addr())
}
