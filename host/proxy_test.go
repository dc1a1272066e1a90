package host_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/host"
	"bulkhead/host/proxy"
	"bulkhead/internal/certstest"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
	"bulkhead/selector"
)

// addresses is a guest that answers with its peer's and its own address, and then with
// what it has been sent. With open it greets with that.
func addresses(open bool) *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"}, [2]string{"info", "iiii:i"})
	send, info := f[0], f[1]
	m.Data(100, " ")
	sendAt := func(at int32, n []byte) []byte {
		return w.Cat(w.LocalGet(0), w.I32Const(at), n, w.Call(send), w.Drop)
	}
	say := func(key int32) []byte {
		return w.Cat(sendAt(300, w.Cat(w.LocalGet(0), w.I32Const(key), w.I32Const(300), w.I32Const(100), w.Call(info))), sendAt(100, w.I32Const(1)))
	}
	said := m.Global('i', true, w.I32Const(0)) // it is said once, however many pieces come
	both := w.Cat(w.GlobalGet(said), w.I32Const(0), w.I32Eq, w.If(say(abi.InfoPeer), say(abi.InfoLocal), w.I32Const(1), w.GlobalSet(said)))
	if open {
		m.Func("csa_open", "i:i", "", both, w.I32Const(0))
		both = nil
	}
	m.Func("csa_data", "ii:i", "", both, sendAt(w.WindowAt, w.LocalGet(1)), w.LocalGet(1))
	return m
}

