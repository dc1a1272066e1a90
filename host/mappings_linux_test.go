package host_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
	"bulkhead/selector"

	"golang.org/x/sys/unix"
)

// restless is an echo that writes to so much of its memory that it does not sleep.
func restless() *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"})
	fill := []byte{0xfc, 0x0b, 0}
	m.Func("csa_data", "ii:i", "",
		w.I32Const(21_000), w.I32Const(7), w.I32Const(40_000), fill,
		w.LocalGet(0), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(f[0]), w.Drop, w.LocalGet(1))
	return m
}

var forgedPeers = flag.Int("peers", 6_000, "how many peers TestMappingsAreBounded forges; 65,000 at most")

// Mappings for thousands of connections, 60,000 in CI, are wanted by a tenant that is to have
// few: it gets its share, its other connections are closed with the key, another tenant notices
// nothing, and all come back. Only Linux bounds mappings, and takes datagrams from sources on all
// of 127/8.
func TestMappingsAreBounded(t *testing.T) {
	const most = 150
	peers := *forgedPeers
	clock := &selector.Manual{}
	tick := make(chan struct{})
	defer close(tick)
	go func() { // guests that have had their part of a turn wait for the next
		for {
			select {
			case <-tick:
				return
			case <-time.After(time.Millisecond):
				clock.Advance(time.Millisecond)
			}
		}
	}()
	log := hosttest.NewLines(t)
	h := hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
loops = 2
connections = 100000
[tenant.hog]
memory = "16GiB"
connections = 100000
accept_rate = 1000000
bandwidth = "1GiB/s"
[tenant.other]
[[listener]]
name = "udp"
tenant = "hog"
address = "udp4://127.0.0.1:0"
plugin = %q
idle_timeout = "1h"
[[listener]]
name = "tcp"
tenant = "hog"
address = "tcp://127.0.0.1:0"
plugin = %[2]q
idle_timeout = "10h"
[[listener]]
name = "other"
tenant = "other"
address = "tcp://127.0.0.1:0"
plugin = %[3]q
`, hosttest.State(), writeModule(t, restless()), plugin(t, "echo/echo.wasm")),
		host.Options{Clock: clock, Mappings: most, Log: log.Log()})
	start := h.Stats()
	if start.MappingLimit != most || start.Mappings == 0 || start.Mappings > 60 {
		t.Fatalf("%d of %d mappings are held at first", start.Mappings, start.MappingLimit)
	}

	to, err := net.ResolveUDPAddr("udp4", h.Addr("udp"))
	if err != nil {
		t.Fatal(err)
	}
	flood, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(flood)
	beside := hosttest.Dial(t, h.Addr("other"))
	for i := range peers {
		source := unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte{127, 1, byte(i >> 8), byte(i)}})
		if err := unix.Sendmsg(flood, []byte("forged"), source, &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte{127, 0, 0, 1}}, 0); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 0 {
			hosttest.Say(t, beside, "still there")
			hosttest.Hear(t, beside, "still there")
			fresh := hosttest.Dial(t, h.Addr("other"))
			hosttest.Say(t, fresh, "new")
			hosttest.Hear(t, fresh, "new")
			fresh.Close()
			if st := h.Stats(); st.Mappings > st.MappingLimit {
				t.Fatalf("%d mappings of %d", st.Mappings, st.MappingLimit)
			}
		}
	}
	hosttest.Eventually(t, "the peers are more than there are mappings for", func() bool { return h.Stats().Connections > 10*most })
	st := h.Stats()
	for _, tenant := range st.Tenants {
		if tenant.Name == "hog" && (tenant.MappingsRefused == 0 || tenant.Mappings > tenant.MappingLimit || tenant.Instances > most) {
			t.Errorf("the hog has %d mappings of %d and %d instances, and was refused %d times", tenant.Mappings, tenant.MappingLimit, tenant.Instances, tenant.MappingsRefused)
		}
		if tenant.Name == "other" && tenant.MappingsRefused > 0 {
			t.Errorf("the other was refused a mapping %d times", tenant.MappingsRefused)
		}
	}

	// Who waits is told why in the end.
	waits := hosttest.Dial(t, h.Addr("tcp"))
	hosttest.Say(t, waits, "x")
	over := make(chan error, 1)
	go func() {
		_, err := waits.Read(make([]byte, 1))
		over <- err
	}()
	hosttest.Eventually(t, "it is closed", func() bool {
		clock.Advance(time.Second)
		select {
		case err := <-over:
			return err != nil
		default:
			return false
		}
	})
	log.Wait("a connection was closed", "listener=tcp", "no memory mappings left (mappings)")

	// They go, and with them what they have held.
	clock.Advance(2 * time.Hour)
	hosttest.Eventually(t, "all mappings are given back", func() bool {
		clock.Advance(5 * time.Second)
		st := h.Stats()
		return st.Connections <= 1 && st.Mappings <= start.Mappings
	})
	hosttest.Eventually(t, "the hog is served again", func() bool {
		c := hosttest.Dial(t, h.Addr("tcp"))
		defer c.Close()
		hosttest.Say(t, c, "again")
		// It may wait for up to a second of the host's clock before a pool asks again, which can be
		// any number of the machine's. It is answered, or it is closed and the next one may try.
		_ = c.SetReadDeadline(awaittest.Deadline())
		b := make([]byte, 5)
		_, err := io.ReadFull(c, b)
		return err == nil && bytes.Equal(b, []byte("again"))
	})
}
