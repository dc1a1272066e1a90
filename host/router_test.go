package host_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/host/hello"
	"bulkhead/host/proxy"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/certstest"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
	"bulkhead/selector"
)

// teller is a guest that answers what it is sent with the name of its listener, the name that
// TLS was asked for, the protocol, its peer's and its own address, and what it was sent. It
// traps on a '!'.
func teller() *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"}, [2]string{"info", "iiii:i"})
	send, info := f[0], f[1]
	m.Data(100, " -")
	sendAt := func(at int32, n []byte) []byte {
		return w.Cat(w.LocalGet(0), w.I32Const(at), n, w.Call(send), w.Drop)
	}
	var all []byte
	for _, key := range []int32{abi.InfoListener, abi.InfoServerName, abi.InfoALPN, abi.InfoPeer, abi.InfoLocal} {
		all = w.Cat(all,
			w.LocalGet(0), w.I32Const(key), w.I32Const(300), w.I32Const(200), w.Call(info), w.LocalTee(2),
			w.I32Const(0), w.I32LeS, w.If(sendAt(101, w.I32Const(1))),
			w.LocalGet(2), w.I32Const(0), w.I32GtS, w.If(sendAt(300, w.LocalGet(2))),
			sendAt(100, w.I32Const(1)))
	}
	m.Func("csa_data", "ii:i", "i",
		w.I32Const(w.WindowAt), w.I32Load8U(0), w.I32Const('!'), w.I32Eq, w.If(w.Unreachable),
		all, sendAt(w.WindowAt, w.LocalGet(1)), w.LocalGet(1))
	return m
}

// front is a host with one listener of the tenant edge that has these routes, and the tenants
// red and blue. PLUGIN, CERT and KEY stand for files.
func front(t *testing.T, more, routes string, o host.Options) (*host.Host, *certstest.Authority) {
	t.Helper()
	ca, dir := certstest.NewAuthority(t), t.TempDir()
	cert, key := ca.Write(t, dir, "server", "*.red.test", "blue.test", "*.other.test")
	toml := fmt.Sprintf("[host]\nstate = %q\nloops = 3\n", hosttest.State()) + more + "\n" + routes
	for _, tenant := range []string{"edge", "red", "blue"} {
		if !strings.Contains(toml, "[tenant."+tenant+"]") {
			toml += "\n[tenant." + tenant + "]\naccept_rate = 10000\nconnections = 2000\n"
		}
	}
	if !strings.Contains(toml, "[[listener]]") {
		t.Fatal("there is no listener")
	}
	toml = strings.Replace(toml, "[[listener]]", "[[listener]]\nname = \"front\"\ntenant = \"edge\"\n", 1)
	if !strings.Contains(toml, "address = ") {
		toml = strings.Replace(toml, "[[listener]]", "[[listener]]\naddress = \"tcp://127.0.0.1:0\"", 1)
	}
	toml = strings.NewReplacer("PLUGIN", fmt.Sprintf("%q", writeModule(t, teller())), "CERT", fmt.Sprintf("%q", cert), "KEY", fmt.Sprintf("%q", key)).Replace(toml)
	return hosttest.Serve(t, toml, o), ca
}

// byBytes are routes by first bytes, for a front.
const byBytes = `
[[listener]]
[[listener.route]]
name = "ssh"
tenant = "red"
plugin = PLUGIN
first = ["SSH-"]
[[listener.route]]
name = "http"
tenant = "blue"
plugin = PLUGIN
instance = "listener"
first = ["GET ", "HEAD "]
`

// byNames are routes by what a TLS client says, for a front.
const byNames = `
[[listener]]
[listener.tls]
cert = CERT
key = KEY
[[listener.route]]
name = "red"
tenant = "red"
plugin = PLUGIN
sni = ["*.red.test"]
[[listener.route]]
name = "clear"
tenant = "blue"
plugin = PLUGIN
sni = ["clear.test"]
tls = false
[[listener.route]]
name = "blue"
tenant = "blue"
plugin = PLUGIN
sni = ["blue.test"]
instance = "loop"
[[listener.route]]
name = "x"
tenant = "blue"
plugin = PLUGIN
alpn = ["x/1", "x/2"]
`

// listener gives the books of one listener or route.
func listener(t *testing.T, h *host.Host, name string) host.ListenerStats {
	t.Helper()
	for _, l := range h.Stats().Listeners {
		if l.Name == name {
			return l
		}
	}
	t.Fatalf("there is no %s", name)
	return host.ListenerStats{}
}

