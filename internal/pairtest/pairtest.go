// Package pairtest makes pairs of Unix sockets as a supervisor gives them to two workers.
package pairtest

import (
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Packets makes a pair of SOCK_SEQPACKET sockets, which are closed when the test is over.
func Packets(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if err != nil {
		t.Fatal(err)
	}
	ends := make([]*net.UnixConn, 2)
	for n, fd := range fds {
		unix.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ends[n] = c.(*net.UnixConn)
		t.Cleanup(func() { _ = c.Close() })
	}
	return ends[0], ends[1]
}
