package meter

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"bulkhead/plugins/wasm"
)

// MaxStateGlobals is how many globals a module may write to for its state to be
// taken and put back: each costs 8 bytes an instance, and some nanoseconds whenever an
// engine's instance goes over from one guest to another. Compilers make one for the
// stack pointer, and AssemblyScript one for each static variable.
const MaxStateGlobals = 1_000

// State is what an instance of a module changes while it runs, beside its memory.
type State struct {
	// Globals are the globals that the code writes to, by index, in order. All of
	// them are numbers of at most 64 bits, and the module that Rewrite makes exports
	// each under the name of GlobalExport.
	Globals []uint32
	// Hidden says why an instance cannot be copied, since what it changes cannot be
	// read or written from outside: each as one clause that goes on from "it". Then
	// Globals is empty.
	Hidden []string
	// Segments says that the code refers to data segments, which therefore have to be
	// there.
	Segments bool
}

// GlobalExport is the name under which a rewritten module exports a global that
// it writes to.
func GlobalExport(index uint32) string {
	return wasm.ReservedPrefix + "global." + strconv.FormatUint(uint64(index), 10)
}

// StateOf finds what a module's code can change. It reads all of the code.
func StateOf(m *wasm.Module) State {
	var written map[uint32]bool
	var hidden [len(hiddenChanges)]bool
	var state State
	eachInstruction(m, func(s *wasm.Instructions) {
		switch s.Op {
		case wasm.OpMemoryInit:
			state.Segments = true
		case wasm.OpGlobalSet:
			if written == nil {
				written = make(map[uint32]bool)
			}
			written[s.X] = true
		case wasm.OpTableSet, wasm.OpTableInit, wasm.OpTableCopy, wasm.OpTableGrow, wasm.OpTableFill:
			hidden[writesTables] = true
		case wasm.OpDataDrop:
			state.Segments = true
			hidden[dropsSegments] = true
		case wasm.OpElemDrop:
			hidden[dropsSegments] = true
		}
	})
	types := globalTypes(m)
	for i, t := range types {
		index := uint32(i)
		if !written[index] {
			continue
		}
		switch t {
		case wasm.V128:
			hidden[writesVectors] = true
		case wasm.FuncRef, wasm.ExternRef:
			hidden[writesReferences] = true
		}
		state.Globals = append(state.Globals, index)
	}
	for i, is := range hidden {
		if is {
			state.Hidden = append(state.Hidden, hiddenChanges[i])
		}
	}
	if n := len(state.Globals); n > MaxStateGlobals {
		state.Hidden = append(state.Hidden, fmt.Sprintf("writes to %d globals, and %d are the most", n, MaxStateGlobals))
	}
	if state.Hidden != nil {
		state.Globals = nil
	}
	return state
}

// The places in hiddenChanges.
const (
	writesTables = iota
	dropsSegments
	writesVectors
	writesReferences
)

var hiddenChanges = [...]string{
	writesTables:     "writes to a table",
	dropsSegments:    "drops segments",
	writesVectors:    "writes to a global of type v128",
	writesReferences: "writes to a global that holds a reference",
}

// eachInstruction calls f for every instruction of a module.
func eachInstruction(m *wasm.Module, f func(*wasm.Instructions)) {
	s := m.Section(wasm.CodeSection)
	if s == nil {
		return
	}
	r := wasm.Source{Bytes: s.Content}
	var i wasm.Instructions // one for all: in the loop each turn would have its own on the heap
	for n := r.U32(); n > 0; n-- {
		_, code := splitBody(r.Take(int(r.U32())))
		for i = (wasm.Instructions{Code: code}); i.Step(); {
			f(&i)
		}
	}
}

// globalTypes are the types of a module's own globals, by index; what is imported
// has none.
func globalTypes(m *wasm.Module) []wasm.ValueType {
	types := make([]wasm.ValueType, m.Imported(wasm.Global), m.Imported(wasm.Global)+m.Globals)
	s := m.Section(wasm.GlobalSection)
	if s == nil {
		return types
	}
	r := wasm.Source{Bytes: s.Content}
	for n := r.U32(); n > 0; n-- {
		types = append(types, wasm.ValueType(r.Take(2)[0]))
		skipConstant(&r)
	}
	return types
}

