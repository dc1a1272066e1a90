//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package csa

import "net"

// interfaceName is the name of a network interface; "" if there is none of the index.
func interfaceName(index uint32) string {
	i, err := net.InterfaceByIndex(int(index))
	if err != nil {
		return ""
	}
	return i.Name
}
