package listen

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Groups are the multicast groups that a UDP socket joins.
type Groups struct {
	// Addresses are the groups, of IPv4 and IPv6.
	Addresses []netip.Addr
	// Interface is the name of the network interface on which they are joined; "": the one
	// that the system chooses for each.
	Interface string
	// Sources are those whose datagrams to the groups are wanted, each for the groups of its
	// family; none: everybody's.
	Sources []netip.Addr
}

// equal reports whether a socket that has joined the ones hears what the others want.
func (g Groups) equal(o Groups) bool {
	return g.Interface == o.Interface && slices.Equal(g.Addresses, o.Addresses) && slices.Equal(g.Sources, o.Sources)
}

// join has a socket join the groups. Whatever the socket belongs to: without this it is
// given also what comes for groups that others on this machine have joined.
func (g Groups) join(fd int, member bool) error {
	if len(g.Addresses) == 0 {
		return nil
	}
	onlyOwnGroups(fd)
	if !member {
		return nil
	}
	index := 0
	if g.Interface != "" {
		i, err := net.InterfaceByName(g.Interface)
		if err != nil {
			return fmt.Errorf("this machine has no interface %s: write interface as `ip link` has it", g.Interface)
		}
		index = i.Index
	}
	for _, group := range g.Addresses {
		sources := 0
		for _, source := range g.Sources {
			if source.Is4() != group.Is4() {
				continue
			}
			sources++
			if err := joinGroup(fd, index, group, source); err != nil {
				return fmt.Errorf("joining the group %s of %s%s: %v", group, source, on(g.Interface), err)
			}
		}
		if sources > 0 {
			continue
		}
		if err := joinGroup(fd, index, group, netip.Addr{}); err != nil {
			return fmt.Errorf("joining the group %s%s: %v", group, on(g.Interface), err)
		}
	}
	return nil
}

func on(name string) string {
	if name == "" {
		return ", with interface left to the system"
	}
	return " on " + name
}
