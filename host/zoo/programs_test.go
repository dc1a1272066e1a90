package zoo

import (
	"bytes"
	"io"

	"bulkhead/host"
	w "bulkhead/internal/wasmtest"
)

// programs are commands of shape stdio.
var programs = []animal{
	{
		name:  "a command that spins",
		guest: func() []byte { return command(just(w.Forever())) },
		modes: commands, said: timedOut, counted: stopped, provoke: untilItEnds,
	},
	{
		name:  "a command that is a call tree",
		guest: func() []byte { return command(callTree) },
		modes: commands, said: timedOut, counted: stopped, provoke: untilItEnds,
	},
	{
		name:   "a command that recurses",
		guest:  func() []byte { return command(recursion) },
		tenant: `stack = "256KiB"`, listener: `event_timeout = "5s"`,
		modes: commands, said: `was stopped.*\(stack\)`, counted: stopped, provoke: untilItEnds,
	},
	{
		name:  "a command that traps",
		guest: func() []byte { return command(just(w.Unreachable)) },
		modes: commands, said: "trapped.*unreachable", counted: trapped, provoke: untilItEnds,
	},
	{
		name: "a command whose start function spins",
		guest: func() []byte {
			return command(func(m *w.Module, _ []w.Func) []byte {
				m.Start(m.Func("", ":", "", w.Forever()))
				return nil
			})
		},
		modes: commands, said: timedOut, counted: stopped, provoke: untilItEnds,
	},
	{
		name:  "a command that spins while its client goes",
		guest: func() []byte { return command(just(w.Forever())) },
		modes: commands, listener: `event_timeout = "1m"`,
		provoke: func(c *cage) {
			for range 4 {
				conn := c.dial()
				_ = conn.SetLinger(0)
				c.until("it runs", func(now state) bool { return now.BackgroundRunning > 0 })
				conn.Close()
				c.until("it is over", func(now state) bool { return now.BackgroundRunning == 0 })
			}
		},
	},
	{
		name:  "a command that writes without end, and its client reads",
		guest: func() []byte { return command(writeWithoutEnd(1)) },
		modes: commands,
		provoke: func(c *cage) {
			conn := c.dial()
			if _, err := io.CopyN(io.Discard, conn, 16<<20); err != nil {
				c.t.Fatal(err)
			}
		},
	},
	{
		name:  "a command that writes without end, and its client does not read",
		guest: func() []byte { return command(writeWithoutEnd(1)) },
		modes: commands, listener: `idle_timeout = "300ms"`, said: "idle for too long",
		provoke: func(c *cage) {
			c.dial()
			c.until("it is given up", func(now state) bool { return now.Accepted > c.before.Accepted && now.Connections == 0 })
		},
	},
	{
		name:  "a command that writes to standard error without end",
		guest: func() []byte { return command(writeWithoutEnd(2)) },
		modes: commands, said: timedOut, counted: stopped, provoke: untilItEnds,
	},
	{
		name: "a command that never reads",
		guest: func() []byte {
			return command(sleep)
		},
		modes: commands, listener: `idle_timeout = "300ms"`, said: "idle for too long",
		provoke: func(c *cage) {
			conn := c.dial()
			if _, err := io.Copy(conn, bytes.NewReader(make([]byte, 64<<20))); err == nil {
				c.t.Error("it took everything")
			}
		},
	},
	{
		name: "a command that takes all memory",
		guest: func() []byte {
			return command(func(m *w.Module, f []w.Func) []byte {
				return w.Cat(w.Loop(w.I32Const(1), w.MemoryGrow, w.I32Const(0), w.I32GeS, w.BrIf(0)), sleep(m, f))
			})
		},
		tenant:  `memory = "1100KiB"`,
		modes:   commands,
		counted: func(t host.TenantStats, _ host.ListenerStats) int64 { return t.MemoryRefused },
		provoke: func(c *cage) {
			first := c.dial()
			c.until("it has all", func(now state) bool { return now.Memory >= 1<<20 })
			c.ends(c.dial())       // and the next has none
			_ = first.SetLinger(0) // it does not read, so it would not see a mere end
			first.Close()
		},
	},
	{
		name:  "commands by the dozen that all spin",
		guest: func() []byte { return command(just(w.Forever())) },
		modes: commands, tenant: `memory = "8MiB"`, listener: `event_timeout = "10ms"`, said: timedOut, counted: stopped,
		provoke: func(c *cage) {
			for range dozens() {
				c.dial()
			}
			for _, conn := range c.open {
				c.ends(conn)
			}
		},
	},
}

// command makes a program. do is given the functions fd_write and poll_oneoff.
func command(do func(m *w.Module, f []w.Func) []byte) []byte {
	m := w.New()
	f := []w.Func{
		m.Import("wasi_snapshot_preview1", "fd_write", "iiii:i"),
		m.Import("wasi_snapshot_preview1", "poll_oneoff", "iiii:i"),
	}
	m.Memory(1)
	body := do(m, f)
	m.Func("_start", ":", "", body)
	return m.Bytes()
}

func untilItEnds(c *cage) {
	for range 3 {
		conn := c.dial()
		c.ends(conn)
	}
}

// writeWithoutEnd writes 16 KiB over and over until that fails.
func writeWithoutEnd(fd int32) func(*w.Module, []w.Func) []byte {
	return func(m *w.Module, f []w.Func) []byte {
		m.Data(0, "\x00\x01\x00\x00\x00\x40\x00\x00")
		return w.Loop(w.I32Const(fd), w.I32Const(0), w.I32Const(1), w.I32Const(8), w.Call(f[0]), w.I32Eqz, w.BrIf(0))
	}
}

// sleep waits for ten minutes.
func sleep(m *w.Module, f []w.Func) []byte {
	m.Data(24, "\x00\xc0\x72\xfb\x8b\x00\x00\x00") // the timeout of a subscription at 0, to clock 0
	return w.Cat(w.I32Const(0), w.I32Const(256), w.I32Const(1), w.I32Const(512), w.Call(f[1]), w.Drop)
}