// tenantOf gives the books of one tenant.
func tenantOf(t *testing.T, h *host.Host, name string) host.TenantStats {
	t.Helper()
	for _, st := range h.Stats().Tenants {
		if st.Name == name {
			return st
		}
	}
	t.Fatalf("there is no %s", name)
	return host.TenantStats{}
}

// ended wants that the host closes the connection without an answer.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	if p, _ := io.ReadAll(c); len(p) > 0 {
		t.Errorf("it answers %q", p)
	}
	_ = c.Close()
}

// whoami is what a teller says of a connection before it repeats what it was sent.
func whoami(c net.Conn, listener, name, protocol string) string {
	return fmt.Sprintf("%s %s %s %s %s ", listener, name, protocol, c.LocalAddr(), c.RemoteAddr())
}

// nativeTeller is a teller for tests on a clock that stands still, on which no guest gets
// another turn. It says the name alone.
type nativeTeller struct {
	hosttest.Echo
	name string
}

func (h *nativeTeller) Data(c *csa.CSA, p []byte) int {
	_, _ = c.Send([]byte(h.name + " "))
	return h.Echo.Data(c, p)
}

// tellersOnClock has native tellers serve the routes of byBytes.
func tellersOnClock(clock *selector.Manual) host.Options {
	o := host.Options{Clock: clock, Native: make(map[string]host.Native)}
	for _, name := range []string{"front/ssh", "front/http"} {
		o.Native[name] = func(*csa.Loop) csa.Handler { return &nativeTeller{hosttest.Echo{Buffer: make([]byte, 4096)}, name} }
	}
	return o
}

func TestRoutesByFirstBytes(t *testing.T) {
	h, _ := front(t, "", byBytes, host.Options{})
	for _, test := range []struct{ sent, want string }{{"SSH-2.0-x\r\n", "front/ssh"}, {"GET / HTTP/1.0\r\n", "front/http"}, {"HEAD ", "front/http"}} {
		c := hosttest.Dial(t, h.Addr("front"))
		hosttest.Say(t, c, test.sent)
		hosttest.Hear(t, c, whoami(c, test.want, "-", "-")+test.sent)
		tenant := map[string]string{"front/ssh": "red", "front/http": "blue"}[test.want]
		hosttest.Eventually(t, "it is its route's tenant's", func() bool {
			return tenantOf(t, h, "edge").Connections == 0 && tenantOf(t, h, tenant).Connections == 1 && h.Stats().Connections == 1
		})
		_ = c.Close()
		hosttest.Eventually(t, "it is gone", func() bool { return h.Stats().Connections == 0 })
		// Byte by byte.
		c = hosttest.Dial(t, h.Addr("front"))
		for i := range len(test.sent) {
			hosttest.Say(t, c, test.sent[i:i+1])
			time.Sleep(200 * time.Microsecond) // so that most come alone
		}
		hosttest.Hear(t, c, whoami(c, test.want, "-", "-")+test.sent[:1])
		// It has sent all that it will.
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
	}
	for _, sent := range []string{"PUT / HTTP/1.0\r\n", "\x16\x03\x01", "", "SSH", "GET"} {
		c := hosttest.Dial(t, h.Addr("front"))
		hosttest.Say(t, c, sent)
		_ = c.CloseWrite()
		ended(t, c)
	}
	hosttest.Eventually(t, "they are counted", func() bool { return listener(t, h, "front").ClosedBeforeRoute == 5 })
	if st := listener(t, h, "front"); st.Accepted != 11 || st.Refused != 0 {
		t.Errorf("the books: %+v", st)
	}
	if ssh, http := listener(t, h, "front/ssh"), listener(t, h, "front/http"); ssh.Accepted != 2 || http.Accepted != 4 {
		t.Errorf("the books: %+v, %+v", ssh, http)
	}
	if h.Addr("front/ssh") != "" {
		t.Error("a route has an address")
	}
}

// What a plugin of the listener's own, or a route without matchers, is for.
func TestRoutesHaveADefault(t *testing.T) {
	for what, routes := range map[string]string{
		"front":   strings.Replace(byBytes, "[[listener]]", "[[listener]]\nplugin = PLUGIN", 1),
		"front/3": byBytes + "[[listener.route]]\nplugin = PLUGIN\ntenant = \"red\"\n",
	} {
		h, _ := front(t, "", routes, host.Options{})
		for _, sent := range []string{"PUT / ", "SS\r\n", "S", "\x16\x03\x01\x00\x05\x02"} {
			c := hosttest.Dial(t, h.Addr("front"))
			hosttest.Say(t, c, sent)
			_ = c.CloseWrite()
			hosttest.Hear(t, c, whoami(c, what, "-", "-")+sent)
			hosttest.HearEnd(t, c)
		}
		c := hosttest.Dial(t, h.Addr("front"))
		hosttest.Say(t, c, "SSH-")
		hosttest.Hear(t, c, whoami(c, "front/ssh", "-", "-"))
		if st := listener(t, h, "front"); st.ClosedBeforeRoute != 0 || st.Accepted != 5 {
			t.Errorf("the books: %+v", st)
		}
	}
}

func TestRoutesOnUnixSockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	h, _ := front(t, "", strings.Replace(byBytes, "[[listener]]", fmt.Sprintf("[[listener]]\naddress = %q", "unix://"+path), 1), host.Options{})
	for sent, want := range map[string]string{"SSH-x": "front/ssh ", "GET x": "front/http "} {
		for _, wait := range []bool{false, true} {
			c := hosttest.DialUnix(t, path)
			for i := range len(sent) {
				hosttest.Say(t, c, sent[i:i+1])
				if wait {
					time.Sleep(time.Millisecond)
				}
			}
			hosttest.Hear(t, c, want)
			_ = c.Close()
		}
	}
	_ = h
}

// tlsTo connects to the front.
func tlsTo(t *testing.T, h *host.Host, ca *certstest.Authority, name string, protocols ...string) *tls.Conn {
	t.Helper()
	c := tls.Client(hosttest.Dial(t, h.Addr("front")), &tls.Config{RootCAs: ca.Pool(), ServerName: name, NextProtos: protocols})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestRoutesByNames(t *testing.T) {
	h, ca := front(t, "", byNames, host.Options{})
	for _, test := range []struct{ name, offered, want, agreed string }{
		{"www.red.test", "", "front/red", "-"},
		{"WWW.Red.Test", "x/1", "front/red", "-"},
		{"blue.test", "", "front/blue", "-"},
		{"a.other.test", "y,x/2,x/1", "front/x", "x/1"},
		{"a.other.test", "x/2", "front/x", "x/2"},
	} {
		var protocols []string
		if test.offered != "" {
			protocols = strings.Split(test.offered, ",")
		}
		c := tlsTo(t, h, ca, test.name, protocols...)
		hosttest.Say(t, c, "hello")
		name := c.ConnectionState().ServerName
		hosttest.Hear(t, c, whoami(c, test.want, name, test.agreed)+"hello")
		_ = c.Close()
	}
	// Undecrypted: the guest has the client's own words.
	p := helloBytes("clear.test")
	for _, pieces := range []int{len(p), 1, 7} {
		c := hosttest.Dial(t, h.Addr("front"))
		for rest := p; rest != ""; {
			n := min(pieces, len(rest))
			hosttest.Say(t, c, rest[:n])
			rest = rest[n:]
		}
		hosttest.Hear(t, c, whoami(c, "front/clear", "-", "-")+p)
		_ = c.Close()
	}
	// Nobody's name, no TLS at all, too much.
	none := tlsTo(t, h, ca, "nobody.test")
	if err := none.Handshake(); err == nil {
		t.Error("a name of nobody is served")
	}
	c := hosttest.Dial(t, h.Addr("front"))
	hosttest.Say(t, c, "GET / HTTP/1.0\r\n\r\n")
	ended(t, c)
	c = hosttest.Dial(t, h.Addr("front"))
	_, _ = io.WriteString(c, "\x16\x03\x01\x40\x00\x01\x00\x40\x00"+strings.Repeat("x", 20000))
	ended(t, c)
	hosttest.Eventually(t, "they are counted", func() bool { return listener(t, h, "front").ClosedBeforeRoute == 3 })
	hosttest.Eventually(t, "all are gone", func() bool { return h.Stats().Connections == 0 })
}

// helloBytes is what crypto/tls sends first.
func helloBytes(name string, protocols ...string) string {
	a, b := net.Pipe()
	go func() {
		_ = tls.Client(a, &tls.Config{ServerName: name, NextProtos: protocols, InsecureSkipVerify: true}).Handshake()
		_ = a.Close()
	}()
	defer b.Close()
	p := make([]byte, 0, hello.MaxLength)
	var r hello.Reader
	for {
		n, err := b.Read(p[len(p):cap(p)])
		p = p[:len(p)+n]
		if _, need, _ := r.Parse(p); need == 0 || err != nil {
			return string(p)
		}
	}
}

// slowly writes byte by byte.
type slowly struct{ net.Conn }

func (c slowly) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
		if i%16 == 0 {
			time.Sleep(50 * time.Microsecond)
		}
	}
	return len(p), nil
}

