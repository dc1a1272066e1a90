package exceptions

import "bulkhead/plugins/wasm"

// wordGlobal is the global with the word i of what is under way.
func (w *writer) wordGlobal(i uint32) uint32 { return w.flight + 1 + i }

// refGlobal is the global with the reference i of a kind.
func (w *writer) refGlobal(kind int, i uint32) uint32 {
	at := w.flight + 1 + w.words + i
	if kind == 1 {
		at += uint32(w.refs[0])
	}
	return at
}

// globalOf is where a value of those types begins: a global of its own kind.
func (w *writer) globalOf(types []wasm.ValueType, i int) uint32 {
	kind, isRef := reference(types[i])
	n := uint32(0)
	for _, t := range types[:i] {
		k, ref := reference(t)
		switch {
		case isRef && ref && k == kind:
			n++
		case !isRef && !ref:
			n += width(t)
		}
	}
	if isRef {
		return w.refGlobal(kind, n)
	}
	return w.wordGlobal(n)
}

// store takes what an exception carries from the stack.
func (f *body) store(types []wasm.ValueType) {
	for i := len(types) - 1; i >= 0; i-- {
		g := f.w.globalOf(types, i)
		switch types[i] {
		case wasm.F32:
			f.op(i32ReinterpretF32)
			f.indexed(wasm.OpGlobalSet, g)
		case wasm.I64:
			f.storeWords(g)
		case wasm.F64:
			f.op(i64ReinterpretF64)
			f.storeWords(g)
		case wasm.V128:
			f.storeLanes(g, 4)
		default:
			f.indexed(wasm.OpGlobalSet, g)
		}
	}
}

// storeWords takes a number of 64 bits.
func (f *body) storeWords(g uint32) {
	f.indexed(wasm.OpLocalTee, f.scratch())
	f.op(i32WrapI64)
	f.indexed(wasm.OpGlobalSet, g)
	f.indexed(wasm.OpLocalGet, f.scratch())
	f.shifted(i64ShrU)
	f.op(i32WrapI64)
	f.indexed(wasm.OpGlobalSet, g+1)
}

// storeLanes takes a vector whose first lanes go to globals.
func (f *body) storeLanes(g uint32, lanes byte) {
	for i := range lanes {
		if i == 0 {
			f.indexed(wasm.OpLocalTee, f.vectorScratch())
		} else {
			f.indexed(wasm.OpLocalGet, f.vectorScratch())
		}
		f.op(vectors, i32x4ExtractLane, i)
		f.indexed(wasm.OpGlobalSet, g+uint32(i))
	}
}

// load puts what an exception carries on the stack.
func (f *body) load(types []wasm.ValueType) {
	for i, t := range types {
		g := f.w.globalOf(types, i)
		switch t {
		case wasm.I64, wasm.F64:
			f.loadWords(g)
		case wasm.V128:
			f.loadLanes(g, 4)
		default:
			f.indexed(wasm.OpGlobalGet, g)
		}
		switch t {
		case wasm.F32:
			f.op(f32ReinterpretI32)
		case wasm.F64:
			f.op(f64ReinterpretI64)
		}
	}
}

func (f *body) loadWords(g uint32) {
	f.indexed(wasm.OpGlobalGet, g)
	f.op(i64ExtendI32U)
	f.indexed(wasm.OpGlobalGet, g+1)
	f.op(i64ExtendI32U)
	f.shifted(i64Shl)
	f.op(i64Or)
}

func (f *body) loadLanes(g uint32, lanes byte) {
	f.indexed(wasm.OpGlobalGet, g)
	f.op(vectors, i32x4Splat)
	for i := byte(1); i < lanes; i++ {
		f.indexed(wasm.OpGlobalGet, g+uint32(i))
		f.op(vectors, i32x4ReplaceLane, i)
	}
}

// shifted appends a shift by 32 bits.
func (f *body) shifted(op wasm.Opcode) {
	f.op(wasm.OpI64Const, 32)
	f.op(op)
}

// keep puts what is under way on the stack as one value: the tag's number and, behind it, the
// words. They are globals in this order.
func (f *body) keep() {
	switch {
	case f.w.exnref == wasm.V128:
		f.loadLanes(f.w.flight, byte(1+f.w.words))
	case f.w.words == 0:
		f.indexed(wasm.OpGlobalGet, f.w.flight)
		f.op(i64ExtendI32U)
	default:
		f.loadWords(f.w.flight)
	}
}

// restore undoes keep.
func (f *body) restore() {
	switch {
	case f.w.exnref == wasm.V128:
		f.storeLanes(f.w.flight, byte(1+f.w.words))
	case f.w.words == 0:
		f.op(i32WrapI64)
		f.indexed(wasm.OpGlobalSet, f.w.flight)
	default:
		f.storeWords(f.w.flight)
	}
}
