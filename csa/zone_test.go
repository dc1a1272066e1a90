package csa

import (
	"net"
	"net/netip"
	"testing"

	"bulkhead/internal/awaittest"

	"golang.org/x/sys/unix"
)

// A link-local address has the name of its interface, and no other has any.
func TestWithZone(t *testing.T) {
	all, err := net.Interfaces()
	if err != nil || len(all) == 0 {
		t.Fatal(err)
	}
	there := all[0]
	for _, c := range []struct {
		addr  string
		index uint32
		want  string
	}{
		{"fe80::1", uint32(there.Index), "fe80::1%" + there.Name},
		{"ff02::1", uint32(there.Index), "ff02::1%" + there.Name},
		{"fe80::1", 1 << 30, "fe80::1%1073741824"},
		{"fe80::1", 0, "fe80::1"},
		{"2001:db8::1", uint32(there.Index), "2001:db8::1"},
		{"::1", uint32(there.Index), "::1"},
		{"169.254.0.1", uint32(there.Index), "169.254.0.1"},
	} {
		if got := withZone(netip.MustParseAddr(c.addr), c.index); got.String() != c.want {
			t.Errorf("%s of %d is %s, want %s", c.addr, c.index, got, c.want)
		}
	}
	sa := &unix.SockaddrInet6{Port: 7, ZoneId: uint32(there.Index), Addr: netip.MustParseAddr("fe80::1").As16()}
	if got, want := AddrPortOf(sa).String(), "[fe80::1%"+there.Name+"]:7"; got != want {
		t.Errorf("the address is %s, want %s", got, want)
	}
}

// Both ends of a connection say so, as the net package does.
func TestZoneOfSockets(t *testing.T) {
	all, _ := net.Interfaces()
	for _, i := range all {
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok || n.IP.To4() != nil || !n.IP.IsLinkLocalUnicast() {
				continue
			}
			l, err := net.ListenTCP("tcp6", &net.TCPAddr{IP: n.IP, Zone: i.Name})
			if err != nil {
				t.Logf("%s%%%s: %v", n.IP, i.Name, err)
				continue
			}
			defer l.Close()
			_ = l.SetDeadline(awaittest.Deadline())
			c, err := net.DialTCP("tcp6", nil, &net.TCPAddr{IP: n.IP, Zone: i.Name, Port: l.Addr().(*net.TCPAddr).Port})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			raw, err := c.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			_ = raw.Control(func(fd uintptr) {
				peer, err := peerAddrPort(int(fd))
				if local := localAddrPort(int(fd)); err != nil || local.String() != c.LocalAddr().String() || peer.String() != c.RemoteAddr().String() {
					t.Errorf("from %s to %s, %v, want %s and %s", local, peer, err, c.LocalAddr(), c.RemoteAddr())
				}
			})
			return
		}
	}
	t.Log("no interface here has a link-local address")
}
