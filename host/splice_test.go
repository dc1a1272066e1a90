package host_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"bulkhead/abi"
	"bulkhead/host"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/certstest"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// splicer is a guest that dials what follows a 'Z' that its client sends, says "open" when that
// is up, and splices the two in the next csa_data, with some code before and after that. Then it
// says that it has consumed so many bytes. To 'T' it answers with TLS, and "?" and a letter
// (B is -1) is the code of a splice that is refused.
func splicer(consumed int32, before, after []byte) *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"}, [2]string{"connect", "ii:i"}, [2]string{"splice", "ii:i"}, [2]string{"makessl", "iiii:i"})
	send, connect, splice, makessl := f[0], f[1], f[2], f[3]
	client := m.Global('i', true, w.I32Const(0))
	up := m.Global('i', true, w.I32Const(0))
	opened := m.Global('i', true, w.I32Const(0))
	m.Data(100, "open?A")
	first := func(c byte, then ...[]byte) []byte {
		return w.Cat(w.I32Const(w.WindowAt), w.I32Load8U(0), w.I32Const(int32(c)), w.I32Eq, w.If(w.Cat(then...), w.LocalGet(1), w.Return))
	}
	m.Func("csa_open", "i:i", "",
		w.LocalGet(0), w.GlobalGet(up), w.I32Eq,
		w.If(w.I32Const(1), w.GlobalSet(opened), w.GlobalGet(client), w.I32Const(100), w.I32Const(4), w.Call(send), w.Drop),
		w.I32Const(0))
	m.Func("csa_data", "ii:i", "ii", // 2: the code of splice; 3: a counter
		first('Z', w.LocalGet(0), w.GlobalSet(client), w.I32Const(w.WindowAt+1), w.LocalGet(1), w.I32Const(1), []byte{0x6b}, w.Call(connect), w.GlobalSet(up)),
		first('T', w.LocalGet(0), w.I32Const(103), w.I32Const(1), w.Call(send), w.Drop, w.LocalGet(0), w.I32Const(abi.TLSServer), w.I32Const(0), w.I32Const(0), w.Call(makessl), w.Drop),
		w.GlobalGet(opened), w.If(
			before,
			w.GlobalGet(client), w.GlobalGet(up), w.Call(splice), w.LocalTee(2),
			w.If(
				w.I32Const(105), w.I32Const('A'), w.LocalGet(2), []byte{0x6b}, w.I32Store8(0),
				w.LocalGet(0), w.I32Const(104), w.I32Const(2), w.Call(send), w.Drop, w.LocalGet(1), w.Return),
			w.I32Const(0), w.GlobalSet(opened), w.I32Const(0), w.GlobalSet(client), w.I32Const(0), w.GlobalSet(up),
			after,
			w.I32Const(consumed), w.Return),
		w.LocalGet(1))
	return m
}

// longWork takes a call off its loop: local 3 counts to some millions.
func longWork() []byte {
	return w.Cat(w.I32Const(3_000_000), w.LocalSet(3),
		w.Loop(w.LocalGet(3), w.I32Const(1), []byte{0x6b}, w.LocalTee(3), w.BrIf(0)))
}

// recorder takes connections, and tells of each what came and how it ended.
type recorder struct {
	addr string
	got  chan recorded
}

type recorded struct {
	text string
	err  error
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	r := &recorder{ln.Addr().String(), make(chan recorded, 100)}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetDeadline(awaittest.Deadline())
				p, err := io.ReadAll(c)
				r.got <- recorded{string(p), err}
			}()
		}
	}()
	return r
}

// splicing is a host with a listener for each way in which a guest can splice in csa_data.
type splicing struct {
	t  *testing.T
	h  *host.Host
	up *recorder
	ca *certstest.Authority
}

// The kinds of instances. "fresh" is one a connection without a snapshot.
var instanceKinds = []string{"connection", "fresh", "loop", "listener"}

// newSplicing serves modules by name, as listeners "name.kind.transport".
func newSplicing(t *testing.T, modules map[string]*w.Module, transports ...string) *splicing {
	t.Helper()
	s := &splicing{t: t, up: newRecorder(t), ca: certstest.NewAuthority(t)}
	dir := t.TempDir()
	cert, key := s.ca.Write(t, dir, "server", "host.test")
	var toml strings.Builder
	fmt.Fprintf(&toml, "[host]\nstate = %q\nloops = 2\n[tenant.acme]\nconnect = [%q]\nmemory = \"256MiB\"\n", hosttest.State(), s.up.addr)
	for name, m := range modules {
		path := writeModule(t, m)
		for _, kind := range instanceKinds {
			for _, transport := range transports {
				instance, snapshot, network := kind, true, "tcp"
				if kind == "fresh" {
					instance, snapshot = "connection", false
				}
				if transport == "udp" {
					network = "udp"
				}
				fmt.Fprintf(&toml, "[[listener]]\nname = %q\ntenant = \"acme\"\naddress = \"%s://127.0.0.1:0\"\nplugin = %q\ninstance = %q\n",
					listenerName(name, kind, transport), network, path, instance)
				if kind == "fresh" {
					fmt.Fprintf(&toml, "snapshot = %v\n", snapshot)
				}
				if transport == "tls" || transport == "starttls" {
					fmt.Fprintf(&toml, "[listener.tls]\ncert = %q\nkey = %q\nstarttls = %v\n", cert, key, transport == "starttls")
				}
			}
		}
	}
	s.h = hosttest.Serve(t, toml.String(), host.Options{})
	return s
}

