package csa

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// Both ends of a socket are what Go's net says they are.
func TestEndpoints(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Log("left out:", err)
			continue
		}
		defer l.Close()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fd := dup(t, c.(*net.TCPConn))
		defer closeSocket(fd)
		if got, want := localAddrPort(fd), netip.MustParseAddrPort(c.LocalAddr().String()); got != want {
			t.Errorf("this end is %v, and not %v", want, got)
		}
		if got, err := peerAddrPort(fd); err != nil || got != netip.MustParseAddrPort(c.RemoteAddr().String()) {
			t.Errorf("the other end is %v, and not %v, %v", c.RemoteAddr(), got, err)
		}
	}
	fd, err := openSocket(unix.AF_INET, unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	defer closeSocket(fd)
	if at, err := peerAddrPort(fd); err != unix.ENOTCONN || at.IsValid() {
		t.Errorf("nobody is at the other end, and it is %v, %v", at, err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closeSocket(pair[0])
	defer closeSocket(pair[1])
	if at, err := peerAddrPort(pair[0]); err != nil || at.IsValid() || localAddrPort(pair[0]).IsValid() {
		t.Errorf("a unix socket has the addresses %v, %v (%v)", at, localAddrPort(pair[0]), err)
	}
}