func TestRoutesOfASplitHello(t *testing.T) {
	h, ca := front(t, "", byNames, host.Options{})
	for name, want := range map[string]string{"www.red.test": "front/red ", "blue.test": "front/blue "} {
		c := tls.Client(slowly{hosttest.Dial(t, h.Addr("front"))}, &tls.Config{RootCAs: ca.Pool(), ServerName: name})
		hosttest.Say(t, c, "hello")
		hosttest.Hear(t, c, want)
		_ = c.Close()
	}
}

// A route may have a certificate of its own, and it is read again.
func TestRouteWithACertificateOfItsOwn(t *testing.T) {
	own, dir := certstest.NewAuthority(t), t.TempDir()
	cert, key := own.Write(t, dir, "own", "own.test")
	h, ca := front(t, "", byNames+fmt.Sprintf("[[listener.route]]\nname = \"own\"\nplugin = PLUGIN\nsni = [\"own.test\", \"new.test\"]\n[listener.route.tls]\ncert = %q\nkey = %q\n", cert, key), host.Options{})
	c := tlsTo(t, h, own, "own.test")
	hosttest.Say(t, c, "x")
	hosttest.Hear(t, c, "front/own ")
	if err := tlsTo(t, h, ca, "own.test").Handshake(); err == nil {
		t.Error("it shows the listener's certificate")
	}
	own.Write(t, dir, "own", "new.test")
	h.RefreshCertificates()
	c = tlsTo(t, h, own, "new.test")
	hosttest.Say(t, c, "x")
	hosttest.Hear(t, c, "front/own ")
}

// A handler that relays gets what the client sent, and the client speaks TLS with whom it
// is sent on to.
func TestRoutePassesTLSThrough(t *testing.T) {
	far := certstest.NewAuthority(t)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{far.Pair(t, "far.test")}})
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
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	h, ca := front(t, "[tenant.red]\nconnect = [\"127.0.0.1:*\"]\n", byNames+fmt.Sprintf(`
[[listener.route]]
name = "far"
tenant = "red"
plugin = %q
sni = ["far.test"]
tls = false
[listener.route.config]
routes."far.test" = { to = "tcp://%s" }
`, plugin(t, "sni-router/sni-router.wasm"), ln.Addr()), host.Options{})
	c := tlsTo(t, h, far, "far.test")
	hosttest.Say(t, c, "from afar")
	hosttest.Hear(t, c, "from afar")
	near := tlsTo(t, h, ca, "www.red.test")
	hosttest.Say(t, near, "x")
	hosttest.Hear(t, near, "front/red ")
	_, _ = c.Close(), near.Close()
	hosttest.Eventually(t, "all are gone", func() bool { return h.Stats().Connections == 0 })
}

// Who says too little is closed in the end, and whoever says something is not.
func TestRouteTimeout(t *testing.T) {
	clock := &selector.Manual{}
	h, _ := front(t, "", strings.Replace(byBytes, "[[listener]]", "[[listener]]\nroute_timeout = \"7s\"", 1), tellersOnClock(clock))
	var silent []*net.TCPConn
	for _, sent := range []string{"", "SS", "\x16\x03"} {
		c := hosttest.Dial(t, h.Addr("front"))
		hosttest.Say(t, c, sent)
		silent = append(silent, c)
	}
	hosttest.Eventually(t, "they are there", func() bool { return listener(t, h, "front").Accepted == 3 })
	clock.Advance(6 * time.Second)
	hosttest.Say(t, silent[1], "H-")
	hosttest.Hear(t, silent[1], "front/ssh ") // and so the loop knows the time
	late := hosttest.Dial(t, h.Addr("front"))
	hosttest.Eventually(t, "it is there", func() bool { return listener(t, h, "front").Accepted == 4 })
	hosttest.Say(t, late, "SS")
	clock.Advance(time.Second)
	ended(t, silent[0])
	ended(t, silent[2])
	hosttest.Say(t, late, "H-")
	hosttest.Hear(t, late, "front/ssh ")
	if st := listener(t, h, "front"); st.ClosedBeforeRoute != 2 {
		t.Errorf("the books: %+v", st)
	}
}

