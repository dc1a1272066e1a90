package host_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/host"
	"bulkhead/host/egress"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// dialler is a guest that dials what its client sends first, and says how that went:
// "?" and a letter for the code (A is 0, B is -1) when connect refuses, "!" and a letter
// when the connection fails or ends, "=" when it is open. From then on it passes bytes
// on, by itself or with splice.
func dialler(splice bool) *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"}, [2]string{"connect", "ii:i"}, [2]string{"splice", "ii:i"}, [2]string{"control", "ii:i"})
	send, connect, join, control := f[0], f[1], f[2], f[3]
	client := m.Global('i', true, w.I32Const(0))
	up := m.Global('i', true, w.I32Const(0))
	say := func(kind byte, code []byte) []byte {
		return w.Cat(w.I32Const(100), w.I32Const(int32(kind)), w.I32Store8(0),
			w.I32Const(101), w.I32Const('A'), code, []byte{0x6b}, w.I32Store8(0), // minus
			w.GlobalGet(client), w.I32Const(100), w.I32Const(2), w.Call(send), w.Drop)
	}
	isUp := w.Cat(w.LocalGet(0), w.GlobalGet(up), w.I32Eq)
	opened := say('=', w.I32Const(0))
	if splice {
		opened = w.Cat(opened, w.GlobalGet(client), w.GlobalGet(up), w.Call(join), w.Drop)
	}
	m.Func("csa_open", "i:i", "", isUp, w.If(opened), w.I32Const(0))
	m.Func("csa_data", "ii:i", "",
		isUp, w.If(w.GlobalGet(client), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(send), w.Drop, w.LocalGet(1), w.Return),
		w.GlobalGet(up), w.I32Const(0), w.I32Eq, w.If(
			w.LocalGet(0), w.GlobalSet(client),
			w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(connect), w.GlobalSet(up),
			w.GlobalGet(up), w.I32Const(0), w.I32LtS, w.If(say('?', w.GlobalGet(up)), w.I32Const(0), w.GlobalSet(up)),
			w.LocalGet(1), w.Return),
		w.GlobalGet(up), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(send), w.Drop, w.LocalGet(1))
	m.Func("csa_closed", "ii:", "",
		isUp, w.If(say('!', w.LocalGet(1)), w.GlobalGet(client), w.I32Const(0), w.Call(control), w.Drop, w.I32Const(0), w.GlobalSet(up), w.Return),
		w.GlobalGet(up), w.If(w.GlobalGet(up), w.I32Const(1), w.Call(control), w.Drop))
	m.Func("csa_eof", "i:", "",
		isUp, w.IfElse('i', w.GlobalGet(client), w.Cat(w.GlobalGet(up), w.IfElse('i', w.GlobalGet(up), w.LocalGet(0)))),
		w.I32Const(0), w.Call(control), w.Drop)
	return m
}