func proxyHeaderHost(t *testing.T, m *w.Module, from, more string, o host.Options) *host.Host {
	t.Helper()
	return hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
[tenant.acme]
[[listener]]
name = "behind"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
proxy_from = [%s]
%s
`, hosttest.State(), writeModule(t, m), from, more), o)
}

var (
	proxiedFrom = netip.MustParseAddrPort("192.0.2.1:4000")
	proxiedTo   = netip.MustParseAddrPort("198.51.100.2:25")
)

func TestProxyHeader(t *testing.T) {
	for _, greets := range []bool{false, true} {
		h := proxyHeaderHost(t, addresses(greets), `"127.0.0.0/8"`, "", host.Options{})
		for _, version := range []int{1, 2} {
			header := proxy.Append(nil, version, proxiedFrom, proxiedTo)
			for _, pieces := range []int{1, 7, len(header) + 5} {
				c := hosttest.Dial(t, h.Addr("behind"))
				for all := string(header) + "hello"; all != ""; {
					n := min(pieces, len(all))
					hosttest.Say(t, c, all[:n])
					all = all[n:]
				}
				// The rest may come by itself.
				hosttest.Hear(t, c, "192.0.2.1:4000 198.51.100.2:25 h")
				_ = c.Close()
			}
		}
		// A balancer that speaks for itself.
		c := hosttest.Dial(t, h.Addr("behind"))
		hosttest.Say(t, c, "PROXY UNKNOWN\r\nhello")
		hosttest.Hear(t, c, c.LocalAddr().String()+" "+c.RemoteAddr().String()+" hello")
		_ = c.Close()
		// No header, half of one, none at all.
		for _, text := range []string{"hello", "PROXY TCP4 x\r\n", "PROXY TC", ""} {
			c := hosttest.Dial(t, h.Addr("behind"))
			hosttest.Say(t, c, text)
			_ = c.CloseWrite()
			if p, _ := io.ReadAll(c); len(p) > 0 {
				t.Errorf("%q is answered with %q", text, p)
			}
			_ = c.Close()
		}
		hosttest.Eventually(t, "all are gone", func() bool { return h.Stats().Connections == 0 })
	}
}

// From elsewhere a header is data like any other.
func TestProxyHeaderFromElsewhere(t *testing.T) {
	h := proxyHeaderHost(t, addresses(false), `"192.0.2.0/24"`, "", host.Options{})
	c := hosttest.Dial(t, h.Addr("behind"))
	const header = "PROXY TCP4 192.0.2.1 198.51.100.2 4000 25\r\n"
	hosttest.Say(t, c, header)
	hosttest.Hear(t, c, c.LocalAddr().String()+" "+c.RemoteAddr().String()+" "+header)
	_ = c.Close()
}

// The header comes before TLS, also in one piece with the handshake.
func TestProxyHeaderBeforeTLS(t *testing.T) {
	ca, dir := certstest.NewAuthority(t), t.TempDir()
	cert, key := ca.Write(t, dir, "server", "host.test")
	h := proxyHeaderHost(t, addresses(false), `"127.0.0.1"`, fmt.Sprintf("[listener.tls]\ncert = %q\nkey = %q", cert, key), host.Options{})
	plain := hosttest.Dial(t, h.Addr("behind"))
	c := tls.Client(&together{Conn: plain, first: proxy.Append(nil, 2, proxiedFrom, proxiedTo)}, &tls.Config{RootCAs: ca.Pool(), ServerName: "host.test"})
	hosttest.Say(t, c, "hello")
	hosttest.Hear(t, c, "192.0.2.1:4000 198.51.100.2:25 hello")
	_ = c.Close()
}

// together sends something in one piece with what is written first.
type together struct {
	net.Conn
	first []byte
}

func (c *together) Write(p []byte) (int, error) {
	if c.first == nil {
		return c.Conn.Write(p)
	}
	_, err := c.Conn.Write(append(c.first, p...))
	c.first = nil
	return len(p), err
}

// Version 2 as the specification has it: long headers, those that say nothing of use, and a
// checksum.
func TestProxyHeaderVersion2(t *testing.T) {
	h := proxyHeaderHost(t, addresses(false), `"127.0.0.1"`, "", host.Options{})
	v2 := func(command, family byte, rest string) string {
		return "\r\n\r\n\x00\r\nQUIT\n" + string([]byte{command, family, byte(len(rest) >> 8), byte(len(rest))}) + rest
	}
	const said = "\xc0\x00\x02\x01\xc6\x33\x64\x02\x0f\xa0\x00\x19"
	long := 16<<10 - 16 - len(said) - 3
	for header, want := range map[string]string{
		v2(0x21, 0x11, said+string([]byte{0x20, byte(long >> 8), byte(long)})+strings.Repeat("c", long)): "192.0.2.1:4000 198.51.100.2:25 h",
		v2(0x21, 0x00, ""):    "",
		v2(0x20, 0x55, "abc"): "",
	} {
		c := hosttest.Dial(t, h.Addr("behind"))
		hosttest.Say(t, c, header+"hello")
		if want == "" {
			want = c.LocalAddr().String() + " " + c.RemoteAddr().String() + " h"
		}
		hosttest.Hear(t, c, want)
		_ = c.Close()
	}
	c := hosttest.Dial(t, h.Addr("behind"))
	defer c.Close()
	hosttest.Say(t, c, v2(0x21, 0x11, said+"\x03\x00\x04\x01\x02\x03\x04")+"hello")
	if p, _ := io.ReadAll(c); len(p) > 0 {
		t.Errorf("a wrong checksum is answered with %q", p)
	}
}

// Who sends no header is closed after five seconds.
func TestProxyHeaderTimeout(t *testing.T) {
	clock := &selector.Manual{}
	h := proxyHeaderHost(t, addresses(false), `"127.0.0.1"`, "", host.Options{Clock: clock})
	c := hosttest.Dial(t, h.Addr("behind"))
	hosttest.Say(t, c, "PROXY ")
	hosttest.Eventually(t, "it is there", func() bool { return h.Stats().Connections == 1 })
	clock.Advance(5 * time.Second)
	hosttest.Eventually(t, "it is gone", func() bool { return h.Stats().Connections == 0 })
	_ = c.Close()
}

// A handler may have the header sent to whom it dials, with its client's addresses.
func TestSendsProxyHeader(t *testing.T) {
	ln := echoServer(t, "tcp", "127.0.0.1:0")
	for _, splice := range []bool{false, true} {
		h := served(t, dialler(splice), "connection", `"127.0.0.1:*"`, host.Options{})
		for version, begin := range map[int]string{1: "PROXY TCP4 127.0.0.1 127.0.0.1 ", 2: "\r\n\r\n\x00\r\nQUIT\n"} {
			c := hosttest.Dial(t, h.Addr("dial"))
			hosttest.Say(t, c, fmt.Sprintf("tcp://%s?proxy=v%d", ln.Addr(), version))
			hosttest.Hear(t, c, "=A"+strings.ToUpper(begin))
			_ = c.Close()
		}
		hosttest.Eventually(t, "all are gone", func() bool { return h.Stats().Connections == 0 })
	}
}