// Connections that say nothing give way to others when there is no place left.
func TestSilentConnectionsGiveWay(t *testing.T) {
	clock := &selector.Manual{}
	h, _ := front(t, "[tenant.edge]\nconnections = 3\naccept_rate = 1000\n", byBytes, tellersOnClock(clock))
	for range 3 {
		hosttest.Dial(t, h.Addr("front"))
	}
	hosttest.Eventually(t, "it is full", func() bool { return tenantOf(t, h, "edge").Connections == 3 })
	c := hosttest.Dial(t, h.Addr("front"))
	hosttest.Say(t, c, "SSH-")
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Error("there is a place where there is none")
	}
	_ = c.SetReadDeadline(awaittest.Deadline())
	passed := time.Duration(0) // less than the route_timeout in all, however long the host takes
	hosttest.Eventually(t, "it is served", func() bool {
		if passed < 2*time.Second {
			clock.Advance(100 * time.Millisecond)
			passed += 100 * time.Millisecond
		}
		return listener(t, h, "front/ssh").Accepted == 1
	})
	hosttest.Hear(t, c, "front/ssh ")
	// One was enough, and nobody else is closed for nobody.
	clock.Advance(2 * time.Second)
	hosttest.Eventually(t, "two are left", func() bool { return tenantOf(t, h, "edge").Connections == 2 })
	if st := listener(t, h, "front"); st.ClosedBeforeRoute != 1 {
		t.Errorf("the books: %+v", st)
	}
}

// A tenant that is full has its own connections wait, and nobody else's.
func TestRouteOfAFullTenant(t *testing.T) {
	clock := &selector.Manual{}
	log := &logBook{}
	o := tellersOnClock(clock)
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	h, _ := front(t, "[tenant.red]\nconnections = 1\n", byBytes, o)
	ssh := func() *net.TCPConn {
		c := hosttest.Dial(t, h.Addr("front"))
		hosttest.Say(t, c, "SSH-")
		return c
	}
	first := ssh()
	hosttest.Hear(t, first, "front/ssh ")
	second := ssh()
	hosttest.Eventually(t, "it waits", func() bool { return listener(t, h, "front").Accepted == 2 && tenantOf(t, h, "edge").Connections == 1 })
	third := ssh()
	hosttest.Eventually(t, "it waits", func() bool { return listener(t, h, "front").Accepted == 3 && tenantOf(t, h, "edge").Connections == 2 })
	other := hosttest.Dial(t, h.Addr("front"))
	hosttest.Say(t, other, "GET ")
	hosttest.Hear(t, other, "front/http ")
	_ = first.Close()
	hosttest.Hear(t, second, "front/ssh ")
	hosttest.Eventually(t, "red has one", func() bool { return tenantOf(t, h, "red").Connections == 1 })
	clock.Advance(10 * time.Second)
	ended(t, third)
	if st := listener(t, h, "front/ssh"); st.Accepted != 2 || st.Refused != 1 {
		t.Errorf("the books: %+v", st)
	}
	hosttest.Say(t, second, "still there")
	if !log.has("there was no room for it") || !log.has("front/ssh") {
		t.Errorf("the log: %s", log)
	}
	// More than 64 do not wait for one route.
	var crowd []*net.TCPConn
	for range 70 {
		crowd = append(crowd, ssh())
	}
	hosttest.Eventually(t, "some are closed", func() bool { return listener(t, h, "front/ssh").Refused == 1+70-64 })
	hosttest.Eventually(t, "64 wait", func() bool { return tenantOf(t, h, "edge").Connections == 64 })
	for _, c := range crowd {
		_ = c.Close()
	}
}

// Those who wait have no more than a quarter of the listener's tenant's places.
func TestWaitingShare(t *testing.T) {
	h, _ := front(t, "[tenant.red]\nconnections = 1\n[tenant.edge]\nconnections = 12\naccept_rate = 1000\n", byBytes, tellersOnClock(&selector.Manual{}))
	for range 8 {
		c := hosttest.Dial(t, h.Addr("front"))
		hosttest.Say(t, c, "SSH-")
	}
	hosttest.Eventually(t, "some are closed", func() bool { return listener(t, h, "front/ssh").Refused == 4 })
	hosttest.Eventually(t, "three wait", func() bool { return tenantOf(t, h, "edge").Connections == 3 && tenantOf(t, h, "red").Connections == 1 })
}

