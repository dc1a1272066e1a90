package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// hanging is an address where dials neither succeed nor fail: Linux drops
// those for which the listener's queue has no room.
func hanging(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(sa.(*syscall.SockaddrInet4).Port))
	for range 100 {
		conn, err := net.DialTimeout("tcp4", at.String(), 50*time.Millisecond)
		if err != nil {
			return at
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("a queue without room takes a hundred connections")
	return at
}

func TestDialTimeout(t *testing.T) {
	at := hanging(t)
	for range 10 { // whether the socket or the context notices first is chance
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		conn, err := new(Dialer).Dial(short, []netip.AddrPort{at})
		if conn != nil || KindOf(err) != Timeout || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v %v, a %v error", conn, err, KindOf(err))
		}
		cancel()
	}
	broken, breakOff := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, breakOff)
	conn, err := new(Dialer).Dial(broken, []netip.AddrPort{at, at})
	if conn != nil || KindOf(err) != Timeout || !errors.Is(err, context.Canceled) {
		t.Errorf("%v %v, a %v error", conn, err, KindOf(err))
	}
}

// One address that hangs does not keep the next from being tried, and is given
// up when the next has answered.
func TestDialPastOneThatHangs(t *testing.T) {
	at := addrPort(listen(t, "tcp4", "127.0.0.1:0"))
	tenant := gate(1)
	d := &Dialer{Gates: []Gate{tenant}, Stagger: time.Millisecond}
	conn, err := d.Dial(soon(t), []netip.AddrPort{hanging(t), at})
	if err != nil {
		t.Fatal(err)
	}
	greeted(t, conn, "127.0.0.1:0")
	if tenant.n.Load() != 0 || addrPort(conn.RemoteAddr()) != at {
		t.Errorf("%d places are taken; connected to %s", tenant.n.Load(), conn.RemoteAddr())
	}
}
