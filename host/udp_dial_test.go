package host_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// shouter answers datagrams in upper case, until the test ends.
func shouter(t *testing.T) net.PacketConn {
	t.Helper()
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		p := make([]byte, 1<<16)
		for {
			n, from, err := server.ReadFrom(p)
			if err != nil {
				return
			}
			_, _ = server.WriteTo([]byte(strings.ToUpper(string(p[:n]))), from)
		}
	}()
	return server
}

// A handler dials over UDP as it does over TCP, and sends and hears datagrams.
func TestConnectOverUDP(t *testing.T) {
	at := shouter(t).LocalAddr().String()
	_, port, _ := net.SplitHostPort(at)
	names := resolver{"up.example": "127.0.0.1"}
	for _, instance := range instanceModes {
		h := served(t, dialler(false), instance, fmt.Sprintf(`"udp://%s", "udp://up.example:%s"`, at, port), host.Options{Resolver: names})
		for _, to := range []string{"udp://" + at, "udp://up.example:" + port} {
			c := hosttest.Dial(t, h.Addr("dial"))
			hosttest.Say(t, c, to)
			hosttest.Hear(t, c, "=A")
			for _, text := range []string{"hello", "again", strings.Repeat("x", 4000)} {
				hosttest.Say(t, c, text)
				hosttest.Hear(t, c, strings.ToUpper(text))
			}
			_ = c.Close()
			hosttest.Eventually(t, "nothing is open", func() bool {
				st := h.Stats()
				return st.Connections == 0 && (instance != "connection" || st.Listeners[0].Instances == 0)
			})
			if instance != "connection" {
				break // its state is of the first connection
			}
		}
	}
}

// Who is not on the list for UDP is not sent to, and who is not there is REFUSED.
func TestConnectOverUDPRefused(t *testing.T) {
	gone := shouter(t)
	nobody := gone.LocalAddr().String()
	gone.Close()
	_, port, _ := net.SplitHostPort(nobody)
	names := resolver{"public.example": "192.0.2.1", "inside.example": "127.0.0.1", "none.example": ""}
	h := served(t, dialler(false), "connection", fmt.Sprintf(`"udp://%s", "127.0.0.1:*", "udp://*.example:53"`, nobody), host.Options{Resolver: names})
	for to, want := range map[string]string{
		"udp://127.0.0.1:1":                 "?F", // DENIED: it is listed for TCP
		"tcp://127.0.0.1:" + port + "?x":    "?B", // INVALID
		"udp://localhost:53":                "?F",
		"udp://public.example:54":           "?F",
		"udp://inside.example:53":           "!F",
		"udp://none.example:53":             "!H", // NOT_FOUND
		"udp://255.255.255.255:53":          "?F",
		"udp://224.0.0.1:53":                "?F",
		"udp://" + nobody + "?proxy=v2":     "?B",
		"udp4://" + nobody:                  "?B",
		"udp://[::ffff:127.0.0.1]:1":        "?F",
		"udp://inside.example:53\x00:1":     "?B",
		"udp://169.254.169.254:53":          "?F",
		"udp://" + nobody + "/":             "?B",
		"udp://":                            "?B",
		"udp://" + strings.Repeat("x", 600): "?B",
	} {
		c := hosttest.Dial(t, h.Addr("dial"))
		hosttest.Say(t, c, to)
		hosttest.Hear(t, c, want)
		_ = c.Close()
	}
	c := hosttest.Dial(t, h.Addr("dial"))
	hosttest.Say(t, c, "udp://"+nobody)
	hosttest.Hear(t, c, "=A") // nobody was asked yet
	hosttest.Say(t, c, "anybody?")
	hosttest.Hear(t, c, "!K") // REFUSED
	hosttest.HearEnd(t, c)
	_ = c.Close()
	hosttest.Eventually(t, "nothing is open", func() bool { return h.Stats().Connections == 0 })
	if n := h.Stats().Listeners[0].Ended["peer_unreachable"]; n != 1 {
		t.Errorf("%d have ended so", n)
	}
}

