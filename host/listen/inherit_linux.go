package listen

import "golang.org/x/sys/unix"

// bufferFactor is by how much the system says more than what a buffer was asked to hold:
// it counts its own structures.
const bufferFactor = 2

// udpProtocol reports whether a datagram socket of IPv4 or IPv6 is UDP's: others are for
// ICMP, or for UDP-Lite.
func udpProtocol(fd int) bool {
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	return err != nil || protocol == unix.IPPROTO_UDP
}
