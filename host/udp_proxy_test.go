package host_test

import (
	"maps"
	"net/netip"
	"strings"
	"testing"

	"bulkhead/csa"
	"bulkhead/host"
	"bulkhead/internal/hosttest"
)

// header is one of PROXY v2 for a datagram of IPv4.
func header(command byte, family byte, from, to string) string {
	address := func(s string) (ip, port string) {
		a := netip.MustParseAddrPort(s)
		return string(a.Addr().AsSlice()), string([]byte{byte(a.Port() >> 8), byte(a.Port())})
	}
	fromIP, fromPort := address(from)
	toIP, toPort := address(to)
	rest := fromIP + toIP + fromPort + toPort
	return "\r\n\r\n\x00\r\nQUIT\n" + string([]byte{0x20 | command, family, 0, byte(len(rest))}) + rest
}

// Behind a balancer each datagram begins with a PROXY header. A peer is the balancer's
// socket with the source that the header says: it is whom the handler sees, has a
// connection of its own, and is answered by way of the balancer's socket.
func TestProxiedDatagrams(t *testing.T) {
	const to = "198.51.100.7:53"
	ann := header(1, 0x12, "192.0.2.1:4000", to)
	bob := header(1, 0x12, "192.0.2.1:4001", to)
	six := header(1, 0x22, "[2001:db8::1]:4000", "[2001:db8::7]:53")
	tcp := header(1, 0x11, "192.0.2.2:4000", to) // who has asked the balancer over a stream
	for _, instance := range instanceModes {
		t.Run(instance, func(t *testing.T) {
			h := udp(t, datagrams(), instance, "", `proxy_from = ["127.0.0.0/8"]`, host.Options{})
			addr := h.Addr("udp")
			balancer := dialUDP(t, addr)
			ask := func(what, want string) {
				t.Helper()
				hosttest.Say(t, balancer, what)
				hearOne(t, balancer, want)
			}
			peers := func(want int64) {
				t.Helper()
				if n := h.Stats().Listeners[0].Accepted; n != want {
					t.Errorf("%d peers; want %d", n, want)
				}
			}
			ask(ann+"I", "192.0.2.1:4000")
			ask(ann+"O", to)
			ask(ann+"a datagram", "a datagram")
			ask(ann, "")
			peers(1)
			ask(bob+"I", "192.0.2.1:4001")
			ask(six+"I", "[2001:db8::1]:4000")
			ask(six+"O", "[2001:db8::7]:53")
			ask(tcp+"I", "192.0.2.2:4000")
			peers(4)
			// A health check speaks for the balancer, whatever stands in its header.
			ask(header(0, 0x12, "192.0.2.9:1", to)+"I", balancer.LocalAddr().String())
			ask(header(0, 0x12, "192.0.2.9:2", to)+"O", addr)
			ask("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00I", balancer.LocalAddr().String())
			ask(header(1, 0x22, "[::]:0", "[2001:db8::7]:53")+"I", balancer.LocalAddr().String())
			peers(5)
			// The same source by way of another socket of the balancer's is another peer.
			other := dialUDP(t, addr)
			hosttest.Say(t, other, ann+"I")
			hearOne(t, other, "192.0.2.1:4000")
			peers(6)

			// What has no good header is lost, and counted as nothing else.
			bad := []string{
				"hello", "", ann[:27], ann[:11],
				"PROXY TCP4 192.0.2.1 198.51.100.2 4000 25\r\nhello", // of version 1
				strings.Replace(ann, "\x21\x12", "\x23\x12", 1) + "hello",
				strings.Replace(ann, "\x21\x12", "\x21\x92", 1) + "hello",
				strings.Replace(ann, "\x00\x0c", "\x40\x00", 1) + "hello", // it says 16 KiB
			}
			for i, what := range bad {
				hosttest.Say(t, balancer, what)
				hosttest.Eventually(t, "it is counted", func() bool {
					return maps.Equal(h.Stats().Listeners[0].DatagramsLost, map[string]int64{csa.LostHeader.Info().Name: int64(i + 1)})
				})
			}
			ask(ann+"still there", "still there")
			peers(6)
		})
	}
}

// Who is not one of proxy_from has no header, and what looks like one is data.
func TestStrangersHaveNoProxyHeader(t *testing.T) {
	h := udp(t, datagrams(), "loop", "", `proxy_from = ["192.0.2.200"]`, host.Options{})
	c := dialUDP(t, h.Addr("udp"))
	trip(t, c, header(1, 0x12, "192.0.2.1:4000", "198.51.100.7:53")+"hello")
	hosttest.Say(t, c, "I")
	hearOne(t, c, c.LocalAddr().String())
}

// The places of peers that a balancer introduces are given up as others are: one that has sent one
// datagram only goes for the next.
func TestProxiedPeersGiveTheirPlaces(t *testing.T) {
	h := udp(t, datagrams(), "loop", "connections = 2", `proxy_from = ["127.0.0.1"]`, host.Options{})
	balancer := dialUDP(t, h.Addr("udp"))
	for _, source := range []string{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.1:4"} {
		hosttest.Say(t, balancer, header(1, 0x12, source, "198.51.100.7:53")+"I")
		hearOne(t, balancer, source)
	}
	if s := h.Stats().Listeners[0]; s.Accepted != 4 || len(s.DatagramsLost) > 0 {
		t.Errorf("%d peers, lost %+v", s.Accepted, s.DatagramsLost)
	}
}
