package listen_test

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"bulkhead/host/listen"

	"golang.org/x/sys/unix"
)

func option(t *testing.T, fd, level, name int) int {
	t.Helper()
	v, err := unix.GetsockoptInt(fd, level, name)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// tuned wants a connection to have the options.
func tuned(t *testing.T, fd int, o listen.Options) {
	t.Helper()
	if option(t, fd, unix.IPPROTO_TCP, unix.TCP_NODELAY) == 0 {
		t.Error("TCP_NODELAY is not set")
	}
	if got, want := option(t, fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE) != 0, o.Keepalive > 0; got != want {
		t.Errorf("SO_KEEPALIVE is %v, want %v", got, want)
	}
	if o.Keepalive > 0 {
		seconds := int(o.Keepalive / time.Second)
		if got := option(t, fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE); got != seconds {
			t.Errorf("TCP_KEEPIDLE is %d, want %d", got, seconds)
		}
		if got := option(t, fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL); got != seconds {
			t.Errorf("TCP_KEEPINTVL is %d, want %d", got, seconds)
		}
		if got := option(t, fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT); got != 5 {
			t.Errorf("TCP_KEEPCNT is %d, want 5", got)
		}
	}
	if got := option(t, fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT); o.NotSent > 0 && got != o.NotSent {
		t.Errorf("TCP_NOTSENT_LOWAT is %d, want %d", got, o.NotSent)
	}
	if got := option(t, fd, unix.SOL_SOCKET, unix.SO_SNDBUF); o.SendBuffer > 0 && got != 2*o.SendBuffer {
		t.Errorf("SO_SNDBUF is %d, want twice %d", got, o.SendBuffer)
	}
	// It ends the connections of those who answer, but have no room.
	if got := option(t, fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); got != 0 {
		t.Errorf("TCP_USER_TIMEOUT is %d, want none", got)
	}
	const rtoMax = 44 // TCP_RTO_MAX_MS
	want := 120_000
	if o.UserTimeout > 0 {
		want = max(1000, int(o.UserTimeout/4/time.Millisecond))
	}
	// Before Linux 6.15 there is none.
	if got, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, rtoMax); err == nil && got != want {
		t.Errorf("TCP_RTO_MAX_MS is %d, want %d", got, want)
	}
}

// Accepted connections have the options without a system call of their own.
func TestConnectionsInheritTheOptions(t *testing.T) {
	for name, o := range map[string]listen.Options{
		"set":     {Keepalive: 97 * time.Second, UserTimeout: 12320 * time.Millisecond, NotSent: 70 << 10, SendBuffer: 90 << 10},
		"not set": {},
	} {
		for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
			t.Run(name+" "+address, func(t *testing.T) {
				if address[0] == '[' {
					needIPv6(t)
				}
				s := open(t, "tcp", address, o)
				tuned(t, serves(t, s, "tcp", s.Addr), o)
			})
		}
	}
}

// The kernel takes little for a peer that does not read, where it is told so.
func TestUnsentBytesAreBounded(t *testing.T) {
	const room, notSent = 16 << 10, 64 << 10 // of the peer
	for name, c := range map[string]struct {
		o    listen.Options
		most int
	}{
		"notsent_lowat": {listen.Options{NotSent: notSent}, 4 * (room + notSent)},
		"send_buffer":   {listen.Options{SendBuffer: notSent}, 4 * (room + notSent)},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, "tcp", "127.0.0.1:0", c.o)
			d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
				return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, room) })
			}}
			peer, err := d.DialContext(t.Context(), "tcp", s.Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Close()
			fd, _, err := s.Accept()
			for err == unix.EAGAIN {
				fd, _, err = s.Accept()
			}
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			taken := 0
			for quiet := 0; quiet < 20; time.Sleep(5 * time.Millisecond) {
				n, err := unix.Write(fd, make([]byte, 64<<10))
				if quiet++; err == nil {
					taken, quiet = taken+n, 0
				}
				if taken > c.most {
					t.Fatalf("it took %d bytes", taken)
				}
			}
			if taken < notSent/2 {
				t.Errorf("it took only %d bytes", taken)
			}
		})
	}
}

// A socket that somebody else has made gets them too.
func TestInheritedSocketsAreTuned(t *testing.T) {
	o := listen.Options{Keepalive: 61 * time.Second, UserTimeout: 3 * time.Second, NotSent: 50 << 10, SendBuffer: 60 << 10}
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		if address[0] == '[' {
			needIPv6(t)
		}
		var lc net.ListenConfig
		lc.SetMultipathTCP(false)
		ln, err := lc.Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, "fd", passed(t, ln), o)
		ln.Close()
		tuned(t, serves(t, s, "tcp", s.Addr), o)
	}
}

func TestBacklog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	for name, opened := range map[string]func(o listen.Options) (*listen.Socket, error){
		"tcp":  func(o listen.Options) (*listen.Socket, error) { return listen.Open("tcp", "127.0.0.1:0", o) },
		"unix": func(o listen.Options) (*listen.Socket, error) { return listen.Open("unix", path, o) },
	} {
		t.Run(name, func(t *testing.T) {
			s, err := opened(listen.Options{Backlog: 3})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			sa, err := unix.Getsockname(s.FD)
			if err != nil {
				t.Fatal(err)
			}
			// The kernel takes one more than it is told to.
			var waiting int
			for waiting < 20 && connects(t, sa) {
				waiting++
			}
			if waiting != 4 {
				t.Errorf("%d connections wait, want 4", waiting)
			}
		})
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket's file is left")
	}
}

// connects reports whether a connection is made without waiting for long.
func connects(t *testing.T, sa unix.Sockaddr) bool {
	t.Helper()
	family := unix.AF_UNIX
	if _, tcp := sa.(*unix.SockaddrInet4); tcp {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Connect(fd, sa); err != unix.EINPROGRESS {
		return err == nil
	}
	// On the loopback an answer comes at once, or not before the first
	// repetition after a second.
	ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(ready, 300)
	return err == nil && n == 1
}
