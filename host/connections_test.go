package host_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"bulkhead/csa"
	"bulkhead/host"
	"bulkhead/host/conns"
	"bulkhead/internal/certstest"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
	"bulkhead/selector"
)

// connections lists them, without rates.
func connections(t *testing.T, h *host.Host, q conns.Query) conns.List {
	t.Helper()
	list, err := h.Connections(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A list has each connection once with what is known of it, in the order and of the owners that
// were asked for, and kill closes just those that are meant, over a reload.
func TestConnections(t *testing.T) {
	files := map[string][]byte{"a.wasm": tally('a').Bytes(), "b.wasm": tally('b').Bytes()}
	l := newLives(t, files, acme+listenerOf("it", "a.wasm", "")+listenerOf("other", "b.wasm", "instance = \"loop\""), host.Options{})
	const many = 600 // more than a loop visits in one turn
	var it []net.Conn
	for range many {
		c := l.dial("it")
		l.ask(c, "a0")
		it = append(it, c)
	}
	other := l.dial("other")
	l.ask(other, "b0")
	l.ask(other, "b1")

	all := connections(t, l.h, conns.Query{})
	if all.Matched != many+1 || len(all.Connections) != many+1 || all.Limit != conns.DefaultLimit {
		t.Fatalf("%d of %d connections are listed, of %d at most", len(all.Connections), all.Matched, all.Limit)
	}
	for i := range all.Connections {
		c := &all.Connections[i]
		if i > 0 && c.ID <= all.Connections[i-1].ID {
			t.Fatalf("%d comes behind %d", c.ID, all.Connections[i-1].ID)
		}
		if c.Tenant != "acme" || c.Transport != "tcp" || c.Fuel <= 0 || c.CPU < 0 || c.Events == 0 || c.InRate != nil || c.TLS != nil || c.In == 0 || c.Out != 2*c.In {
			t.Fatalf("a connection is %+v", c)
		}
		if !slices.Equal(c.State, []string{"open"}) && !slices.Equal(c.State, []string{"asleep"}) && c.ThrottledBy == nil {
			t.Errorf("a connection is %v", c.State)
		}
	}
	first := connections(t, l.h, conns.Query{Sort: "out", Limit: 3, Over: time.Millisecond})
	if first.Matched != many+1 || len(first.Connections) != 3 || first.Connections[0].Listener != "other" || first.Connections[0].Out != 4 || first.Connections[0].InRate == nil {
		t.Fatalf("the first three by bytes are %+v", first)
	}
	if c := first.Connections[0]; c.Peer != other.LocalAddr().String() {
		t.Errorf("the peer is %q", c.Peer)
	}
	oldest := connections(t, l.h, conns.Query{Filter: conns.Filter{Listener: "it", Tenant: "acme"}, Sort: "age", Limit: 3})
	if oldest.Matched != many || len(oldest.Connections) != 3 || oldest.Connections[0].Age < oldest.Connections[1].Age || oldest.Connections[1].Age < oldest.Connections[2].Age {
		t.Fatalf("the oldest are %+v", oldest)
	}
	// Ages are of when each loop was looked at, so the first that came is not the oldest in any
	// case.
	at := slices.IndexFunc(it, func(c net.Conn) bool { return c.LocalAddr().String() == oldest.Connections[0].Peer })
	if at < 0 {
		t.Fatalf("the oldest is %+v, and no client's", oldest.Connections[0])
	}
	it[0], it[at] = it[at], it[0]
	for _, none := range []conns.Filter{{Tenant: "nobody"}, {Listener: "it/route"}, {Generation: 99}, {IDs: []uint64{1 << 60}}} {
		if list := connections(t, l.h, conns.Query{Filter: none}); list.Matched != 0 || len(list.Connections) != 0 {
			t.Errorf("%+v fits %d", none, list.Matched)
		}
	}

	before := oldest.Connections[0]
	l.mustReload(acme + listenerOf("it", "b.wasm", "") + listenerOf("other", "b.wasm", "instance = \"loop\""))
	young := l.dial("it")
	l.ask(young, "b0")
	now := l.h.Status().Listeners[0].Generations[0].Number
	if now <= before.Generation {
		t.Fatalf("generation %d comes behind %d", now, before.Generation)
	}
	killed, err := l.h.Kill(t.Context(), conns.Filter{IDs: []uint64{before.ID, 1 << 60}})
	if err != nil || !slices.Equal(killed, []uint64{before.ID}) {
		t.Fatalf("%v were closed, %v", killed, err)
	}
	hosttest.HearEnd(t, it[0])
	killed, err = l.h.Kill(t.Context(), conns.Filter{Listener: "it", Generation: before.Generation})
	if err != nil || len(killed) != many-1 {
		t.Fatalf("%d were closed, %v", len(killed), err)
	}
	for _, c := range it[1:] {
		hosttest.HearEnd(t, c)
	}
	l.ask(other, "b2") // of the same generation, and of another listener
	l.ask(young, "b1")
	if n := l.h.Stats().Listeners[0].Ended["operator_closed"]; n != many {
		t.Errorf("%d connections were counted as closed by the operator", n)
	}
	if list := connections(t, l.h, conns.Query{}); list.Matched != 2 {
		t.Errorf("%d are left", list.Matched)
	}
}

// quiet reads nothing after the first bytes, and answers them.
type quiet struct {
	csa.Base
	window [16]byte
}

func (q *quiet) Window(*csa.CSA) []byte { return q.window[:] }

func (q *quiet) Data(c *csa.CSA, p []byte) int {
	c.Send(p)
	c.Receive(false)
	return len(p)
}

// A connection that has no route yet, or no place there, is in the list, with what it waits for and
// its age; it keeps its number when it has a handler. An operator can close it, and its line in the
// access log has the time that it was open.
func TestConnectionsThatArrive(t *testing.T) {
	log, lines := logged(t)
	clock := &selector.Manual{}
	clock.Advance(time.Hour)
	echo := writeModule(t, w.Echo())
	routes := fmt.Sprintf("[[listener.route]]\nname = \"mail\"\nfirst = [\"EHLO\"]\nplugin = %q\n"+
		"[[listener.route]]\nname = \"web\"\nsni = [\"a.test\"]\nplugin = %q\n"+
		"[[listener.route]]\nname = \"full\"\ntenant = \"small\"\nfirst = [\"FULL\"]\nplugin = %q\n", echo, echo, echo)
	h := hosttest.Serve(t, fmt.Sprintf("[host]\nstate = %q\n", hosttest.State())+acme+"[tenant.small]\nconnections = 1\n"+
		"[[listener]]\nname = \"routed\"\ntenant = \"acme\"\naddress = \"tcp://127.0.0.1:0\"\n"+routes+
		"[[listener]]\nname = \"balanced\"\ntenant = \"acme\"\naddress = \"tcp://127.0.0.1:0\"\nproxy_from = [\"127.0.0.1\"]\n"+routes+
		listenerOf("plain", echo, "proxy_from = [\"127.0.0.1\"]")+
		fmt.Sprintf("[[listener]]\nname = \"sockets\"\ntenant = \"acme\"\naddress = \"ws://127.0.0.1:0/echo\"\nplugin = %q\n", echo),
		host.Options{Access: log, Clock: clock})

	conn := make(map[string]net.Conn)
	// Connections to two listeners may come from one port.
	to := make(map[string]string)
	dial := func(name, listener, says string) {
		conn[name], to[name] = hosttest.Dial(t, h.Addr(listener)), listener
		hosttest.Say(t, conn[name], says)
	}
	seen := func(name string) (found conns.Conn, ok bool) {
		for _, c := range connections(t, h, conns.Query{}).Connections {
			if c.Listener == to[name] && c.Peer == conn[name].LocalAddr().String() {
				return c, true
			}
		}
		return found, false
	}
	ids := make(map[string]uint64)
	is := func(name, route, state string) {
		t.Helper()
		hosttest.Eventually(t, name+" "+state, func() bool {
			c, ok := seen(name)
			ids[name] = c.ID
			return ok && c.Route == route && slices.Equal(c.State, []string{state})
		})
	}
	dial("holder", "routed", "FULL")
	hosttest.Hear(t, conn["holder"], "FULL") // the place of the tenant small is taken
	dial("silent", "routed", "")
	is("silent", "", "awaits-first-bytes")
	dial("begins", "routed", "EH")
	is("begins", "", "awaits-first-bytes")
	dial("tls", "routed", "\x16\x03\x01")
	is("tls", "", "awaits-tls-hello")
	dial("queued", "routed", "FULL")
	is("queued", "full", "awaits-place")
	dial("behind", "balanced", "PROXY ")
	is("behind", "", "awaits-proxy-header")
	dial("plain", "plain", "PROXY ")
	is("plain", "", "awaits-proxy-header")
	dial("asks", "sockets", "GET /echo")
	is("asks", "", "awaits-request")
	hosttest.Say(t, conn["asks"], strings.TrimPrefix(upgradeRequest, "GET /echo"))
	is("asks", "", "open")

	clock.Advance(3 * time.Second)
	list := connections(t, h, conns.Query{Sort: "age", Filter: conns.Filter{Listener: "routed"}})
	if list.Matched != 5 || len(list.Connections) != 5 {
		t.Fatalf("the list is %+v", list)
	}
	for _, c := range list.Connections {
		if c.Age != 3 || c.ID == 0 || c.Transport != "tcp" || c.Generation != 1 {
			t.Errorf("a connection is %+v", c)
		}
	}
	if list := connections(t, h, conns.Query{Filter: conns.Filter{Tenant: "small"}}); list.Matched != 2 {
		t.Errorf("of the tenant small there are %+v", list)
	}

	hosttest.Say(t, conn["begins"], "LO")
	hosttest.Hear(t, conn["begins"], "EHLO")
	if c, ok := seen("begins"); !ok || c.ID != ids["begins"] || c.Route != "mail" || c.Age != 3 || slices.Contains(c.State, "awaits-first-bytes") {
		t.Errorf("with a handler it is %+v, and had the number %d", c, ids["begins"])
	}

	ask := []uint64{ids["tls"], ids["queued"], ids["behind"]}
	slices.Sort(ask)
	killed, err := h.Kill(t.Context(), conns.Filter{IDs: ask})
	if err != nil || !slices.Equal(killed, ask) {
		t.Fatalf("%v were closed, want %v: %v", killed, ask, err)
	}
	for _, name := range []string{"tls", "queued", "behind"} {
		if _, err := conn[name].Read(make([]byte, 1)); err == nil {
			t.Errorf("%s is not closed", name)
		}
		if c, ok := seen(name); ok {
			t.Errorf("%s is closed, and in the list: %+v", name, c)
		}
	}
	by := make(map[uint64]accessLine)
	hosttest.Eventually(t, "those have a line", func() bool {
		for _, one := range lines() {
			by[one.ID] = one
		}
		return len(by) == 3
	})
	for _, id := range ask {
		if one := by[id]; one.Cause != "operator_closed" || one.Duration != 3 || one.Who != "operator" {
			t.Errorf("the line of %d is %+v", id, one)
		}
	}
	if by[ids["queued"]].Route != "full" {
		t.Errorf("the line of who waited for a place is %+v", by[ids["queued"]])
	}
	is("silent", "", "awaits-first-bytes")
	killed, err = h.Kill(t.Context(), conns.Filter{Listener: "routed"})
	if err != nil || len(killed) != 3 {
		t.Errorf("%v were closed: %v", killed, err)
	}
	_ = conn["asks"].Close()
	hosttest.Eventually(t, "their places are given back", func() bool { return h.Stats().Connections == 1 })
}

// What a connection waits for is told with the key of the limit.
func TestConnectionStates(t *testing.T) {
	cfg := nativeConfig(anyPort)
	cfg.Tenants[0].Bandwidth = 1
	h := hosttest.ServeConfig(t, cfg, host.Options{
		Native: map[string]host.Native{"echo": func(*csa.Loop) csa.Handler { return new(quiet) }},
	}, runtime.NumGoroutine())
	conn := hosttest.Dial(t, h.Addr("echo"))
	hosttest.Say(t, conn, strings.Repeat("x", 16))
	var last []conns.Conn
	hosttest.Eventually(t, "it is paused, and waits for bandwidth", func() bool {
		last = connections(t, h, conns.Query{}).Connections
		return len(last) == 1 && slices.Contains(last[0].State, "paused") && slices.Contains(last[0].State, "throttled") && slices.Equal(last[0].ThrottledBy, []string{"bandwidth"})
	})
	if c := last[0]; c.In != 16 || c.Fuel != 0 || c.Peer != conn.LocalAddr().String() {
		t.Errorf("it is %+v", c)
	}
}

// A handler that computes for long is told of as in the background, one with nothing to do as
// asleep.
func TestConnectionStatesOfHandlers(t *testing.T) {
	spinner, _ := w.Handler()
	spinner.Func("csa_data", "ii:i", "", w.Forever(), w.I32Const(0))
	h := hosttest.Serve(t, fmt.Sprintf("[host]\nstate = %q\n", hosttest.State())+acme+
		listenerOf("spin", writeModule(t, spinner), `event_timeout = "1m"`)+listenerOf("echo", writeModule(t, w.Echo()), ""), host.Options{})
	does := func(listener, state string) {
		t.Helper()
		hosttest.Eventually(t, listener+" is "+state, func() bool {
			list := connections(t, h, conns.Query{Filter: conns.Filter{Listener: listener}}).Connections
			return len(list) == 1 && slices.Contains(list[0].State, state)
		})
	}
	spins := hosttest.Dial(t, h.Addr("spin"))
	hosttest.Say(t, spins, "x")
	does("spin", "background")
	if runtime.GOOS != "linux" {
		return // this system has no snapshots, and so nothing sleeps
	}
	sleeps := hosttest.Dial(t, h.Addr("echo"))
	hosttest.Say(t, sleeps, "x")
	hosttest.Hear(t, sleeps, "x")
	does("echo", "asleep")
	hosttest.Say(t, sleeps, "x")
	hosttest.Hear(t, sleeps, "x")
}

// A connection with TLS says which.
func TestConnectionTLS(t *testing.T) {
	ca, dir := certstest.NewAuthority(t), t.TempDir()
	cert, key := ca.Write(t, dir, "server", "host.test")
	h := hosttest.Serve(t, fmt.Sprintf("[host]\nstate = %q\n", hosttest.State())+acme+listenerOf("it", writeModule(t, w.Echo()), fmt.Sprintf("[listener.tls]\ncert = %q\nkey = %q", cert, key)), host.Options{})
	c := tls.Client(hosttest.Dial(t, h.Addr("it")), &tls.Config{RootCAs: ca.Pool(), ServerName: "host.test"})
	hosttest.Say(t, c, "hello")
	hosttest.Hear(t, c, "hello")
	list := connections(t, h, conns.Query{}).Connections
	if len(list) != 1 || list[0].TLS == nil || list[0].TLS.Version != "TLS 1.3" || list[0].TLS.ServerName != "host.test" || list[0].TLS.Resumed {
		t.Errorf("the connections are %+v", list)
	}
}

// Who asks wrongly is told what is right, who asks a host that has stopped that it has, and who
// goes away is not waited for.
func TestConnectionsErrors(t *testing.T) {
	cfg := nativeConfig(anyPort)
	h := serveNative(t, cfg, nil)
	for _, q := range []conns.Query{{Sort: "beauty"}, {Limit: conns.MostListed + 1}, {Over: time.Hour}, {Sort: "in_rate"}} {
		if _, err := h.Connections(t.Context(), q); err == nil {
			t.Errorf("%+v is answered", q)
		}
	}
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	if _, err := h.Connections(ctx, conns.Query{Over: 10 * time.Second}); !errors.Is(err, gone) {
		t.Errorf("who is gone is told %v", err)
	}
	h.Close()
	if _, err := h.Connections(t.Context(), conns.Query{}); !errors.Is(err, conns.ErrStopped) {
		t.Errorf("a host that has stopped says %v", err)
	}
	if _, err := h.Kill(t.Context(), conns.Filter{Tenant: "acme"}); !errors.Is(err, conns.ErrStopped) {
		t.Errorf("a host that has stopped says %v", err)
	}
}

// BenchmarkConnections lists the first thousand of 8,000 connections of one loop, and reports for
// how long that holds the loop at one go: the time of as many visits as there are in a turn, 256.
func BenchmarkConnections(b *testing.B) {
	const many = 8000 // which takes 16,000 descriptors
	cfg := nativeConfig(anyPort)
	cfg.Host.Loops = 1
	cfg.Tenants[0].Connections = many
	h, err := host.New(cfg, host.Options{Native: map[string]host.Native{"echo": hosttest.NewEcho}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- h.Run(b.Context()) }()
	defer func() {
		h.Close()
		<-ran
	}()
	for range many {
		defer hosttest.Dial(b, h.Addr("echo")).Close()
	}
	hosttest.Eventually(b, "all are there", func() bool { return h.Stats().Connections == many })
	for b.Loop() {
		list, err := h.Connections(b.Context(), conns.Query{Sort: "idle"})
		if err != nil || list.Matched != many || len(list.Connections) != conns.DefaultLimit {
			b.Fatalf("%d of %d are listed: %v", len(list.Connections), list.Matched, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/many*256, "µs/turn")
}