// One that is dialled over UDP takes a place of upstreams, until it is over: by idle_timeout,
// as nobody says that he goes.
func TestPeersDialledOverUDPAreCounted(t *testing.T) {
	at := shouter(t).LocalAddr().String()
	h := served(t, dialler(false), "connection", fmt.Sprintf(`"udp://%s"`, at), host.Options{})
	var all []net.Conn
	for n := range 7 {
		c := hosttest.Dial(t, h.Addr("dial"))
		all = append(all, c)
		hosttest.Say(t, c, "udp://"+at)
		if n < 6 {
			hosttest.Hear(t, c, "=A")
		} else {
			hosttest.Hear(t, c, "?G") // QUOTA
		}
	}
	_ = all[0].Close()
	hosttest.Eventually(t, "its upstream is gone", func() bool { return h.Stats().Connections == 11 })
	hosttest.Say(t, all[6], "udp://"+at)
	hosttest.Hear(t, all[6], "=A")
}

// forwarder is a guest that has each question of a peer answered by who is at an address, over
// UDP: it dials him with the first, and ends with its peer.
func forwarder(address string) *w.Module {
	const question, to = 40_000, 600
	m, f := w.Handler([2]string{"send", "iii:i"}, [2]string{"connect", "ii:i"}, [2]string{"control", "ii:i"})
	send, connect, control := f[0], f[1], f[2]
	client := m.Global('i', true, w.I32Const(0))
	up := m.Global('i', true, w.I32Const(0))
	waits := m.Global('i', true, w.I32Const(0)) // how long the first question is, while it waits
	m.Data(to, address)
	isUp := w.Cat(w.LocalGet(0), w.GlobalGet(up), w.I32Eq)
	copyOf := w.Cat(w.I32Const(question), w.I32Const(w.WindowAt), w.LocalGet(1), w.MemoryCopy)
	m.Func("csa_open", "i:i", "", isUp, w.If(
		w.GlobalGet(up), w.I32Const(question), w.GlobalGet(waits), w.Call(send), w.Drop), w.I32Const(0))
	m.Func("csa_data", "ii:i", "",
		isUp, w.If(w.GlobalGet(client), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(send), w.Drop, w.LocalGet(1), w.Return),
		w.GlobalGet(up), w.If(w.GlobalGet(up), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(send), w.Drop, w.LocalGet(1), w.Return),
		w.LocalGet(0), w.GlobalSet(client), w.LocalGet(1), w.GlobalSet(waits), copyOf,
		w.I32Const(to), w.I32Const(int32(len(address))), w.Call(connect), w.GlobalSet(up),
		w.LocalGet(1))
	m.Func("csa_closed", "ii:", "",
		isUp, w.IfElse('i', w.GlobalGet(client), w.GlobalGet(up)), w.I32Const(1), w.Call(control), w.Drop)
	return m
}

// A forwarder of the DNS before a name server, both handlers, is asked by the resolver that
// Go's programs have.
func TestAForwarderOfTheDNS(t *testing.T) {
	names := hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
[tenant.names]
[[listener]]
name = "dns"
tenant = "names"
address = "udp4://127.0.0.1:0"
plugin = %q
instance = "loop"
[listener.config]
zone = "example.test"
records = ["@ SOA ns1 hostmaster 1 7200 3600 1209600 300", "@ NS ns1", "ns1 A 127.0.0.1", "www A 192.0.2.80", "www AAAA 2001:db8::80", "@ TXT \"found\""]
`, hosttest.State(), plugin(t, "dns/dns.wasm")), host.Options{})
	at := names.Addr("dns")
	h := udp(t, forwarder("udp://"+at), "connection", fmt.Sprintf(`connect = ["udp://%s"]`, at), `idle_timeout = "2s"`, host.Options{})
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, h.Addr("udp"))
	}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if found, err := r.LookupHost(ctx, "www.example.test."); err != nil || len(found) != 2 {
		t.Errorf("%v: %v", found, err)
	}
	if found, err := r.LookupTXT(ctx, "example.test."); err != nil || len(found) != 1 || found[0] != "found" {
		t.Errorf("%v: %v", found, err)
	}
	if _, err := r.LookupHost(ctx, "nothere.example.test."); err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("a name that is not there: %v", err)
	}
	hosttest.Eventually(t, "the peers and whom they dialled are over", func() bool {
		st := h.Stats()
		return st.Connections == 0 && st.Tenants[0].Instances == 0
	})
}