// Segment is what stands in the memory of a new instance.
type Segment struct {
	Offset uint32
	Bytes  []byte // the module's
}

// ActiveData are the active data segments of a module, in order. ok is false when
// where one goes depends on an import.
func ActiveData(m *wasm.Module) (data []Segment, ok bool) {
	s := m.Section(wasm.DataSection)
	if s == nil {
		return nil, true
	}
	r := wasm.Source{Bytes: s.Content}
	for n := r.U32(); n > 0; n-- {
		flags := r.U32()
		if flags&1 != 0 {
			r.Take(int(r.U32()))
			continue
		}
		if flags&2 != 0 {
			r.U32() // the memory
		}
		offset, constant := i32Constant(&r)
		if !constant {
			return nil, false
		}
		data = append(data, Segment{offset, r.Take(int(r.U32()))})
	}
	return data, true
}

// mostGap is how many zeros Compact writes to make one segment of two.
const mostGap = 64

// Compact copies segments, and makes one of those that follow closely on each other:
// a compiler that leaves out zeros makes tens of thousands of them. Written in order to
// a memory of zeros, they come to the same.
func Compact(data []Segment) []Segment {
	runs := 0
	eachRun(data, func(int, int) { runs++ })
	compact := make([]Segment, 0, runs)
	eachRun(data, func(from, to int) {
		first, last := data[from], data[to-1]
		b := make([]byte, int(last.Offset-first.Offset)+len(last.Bytes))
		for _, d := range data[from:to] {
			copy(b[d.Offset-first.Offset:], d.Bytes)
		}
		compact = append(compact, Segment{first.Offset, b})
	})
	return compact
}

// eachRun calls f for stretches of segments that can be one. Zeros between them harm
// nothing as long as no segment before goes beyond where they begin.
func eachRun(data []Segment, f func(from, to int)) {
	end := func(d Segment) uint64 { return uint64(d.Offset) + uint64(len(d.Bytes)) }
	from := 0
	var highest uint64
	for i, d := range data {
		if i > from {
			before := end(data[i-1])
			if at := uint64(d.Offset); at < before || at > before+mostGap || before < highest {
				f(from, i)
				from = i
			}
		}
		highest = max(highest, end(d))
	}
	if len(data) > 0 {
		f(from, len(data))
	}
}

// emptiedData is the content of the data section with nothing in its active
// segments.
func emptiedData(content []byte) []byte {
	r := wasm.Source{Bytes: content}
	n := r.U32()
	b := binary.AppendUvarint(nil, uint64(n))
	for ; n > 0; n-- {
		at := r.Next
		flags := r.U32()
		if flags&1 != 0 {
			r.Take(int(r.U32()))
			b = append(b, r.Bytes[at:r.Next]...)
			continue
		}
		if flags&2 != 0 {
			r.U32()
		}
		skipConstant(&r)
		b = append(append(b, r.Bytes[at:r.Next]...), 0)
		r.Take(int(r.U32()))
	}
	return b
}

// skipConstant goes behind a constant expression.
func skipConstant(r *wasm.Source) {
	s := wasm.Instructions{Code: r.Bytes, Next: r.Next}
	s.Step()
	r.Next = s.Next + 1
}

// i32Constant reads a constant expression, if it is an i32.const.
func i32Constant(r *wasm.Source) (v uint32, ok bool) {
	s := wasm.Instructions{Code: r.Bytes, Next: r.Next}
	s.Step()
	if s.Op == wasm.OpI32Const {
		v, ok = uint32(signed(r.Bytes[s.Start+1:s.Next])), true
	}
	r.Next = s.Next + 1
	return v, ok
}

// signed reads a number as the format writes signed ones.
func signed(b []byte) (v int64) {
	shift := 0
	for _, c := range b {
		v |= int64(c&0x7f) << shift
		shift += 7
		if c&0x80 == 0 {
			if c&0x40 != 0 && shift < 64 {
				v |= -1 << shift
			}
			break
		}
	}
	return v
}
