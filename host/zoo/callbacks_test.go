package zoo

import (
	"net"
	"strings"

	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// callback is one export of a handler, and how a client has it called, having
// connected.
type callback struct {
	name, signature string
	imports         []imported
	tenant          string                  // for animal
	listener        string                  // likewise
	bang            func(f []w.Func) []byte // for echo; nil: nothing
	call            func(c *cage, conn *net.TCPConn)
}

// called are the callbacks but for csa_start, which check calls, and csa_stop.
var called = []callback{
	{name: "csa_open", signature: "i:i", call: func(*cage, *net.TCPConn) {}},
	{name: "csa_data", signature: "ii:i", call: bang},
	{name: "csa_writable", signature: "i:", bang: func([]w.Func) []byte { return fillInbox() },
		// The bandwidth is what fills the inbox, and that takes long where the race detector is
		// slow.
		tenant: `bandwidth = "1MiB/s"`, listener: `event_timeout = "500ms"`, call: bang},
	{name: "csa_eof", signature: "i:", call: func(c *cage, conn *net.TCPConn) { _ = conn.CloseWrite() }},
	{name: "csa_timer", signature: "ii:", imports: []imported{timer},
		bang: func(f []w.Func) []byte {
			return w.Cat(w.LocalGet(conn), w.I32Const(0), w.I32Const(0), w.Call(f[0]), w.Drop)
		},
		call: bang},
	{name: "csa_closed", signature: "ii:", call: func(c *cage, conn *net.TCPConn) {
		hosttest.Say(c.t, conn, "x")
		hosttest.Hear(c.t, conn, "x")
		conn.Close()
	}},
}

func bang(c *cage, conn *net.TCPConn) { hosttest.Say(c.t, conn, "!") }

// callbacks are guests that trap, and guests that spin, in each of them.
func callbacks() (all []animal) {
	for _, cb := range called {
		all = append(all,
			misbehaving(cb, "a trap in ", w.Unreachable, "trapped.*call="+cb.name+" .*why=unreachable .*in=.*[$][0-9]+"),
			misbehaving(cb, "a busy ", w.Forever(), "was stopped.*call="+cb.name+" .*event_timeout"))
	}
	for i := range all {
		all[i].counted = trapped
		if i%2 == 1 {
			all[i].counted = stopped
		}
	}
	return all
}

func misbehaving(cb callback, name string, body []byte, said string) animal {
	return animal{
		name: name + cb.name,
		guest: func() []byte {
			if cb.name == "csa_data" {
				return echo(just(body)).Bytes()
			}
			m := echo(func(m *w.Module, f []w.Func) []byte {
				if strings.HasSuffix(cb.signature, "i") {
					m.Func(cb.name, cb.signature, "", body, w.I32Const(0))
				} else {
					m.Func(cb.name, cb.signature, "", body)
				}
				if cb.bang == nil {
					return nil
				}
				return cb.bang(f)
			}, cb.imports...)
			return m.Bytes()
		},
		tenant: cb.tenant, listener: cb.listener,
		modes: handlers, said: said,
		provoke: func(c *cage) {
			n := 2
			if c.mode != "connection" {
				n = 1
			}
			for range n {
				conn := c.dial()
				cb.call(c, conn)
				if cb.name != "csa_closed" {
					c.ends(conn)
				}
			}
		},
	}
}
