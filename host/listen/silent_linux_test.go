package listen_test

import (
	"net"
	"testing"
	"time"

	"bulkhead/host/listen"

	"golang.org/x/sys/unix"
)

// A connection on which nothing is under way ends after five questions that nobody
// answered, whatever UserTimeout is; a peer that comes back before is none the worse.
func TestSilentPeers(t *testing.T) {
	for name, away := range map[string]time.Duration{"vanished": time.Hour, "away": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, "tcp", "127.0.0.1:0", listen.Options{Keepalive: time.Second, UserTimeout: time.Second})
			conn, err := net.Dial("tcp", s.Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			wait := func(fd int, events int16, d time.Duration) bool {
				ready := []unix.PollFd{{Fd: int32(fd), Events: events}}
				for end := time.Now().Add(d); ; {
					n, err := unix.Poll(ready, int(time.Until(end).Milliseconds()))
					if err != unix.EINTR {
						return err == nil && n == 1
					}
				}
			}
			if !wait(s.FD, unix.POLLIN, 20*time.Second) {
				t.Fatal("no connection comes")
			}
			fd, _, err := s.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			raw, err := conn.(*net.TCPConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
			_ = raw.Control(func(fd uintptr) {
				err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing[0]})
			})
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if away < time.Hour {
				if wait(fd, unix.POLLIN, away) {
					t.Fatalf("it is over after %v", time.Since(start))
				}
				_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) })
				if err != nil {
					t.Fatal(err)
				}
				if _, err := conn.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				if !wait(fd, unix.POLLIN, 20*time.Second) {
					t.Fatal("its byte does not come")
				}
				if n, err := unix.Read(fd, make([]byte, 9)); n != 1 {
					t.Fatalf("read %d bytes, %v", n, err)
				}
				return
			}
			if !wait(fd, unix.POLLIN, time.Minute) {
				t.Fatal("never over")
			}
			if took := time.Since(start); took < 5*time.Second {
				t.Errorf("it is over after %v, and five questions take at least 5 s", took)
			}
			if _, err := unix.Read(fd, make([]byte, 9)); err != unix.ETIMEDOUT {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}
