package host_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"

	"bulkhead/csa"
	"bulkhead/host"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"
)

// The relays of a tenant whose clients do not read hold no more pipes than its share; another
// tenant gets one meanwhile, what is copied instead comes as it was sent, and all are given back.
func TestPipesAreShared(t *testing.T) {
	if csa.PipeDescriptors == 0 {
		t.Skip("there are no pipes here")
	}
	const clients, size = 6, 12 << 20
	bulk := make([]byte, size)
	for i := range bulk {
		bulk[i] = byte(i>>13) ^ byte(i)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
					_, _ = c.Write(bulk)
				}
			}()
		}
	}()
	h := hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
loops = 2
pipes = 4
[tenant.hog]
connect = [%q]
bandwidth = "10GiB/s"
[tenant.other]
connect = [%[2]q]
bandwidth = "10GiB/s"
[[listener]]
name = "hog"
tenant = "hog"
address = "tcp://127.0.0.1:0"
plugin = %[3]q
write_timeout = "0s"
min_rate = "0B/s"
[[listener]]
name = "other"
tenant = "other"
address = "tcp://127.0.0.1:0"
plugin = %[3]q
write_timeout = "0s"
min_rate = "0B/s"
`, hosttest.State(), ln.Addr().String(), writeModule(t, splicer(0, nil, nil))), host.Options{})
	download := func(listener string) net.Conn {
		c := hosttest.Dial(t, h.Addr(listener))
		hosttest.Say(t, c, "Ztcp://"+ln.Addr().String())
		hosttest.Hear(t, c, "open")
		hosttest.Say(t, c, "x")
		return c
	}
	of := func(name string) host.TenantStats {
		for _, st := range h.Stats().Tenants {
			if st.Name == name {
				return st
			}
		}
		t.Fatalf("there is no tenant %q", name)
		return host.TenantStats{}
	}
	var hogs []net.Conn
	for range clients {
		hogs = append(hogs, download("hog"))
	}
	hosttest.Eventually(t, "the hog's share is used up", func() bool {
		if all := h.Stats(); all.Pipes > 2 {
			t.Fatalf("%d pipes are held; want 2 at most: a part of 1, and half of the 2 that are common", all.Pipes)
		}
		st := of("hog")
		return st.Pipes == 2 && st.PipesRefused > 0
	})
	other := download("other")
	hosttest.Eventually(t, "the other has a pipe, and the hog no more", func() bool {
		st := h.Stats()
		return of("other").Pipes == 1 && of("hog").Pipes == 2 && st.Pipes == 3 && st.PipeLimit == 4
	})
	for _, c := range append(hogs, other) {
		_ = c.SetDeadline(awaittest.Deadline())
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, bulk) {
			t.Errorf("%d bytes came of %d, or others, or %v", len(got), len(bulk), err)
		}
		c.Close()
	}
	hosttest.Eventually(t, "all pipes are given back", func() bool { return h.Stats().Pipes == 0 && of("hog").Pipes == 0 })
}
