//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package listen

// bufferFactor is by how much the system says more than what a buffer was asked to hold.
const bufferFactor = 1

// udpProtocol reports whether a datagram socket of IPv4 or IPv6 is UDP's, which not all of
// these systems tell.
func udpProtocol(int) bool { return true }
