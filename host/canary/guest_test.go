package canary

import (
	"encoding/binary"
	"math"

	"bulkhead/abi"
	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/wasi"
)

// The memory of the guest. What is not the window's nor patterned is zero when an
// instance starts. It has more of the system's pages than a pool copies back one by one,
// which is 64.
const (
	pages    = 5
	mostGrow = 4 // pages more
	end      = pages << 16

	report      = 256 // where it writes what it sends
	reportSize  = 96
	scratch     = 512
	patternFrom = 0x8000 // csa_start writes it up to patternData, and a data segment the rest
	patternData = 0x9000
	patternTo   = 0xa000
	late        = 0x48008 // csa_closed writes here
)

// marks are where a connection leaves its secret in any case: in pages of zeros and
// in others, in the window, at both ends of the memory.
var marks = []int32{8, w.WindowAt + w.WindowSize - 8, patternFrom + 16, patternTo - 8, patternTo, 0x30000, end/2 - 8, end - 8}

// What a client asks for in the first word of a message: its length in the low half,
// then one of these in 8 bits, then some of the wishes.
const (
	doStain    = 1 + iota // look for what is foreign, leave the secret everywhere, report
	doCheck               // look whether all of the secret is still there, report
	doFinish              // check, and then producerFinished
	doShutdown            // shutdownMicroprocess
	doRefuse              // a negative result of csa_data
	doOverstep            // a result above what there was
	doTrap
	doBeyond     // a pointer beyond the memory, for the host
	doSpin       // for ever
	doRecurse    // for ever
	doTrapClosed // finish, and trap in csa_closed
	doSpinClosed // finish, and spin in csa_closed
	doFlood      // send the secret many times over, and finish
	doDump       // send all of the memory but the window, and finish
)

// Wishes, beside how many pages to grow by, which are the lowest bits.
const (
	growBits   = 15
	allPages   = 1 << 4 // write to every page
	setTimers  = 1 << 5
	closeFile  = 1 << 6 // WASI's standard output
	growBeyond = 1 << 7 // and be refused
	longWork   = 1 << 8 // take long enough to be moved off the loop
)

// The flags of a report.
const (
	wrongSize    = 1 << iota // its memory had another size
	foreignTimer             // a timer fired that it had not set
	closedFile               // its standard output was closed
	foreignHandle
	grewTooFar
	notGrown
)

// The globals.
const (
	gSecret  = iota // i64, 0
	gI64            // 7
	gI32            // 5
	gF64            // 1.5
	gF32            // 2.5
	gMode           // i32: what csa_closed does
	gFlags          // i32
	gReseeds        // i32
	gFired          // i32: timers of its own
	gDirtyAt        // i64: an address and one, or 0
	gDirty          // i64: what was there
	gGlobals        // i64: bits of globals that were not as at the start
	gNonce          // i64: from csa_reseed
	gGrown          // i32: pages
)

const f32Value, f64Value = 2.5, 1.5

// Instructions that wasmtest has no names for.
var (
	i64Ne      = []byte{0x52}
	i64Mul     = []byte{0x7e}
	i64Xor     = []byte{0x85}
	i64ShrU    = []byte{0x88}
	i32OfF32   = []byte{0xbc}
	i64OfF64   = []byte{0xbd}
	f32OfI32   = []byte{0xbe}
	f64OfI64   = []byte{0xbf}
	patternKey = int64(-0x61c8864680b583eb)
)

func f32Const(v float32) []byte {
	return binary.LittleEndian.AppendUint32([]byte{0x43}, math.Float32bits(v))
}

// pattern is the word of an image's patterned part at an address.
func pattern(at int) uint64 { return uint64(at) * uint64(patternKey) }

// kind is a variant of the guest: where it looks for what is foreign.
type kind struct {
	reseeds bool // in csa_reseed, before anything else; else when it is told to
	opens   bool // in csa_open, which it has
}

