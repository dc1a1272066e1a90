package zoo

import (
	"io"
	"net"
	"sync"
	"time"

	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// spinners use time without end.
var spinners = []animal{
	{
		name:  "an infinite loop",
		guest: func() []byte { return echo(just(w.Forever())).Bytes() },
		modes: handlers, said: timedOut, counted: stopped,
	},
	{
		name:  "a call tree without a loop",
		guest: func() []byte { return echo(callTree).Bytes() },
		modes: handlers, said: timedOut, counted: stopped,
	},
	{
		name:   "recursion",
		guest:  func() []byte { return echo(recursion).Bytes() },
		tenant: `stack = "256KiB"`, listener: `event_timeout = "5s"`,
		modes: handlers, said: `was stopped.*\(stack\)`, counted: stopped,
	},
	{
		name:   "recursion through a table",
		guest:  func() []byte { return echo(indirectRecursion).Bytes() },
		tenant: `stack = "256KiB"`, listener: `event_timeout = "5s"`,
		modes: handlers, said: `was stopped.*\(stack\)`, counted: stopped,
	},
	{
		name:   "recursion with large frames",
		guest:  func() []byte { return echo(largeFrames).Bytes() },
		tenant: `stack = "1MiB"`, listener: `event_timeout = "5s"`,
		modes: ownOnly, said: `was stopped.*\(stack\)`, counted: stopped,
	},
	{
		name:   "recursion and no memory for its stack",
		guest:  func() []byte { return echo(recursion).Bytes() },
		tenant: "stack = \"64MiB\"\nmemory = \"1MiB\"", listener: `event_timeout = "5s"`,
		modes: ownOnly, said: `was stopped.*no memory left for its stack`, counted: stopped,
	},
	{
		name:  "a loop whose client has gone",
		guest: func() []byte { return echo(just(w.Forever())).Bytes() },
		modes: handlers, said: timedOut, counted: stopped,
		provoke: func(c *cage) {
			polite, rude := c.tame(), c.tame()
			fuel := c.now().Fuel
			hosttest.Say(c.t, rude, "!")
			c.until("it runs beside the loop", func(now state) bool { return now.Fuel > fuel+200_000 })
			_ = rude.SetLinger(0)
			rude.Close()
			if c.mode == "connection" {
				hosttest.Say(c.t, polite, "!")
			}
			_ = polite.CloseWrite()
			c.ends(polite)
		},
	},
	{
		name:  "connections by the dozen that all spin",
		guest: func() []byte { return echo(just(w.Forever())).Bytes() },
		modes: ownOnly, tenant: `memory = "8MiB"`, listener: `event_timeout = "10ms"`, said: timedOut, counted: stopped,
		provoke: func(c *cage) { crowd(c, dozens()) },
	},
	{
		name:  "connections by the dozen of one instance that spins",
		guest: func() []byte { return echo(just(w.Forever())).Bytes() },
		modes: sharedOnly, said: timedOut, counted: stopped,
		provoke: func(c *cage) { crowd(c, dozens()) },
	},
	{
		name: "a loop of sends",
		guest: func() []byte {
			return echo(just(w.Loop(w.LocalGet(conn), w.I32Const(0), w.I32Const(1), w.Call(0), w.Drop, w.Br(0)))).Bytes()
		},
		modes: handlers, said: timedOut, counted: stopped,
	},
	{
		name: "a loop of sends that spins between them",
		guest: func() []byte {
			return echo(just(w.Loop(
				spinFor(20_000), w.LocalGet(conn), w.I32Const(0), w.I32Const(1), w.Call(0), w.Drop, w.Br(0)))).Bytes()
		},
		modes: handlers, said: timedOut, counted: stopped,
	},
	{
		name:  "a timer that sets itself again and spins a little",
		guest: restlessTimer,
		modes: handlers,
		provoke: func(c *cage) {
			conn := c.tame()
			hosttest.Say(c.t, conn, "!")
			hosttest.Hear(c.t, conn, "!")
			began := time.Now()
			c.until("it has been held for want of CPU time", func(now state) bool {
				// Where the machine gives it less than its share, there is nothing to hold it for.
				starved := time.Since(began) > time.Minute && now.TenantStats.CPU < time.Since(began)/200
				return now.EventsDeferred > c.before.EventsDeferred || starved
			})
		},
		// So little that a busy machine gives it that, too: it is held at once.
		tenant: `cpu = 0.01`,
	},
}

// spinFor is a loop of so many turns. It uses the first scratch local.
func spinFor(turns int32) []byte {
	return w.Cat(
		w.I32Const(turns), w.LocalSet(scratch),
		w.Loop(w.LocalGet(scratch), w.I32Const(1), w.I32Sub, w.LocalTee(scratch), w.BrIf(0)))
}

// callTree is 2 to the power of 40 calls, and no loop.
func callTree(m *w.Module, _ []w.Func) []byte {
	f := m.Func("", ":", "", w.Nop)
	for range 40 {
		f = m.Func("", ":", "", w.Call(f), w.Call(f))
	}
	return w.Call(f)
}

func recursion(m *w.Module, f []w.Func) []byte {
	self := m.Func("", ":", "")
	again := m.Func("", ":", "", w.Call(self+1))
	return w.Call(again)
}

func indirectRecursion(m *w.Module, _ []w.Func) []byte {
	m.Table(1)
	self := m.Func("", ":", "", w.I32Const(0), w.CallIndirect(m.Type(":")))
	m.Elements(0, self)
	return w.Call(self)
}

// largeFrames keeps a thousand values over each of its calls.
func largeFrames(m *w.Module, _ []w.Func) []byte {
	var body []byte
	for range 1000 {
		body = append(body, w.I32Load(0)...)
		body = append(body, w.I32Const(8)...)
	}
	body = append(w.I32Const(8), body...)
	self := m.Func("", ":", "")
	sum := times(1000, w.I32Add)
	m.Func("", ":", "", body, w.Call(self+1), sum, w.Drop)
	return w.Call(self + 1)
}

// restlessTimer has a timer of the instance fire at once, over and over, for a bit of work each
// time: so little that it stays on the loop, where nothing but the quota holds the next event.
func restlessTimer() []byte {
	m := echo(func(m *w.Module, f []w.Func) []byte {
		m.Func("csa_timer", "ii:", "i", spinFor(100_000), w.LocalGet(0), w.LocalGet(1), w.I32Const(0), w.Call(f[0]), w.Drop)
		return times(10, w.LocalGet(conn), w.I32Const(7), w.I32Const(0), w.Call(f[0]), w.Drop)
	}, timer)
	return m.Bytes()
}

// crowd has many clients set it off at once.
func crowd(c *cage, n int) {
	var conns []net.Conn
	for range n {
		conns = append(conns, c.tame())
	}
	var all sync.WaitGroup
	for _, conn := range conns {
		all.Go(func() {
			_, _ = conn.Write([]byte("!"))
			_, _ = io.Copy(io.Discard, conn)
		})
	}
	all.Wait()
	c.tame()
}
