package limits_test

import (
	"strings"

	w "bulkhead/internal/wasmtest"
)

// guest is a handler that does what the first byte of its client says, and sends back everything
// else:
//
//	!  traps
//	b  sends until nothing more is taken, and whenever there is room again
//	c  counts by 128 names
//	d  dials the address that follows
//	f  does as b, once, and says that it has finished
//	g  writes to so much of its memory that it does not sleep
//	l  logs a thousand lines
//	m  wants 12 MiB of memory, page by page
//	M  wants them at one step
//	p  stops receiving
//	r  calls itself for ever
//	s  never ends
//	t  sets two timers
//	v  computes for some tens of milliseconds
//	w  computes for some milliseconds
//	x  leaves it unconsumed
func guest() *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"}, [2]string{"control", "ii:i"}, [2]string{"receive", "ii:i"},
		[2]string{"timer", "iii:i"}, [2]string{"log", "iii:i"}, [2]string{"count", "iiI:i"}, [2]string{"connect", "ii:i"})
	send, control, receive, timer, log, count, connect := f[0], f[1], f[2], f[3], f[4], f[5], f[6]
	const names, filling = 256, 64
	m.Data(names, strings.Repeat("a", 64)+strings.Repeat("b", 64))
	// It calls itself: csa_window comes first behind the imports.
	deep := m.Func("", ":", "", w.Call(connect+2))
	first := func(c byte, then ...[]byte) []byte {
		return w.Cat(w.I32Const(w.WindowAt), w.I32Load8U(0), w.I32Const(int32(c)), w.I32Eq, w.If(w.Cat(then...), w.LocalGet(1), w.Return))
	}
	times := func(n int32, do ...[]byte) []byte { // local 2 goes from n to 1
		return w.Cat(w.I32Const(n), w.LocalSet(2), w.Loop(w.Cat(do...), w.LocalGet(2), w.I32Const(1), w.I32Sub, w.LocalTee(2), w.BrIf(0)))
	}
	fill := w.Loop(w.LocalGet(0), w.I32Const(0), w.I32Const(16384), w.Call(send), w.I32Const(0), w.I32GtS, w.BrIf(0))
	timers := func(token int32) []byte {
		return w.Cat(w.LocalGet(0), w.I32Const(token), w.I32Const(3_600_000), w.Call(timer), w.Drop)
	}
	named := func(at int32) []byte {
		return w.Cat(w.I32Const(at), w.LocalGet(2), w.I64Const(1), w.Call(count), w.Drop)
	}
	m.Func("csa_data", "ii:i", "i",
		first('!', w.Unreachable),
		first('b', w.I32Const(filling), w.I32Const(1), w.I32Store8(0), fill),
		first('c', times(64, named(names), named(names+64))),
		first('d', w.I32Const(w.WindowAt+1), w.LocalGet(1), w.I32Const(1), w.I32Sub, w.Call(connect), w.Drop),
		first('f', fill, w.LocalGet(0), w.I32Const(0), w.Call(control), w.Drop),
		first('g', w.I32Const(21_000), w.I32Const(7), w.I32Const(40_000), []byte{0xfc, 0x0b, 0}), // memory.fill
		first('l', times(1000, w.I32Const(1), w.I32Const(names), w.I32Const(10), w.Call(log), w.Drop)),
		first('m', times(200, w.I32Const(1), []byte{0x40, 0}, w.Drop)), // memory.grow
		first('M', w.I32Const(200), []byte{0x40, 0}, w.Drop),
		first('p', w.LocalGet(0), w.I32Const(0), w.Call(receive), w.Drop),
		first('r', w.Call(deep)),
		first('s', w.Forever()),
		first('t', timers(1), timers(2)),
		first('v', times(30_000_000)),
		first('w', times(3_000_000)),
		w.I32Const(w.WindowAt), w.I32Load8U(0), w.I32Const('x'), w.I32Eq, w.If(w.I32Const(0), w.Return),
		w.LocalGet(0), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(send), w.Drop, w.LocalGet(1))
	m.Func("csa_writable", "i:", "", w.I32Const(filling), w.I32Load8U(0), w.If(fill))
	return m
}

// relay dials what follows the first byte of its client, says "open" when that is up, and splices
// the two when more comes.
func relay() *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"}, [2]string{"connect", "ii:i"}, [2]string{"splice", "ii:i"})
	send, connect, splice := f[0], f[1], f[2]
	client, up, opened := m.Global('i', true, w.I32Const(0)), m.Global('i', true, w.I32Const(0)), m.Global('i', true, w.I32Const(0))
	m.Data(100, "open")
	m.Func("csa_open", "i:i", "",
		w.LocalGet(0), w.GlobalGet(up), w.I32Eq,
		w.If(w.I32Const(1), w.GlobalSet(opened), w.GlobalGet(client), w.I32Const(100), w.I32Const(4), w.Call(send), w.Drop),
		w.I32Const(0))
	m.Func("csa_data", "ii:i", "",
		w.GlobalGet(opened), w.If(w.GlobalGet(client), w.GlobalGet(up), w.Call(splice), w.Drop, w.I32Const(0), w.Return),
		w.LocalGet(0), w.GlobalSet(client), w.I32Const(w.WindowAt+1), w.LocalGet(1), w.I32Const(1), w.I32Sub, w.Call(connect), w.GlobalSet(up),
		w.LocalGet(1))
	return m
}
