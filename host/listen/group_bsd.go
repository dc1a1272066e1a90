//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package listen

import (
	"errors"
	"net/netip"
)

func onlyOwnGroups(int) {}

// sayAddressed does nothing: these systems choose the address that answers leave from.
func sayAddressed(int) {}

// joinGroup is for Linux alone.
func joinGroup(int, int, netip.Addr, netip.Addr) error {
	return errors.New("multicast groups are for Linux; leave group out")
}