// served is a host whose handlers may dial some addresses.
func served(t *testing.T, m *w.Module, instance, connect string, o host.Options) *host.Host {
	t.Helper()
	return hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
[tenant.acme]
connect = [%s]
dials = 5
upstreams = 6
[[listener]]
name = "dial"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
instance = %q
connect_timeout = "20s"
`, hosttest.State(), connect, writeModule(t, m), instance), o)
}

// A redirected dial asks neither the connect list nor a resolver, and fails as it is told to.
func TestRedirect(t *testing.T) {
	there := echoServer(t, "tcp", "127.0.0.1:0").Addr().(*net.TCPAddr).AddrPort()
	h := served(t, dialler(false), "connection", "", host.Options{Redirect: func(to egress.Target) (csa.Address, error) {
		if to.Host() == "nobody" {
			return csa.Address{}, &egress.Error{Kind: egress.Unreachable, Target: to.String(), Err: errors.New("nobody is there")}
		}
		return csa.Address{IP: netip.MustParseAddrPort("192.0.2.9:80"), Via: there}, nil
	}})
	c := hosttest.Dial(t, h.Addr("dial"))
	hosttest.Say(t, c, "tcp://anybody:80")
	hosttest.Hear(t, c, "=A")
	hosttest.Say(t, c, "hello")
	hosttest.Hear(t, c, "HELLO")
	c = hosttest.Dial(t, h.Addr("dial"))
	hosttest.Say(t, c, "tcp://nobody:80")
	hosttest.Hear(t, c, "!"+string(rune('A'-int(abi.Unreachable))))
}

func writeModule(t testing.TB, m *w.Module) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "guest.wasm")
	if err := os.WriteFile(path, m.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// echoServer answers what it is sent, in upper case, and ends when its client does.
func echoServer(t *testing.T, network, address string) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				p := make([]byte, 32<<10)
				for {
					n, err := c.Read(p)
					_, _ = io.WriteString(c, strings.ToUpper(string(p[:n])))
					if err != nil {
						return
					}
				}
			}()
		}
	}()
	return ln
}

func TestConnect(t *testing.T) {
	tcp := echoServer(t, "tcp", "127.0.0.1:0").Addr().String()
	unix := filepath.Join(t.TempDir(), "up.sock")
	echoServer(t, "unix", unix)
	for _, instance := range []string{"connection", "loop", "listener"} {
		for _, splice := range []bool{false, true} {
			h := served(t, dialler(splice), instance, fmt.Sprintf("%q, %q", tcp, "unix://"+unix), host.Options{})
			for _, to := range []string{"tcp://" + tcp, "unix://" + unix} {
				c := hosttest.Dial(t, h.Addr("dial"))
				hosttest.Say(t, c, to)
				hosttest.Hear(t, c, "=A")
				for _, text := range []string{"hello", "again"} {
					hosttest.Say(t, c, text)
					hosttest.Hear(t, c, strings.ToUpper(text))
				}
				_ = c.CloseWrite()
				if splice {
					hosttest.HearEnd(t, c)
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
}

func TestConnectRefused(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := ln.Addr().String()
	ln.Close()
	names := resolver{"public.example": "192.0.2.1", "inside.example": "127.0.0.1", "both.example": "10.0.0.1", "none.example": ""}
	h := served(t, dialler(false), "connection", fmt.Sprintf(`%q, "*.example:80", "unix:///nowhere/a.sock"`, nobody), host.Options{Resolver: names})
	for to, want := range map[string]string{
		"tcp://" + nobody:               "!K", // REFUSED
		"tcp://127.0.0.1:1":             "?F", // DENIED
		"tcp://localhost:80":            "?F",
		"tcp://other.test:80":           "?F",
		"tcp://public.example:81":       "?F",
		"tcp://inside.example:80":       "!F",
		"tcp://none.example:80":         "!H", // NOT_FOUND
		"unix:///nowhere/a.sock":        "!H",
		"unix:///etc/passwd":            "?F",
		"tcp://2130706433:80":           "?B", // INVALID
		"http://public.example":         "?B",
		"tcp://public.example:80?x=y":   "?B",
		strings.Repeat("x", 513):        "?B",
		"tcp://[::ffff:127.0.0.1]:1":    "?F",
		"tcp://169.254.169.254:80":      "?F",
		"tcp://inside.example:80\x00:1": "?B",
	} {
		c := hosttest.Dial(t, h.Addr("dial"))
		hosttest.Say(t, c, to)
		hosttest.Hear(t, c, want)
		_ = c.Close()
	}
	hosttest.Eventually(t, "nothing is open", func() bool { return h.Stats().Connections == 0 })
	want := map[string]int64{"refused": 1, "denied": 8, "not_found": 2, "invalid": 4}
	if got := h.Stats().Listeners[0].Dials; !maps.Equal(got, want) {
		t.Errorf("dials are counted as %v, want %v", got, want)
	}
}

// A dial that fails has a line in the log, which says whose it was, where it went, and why.
func TestAFailedDialIsLogged(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := ln.Addr().String()
	ln.Close()
	log := hosttest.NewLines(t)
	h := served(t, dialler(false), "connection", fmt.Sprintf("%q", nobody), host.Options{Log: log.Log()})
	c := hosttest.Dial(t, h.Addr("dial"))
	defer c.Close()
	hosttest.Say(t, c, "tcp://"+nobody)
	hosttest.Hear(t, c, "!K")
	log.Wait("a handler's dial has failed", "level=INFO", "listener=dial", "tenant=", "connection=", "peer="+c.LocalAddr().String(), "to=tcp://"+nobody, "refused the connection", "code=REFUSED", "took_seconds=")
	if got := h.Stats().Listeners[0].Dials; got["refused"] != 1 || len(got) != 1 {
		t.Errorf("dials are counted as %v", got)
	}
}

// resolver knows some names.
type resolver map[string]string

func (r resolver) LookupNetIP(_ context.Context, _, name string) ([]netip.Addr, error) {
	if ip := r[strings.TrimSuffix(name, ".")]; ip != "" {
		return []netip.Addr{netip.MustParseAddr(ip)}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// hangs never answers, until its context ends.
type hangs struct{ asked atomic.Int64 }

func (r *hangs) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	r.asked.Add(1)
	<-ctx.Done()
	return nil, ctx.Err()
}

// A tenant dials no more at once than it may, and nothing is left of it when its
// clients go, or the host does.
func TestConnectIsBounded(t *testing.T) {
	r := &hangs{}
	h := served(t, dialler(false), "connection", `"*.example:80"`, host.Options{Resolver: r})
	var all []net.Conn
	for n := range 6 {
		c := hosttest.Dial(t, h.Addr("dial"))
		all = append(all, c)
		hosttest.Say(t, c, fmt.Sprintf("tcp://n%d.example:80", n))
		if n < 5 {
			hosttest.Eventually(t, "it is looked up", func() bool { return r.asked.Load() >= int64(n+1) })
		} else {
			hosttest.Hear(t, c, "?G") // QUOTA
		}
	}
	_ = all[5].Close()
	hosttest.Eventually(t, "five are left", func() bool { return h.Stats().Connections == 10 })
}