func listenerName(name, kind, transport string) string { return name + "." + kind + "." + transport }

// client connects, and has the guest dial.
func (s *splicing) client(name, kind, transport string) net.Conn {
	s.t.Helper()
	var c net.Conn
	if transport == "udp" {
		var err error
		if c, err = net.Dial("udp", s.h.Addr(listenerName(name, kind, transport))); err != nil {
			s.t.Fatal(err)
		}
		_ = c.SetDeadline(awaittest.Deadline())
		s.t.Cleanup(func() { c.Close() })
	} else {
		c = hosttest.Dial(s.t, s.h.Addr(listenerName(name, kind, transport)))
	}
	if transport == "starttls" {
		hosttest.Say(s.t, c, "T")
		hosttest.Hear(s.t, c, "n")
	}
	if transport == "tls" || transport == "starttls" {
		secured := tls.Client(c, &tls.Config{RootCAs: s.ca.Pool(), ServerName: "host.test"})
		if err := secured.Handshake(); err != nil {
			s.t.Fatal(err)
		}
		c = secured
	}
	hosttest.Say(s.t, c, "Ztcp://"+s.up.addr)
	hosttest.Hear(s.t, c, "open")
	return c
}

// gone waits until nothing is open, and no listener has an instance but those that it keeps.
func (s *splicing) gone() {
	s.t.Helper()
	hosttest.Eventually(s.t, "nothing is open", func() bool {
		st := s.h.Stats()
		for _, l := range st.Listeners {
			if _, kind, _ := strings.Cut(l.Name, "."); (strings.HasPrefix(kind, "connection") || strings.HasPrefix(kind, "fresh")) && l.Instances != 0 {
				return false
			}
		}
		return st.Connections == 0
	})
}

// What csa_data has left unconsumed when it splices goes first, whatever becomes of the
// instance by that: no byte of it is lost, and none comes out of memory that is gone.
func TestSpliceInData(t *testing.T) {
	modules := map[string]*w.Module{
		"none": splicer(0, nil, nil), "half": splicer(5, nil, nil), "all": splicer(10, nil, nil),
		"before": splicer(5, longWork(), nil), "after": splicer(5, nil, longWork()),
	}
	want := map[string]string{"none": "0123456789ABC", "half": "56789ABC", "all": "ABC", "before": "56789ABC", "after": "56789ABC"}
	s := newSplicing(t, modules, "tcp", "tls", "starttls")
	for name := range modules {
		for _, kind := range instanceKinds {
			for _, transport := range []string{"tcp", "tls", "starttls"} {
				c := s.client(name, kind, transport)
				hosttest.Say(t, c, "0123456789")
				hosttest.Say(t, c, "ABC")
				if half, ok := c.(interface{ CloseWrite() error }); ok {
					_ = half.CloseWrite()
				}
				if got := <-s.up.got; got.text != want[name] || got.err != nil {
					t.Errorf("%s, %s, %s: the other end gets %q, %v; want %q", name, kind, transport, got.text, got.err, want[name])
				}
				hosttest.HearEnd(t, c)
				_ = c.Close()
			}
		}
	}
	s.gone()
}

// A peer that has finished is no hindrance: what is left of its bytes at the end goes first, too.
func TestSpliceAtTheEnd(t *testing.T) {
	s := newSplicing(t, map[string]*w.Module{"half": splicer(5, nil, nil), "before": splicer(0, longWork(), nil)}, "tcp")
	for name, want := range map[string]string{"half": "56789", "before": "0123456789"} {
		for _, kind := range instanceKinds {
			c := s.client(name, kind, "tcp").(*net.TCPConn)
			hosttest.Say(t, c, "0123456789")
			_ = c.CloseWrite()
			if got := <-s.up.got; got.text != want || got.err != nil {
				t.Errorf("%s, %s: the other end gets %q, %v; want %q", name, kind, got.text, got.err, want)
			}
			hosttest.HearEnd(t, c)
			_ = c.Close()
		}
	}
	s.gone()
}

// A guest that traps in the call in which it has spliced ends both connections, as it ends all
// that it serves: how much it would have consumed, nobody knows.
func TestSpliceAndTrap(t *testing.T) {
	modules := map[string]*w.Module{
		"trap":   splicer(0, nil, w.Unreachable),
		"before": splicer(0, longWork(), w.Unreachable),
		"after":  splicer(0, nil, w.Cat(longWork(), w.Unreachable)),
	}
	s := newSplicing(t, modules, "tcp", "tls", "starttls")
	for name := range modules {
		for _, kind := range instanceKinds {
			for _, transport := range []string{"tcp", "tls", "starttls"} {
				c := s.client(name, kind, transport)
				hosttest.Say(t, c, "0123456789")
				if got := <-s.up.got; got.text != "" {
					t.Errorf("%s, %s, %s: the other end gets %q", name, kind, transport, got.text)
				}
				if p, _ := io.ReadAll(c); len(p) != 0 {
					t.Errorf("%s, %s, %s: the client gets %q", name, kind, transport, p)
				}
				_ = c.Close()
			}
		}
	}
	s.gone()
}

// Over UDP there is no splice, in csa_data or elsewhere.
func TestSpliceOfDatagrams(t *testing.T) {
	s := newSplicing(t, map[string]*w.Module{"half": splicer(5, nil, nil)}, "udp")
	for _, kind := range instanceKinds {
		c := s.client("half", kind, "udp")
		hosttest.Say(t, c, "0123456789")
		hosttest.Hear(t, c, "?B")
	}
}
