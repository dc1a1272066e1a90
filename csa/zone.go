package csa

import (
	"net/netip"
	"strconv"
)

// withZone adds the interface to a link-local address, which says nothing without it: by
// name, as people write it, or by its index where it has none any more. Other addresses,
// and an index of 0, stay as they are.
func withZone(ip netip.Addr, index uint32) netip.Addr {
	if index == 0 || !ip.Is6() || !ip.IsLinkLocalUnicast() && !ip.IsLinkLocalMulticast() {
		return ip
	}
	name := interfaceName(index)
	if name == "" {
		name = strconv.FormatUint(uint64(index), 10)
	}
	return ip.WithZone(name)
}
