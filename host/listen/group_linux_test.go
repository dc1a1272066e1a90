package listen_test

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"bulkhead/host/listen"

	"golang.org/x/sys/unix"
)

// heard waits for a datagram on one of the sockets, and says on which, or -1 if none comes in a
// while after others would have.
func heard(t *testing.T, all []*listen.Socket, want string) (at int) {
	t.Helper()
	var ready []unix.PollFd
	for _, s := range all {
		ready = append(ready, unix.PollFd{Fd: int32(s.FD), Events: unix.POLLIN})
	}
	for {
		if _, err := unix.Poll(ready, 20_000); err != unix.EINTR {
			break
		}
	}
	at = -1
	for i, r := range ready {
		if r.Revents == 0 {
			continue
		}
		buf := make([]byte, 100)
		n, _, err := unix.Recvfrom(all[i].FD, buf, 0)
		if err != nil || string(buf[:n]) != want {
			t.Fatalf("socket %d heard %q, %v; want %q", i, buf[:n], err, want)
		}
		if at >= 0 {
			t.Errorf("sockets %d and %d both heard it", at, i)
		}
		at = i
	}
	return at
}

// What is sent to a group comes once, to the first socket, and only from the sources that are
// wanted; what is sent to a group that nobody here has joined does not come.
func TestGroups(t *testing.T) {
	for name, c := range map[string]struct {
		network, group, other, from, stranger string
		sources                               []netip.Addr
	}{
		"four":             {"udp4", "239.255.77.1", "239.255.77.2", "127.0.0.1", "", nil},
		"both":             {"udp", "239.255.77.1", "239.255.77.2", "127.0.0.1", "", nil},
		"four, one source": {"udp", "232.1.1.1", "232.1.1.2", "127.0.0.3", "127.0.0.4", []netip.Addr{netip.MustParseAddr("127.0.0.3")}},
	} {
		t.Run(name, func(t *testing.T) {
			group := netip.MustParseAddr(c.group)
			all, err := listen.OpenUDP(c.network, ":0", 3, listen.Options{Groups: listen.Groups{
				Addresses: []netip.Addr{group}, Interface: "lo", Sources: c.sources}})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range all {
				defer s.Close()
			}
			// Somebody else has joined the other group, so that it comes to the machine.
			other, err := listen.OpenUDP(c.network, ":0", 1, listen.Options{Groups: listen.Groups{
				Addresses: []netip.Addr{netip.MustParseAddr(c.other)}, Interface: "lo"}})
			if err != nil {
				t.Fatal(err)
			}
			defer other[0].Close()
			_, port, _ := net.SplitHostPort(all[0].Addr)
			say := func(from, to, what string) {
				t.Helper()
				p, _ := strconv.Atoi(port)
				fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer unix.Close(fd)
				if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: netip.MustParseAddr(from).As4()}); err != nil {
					t.Fatal(err)
				}
				if err := unix.SetsockoptInet4Addr(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, [4]byte{127, 0, 0, 1}); err != nil {
					t.Fatal(err)
				}
				target := &unix.SockaddrInet4{Addr: netip.MustParseAddr(to).As4(), Port: p}
				if err := unix.Sendto(fd, []byte(what), 0, target); err != nil {
					t.Fatal(err)
				}
			}
			say(c.from, c.other, "not for us")
			if c.stranger != "" {
				say(c.stranger, c.group, "from a stranger")
			}
			say(c.from, c.group, "for us")
			if at := heard(t, all, "for us"); at != 0 {
				t.Errorf("socket %d heard it", at)
			}
		})
	}
}

// The loopback has no route to groups of IPv6, so it is the system that is asked who is a member.
func TestGroupsOfIPv6(t *testing.T) {
	needIPv6(t)
	for _, network := range []string{"udp", "udp6"} {
		for _, sources := range [][]netip.Addr{nil, {netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")}} {
			members := func() (n int) {
				text, err := os.ReadFile("/proc/self/net/igmp6")
				if err != nil {
					t.Fatal(err)
				}
				for line := range strings.Lines(string(text)) {
					if f := strings.Fields(line); len(f) > 3 && f[1] == "lo" && f[2] == "ff350000000000000000000000007701" {
						n, _ = strconv.Atoi(f[3])
					}
				}
				return n
			}
			all, err := listen.OpenUDP(network, ":0", 3, listen.Options{Groups: listen.Groups{
				Addresses: []netip.Addr{netip.MustParseAddr("ff35::7701")}, Interface: "lo", Sources: sources}})
			if err != nil {
				t.Fatal(err)
			}
			if n := members(); n != 1 {
				t.Errorf("%s: %d sockets are members, want 1", network, n)
			}
			for _, s := range all {
				_ = s.Close()
			}
			if n := members(); n != 0 {
				t.Errorf("%s: %d sockets are members of a listener that is closed", network, n)
			}
		}
	}
}

func TestGroupsThatCannotBe(t *testing.T) {
	for want, g := range map[string]listen.Groups{
		"no interface nothing0":       {Addresses: []netip.Addr{netip.MustParseAddr("239.1.2.3")}, Interface: "nothing0"},
		"joining the group 127.0.0.1": {Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Interface: "lo"},
	} {
		all, err := listen.OpenUDP("udp4", ":0", 2, listen.Options{Groups: g})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", g, err)
		}
		for _, s := range all {
			_ = s.Close()
		}
	}
}
