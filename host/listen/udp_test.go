package listen_test

import (
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"bulkhead/host/listen"
	"bulkhead/internal/awaittest"

	"golang.org/x/sys/unix"
)

func openUDP(t *testing.T, network, address string, n int) []*listen.Socket {
	t.Helper()
	all, err := listen.OpenUDP(network, address, n, listen.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, s := range all {
			_ = s.Close()
		}
	})
	return all
}

// pending is how many of the sockets have something to read.
func pending(t *testing.T, all []*listen.Socket) (n int) {
	t.Helper()
	for _, s := range all {
		fds := []unix.PollFd{{Fd: int32(s.FD), Events: unix.POLLIN}}
		if ready, err := unix.Poll(fds, 0); err != nil {
			t.Fatal(err)
		} else {
			n += ready
		}
	}
	return n
}

func TestSocketsOfOneUDPAddress(t *testing.T) {
	for _, network := range []string{"udp", "udp4"} {
		all := openUDP(t, network, "127.0.0.1:0", 4)
		want := 4
		if runtime.GOOS != "linux" {
			want = 1
		}
		if len(all) != want {
			t.Fatalf("%d sockets", len(all))
		}
		for _, s := range all {
			if s.Addr != all[0].Addr || strings.HasSuffix(s.Addr, ":0") {
				t.Errorf("one is at %s, another at %s", all[0].Addr, s.Addr)
			}
			if flags, err := unix.FcntlInt(uintptr(s.FD), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
				t.Errorf("it blocks: %v", err)
			}
			if flags, err := unix.FcntlInt(uintptr(s.FD), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("a child would have it: %v", err)
			}
		}
		// All of one peer's come to one, those of many to several.
		one, err := net.Dial("udp", all[0].Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer one.Close()
		for range 20 {
			_, _ = one.Write([]byte("x"))
		}
		if n := pending(t, all); n != 1 {
			t.Errorf("one peer's datagrams came to %d sockets", n)
		}
		for range 100 {
			c, err := net.Dial("udp", all[0].Addr)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = c.Write([]byte("x"))
			c.Close()
		}
		if n := pending(t, all); n != want {
			t.Errorf("a hundred peers' datagrams came to %d sockets of %d", n, want)
		}
	}
}

// Nobody joins an address, however many sockets are there and wherever they come from.
func TestAUDPAddressIsTakenOnce(t *testing.T) {
	for _, n := range []int{1, 3} {
		all := openUDP(t, "udp", "127.0.0.1:0", n)
		for _, more := range []int{1, 3} {
			if other, err := listen.OpenUDP("udp", all[0].Addr, more, listen.Options{}); err == nil {
				t.Errorf("%d sockets joined %d", len(other), n)
			} else if !strings.Contains(err.Error(), "listening on udp://127.0.0.1:") || !strings.Contains(err.Error(), "another process listens there") {
				t.Error(err)
			}
		}
		for _, s := range all {
			_ = s.Close()
		}
		again, err := listen.OpenUDP("udp", all[0].Addr, n, listen.Options{})
		if err != nil {
			t.Errorf("it is not free again: %v", err)
		}
		for _, s := range again {
			_ = s.Close()
		}
		for _, s := range all {
			s.FD = -1 // for the end of the test
		}
	}
	for _, bad := range [][2]string{{"tcp", "127.0.0.1:0"}, {"udp", "192.0.2.1:0"}, {"udp6", "127.0.0.1:0"}, {"udp", "127.0.0.1"}} {
		if all, err := listen.OpenUDP(bad[0], bad[1], 2, listen.Options{}); err == nil {
			t.Errorf("%v: %d sockets", bad, len(all))
		}
	}
}

func TestEveryAddressOverUDP(t *testing.T) {
	all := openUDP(t, "udp", ":0", 2)
	_, port, err := net.SplitHostPort(all[0].Addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "::1"} {
		c, err := net.Dial("udp", net.JoinHostPort(host, port))
		if err != nil {
			t.Skip(err)
		}
		if _, err := c.Write([]byte("x")); err != nil {
			t.Skip(err)
		}
		c.Close()
	}
	deadline := awaittest.Deadline()
	for got := 0; got < 2; {
		for _, s := range all {
			if n, _, err := unix.Recvfrom(s.FD, make([]byte, 10), unix.MSG_DONTWAIT); err == nil && n == 1 {
				got++
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of two came", got)
		}
	}
}
