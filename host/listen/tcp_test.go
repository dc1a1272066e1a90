package listen_test

import (
	"io"
	"net"
	"strings"
	"testing"

	"bulkhead/host/listen"
	"bulkhead/internal/awaittest"

	"golang.org/x/sys/unix"
)

// open opens a socket that is closed with the test.
func open(t *testing.T, network, address string, o listen.Options) *listen.Socket {
	t.Helper()
	s, err := listen.Open(network, address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// refused wants an error in one line that has all of the words.
func refused(t *testing.T, network, address string, o listen.Options, words ...string) {
	t.Helper()
	s, err := listen.Open(network, address, o)
	if err == nil {
		_ = s.Close()
		t.Fatalf("%s://%s: it listens, which it must not", network, address)
	}
	for _, word := range append(words, network+"://"+address) {
		if !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s://%s: %v; want %q in it", network, address, err, word)
		}
	}
}

// acceptFrom takes the next connection, waiting for it.
func acceptFrom(t *testing.T, s *listen.Socket) int {
	t.Helper()
	for {
		fd, _, err := s.Accept()
		switch err {
		case nil:
			t.Cleanup(func() { _ = unix.Close(fd) })
			return fd
		case unix.EAGAIN:
			ready := []unix.PollFd{{Fd: int32(s.FD), Events: unix.POLLIN}}
			if n, err := unix.Poll(ready, 30_000); err != unix.EINTR && (err != nil || n != 1) {
				t.Fatalf("no connection came: %d, %v", n, err)
			}
		case unix.EINTR:
		default:
			t.Fatal(err)
		}
	}
}

// serves wants that a connection to the address is one that the socket
// accepts, non-blocking and closed on exec, with both ends joined.
func serves(t *testing.T, s *listen.Socket, network, address string) (fd int) {
	t.Helper()
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fd = acceptFrom(t, s)
	ours(t, fd)
	if _, err := unix.Write(fd, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(awaittest.Deadline())
	have := make([]byte, 5)
	if _, err := io.ReadFull(conn, have); err != nil || string(have) != "hello" {
		t.Errorf("%s://%s: heard %q, %v", network, address, have, err)
	}
	return fd
}

// ours wants a descriptor to be non-blocking and closed on exec.
func ours(t *testing.T, fd int) {
	t.Helper()
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("descriptor %d blocks (%v)", fd, err)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("descriptor %d outlives an exec (%v)", fd, err)
	}
}

func portOf(t *testing.T, s *listen.Socket) string {
	t.Helper()
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil || port == "0" {
		t.Fatalf("it listens on %q (%v)", s.Addr, err)
	}
	return port
}

// needIPv6 skips a test on a machine without it.
func needIPv6(t *testing.T) {
	t.Helper()
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("this machine has no IPv6: %v", err)
	}
	ln.Close()
}

func TestTCP4(t *testing.T) {
	for _, network := range []string{"tcp", "tcp4"} {
		s := open(t, network, "127.0.0.1:0", listen.Options{})
		if !strings.HasPrefix(s.Addr, "127.0.0.1:") {
			t.Errorf("it listens on %s", s.Addr)
		}
		ours(t, s.FD)
		if _, _, err := s.Accept(); err != unix.EAGAIN {
			t.Errorf("with nobody there Accept says %v, want EAGAIN", err)
		}
		serves(t, s, "tcp", s.Addr)
	}
}

func TestTCP6(t *testing.T) {
	needIPv6(t)
	for _, network := range []string{"tcp", "tcp6"} {
		s := open(t, network, "[::1]:0", listen.Options{})
		serves(t, s, "tcp6", "[::1]:"+portOf(t, s))
	}
}

// tcp with no host listens on both stacks; tcp4 and tcp6 on one each, so that
// both can have the same port.
func TestEveryAddress(t *testing.T) {
	four := open(t, "tcp4", ":0", listen.Options{})
	port := portOf(t, four)
	serves(t, four, "tcp4", "127.0.0.1:"+port)

	needIPv6(t)
	six := open(t, "tcp6", ":"+port, listen.Options{})
	serves(t, six, "tcp6", "[::1]:"+port)
	serves(t, four, "tcp4", "127.0.0.1:"+port)

	both := open(t, "tcp", ":0", listen.Options{})
	port = portOf(t, both)
	serves(t, both, "tcp4", "127.0.0.1:"+port)
	serves(t, both, "tcp6", "[::1]:"+port)
}

func TestAddressInUse(t *testing.T) {
	s := open(t, "tcp", "127.0.0.1:0", listen.Options{})
	refused(t, "tcp", s.Addr, listen.Options{}, unix.EADDRINUSE.Error(), "; another process listens there, stop it or choose another port")
	serves(t, s, "tcp", s.Addr) // it is none the worse for it
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, "tcp", s.Addr, listen.Options{})
	serves(t, again, "tcp", s.Addr)
}

// A port whose connections have not quite ended can be listened on again: a
// restart does not wait.
func TestAPortIsFreeAfterARestart(t *testing.T) {
	s := open(t, "tcp", "127.0.0.1:0", listen.Options{})
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fd := acceptFrom(t, s)
	// The server is the first to close: its end will be in TIME_WAIT.
	_ = unix.Shutdown(fd, unix.SHUT_WR)
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	_ = s.Close()
	open(t, "tcp", s.Addr, listen.Options{})
}

func TestBadAddresses(t *testing.T) {
	refused(t, "tcp", "192.0.2.1:0", listen.Options{}, unix.EADDRNOTAVAIL.Error(), "; this machine has no such address")
	refused(t, "tcp", "127.0.0.1", listen.Options{}, "missing port")
	refused(t, "tcp", "127.0.0.1:70000", listen.Options{}, "invalid port")
	refused(t, "udp", "127.0.0.1:0", listen.Options{}, "no such network; use tcp, tcp4, tcp6, unix or fd")
	refused(t, "", "x", listen.Options{}, "no such network")
	if unix.Geteuid() != 0 {
		refused(t, "tcp", "127.0.0.1:1", listen.Options{}, "; ports below 1024 need CAP_NET_BIND_SERVICE or an inherited socket (fd://)")
	}
}

// What was not accepted is reset when the socket is closed.
func TestCloseResetsWhatWaits(t *testing.T) {
	s := open(t, "tcp", "127.0.0.1:0", listen.Options{})
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(awaittest.Deadline())
	if n, err := conn.Read(make([]byte, 1)); err == nil || err.(net.Error).Timeout() {
		t.Errorf("read %d, %v", n, err)
	}
}

// localhost is two sockets on one port; where one of the two is taken, that is said, and
// nothing is left of the other.
func TestLocalhost(t *testing.T) {
	all, err := listen.OpenAll("tcp", "localhost:0", listen.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 {
		t.Skipf("this machine has one family: %v", all[0].Addr)
	}
	_, port, _ := net.SplitHostPort(all[0].Addr)
	if all[0].Addr != "127.0.0.1:"+port || all[1].Addr != "[::1]:"+port {
		t.Errorf("it listens on %s and %s", all[0].Addr, all[1].Addr)
	}
	if err := all[0].Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := listen.OpenAll("tcp", "localhost:"+port, listen.Options{}); err == nil || !strings.Contains(err.Error(), "listening on tcp6://[::1]:"+port) {
		t.Errorf("with ::1 taken: %v", err)
	}
	again, err := net.Listen("tcp4", "127.0.0.1:"+port)
	if err != nil {
		t.Errorf("127.0.0.1 is left open: %v", err)
	} else {
		again.Close()
	}
	_ = all[1].Close()
}