// The accepts a second are the chosen tenant's, too.
func TestRouteOfATenantWithFewAccepts(t *testing.T) {
	clock := &selector.Manual{}
	h, _ := front(t, "[tenant.red]\naccept_rate = 2\n", byBytes, tellersOnClock(clock))
	for range 5 {
		c := hosttest.Dial(t, h.Addr("front"))
		hosttest.Say(t, c, "SSH-")
	}
	hosttest.Eventually(t, "all are there", func() bool { return listener(t, h, "front").Accepted == 5 })
	other := hosttest.Dial(t, h.Addr("front"))
	hosttest.Say(t, other, "GET ")
	hosttest.Hear(t, other, "front/http ")
	had := listener(t, h, "front/ssh").Accepted
	if had < 1 || had > 3 {
		t.Errorf("%d were let through at once", had)
	}
	for n := had + 1; n <= 5; n++ {
		clock.Advance(500 * time.Millisecond)
		hosttest.Eventually(t, "another is let through", func() bool { return listener(t, h, "front/ssh").Accepted == n })
	}
}

// A trap of one route's handler is nobody else's business.
func TestTrapOfARoute(t *testing.T) {
	h, _ := front(t, "", byBytes+"[[listener.route]]\nname = \"bad\"\ntenant = \"red\"\nplugin = PLUGIN\nfirst = [\"!\"]\ninstance = \"loop\"\n", host.Options{})
	for range 3 {
		ssh, http, bad := hosttest.Dial(t, h.Addr("front")), hosttest.Dial(t, h.Addr("front")), hosttest.Dial(t, h.Addr("front"))
		hosttest.Say(t, ssh, "SSH-")
		hosttest.Hear(t, ssh, whoami(ssh, "front/ssh", "-", "-")+"SSH-")
		hosttest.Say(t, http, "GET ")
		hosttest.Hear(t, http, whoami(http, "front/http", "-", "-")+"GET ")
		hosttest.Say(t, bad, "!")
		ended(t, bad)
		hosttest.Say(t, ssh, "more")
		hosttest.Hear(t, ssh, whoami(ssh, "front/ssh", "-", "-")+"more")
		hosttest.Say(t, http, "more")
		hosttest.Hear(t, http, whoami(http, "front/http", "-", "-")+"more")
	}
	if a, b := listener(t, h, "front/bad"), listener(t, h, "front/http"); a.Traps != 3 || b.Traps != 0 || b.Instances != 1 {
		t.Errorf("the books: %+v, %+v", a, b)
	}
}

// A PROXY header comes before what is looked at, and its addresses go with the connection.
func TestRoutesBehindAProxy(t *testing.T) {
	routes := strings.Replace(byNames, "[[listener]]", "[[listener]]\nplugin = PLUGIN\nproxy_from = [\"127.0.0.1\"]", 1)
	routes += "[[listener.route]]\nname = \"ssh\"\nplugin = PLUGIN\nfirst = [\"SSH-\"]\ntls = false\n"
	h, ca := front(t, "", routes, host.Options{})
	for _, version := range []int{1, 2} {
		header := proxy.Append(nil, version, proxiedFrom, proxiedTo)
		for range 6 { // on every loop
			c := tls.Client(&together{Conn: hosttest.Dial(t, h.Addr("front")), first: header}, &tls.Config{RootCAs: ca.Pool(), ServerName: "www.red.test"})
			hosttest.Say(t, c, "hello")
			hosttest.Hear(t, c, "front/red www.red.test - 192.0.2.1:4000 198.51.100.2:25 hello")
			_ = c.Close()
			d := hosttest.Dial(t, h.Addr("front"))
			_, _ = slowly{d}.Write(append(header, "SSH-"...))
			hosttest.Hear(t, d, "front/ssh - - 192.0.2.1:4000 198.51.100.2:25 ")
			_ = d.Close()
			// What no route matches goes to the listener's own plugin, which has TLS.
			e := tls.Client(&together{Conn: hosttest.Dial(t, h.Addr("front")), first: header}, &tls.Config{RootCAs: ca.Pool(), ServerName: "a.other.test"})
			hosttest.Say(t, e, "hello")
			hosttest.Hear(t, e, "front a.other.test - 192.0.2.1:4000 198.51.100.2:25 hello")
			_ = e.Close()
		}
	}
	c := hosttest.Dial(t, h.Addr("front"))
	hosttest.Say(t, c, "PROXY UNKNOWN\r\nSSH-")
	hosttest.Hear(t, c, whoami(c, "front/ssh", "-", "-"))
	for _, sent := range []string{"SSH-", "PROXY TCP4 x\r\n", "PROXY TC"} {
		c := hosttest.Dial(t, h.Addr("front"))
		hosttest.Say(t, c, sent)
		_ = c.CloseWrite()
		ended(t, c)
	}
	hosttest.Eventually(t, "they are counted", func() bool { return listener(t, h, "front").ClosedBeforeRoute == 3 })
}

