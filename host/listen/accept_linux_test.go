package listen

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"bulkhead/internal/awaittest"

	"golang.org/x/sys/unix"
)

// What Accept says of the other end is what unix.Accept4 would say; of a unix socket
// nothing.
func TestAcceptAddresses(t *testing.T) {
	for network, address := range map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0", "unix": filepath.Join(t.TempDir(), "s")} {
		l, err := net.Listen(network, address)
		if err != nil {
			if network == "tcp6" {
				t.Log("no IPv6 here:", err)
				continue
			}
			t.Fatal(err)
		}
		defer l.Close()
		file, err := l.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		s := &Socket{FD: int(file.Fd())}
		if err := unix.SetNonblock(s.FD, true); err != nil {
			t.Fatal(err)
		}
		if fd, _, err := s.Accept(); fd != -1 || err != unix.EAGAIN {
			t.Errorf("%s: nobody has connected, and Accept says %d, %v", network, fd, err)
		}
		c, err := net.Dial(network, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fd, sa := -1, unix.Sockaddr(nil)
		for end := awaittest.Deadline(); fd < 0 && time.Now().Before(end); {
			fd, sa, err = s.Accept()
		}
		if fd < 0 {
			t.Fatalf("%s: %v", network, err)
		}
		defer unix.Close(fd)
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		onExec, err2 := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || err2 != nil || flags&unix.O_NONBLOCK == 0 || onExec&unix.FD_CLOEXEC == 0 {
			t.Errorf("%s: flags %#x, %#x", network, flags, onExec)
		}
		var got string
		switch a := sa.(type) {
		case nil:
		case *unix.SockaddrInet4:
			got = (&net.TCPAddr{IP: a.Addr[:], Port: a.Port}).String()
		case *unix.SockaddrInet6:
			got = (&net.TCPAddr{IP: a.Addr[:], Port: a.Port}).String()
		default:
			t.Errorf("%s: %T", network, sa)
		}
		want := c.LocalAddr().String()
		if network == "unix" {
			want = ""
		}
		if got != want {
			t.Errorf("%s: the peer is %q, and not %q", network, want, got)
		}
	}
}
