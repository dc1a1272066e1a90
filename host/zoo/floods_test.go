package zoo

import (
	"io"
	"net"

	"bulkhead/abi"
	"bulkhead/host"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// floods produce more than anybody wants.
var floods = []animal{
	{
		name:  "output to a peer that does not read",
		guest: func() []byte { return echo(just(sendWithoutEnd())).Bytes() },
		modes: handlers, said: timedOut, counted: stopped,
	},
	{
		name: "output whenever there is room, to a peer that does not read",
		guest: func() []byte {
			return echo(func(m *w.Module, _ []w.Func) []byte {
				m.Func("csa_writable", "i:", "", fillInbox())
				return fillInbox()
			}).Bytes()
		},
		listener: `idle_timeout = "300ms"`,
		modes:    handlers, said: `reason="idle for too long" code=TIMEOUT`,
		provoke: func(c *cage) {
			conn := c.tame()
			_ = conn.SetReadBuffer(4096)
			hosttest.Say(c.t, conn, "!")
			c.until("it is given up", func(now state) bool { return now.Connections == 0 && now.Memory <= c.before.Memory })
		},
	},
	{
		name: "output whenever there is room, to a peer that reads",
		guest: func() []byte {
			return echo(func(m *w.Module, _ []w.Func) []byte {
				m.Func("csa_writable", "i:", "", fillInbox())
				return fillInbox()
			}).Bytes()
		},
		// The bandwidth ends each event, and the client could be as fast as the handler.
		tenant: `bandwidth = "32MiB/s"`, listener: `event_timeout = "5s"`,
		modes: ownOnly,
		provoke: func(c *cage) {
			conn := c.tame()
			hosttest.Say(c.t, conn, "!")
			if n, err := io.CopyN(io.Discard, conn, 16<<20); err != nil {
				c.t.Fatalf("it sent %d bytes, and then %v", n, err)
			}
		},
	},
	{
		name: "log lines without end",
		guest: func() []byte {
			return echo(func(_ *w.Module, f []w.Func) []byte {
				return w.Loop(w.I32Const(abi.LogError), w.I32Const(0), w.I32Const(65536), w.Call(f[0]), w.Drop, w.Br(0))
			}, logLine).Bytes()
		},
		modes: handlers, said: timedOut,
		counted: func(t host.TenantStats, l host.ListenerStats) int64 { return min(l.LimitStops, t.LogLinesDropped) },
		tenant:  `log_lines = 1`,
	},
	{
		name: "names of metrics without end",
		guest: func() []byte {
			return echo(func(_ *w.Module, f []w.Func) []byte {
				return w.Cat(w.I32Const(0), w.I64Const(0x6161616161616161), w.I64Store(0), w.Loop(
					nextName(), w.I32Const(0), w.I32Const(8), w.I64Const(1), w.Call(f[0]), w.Drop, w.Br(0)))
			}, count).Bytes()
		},
		modes: handlers, said: timedOut, counted: stopped,
		provoke: func(c *cage) {
			bait(c)
			if n := len(c.now().Counts); n != abi.MaxMetrics {
				c.t.Errorf("it has %d metrics, and there are to be %d at most", n, abi.MaxMetrics)
			}
		},
	},
	{
		name: "timers without end",
		guest: func() []byte {
			return echo(func(m *w.Module, f []w.Func) []byte {
				set := func(handle []byte) []byte {
					return w.Cat(
						w.I32Const(1000), w.LocalSet(scratch),
						w.Loop(handle, w.LocalGet(scratch), w.I32Const(3_600_000), w.Call(f[0]), w.Drop,
							w.LocalGet(scratch), w.I32Const(1), w.I32Sub, w.LocalTee(scratch), w.BrIf(0)))
				}
				return w.Cat(set(w.LocalGet(conn)), set(w.I32Const(-1)))
			}, timer).Bytes()
		},
		tenant: `timers = 10`, listener: `event_timeout = "5s"`,
		modes: handlers, counted: func(t host.TenantStats, _ host.ListenerStats) int64 { return t.TimersRefused },
		provoke: func(c *cage) {
			conn := c.tame()
			hosttest.Say(c.t, conn, "!")
			hosttest.Hear(c.t, conn, "!")
			if n := c.now().Timers; n != 10 {
				c.t.Errorf("it has %d timers, and may have 10", n)
			}
		},
	},
	{
		name: "timers that fire at once and are set again",
		guest: func() []byte {
			return echo(func(m *w.Module, f []w.Func) []byte {
				m.Func("csa_timer", "ii:", "", w.LocalGet(0), w.LocalGet(1), w.I32Const(0), w.Call(f[0]), w.Drop)
				var set []byte
				for token := range int32(abi.MaxTimers) {
					set = append(set, w.Cat(w.LocalGet(conn), w.I32Const(token), w.I32Const(0), w.Call(f[0]), w.Drop)...)
				}
				return set
			}, timer).Bytes()
		},
		modes: handlers,
		provoke: func(c *cage) {
			conns := []net.Conn{c.tame(), c.tame(), c.tame()}
			for _, conn := range conns {
				hosttest.Say(c.t, conn, "!")
				hosttest.Hear(c.t, conn, "!")
			}
			fuel := c.now().Fuel
			c.until("they fire", func(now state) bool { return now.Fuel > fuel+1_000_000 })
			for _, conn := range conns {
				hosttest.Say(c.t, conn, "still there?")
				hosttest.Hear(c.t, conn, "still there?")
			}
		},
	},
	{
		name: "random bytes for all of a large memory, without end",
		guest: func() []byte {
			return echo(func(_ *w.Module, f []w.Func) []byte {
				return w.Cat(w.I32Const(64*16-1), w.MemoryGrow, w.Drop,
					w.Loop(w.I32Const(0), w.I32Const(64<<20), w.Call(f[0]), w.Drop, w.Br(0)))
			}, random).Bytes()
		},
		tenant: `memory = "80MiB"`,
		modes:  handlers, said: timedOut, counted: stopped,
	},
	{
		name: "standard error that is named a thousand times over",
		guest: func() []byte {
			m := w.New()
			toPeer := m.Import("csa_v1", "send", "iii:i")
			write := m.Import("wasi_snapshot_preview1", "fd_write", "iiii:i")
			m.Memory(64 * 16)
			m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
			// Each of the buffers is all of the memory, and no line ends in it.
			vectors := manyVectors(32<<10, 1024, 64<<20)
			m.Func("csa_data", "ii:i", "i",
				w.I32Const(w.WindowAt), w.I32Load8U(0), w.I32Const('!'), w.I32Eq,
				w.If(vectors, w.Loop(w.I32Const(2), w.I32Const(32<<10), w.I32Const(1024), w.I32Const(64), w.Call(write), w.Drop, w.Br(0))),
				w.LocalGet(0), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(toPeer))
			return m.Bytes()
		},
		tenant: `memory = "160MiB"`,
		modes:  handlers, said: timedOut, counted: stopped,
	},
}

// sendWithoutEnd sends 16 KiB over and over, whatever comes back.
func sendWithoutEnd() []byte {
	return w.Loop(w.LocalGet(conn), w.I32Const(16384), w.I32Const(16384), w.Call(0), w.Drop, w.Br(0))
}

// fillInbox sends zeros until not all are taken.
func fillInbox() []byte {
	return w.Loop(w.LocalGet(conn), w.I32Const(32768), w.I32Const(16384), w.Call(0), w.I32Const(16384), w.I32Eq, w.BrIf(0))
}

// count26 makes the next name of eight letters out of the one at 0: as a number of
// eight digits, of which the last comes first.
func nextName() []byte {
	// Letters a to p alone, so that a carry is found with a mask.
	return w.Cat(
		w.I32Const(0),
		w.I32Const(0), w.I64Load(0), w.I64Const(1), w.I64Add, // the next number
		w.I64Store(0),
		w.I32Const(0), w.I32Load8U(0), w.I32Const('z'), w.I32GtU,
		w.If(w.I32Const(0), w.I32Const('a'), w.I32Store8(0), w.I32Const(1), w.I32Const(1), w.I32Load8U(0), w.I32Const(1), w.I32Add, w.I32Store8(0),
			w.I32Const(1), w.I32Load8U(0), w.I32Const('z'), w.I32GtU,
			w.If(w.I32Const(1), w.I32Const('a'), w.I32Store8(0))))
}

// manyVectors writes n WASI buffers, each from 0 and of that many bytes, at ptr.
// It uses local 2.
func manyVectors(ptr, n, bytes int32) []byte {
	return w.Cat(
		w.I32Const(ptr+8*(n-1)), w.LocalSet(2),
		w.Loop(
			w.LocalGet(2), w.I32Const(0), w.I32Store(0),
			w.LocalGet(2), w.I32Const(bytes), w.I32Store(4),
			w.LocalGet(2), w.I32Const(8), w.I32Sub, w.LocalTee(2), w.I32Const(ptr), w.I32GeS, w.BrIf(0)))
}
