package zoo

import (
	"strings"
	"time"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// slow ask for more care than others.
var slow = []animal{
	{
		name: "a handler that never consumes",
		guest: func() []byte {
			m, _ := w.Handler()
			m.Func("csa_data", "ii:i", "", w.I32Const(0))
			return m.Bytes()
		},
		modes: handlers, listener: `idle_timeout = "300ms"`, said: "idle for too long",
		provoke: func(c *cage) {
			conn := c.dial()
			n, err := conn.Write(make([]byte, 64<<20))
			if err == nil {
				c.t.Errorf("it took all of %d bytes", n)
			}
			c.until("it is given up", func(now state) bool { return now.Connections == 0 })
		},
	},
	{
		name: "a handler that consumes a byte an event",
		guest: func() []byte {
			m, f := w.Handler(receive)
			m.Func("csa_data", "ii:i", "", w.LocalGet(0), w.I32Const(1), w.Call(f[0]), w.Drop, w.I32Const(1))
			return m.Bytes()
		},
		modes: handlers,
		provoke: func(c *cage) {
			for range 3 {
				conn := c.dial()
				hosttest.Say(c.t, conn, strings.Repeat("x", 8<<10))
				_ = conn.CloseWrite()
				c.ends(conn)
			}
		},
	},
	{
		name: "a handler that says it consumed all the more",
		guest: func() []byte {
			return echo(just(w.LocalGet(length), w.I32Const(1), w.I32Add, w.Return)).Bytes()
		},
		modes: handlers, said: "says that it consumed 2 bytes of 1.*code=INVALID",
	},
	{
		name:  "csa_start that is quick at first and then spins",
		guest: turncoat,
		// A copy of one that has started does not start again.
		listener: "snapshot = false",
		modes:    ownOnly, said: "did not start.*csa_start was stopped.*event_timeout", counted: failed,
		provoke: func(c *cage) {
			for c.now().StartFailures == c.before.StartFailures {
				conn := c.dial()
				_, _ = conn.Write([]byte("x"))
				_ = conn.CloseWrite()
				c.ends(conn)
			}
		},
	},
	{
		name: "csa_start that takes all memory",
		guest: func() []byte {
			m := echo(just())
			m.Func("csa_start", ":i", "", w.Loop(w.I32Const(1), w.MemoryGrow, w.I32Const(0), w.I32GeS, w.BrIf(0)), w.I32Const(0))
			return m.Bytes()
		},
		tenant: `memory = "1100KiB"`,
		modes:  ownOnly, counted: func(t host.TenantStats, _ host.ListenerStats) int64 { return t.MemoryRefused },
		provoke: func(c *cage) {
			first := c.dial()
			hosttest.Say(c.t, first, "one")
			hosttest.Hear(c.t, first, "one")
			since, second := time.Now(), c.dial()
			hosttest.Say(c.t, second, "two")
			c.until("the second has been refused memory", func(now state) bool { return now.TenantStats.MemoryRefused > c.before.TenantStats.MemoryRefused })
			first.Close()
			c.served(second, "two", since)
		},
	},
}

// turncoat starts a few times as it should. It counts them by the metrics of its
// tenant: each start makes ten names at random, and once there are as many as
// there can be, it spins.
func turncoat() []byte {
	m := echo(func(m *w.Module, f []w.Func) []byte {
		const name, size = 0, 16
		letter := func(i int32) []byte { // a random byte becomes a letter
			return w.Cat(w.I32Const(name+i), w.I32Const(name+i), w.I32Load8U(0), w.I32Const(15), w.I32And, w.I32Const('a'), w.I32Add, w.I32Store8(0))
		}
		var letters []byte
		for i := range int32(size) {
			letters = append(letters, letter(i)...)
		}
		m.Func("csa_start", ":i", "", times(10,
			w.I32Const(name), w.I32Const(size), w.Call(f[0]), w.Drop, letters,
			w.I32Const(name), w.I32Const(size), w.I64Const(1), w.Call(f[1]), w.I32Const(0), w.I32LtS, w.If(w.Forever())),
			w.I32Const(0))
		return nil
	}, random, count)
	return m.Bytes()
}