// guest builds one. All variants leave and report the same.
func (k kind) guest() []byte {
	m := w.New()
	send := m.Import(abi.Module, "send", "iii:i")
	control := m.Import(abi.Module, "control", "ii:i")
	info := m.Import(abi.Module, "info", "iiii:i")
	timer := m.Import(abi.Module, "timer", "iii:i")
	random := m.Import(abi.Module, "random", "ii:i")
	fdStat := m.Import(wasi.Module, "fd_fdstat_get", "ii:i")
	fdClose := m.Import(wasi.Module, "fd_close", "i:i")
	m.Memory(pages, pages+mostGrow)
	for _, g := range []struct {
		letter byte
		value  []byte
	}{
		gSecret: {'I', w.I64Const(0)}, gI64: {'I', w.I64Const(7)}, gI32: {'i', w.I32Const(5)},
		gF64: {'F', w.F64Const(f64Value)}, gF32: {'f', f32Const(f32Value)},
		gMode: {'i', w.I32Const(0)}, gFlags: {'i', w.I32Const(0)}, gReseeds: {'i', w.I32Const(0)}, gFired: {'i', w.I32Const(0)},
		gDirtyAt: {'I', w.I64Const(0)}, gDirty: {'I', w.I64Const(0)}, gGlobals: {'I', w.I64Const(0)}, gNonce: {'I', w.I64Const(0)},
		gGrown: {'i', w.I32Const(0)},
	} {
		m.Global(g.letter, true, g.value)
	}
	var data []byte
	for at := patternData; at < patternTo; at += 8 {
		data = binary.LittleEndian.AppendUint64(data, pattern(at))
	}
	m.Data(patternData, string(data))
	m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))

	get, set := w.LocalGet, w.LocalSet
	raise := func(flag int32) []byte {
		return w.Cat(w.GlobalGet(gFlags), w.I32Const(flag), w.I32Or, w.GlobalSet(gFlags))
	}
	patternOf := func(local int) []byte {
		return w.Cat(get(local), w.I64ExtendU, w.I64Const(patternKey), i64Mul)
	}

	m.Func("csa_start", ":i", "i",
		w.I32Const(patternFrom), set(0),
		w.Loop(get(0), patternOf(0), w.I64Store(0),
			get(0), w.I32Const(8), w.I32Add, w.LocalTee(0), w.I32Const(patternData), w.I32LtU, w.BrIf(0)),
		w.I32Const(0))

	// found(at): something is wrong with the word there; the first stands.
	found := m.Func("", "i:", "",
		w.GlobalGet(gDirtyAt), w.I64Eqz, w.If(
			get(0), w.I64ExtendU, w.I64Const(1), w.I64Add, w.GlobalSet(gDirtyAt),
			get(0), w.I64Load(0), w.GlobalSet(gDirty)))

	// zeros(from, to): all words are zero.
	const block = 128
	any := w.I64Load(0)
	for at := 8; at < block; at += 8 {
		any = w.Cat(any, get(0), w.I64Load(at), w.I64Or)
	}
	zeros := m.Func("", "ii:", "", w.Loop(
		get(0), w.I32Const(block-1), w.I32And, w.I32Eqz, get(0), w.I32Const(block), w.I32Add, get(1), w.I32LeS, w.I32And,
		w.If(get(0), any, w.I64Eqz, w.If(get(0), w.I32Const(block), w.I32Add, set(0), w.Br(2))),
		get(0), get(1), w.I32LtU,
		w.If(get(0), w.I64Load(0), w.I64Eqz, w.I32Eqz, w.If(get(0), w.Call(found), w.Return),
			get(0), w.I32Const(8), w.I32Add, set(0), w.Br(1))))

	// examine(n): all is as at the start, but for the first n bytes of the window.
	examine := m.Func("", "i:", "i",
		w.GlobalGet(gSecret),
		w.GlobalGet(gI64), w.I64Const(7), i64Xor, w.I64Or,
		w.GlobalGet(gI32), w.I32Const(5), w.I32Xor, w.I64ExtendU, w.I64Or,
		w.GlobalGet(gF64), i64OfF64, w.I64Const(int64(math.Float64bits(f64Value))), i64Xor, w.I64Or,
		w.GlobalGet(gF32), i32OfF32, w.I32Const(int32(math.Float32bits(f32Value))), w.I32Xor, w.I64ExtendU, w.I64Or,
		w.GlobalGet(gMode), w.I64ExtendU, w.I64Or,
		w.GlobalGet(gFired), w.I64ExtendU, w.I64Or,
		w.GlobalGet(gGrown), w.I64ExtendU, w.I64Or,
		w.GlobalGet(gDirtyAt), w.I64Or, w.GlobalGet(gDirty), w.I64Or,
		w.GlobalGet(gGlobals), w.I64Or, w.GlobalSet(gGlobals),
		w.MemorySize, w.I32Const(pages), w.I32Ne, w.If(raise(wrongSize)),
		w.I32Const(0), w.I32Const(w.WindowAt), w.Call(zeros),
		w.I32Const(w.WindowAt), get(0), w.I32Const(7), w.I32Add, w.I32Const(-8), w.I32And, w.I32Add, w.I32Const(patternFrom), w.Call(zeros),
		w.I32Const(patternFrom), set(1),
		w.Loop(get(1), w.I64Load(0), patternOf(1), i64Ne, w.If(get(1), w.Call(found)),
			get(1), w.I32Const(8), w.I32Add, w.LocalTee(1), w.I32Const(patternTo), w.I32LtU, w.BrIf(0)),
		w.I32Const(patternTo), w.I32Const(end), w.Call(zeros),
		w.I32Const(1), w.I32Const(scratch), w.Call(fdStat), w.If(raise(closedFile)),
		// What that has written there is no secret.
		w.I32Const(scratch), w.I32Const(0), w.I32Const(24), w.MemoryFill)

	// work takes some hundreds of microseconds.
	work := m.Func("", ":", "i",
		w.I32Const(400_000), set(0),
		w.Loop(get(0), w.I32Const(1), w.I32Sub, w.LocalTee(0), w.BrIf(0)))

	secret := w.GlobalGet(gSecret)
	low := w.Cat(secret, w.I32WrapI64)
	// every calls f with each system page's address, of those from one to another, in
	// local at.
	every := func(at int, from, to []byte, f ...[]byte) []byte {
		return w.Cat(from, set(at), w.Block(w.Loop(
			get(at), to, w.I32LtU, w.I32Eqz, w.BrIf(1),
			w.Cat(f...), get(at), w.I32Const(4096), w.I32Add, set(at), w.Br(0))))
	}
	wishes := func(bit int32) []byte { return w.Cat(get(1), w.I32Const(bit), w.I32And) }
	const inPage = 3000 // where in a page it writes

	// stain(conn, wishes) leaves the secret. Locals: an address, pages.
	var stains []byte
	for _, at := range marks {
		stains = w.Cat(stains, w.I32Const(at), secret, w.I64Store(0))
	}
	stain := m.Func("", "ii:", "ii",
		stains,
		secret, w.GlobalSet(gI64), low, w.GlobalSet(gI32), secret, f64OfI64, w.GlobalSet(gF64), low, f32OfI32, w.GlobalSet(gF32),
		wishes(allPages), w.If(every(2, w.I32Const(0), w.I32Const(end), get(2), secret, w.I64Store(inPage))),
		wishes(growBits), w.LocalTee(3), w.If(
			get(3), w.MemoryGrow, w.I32Const(pages), w.I32Ne, w.If(raise(notGrown), w.Return),
			get(3), w.GlobalSet(gGrown),
			w.I32Const(end), get(3), w.I32Const(16), w.I32Shl, w.I32Const(end), w.I32Add, w.Call(zeros),
			every(2, w.I32Const(end), w.Cat(get(3), w.I32Const(16), w.I32Shl, w.I32Const(end), w.I32Add),
				get(2), secret, w.I64Store(inPage), get(2), secret, w.I64Store(4088))),
		wishes(growBeyond), w.If(w.I32Const(1000), w.MemoryGrow, w.I32Const(-1), w.I32Ne, w.If(raise(grewTooFar))),
		wishes(longWork), w.If(w.Call(work)),
		wishes(setTimers), w.If(
			get(0), low, low, w.I32Const(15), w.I32And, w.Call(timer), w.Drop,
			w.I32Const(-1), low, low, w.I32Const(15), w.I32And, w.Call(timer), w.Drop),
		wishes(closeFile), w.If(w.I32Const(1), w.Call(fdClose), w.Drop))

	// check finds all of that as it was left.
	var checks []byte
	for _, at := range marks {
		checks = w.Cat(checks, w.I32Const(at), w.I64Load(0), secret, i64Ne, w.If(w.I32Const(at), w.Call(found)))
	}
	check := m.Func("", ":", "i",
		checks,
		w.GlobalGet(gI64), secret, i64Xor,
		w.GlobalGet(gI32), low, w.I32Xor, w.I64ExtendU, w.I64Or,
		w.GlobalGet(gF64), i64OfF64, secret, i64Xor, w.I64Or,
		w.GlobalGet(gF32), i32OfF32, low, w.I32Xor, w.I64ExtendU, w.I64Or,
		w.GlobalGet(gGlobals), w.I64Or, w.GlobalSet(gGlobals),
		w.MemorySize, w.GlobalGet(gGrown), w.I32Const(pages), w.I32Add, w.I32Ne, w.If(raise(wrongSize)),
		every(0, w.I32Const(end), w.Cat(w.GlobalGet(gGrown), w.I32Const(16), w.I32Shl, w.I32Const(end), w.I32Add),
			get(0), w.I64Load(inPage), secret, i64Ne, w.If(get(0), w.Call(found))))

	// tell(conn) sends the report.
	guess := func(handle ...[]byte) []byte {
		return w.Cat(w.Cat(handle...), w.I32Const(abi.ShutdownMicroprocess), w.Call(control), w.I32Const(int32(abi.BadHandle)), w.I32Ne, w.If(raise(foreignHandle)))
	}
	tell := m.Func("", "i:", "",
		guess(get(0), w.I32Const(1), w.I32Add), guess(get(0), w.I32Const(1<<20), w.I32Xor), guess(w.I32Const(0)),
		w.I32Const(report), secret, w.I64Store(0),
		w.I32Const(report), w.GlobalGet(gDirtyAt), w.I64Store(8),
		w.I32Const(report), w.GlobalGet(gDirty), w.I64Store(16),
		w.I32Const(report), w.GlobalGet(gGlobals), w.I64Store(24),
		w.I32Const(report), w.GlobalGet(gFlags), w.I32Store(32),
		w.I32Const(report), w.GlobalGet(gReseeds), w.I32Store(36),
		w.I32Const(report), w.GlobalGet(gNonce), w.I64Store(40),
		w.I32Const(report), get(0), w.I32Const(abi.InfoPeer), w.I32Const(report+56), w.I32Const(reportSize-56), w.Call(info), w.I32Store(48),
		w.I32Const(report), w.GlobalGet(gFired), w.I32Store(52),
		get(0), w.I32Const(report), w.I32Const(reportSize), w.Call(send), w.Drop)

	recurse := m.Func("", ":", "")
	m.Func("", ":", "", w.Call(recurse+1))

	if k.reseeds {
		m.Func("csa_reseed", ":", "",
			w.I32Const(0), w.Call(examine),
			w.GlobalGet(gReseeds), w.I32Const(1), w.I32Add, w.GlobalSet(gReseeds),
			w.I32Const(scratch), w.I32Const(8), w.Call(random), w.Drop,
			w.I32Const(scratch), w.I64Load(0), w.GlobalSet(gNonce))
	}
	if k.opens {
		m.Func("csa_open", "i:i", "", w.I32Const(0), w.Call(examine), w.I32Const(0))
	}
	m.Func("csa_timer", "ii:", "",
		get(1), low, w.I32Eq, secret, w.I64Eqz, w.I32Eqz, w.I32And,
		[]byte{0x04, 0x40}, w.GlobalGet(gFired), w.I32Const(1), w.I32Add, w.GlobalSet(gFired),
		[]byte{0x05}, raise(foreignTimer), w.End)
	m.Func("csa_closed", "ii:", "",
		w.I32Const(late), secret, w.I64Const(1), w.I64Or, w.I64Store(0),
		secret, w.GlobalSet(gI64),
		w.GlobalGet(gMode), w.I32Const(doTrapClosed), w.I32Eq, w.If(w.Unreachable),
		w.GlobalGet(gMode), w.I32Const(doSpinClosed), w.I32Eq, w.If(w.Forever()))

	// csa_data(conn, n). Locals: what to do, with which wishes.
	const conn, n, what, with = 0, 1, 2, 3
	when := func(do int32, then ...[]byte) []byte {
		return w.Cat(get(what), w.I32Const(do), w.I32Eq, w.If(w.Cat(then...)))
	}
	say := func(do int32) []byte {
		return w.Cat(get(conn), w.I32Const(do), w.Call(control), w.Drop)
	}
	first := w.Call(examine) // what it looks at when it is told to
	if k.reseeds || k.opens {
		first = w.Drop
	}
	m.Func("csa_data", "ii:i", "ii",
		// Nothing is done before a message is complete.
		get(n), w.I32Const(16), w.I32LtU, w.If(w.I32Const(0), w.Return),
		get(n), w.I32Const(w.WindowAt), w.I32Load(0), w.I32LtU, w.If(w.I32Const(0), w.Return),
		w.I32Const(w.WindowAt), w.I32Load8U(4), set(what),
		w.I32Const(w.WindowAt), w.I64Load(0), w.I64Const(40), i64ShrU, w.I32WrapI64, set(with),
		when(doDump,
			get(conn), w.I32Const(0), w.I32Const(w.WindowAt), w.Call(send), w.Drop,
			get(conn), w.I32Const(w.WindowAt+w.WindowSize), w.I32Const(end-w.WindowAt-w.WindowSize), w.Call(send), w.Drop,
			say(abi.ProducerFinished), get(n), w.Return),
		when(doStain,
			get(with), w.I32Const(longWork), w.I32And, w.If(w.Call(work)),
			get(n), first,
			w.I32Const(w.WindowAt), w.I64Load(8), w.GlobalSet(gSecret),
			get(conn), get(with), w.Call(stain), get(conn), w.Call(tell), get(n), w.Return),
		get(with), w.I32Const(longWork), w.I32And, w.If(w.Call(work)),
		w.I32Const(w.WindowAt), w.I64Load(8), secret, i64Ne, w.If(w.I32Const(w.WindowAt+8), w.Call(found)),
		w.Call(check), get(conn), w.Call(tell),
		when(doFinish, say(abi.ProducerFinished)),
		when(doShutdown, say(abi.ShutdownMicroprocess)),
		when(doRefuse, w.I32Const(int32(abi.Denied)), w.Return),
		when(doOverstep, get(n), w.I32Const(1), w.I32Add, w.Return),
		when(doTrap, w.Unreachable),
		when(doBeyond, get(conn), w.I32Const(-8), w.I32Const(64), w.Call(send), w.Drop),
		when(doSpin, w.Forever()),
		when(doRecurse, w.Call(recurse+1)),
		get(what), w.I32Const(doTrapClosed), w.I32Eq, get(what), w.I32Const(doSpinClosed), w.I32Eq, w.I32Or,
		w.If(get(what), w.GlobalSet(gMode), say(abi.ProducerFinished)),
		when(doFlood,
			w.I32Const(32), set(with),
			w.Block(w.Loop(
				get(conn), w.I32Const(w.WindowAt+8), get(n), w.I32Const(8), w.I32Sub, w.Call(send),
				get(n), w.I32Const(8), w.I32Sub, w.I32Ne, w.BrIf(1),
				get(with), w.I32Const(1), w.I32Sub, w.LocalTee(with), w.BrIf(0))),
			say(abi.ProducerFinished)),
		get(n))
	return m.Bytes()
}
