package zoo

import (
	"io"
	"time"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// bulky let few instructions move much.
var bulky = []animal{
	straight("memory.fill in a straight line", func(bytes int32) []byte {
		return w.Cat(w.I32Const(0), w.I32Const(0x5a), w.I32Const(bytes), w.MemoryFill)
	}),
	straight("memory.copy in a straight line", func(bytes int32) []byte {
		return w.Cat(w.I32Const(0), w.I32Const(1), w.I32Const(bytes-1), w.MemoryCopy)
	}),
	straight("memory.copy backwards in a straight line", func(bytes int32) []byte {
		return w.Cat(w.I32Const(1), w.I32Const(0), w.I32Const(bytes-1), w.MemoryCopy)
	}),
	{
		name: "memory.init in a straight line",
		guest: func() []byte {
			return echo(func(m *w.Module, _ []w.Func) []byte {
				m.HiddenMemory(32)
				const size = 1 << 20
				m.PassiveData(string(make([]byte, size)))
				return times(5000, w.I32Const(65536), w.I32Const(0), w.I32Const(size), w.MemoryInit(0))
			}).Bytes()
		},
		// Two of its instances: the next may be there before the last is gone.
		tenant: `memory = "8MiB"`,
		modes:  ownOnly, said: timedOut, counted: stopped,
	},
	{
		name: "table.fill and table.copy in a straight line",
		guest: func() []byte {
			return echo(func(m *w.Module, _ []w.Func) []byte {
				const size = 200_000
				m.Table(size)
				return times(5000,
					w.I32Const(0), w.RefNull(), w.I32Const(size), w.TableFill(0),
					w.I32Const(1), w.I32Const(0), w.I32Const(size-1), w.TableCopy(0, 0))
			}).Bytes()
		},
		tenant: `memory = "16MiB"`,
		modes:  ownOnly, said: timedOut, counted: stopped,
	},
}

// straight is a guest that does an operation on all of a large memory, thousands of
// times, without a loop.
func straight(name string, operation func(bytes int32) []byte) animal {
	return animal{
		name: name,
		guest: func() []byte {
			return echo(just(
				w.I32Const(64*16-1), w.MemoryGrow, w.Drop, // 64 MiB
				times(5000, operation(64<<20)))).Bytes()
		},
		// For long enough that all of the memory is touched.
		tenant: `memory = "80MiB"`, listener: `event_timeout = "50ms"`,
		modes: ownOnly, said: timedOut, counted: stopped,
	}
}

// refusedMemory is how often a tenant's guests asked for memory in vain.
func refusedMemory(t host.TenantStats, _ host.ListenerStats) int64 { return t.MemoryRefused }

// growers want more than there is.
var growers = []animal{
	{
		name: "instances that grow, for the mappings that takes",
		// It writes to so much that it does not go to sleep, which would give its mappings back.
		guest: func() []byte {
			return echo(just(w.I32Const(1), w.MemoryGrow, w.Drop, w.I32Const(21_000), w.I32Const(7), w.I32Const(40_000), w.MemoryFill)).Bytes()
		},
		// 11 are taken by what all of the tenant's instances share; two that have grown want four.
		tenant: "mappings = 14\nmemory = \"16MiB\"", modes: ownOnly,
		counted: func(t host.TenantStats, _ host.ListenerStats) int64 { return t.MappingsRefused },
		provoke: func(c *cage) {
			first, second := c.dial(), c.dial()
			for _, conn := range []io.ReadWriter{first, second} {
				hosttest.Say(c.t, conn, "!grow")
				hosttest.Hear(c.t, conn, "!grow")
			}
			since, third := time.Now(), c.dial()
			before := c.now()
			hosttest.Say(c.t, third, "three")
			c.until("the third has been refused a mapping", func(now state) bool { return now.MappingsRefused > before.MappingsRefused })
			if now := c.now(); now.TenantStats.Mappings > 14 {
				c.t.Errorf("it has %d mappings", now.TenantStats.Mappings)
			}
			first.Close()
			c.served(third, "three", since)
		},
	},
	{
		name:  "memory.grow for ever",
		guest: func() []byte { return echo(just(w.Loop(w.I32Const(1), w.MemoryGrow, w.Drop, w.Br(0)))).Bytes() },
		modes: handlers, said: timedOut, counted: stopped,
	},
	{
		name: "memory.grow and every page touched",
		guest: func() []byte {
			return echo(just(w.Loop(
				w.I32Const(16), w.MemoryGrow, w.LocalTee(scratch), w.I32Const(0), w.I32LtS,
				w.If(w.Unreachable),
				w.LocalGet(scratch), w.I32Const(16), w.I32Shl, w.I32Const(1), w.I32Const(16<<16), w.MemoryFill,
				w.Br(0)))).Bytes()
		},
		tenant: `memory = "32MiB"`, listener: `event_timeout = "1s"`,
		modes: ownOnly, said: "trapped.*unreachable", counted: trapped,
	},
	{
		name: "memory.grow by more than there can be",
		guest: func() []byte {
			return echo(just(times(1000, w.I32Const(65535), w.MemoryGrow, w.Drop, w.I32Const(-1), w.MemoryGrow, w.Drop))).Bytes()
		},
		listener: `event_timeout = "1s"`,
		modes:    handlers,
		provoke: func(c *cage) {
			conn := c.tame()
			hosttest.Say(c.t, conn, "!")
			hosttest.Hear(c.t, conn, "!")
		},
	},
	{
		name: "table.grow for ever",
		guest: func() []byte {
			return echo(func(m *w.Module, _ []w.Func) []byte {
				m.Table(1)
				return w.Loop(w.RefNull(), w.I32Const(1000), w.TableGrow(0), w.Drop, w.Br(0))
			}).Bytes()
		},
		modes: handlers, said: timedOut, counted: stopped,
	},
	{
		name: "instances that hold large tables",
		guest: func() []byte {
			return echo(func(m *w.Module, _ []w.Func) []byte { m.Table(1 << 18); return nil }).Bytes()
		},
		tenant: `memory = "8MiB"`, // each takes more than 2 MiB in the host
		// Copies of a snapshot share a table, and are the next animal.
		listener: "snapshot = false",
		modes:    ownOnly, counted: refusedMemory,
		provoke: crowdOut,
	},
	{
		name: "copies of an instance with a large table",
		guest: func() []byte {
			return echo(func(m *w.Module, _ []w.Func) []byte { m.Table(1 << 18); return nil }).Bytes()
		},
		tenant: `memory = "8MiB"`,
		modes:  ownOnly,
		provoke: func(c *cage) {
			for range 20 {
				c.tame()
			}
		},
	},
	{
		name: "connections that hold all memory",
		guest: func() []byte {
			return echo(just(w.Loop(w.I32Const(1), w.MemoryGrow, w.I32Const(0), w.I32GeS, w.BrIf(0)))).Bytes()
		},
		tenant: `memory = "1100KiB"`, // seventeen pages, and room for buffers
		modes:  ownOnly, counted: refusedMemory,
		provoke: func(c *cage) {
			greedy := c.tame()
			hosttest.Say(c.t, greedy, "!")
			hosttest.Hear(c.t, greedy, "!")
			crowdOut(c)
		},
	},
	{
		name:    "more connections than instances are allowed",
		guest:   func() []byte { return echo(just()).Bytes() },
		tenant:  `instances = 3`,
		modes:   ownOnly,
		counted: func(t host.TenantStats, _ host.ListenerStats) int64 { return t.InstancesRefused },
		provoke: crowdOut,
	},
}

// crowdOut has more clients than there is room for. One waits until others have
// gone, and is served then.
func crowdOut(c *cage) {
	// The animal may have been refused something already.
	since, counted, before := time.Now(), c.animal.counted, c.now()
	c.until("there is no more room", func(now state) bool {
		if counted(now.TenantStats, now.ListenerStats) > counted(before.TenantStats, before.ListenerStats) {
			return true
		}
		if len(c.open) < 20 {
			hosttest.Say(c.t, c.dial(), "wait")
		}
		return false
	})
	for len(c.open) > 1 {
		c.open[0].Close()
		c.open = c.open[1:]
	}
	c.served(c.open[0], "wait", since)
}