// Many at once, in pieces of every size, each get to where they belong.
func TestManyRoutedConnections(t *testing.T) {
	h, ca := front(t, "[tenant.edge]\nconnections = 2000\naccept_rate = 100000\n", byNames+"[[listener.route]]\nname = \"ssh\"\ntenant = \"red\"\nplugin = PLUGIN\nfirst = [\"SSH-\"]\ntls = false\ninstance = \"listener\"\n", host.Options{})
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			plain, err := net.Dial("tcp", h.Addr("front"))
			if err != nil {
				t.Error(err)
				return
			}
			defer plain.Close()
			_ = plain.SetDeadline(awaittest.Deadline())
			rest, name, want := "SSH-", "", "front/ssh "
			switch i % 4 {
			case 0:
				rest, want = helloBytes("clear.test"), "front/clear "
			case 1:
				name, want = "www.red.test", "front/red "
			case 2:
				name, want = "blue.test", "front/blue "
			}
			if name != "" {
				c := tls.Client(plain, &tls.Config{RootCAs: ca.Pool(), ServerName: name})
				_, _ = io.WriteString(c, "x")
				hosttest.HearOrError(t, c, want)
				return
			}
			for rest != "" {
				n := 1 + rand.IntN(len(rest))
				_, _ = io.WriteString(plain, rest[:n])
				rest = rest[n:]
			}
			hosttest.HearOrError(t, plain, want)
		})
	}
	all.Wait()
	hosttest.Eventually(t, "all are gone", func() bool { return h.Stats().Connections == 0 })
	for _, name := range []string{"front/ssh", "front/clear", "front/red", "front/blue"} {
		if st := listener(t, h, name); st.Accepted != 50 || st.Refused != 0 {
			t.Errorf("the books: %+v", st)
		}
	}
}

// When the host drains, those who have no route yet are closed, and the others may end.
func TestDrainOfRoutes(t *testing.T) {
	for _, drain := range []bool{true, false} {
		toml := strings.ReplaceAll(fmt.Sprintf(`
[host]
state = %q
drain = "1h"
[tenant.red]
connections = 1
[tenant.edge]
`, hosttest.State())+strings.ReplaceAll(byBytes, `tenant = "blue"`, `tenant = "red"`), "PLUGIN", fmt.Sprintf("%q", writeModule(t, teller())))
		toml = strings.Replace(toml, "[[listener]]", "[[listener]]\nname = \"front\"\ntenant = \"edge\"\naddress = \"tcp://127.0.0.1:0\"", 1)
		cfg, err := config.Load(hosttest.WriteConfig(t, toml))
		if err != nil {
			t.Fatal(err)
		}
		h, err := host.New(cfg, host.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.Run(ctx) }()
		ssh, waits, silent := hosttest.Dial(t, h.Addr("front")), hosttest.Dial(t, h.Addr("front")), hosttest.Dial(t, h.Addr("front"))
		hosttest.Say(t, ssh, "SSH-")
		hosttest.Hear(t, ssh, whoami(ssh, "front/ssh", "-", "-")+"SSH-")
		hosttest.Say(t, silent, "GE")
		hosttest.Say(t, waits, "GET ")
		hosttest.Eventually(t, "all are there", func() bool { return h.Stats().Connections == 3 })
		if drain {
			stop()
			ended(t, silent)
			ended(t, waits)
			hosttest.Say(t, ssh, "more")
			hosttest.Hear(t, ssh, whoami(ssh, "front/ssh", "-", "-")+"more")
			_ = ssh.Close()
		} else {
			h.Close()
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		stop()
		if st := h.Stats(); st.Connections != 0 {
			t.Errorf("%d connections are left", st.Connections)
		}
		for _, tenant := range h.Stats().Tenants {
			if tenant.Connections != 0 || tenant.Memory != 0 {
				t.Errorf("left: %+v", tenant)
			}
		}
	}
}

// alertOf reads what a server says and wants a fatal alert, and then the end.
func alertOf(t *testing.T, c net.Conn) byte {
	t.Helper()
	_ = c.SetReadDeadline(awaittest.Deadline())
	b, err := io.ReadAll(c)
	if err != nil || len(b) != 7 || b[0] != 21 || b[5] != 2 {
		t.Errorf("it says %x, %v", b, err)
		return 0
	}
	return b[6]
}

// A client of TLS that no route matches is told that its name is not known here, and not
// reset; also one that has sent more than its hello. The dot of the root is no part of a name.
func TestNobodysName(t *testing.T) {
	h, _ := front(t, "", fmt.Sprintf(`
[[listener]]
[[listener.route]]
tenant = "red"
sni = ["a.test"]
plugin = %q
tls = false
`, writeModule(t, w.Echo())), host.Options{})
	for _, more := range []string{"", "and more"} {
		for _, name := range []string{"nobody.test", ""} {
			c := hosttest.Dial(t, h.Addr("front"))
			if _, err := io.WriteString(c, helloBytes(name)+more); err != nil {
				t.Fatal(err)
			}
			if got := alertOf(t, c); got != 112 {
				t.Errorf("%q is told %d", name, got)
			}
			c.Close()
		}
	}
	if _, err := tls.Dial("tcp", h.Addr("front"), &tls.Config{ServerName: "nobody.test", InsecureSkipVerify: true}); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("crypto/tls says %v", err)
	}
	// Its name with a dot behind it. Go's client takes it away, so it is put in.
	said := helloBytes("a.tesT")
	at := strings.Index(said, "a.tesT")
	said = said[:at] + "a.test" + said[at+6:]
	dotted := withRootDot(said, at, len("a.test"))
	c := hosttest.Dial(t, h.Addr("front"))
	defer c.Close()
	if _, err := io.WriteString(c, dotted); err != nil {
		t.Fatal(err)
	}
	hosttest.Hear(t, c, dotted)
}

