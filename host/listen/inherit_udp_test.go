package listen_test

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"bulkhead/host/listen"

	"golang.org/x/sys/unix"
)

// passedUDP gives a copy of a socket for datagrams a number of its own.
func passedUDP(t *testing.T, network, address string) (name string, at net.Addr) {
	t.Helper()
	c, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f, err := c.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return copied(t, int(f.Fd())), c.LocalAddr()
}

func refusedUDP(t *testing.T, name string, o listen.Options, words string) {
	t.Helper()
	all, err := listen.OpenUDP("fd", name, 2, o)
	if err == nil {
		_ = all[0].Close()
		t.Errorf("fd://%s was taken; want %q", name, words)
	} else if !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), "listening on fd://"+name) {
		t.Errorf("%v; want %q in it", err, words)
	}
}

// There is one socket for any number of loops, and it is as one that was bound here: it
// does not block, no child has it, and what is asked for is set.
func TestAnInheritedUDPSocket(t *testing.T) {
	name, at := passedUDP(t, "udp4", "127.0.0.1:0")
	if datagrams, err := listen.InheritsDatagrams(name); err != nil || !datagrams {
		t.Errorf("it is of datagrams: %v, %v", datagrams, err)
	}
	all, err := listen.OpenUDP("fd", name, 4, listen.Options{ReceiveBuffer: 64 << 10, SendBuffer: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	s := all[0]
	defer s.Close()
	if len(all) != 1 || s.Addr != at.String() {
		t.Errorf("%d sockets, the first at %s; want one at %s", len(all), s.Addr, at)
	}
	ours(t, s.FD)
	c, err := net.Dial("udp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte("x"))
	fds := []unix.PollFd{{Fd: int32(s.FD), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 60_000); n != 1 {
		t.Errorf("nothing came: %v", err)
	}
	refusedUDP(t, name, listen.Options{}, "is given to two listeners")
}

// A buffer that whoever made the socket has given it is not made smaller.
func TestABufferIsOnlyRaised(t *testing.T) {
	name, _ := passedUDP(t, "udp4", "127.0.0.1:0")
	fd := number(t, name)
	get := func() int {
		n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 100<<10); err != nil {
		t.Fatal(err)
	}
	before := get()
	all, err := listen.OpenUDP("fd", name, 1, listen.Options{ReceiveBuffer: 8 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer all[0].Close()
	if after := get(); after != before {
		t.Errorf("it holds %d bytes, and %d before", after, before)
	}
}

func TestWhatCannotBeInheritedForUDP(t *testing.T) {
	group := listen.Options{Groups: listen.Groups{Addresses: []netip.Addr{netip.MustParseAddr("239.1.2.3")}}}
	bound, _ := passedUDP(t, "udp4", "127.0.0.1:0")
	refusedUDP(t, bound, group, "is bound to 127.0.0.1, where nothing comes that is sent to a group")
	closeNumber(t, bound)

	six := listen.Options{Groups: listen.Groups{Addresses: []netip.Addr{netip.MustParseAddr("ff02::fb")}}}
	every, _ := passedUDP(t, "udp4", "0.0.0.0:0")
	refusedUDP(t, every, six, "hears nothing of ff02::fb, which is of the other family")
	closeNumber(t, every)

	ln := passed(t, listenTCP(t))
	refusedUDP(t, ln, listen.Options{}, "is not a datagram socket")
	if datagrams, err := listen.InheritsDatagrams(ln); err != nil || datagrams {
		t.Errorf("a stream is of datagrams: %v, %v", datagrams, err)
	}
	closeNumber(t, ln)

	raw := func(domain int) int {
		fd, err := unix.Socket(domain, unix.SOCK_DGRAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	for _, c := range []struct {
		fd    int
		words string
	}{
		{raw(unix.AF_INET), "is not bound to a port"},
		{raw(unix.AF_UNIX), "is a datagram socket, but not of IPv4 or IPv6"},
	} {
		name := copied(t, c.fd)
		refusedUDP(t, name, listen.Options{}, c.words)
		closeNumber(t, name)
	}

	conn, err := net.Dial("udp4", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	connected := copied(t, int(udpFile(t, conn).Fd()))
	refusedUDP(t, connected, listen.Options{}, "is connected, and so hears one peer alone")
	closeNumber(t, connected)

	if _, err := listen.InheritsDatagrams("9999"); err == nil {
		t.Error("a descriptor that is not there is found")
	}
}

func udpFile(t *testing.T, c net.Conn) *os.File {
	t.Helper()
	f, err := c.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
