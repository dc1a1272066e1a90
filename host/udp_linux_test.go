package host_test

import (
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"bulkhead/csa"
	"bulkhead/host"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"
	"bulkhead/selector"

	"golang.org/x/sys/unix"
)

// A flood from sources that are not there: what it takes is bounded, those who are known do not
// notice, and those who are new get through.
func TestAFloodOfForgedSources(t *testing.T) {
	for _, instance := range []string{"connection", "loop"} {
		t.Run(instance, func(t *testing.T) {
			const places = 100
			h := udp(t, datagrams(), instance, fmt.Sprintf("connections = %d\nmemory = \"32MiB\"", places), "", host.Options{Log: slog.New(slog.DiscardHandler)})
			known := dialUDP(t, h.Addr("udp"))
			trip(t, known, "one")
			trip(t, known, "two")
			to, err := net.ResolveUDPAddr("udp4", h.Addr("udp"))
			if err != nil {
				t.Fatal(err)
			}
			flood, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(flood)
			goroutines := runtime.NumGoroutine()
			var memory int64
			for i := range 8_000 {
				source := unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte{127, 1, byte(i >> 8), byte(i)}})
				if err := unix.Sendmsg(flood, []byte("forged"), source, &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte{127, 0, 0, 1}}, 0); err != nil {
					t.Fatal(err)
				}
				if i%100 == 0 {
					trip(t, known, "still there")
					st := h.Stats()
					memory = max(memory, st.Tenants[0].Memory)
					if st.Connections > places {
						t.Fatalf("%d connections", st.Connections)
					}
				}
			}
			tripInTheEnd(t, dialUDP(t, h.Addr("udp")), "a new one")
			st := h.Stats()
			if st.Listeners[0].Accepted < 4_000 {
				t.Errorf("only %d datagrams of the flood were looked at: %+v", st.Listeners[0].Accepted, st.Listeners[0].DatagramsLost)
			}
			if memory > 24<<20 {
				t.Errorf("it took %d bytes", memory)
			}
			if n := runtime.NumGoroutine(); n > goroutines+20 {
				t.Errorf("%d goroutines, %d before", n, goroutines)
			}
			t.Logf("memory %d bytes at most; %+v", memory, st.Listeners[0])
		})
	}
}

// A burst that overflows the system's queue while nothing is read is counted, with the
// next datagram that comes.
func TestDatagramsLostInTheKernel(t *testing.T) {
	clock := &selector.Manual{}
	h := udp(t, datagrams(), "loop", "bandwidth = \"1KiB/s\"", "", onClock(clock))
	c := dialUDP(t, h.Addr("udp"))
	big := strings.Repeat("y", 8000)
	trip(t, c, big) // from here on the tenant has to wait
	for range 500 {
		hosttest.Say(t, c, big)
	}
	hosttest.Eventually(t, "it is counted", func() bool {
		clock.Advance(time.Hour)
		hosttest.Say(t, c, "x")
		return h.Stats().Listeners[0].DatagramsLost[csa.LostInKernel.Info().Name] > 100
	})
}

// A question to a group is answered from an address of this machine.
func TestAnswersToAGroup(t *testing.T) {
	for _, network := range []string{"udp", "udp4"} {
		text := strings.Replace(udpConfig(t, datagrams(), "connection", "", "group = [\"239.255.77.3\"]\ninterface = \"lo\""), "udp4://127.0.0.1:0", network+"://:0", 1)
		h := hosttest.Serve(t, text, host.Options{})
		_, port, err := net.SplitHostPort(h.Addr("udp"))
		if err != nil {
			t.Fatal(err)
		}
		to, _ := strconv.Atoi(port)
		c, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(awaittest.Deadline())
		raw, err := c.(*net.UDPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		_ = raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInet4Addr(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, [4]byte{127, 0, 0, 1})
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := c.WriteTo([]byte("anybody?"), &net.UDPAddr{IP: net.IPv4(239, 255, 77, 3), Port: to}); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 100)
			n, from, err := c.ReadFrom(buf)
			if err != nil || string(buf[:n]) != "anybody?" || from.String() != "127.0.0.1:"+port {
				t.Fatalf("%s: heard %q from %v, %v", network, buf[:n], from, err)
			}
		}
		if n := h.Stats().Listeners[0].Accepted; n != 1 {
			t.Errorf("%s: there are %d connections of one peer", network, n)
		}
	}
}