// withRootDot puts a dot behind the name at a place in a ClientHello of one record.
func withRootDot(said string, at, n int) string {
	b := []byte(said[:at+n] + "." + said[at+n:])
	// The lengths: of the name, of its list, of its extension, of all extensions, of the
	// message and of the record.
	add := func(i int) {
		v := int(b[i])<<8 | int(b[i+1]) + 1
		b[i], b[i+1] = byte(v>>8), byte(v)
	}
	add(at - 2)
	add(at - 5)
	add(at - 7)
	session := 5 + 4 + 2 + 32
	ciphers := session + 1 + int(b[session])
	compression := ciphers + 2 + int(b[ciphers])<<8 + int(b[ciphers+1])
	add(compression + 1 + int(b[compression]))
	add(7) // of three bytes, of which the first is 0
	add(3)
	return string(b)
}

// A hello of nearly 64 KiB finds its route, whole, though the kernel would not hold so much of
// a connection that nobody reads; and it is charged to its tenant meanwhile.
func TestLongHello(t *testing.T) {
	h, _ := front(t, "", fmt.Sprintf(`
[[listener]]
[[listener.route]]
tenant = "red"
sni = ["a.test"]
plugin = %q
tls = false
`, writeModule(t, w.Echo())), host.Options{})
	long := longHelloFor("a.test", 60_000)
	held := func() int64 {
		for _, tenant := range h.Stats().Tenants {
			if tenant.Name == "edge" {
				return int64(tenant.Memory)
			}
		}
		return -1
	}
	c := hosttest.Dial(t, h.Addr("front"))
	defer c.Close()
	half := len(long) / 2
	if _, err := io.WriteString(c, long[:half]); err != nil {
		t.Fatal(err)
	}
	hosttest.Eventually(t, "it is charged", func() bool { return held() == hello.MaxLength })
	go func() { _, _ = io.WriteString(c, long[half:]) }()
	hosttest.Hear(t, c, long)
	c.Close()
	hosttest.Eventually(t, "it is given back", func() bool { return h.Stats().Connections == 0 && held() == 0 })

	// One that leaves in mid-hello gives it back, too.
	c = hosttest.Dial(t, h.Addr("front"))
	if _, err := io.WriteString(c, long[:half]); err != nil {
		t.Fatal(err)
	}
	hosttest.Eventually(t, "the second is charged", func() bool { return held() == hello.MaxLength })
	c.Close()
	hosttest.Eventually(t, "the second is given back", func() bool { return h.Stats().Connections == 0 && held() == 0 })
}

// longHelloFor is a ClientHello with a name and so many bytes of padding, in records of 16 KiB.
func longHelloFor(name string, padding int) string {
	u16 := func(n int) string { return string([]byte{byte(n >> 8), byte(n)}) }
	list := func(s string) string { return u16(len(s)) + s }
	extensions := u16(0) + list(list("\x00"+list(name))) + u16(21) + list(strings.Repeat("\x00", padding))
	body := "\x03\x03" + strings.Repeat("r", 32) + "\x00" + list("\x13\x01") + "\x01\x00" + list(extensions)
	message := "\x01\x00" + list(body)
	var out strings.Builder
	for len(message) > 0 {
		n := min(len(message), 16<<10)
		out.WriteString("\x16\x03\x01" + list(message[:n]))
		message = message[n:]
	}
	return out.String()
}
