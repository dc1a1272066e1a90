package exceptions

import (
	"fmt"
	"slices"
	"strings"

	"bulkhead/plugins/wasm"
)

// unknown is the type of an operand that code has which is never reached.
const unknown wasm.ValueType = 0

// checked is what validation has found in a module that uses exceptions.
type checked struct {
	calls   *calls
	kept    bool  // exceptions are kept as references, or thrown again
	nulls   []int // where in the code section an exnref is asked whether it is null
	rethrow []bool
	mayRef  bool // code takes references to functions
}

// block is a block that is open, as validation sees it.
type block struct {
	op          wasm.Opcode
	takes       []wasm.ValueType
	makes       []wasm.ValueType
	height      int  // of the stack below it
	unreachable bool // from here on
	escapes     bool // an exception that is thrown here may leave the function
	clause      int  // of a legacy catch: its number in the module
}

// label is what a branch to the block carries.
func (b *block) label() []wasm.ValueType {
	if b.op == wasm.OpLoop {
		return b.takes
	}
	return b.makes
}

// validator checks one function after the other.
type validator struct {
	m      *wasm.Module
	s      wasm.Instructions
	stack  []wasm.ValueType
	blocks []block
	locals []wasm.ValueType
	err    error
	work   int // operands that were carried
	most   int
	base   int // where the function in hand begins in the code section
	table  bool
	out    *checked
	index  uint32 // of the function in hand
}

// check validates all functions of a module, and what else of it has to do with exceptions.
func check(m *wasm.Module) (*checked, error) {
	out := &checked{calls: newCalls(m)}
	v := &validator{m: m, out: out}
	for i := range m.Imports {
		i := &m.Imports[i]
		if i.Kind == wasm.Global && i.Value == wasm.ExnRef {
			return nil, &wasm.SyntaxError{What: fmt.Sprintf("the import %q is a global of the type exnref, which the host has none of", i.Module+"."+i.Name)}
		}
	}
	for i := range m.Tags() {
		if hasExnRef(m.TagType(uint32(i))) {
			return nil, &wasm.SyntaxError{What: fmt.Sprintf("its tag %d carries an exnref, which is not supported", i)}
		}
	}
	if err := outside(m, out.calls); err != nil {
		return nil, err
	}
	s := m.Section(wasm.CodeSection)
	if s == nil {
		return out, nil
	}
	v.most = MaxWork*len(s.Content) + MinWork
	r := wasm.Source{Bytes: s.Content}
	for i := range r.U32() {
		size := int(r.U32())
		v.index, v.base = uint32(m.Imported(wasm.Function))+i, r.Next
		if v.function(r.Take(size)); v.err != nil {
			return nil, &wasm.SyntaxError{Offset: s.Offset + v.base + v.s.Start, What: fmt.Sprintf("function %d: %v", v.index, v.err)}
		}
	}
	if v.table && v.legacy() {
		return nil, &wasm.SyntaxError{What: "it uses both the legacy and the final instructions of exceptions",
			Mend: "build all of it with one (clang: -mllvm -wasm-use-legacy-eh=false for the final ones)"}
	}
	if out.kept {
		for i := range m.Tags() {
			if n := words(m.TagType(uint32(i)).Params); n < 0 || n*4 > MaxKept {
				return nil, &wasm.SyntaxError{What: fmt.Sprintf("its tag %d carries %v, and it keeps exceptions as references or throws them again, for which %d bytes of numbers are the most", i, m.TagType(uint32(i)), MaxKept)}
			}
		}
	}
	return out, nil
}

func (v *validator) legacy() bool {
	_, legacy := v.m.Exceptions()
	return legacy
}

func (v *validator) fail(format string, args ...any) {
	if v.err == nil {
		v.err = fmt.Errorf(format, args...)
	}
}

// function checks the body of one function.
func (v *validator) function(body []byte) {
	t := v.m.FunctionType(v.index)
	v.locals = append(v.locals[:0], t.Params...)
	r := wasm.Source{Bytes: body}
	for n := r.U32(); n > 0; n-- {
		k := r.U32()
		t := wasm.ValueType(r.Take(1)[0])
		for ; k > 0; k-- {
			v.locals = append(v.locals, t)
		}
	}
	v.s = wasm.Instructions{Code: body, Next: r.Next}
	v.stack, v.blocks = v.stack[:0], append(v.blocks[:0], block{op: wasm.OpBlock, makes: t.Results, escapes: true})
	for v.err == nil && v.s.Step() {
		v.instruction()
	}
}

func (v *validator) top() *block { return &v.blocks[len(v.blocks)-1] }

// carry counts operands that the instruction in hand moves or looks at.
func (v *validator) carry(n int) {
	if v.work += n; v.work > v.most {
		v.fail("up to here, the module's calls, branches and blocks carry %d operands, and %d are the most for code of its size", v.work, v.most)
	}
}

func (v *validator) push(types ...wasm.ValueType) {
	if v.stack = append(v.stack, types...); len(v.stack) > MaxHeight {
		v.fail("it has %d operands at a time, and %d are the most", len(v.stack), MaxHeight)
	}
}

// pop takes one operand, of any type.
func (v *validator) pop() wasm.ValueType {
	b := v.top()
	if len(v.stack) == b.height {
		if !b.unreachable {
			v.fail("the instruction %#x lacks an operand", uint16(v.s.Op))
		}
		return unknown
	}
	t := v.stack[len(v.stack)-1]
	v.stack = v.stack[:len(v.stack)-1]
	return t
}

// take takes one operand of a type.
func (v *validator) take(want wasm.ValueType) {
	if t := v.pop(); t != want && t != unknown && want != unknown {
		v.fail("the instruction %#x has an operand of type %v, and it has to be %v", uint16(v.s.Op), t, want)
	}
}

// takeAll takes operands, the last of types on top.
func (v *validator) takeAll(types []wasm.ValueType) {
	v.carry(len(types))
	b := v.top()
	if at := len(v.stack) - len(types); at >= b.height && slices.Equal(v.stack[at:], types) {
		v.stack = v.stack[:at]
		return
	}
	for i := len(types) - 1; i >= 0 && v.err == nil; i-- {
		v.take(types[i])
	}
}

// look is takeAll that leaves them there.
func (v *validator) look(types []wasm.ValueType) {
	v.carry(len(types))
	b := v.top()
	if at := len(v.stack) - len(types); at >= b.height && slices.Equal(v.stack[at:], types) {
		return
	}
	// There are fewer in code that is never reached, or some whose type is not known.
	for i := range types {
		at := len(v.stack) - 1 - i
		want := types[len(types)-1-i]
		if at < b.height {
			if !b.unreachable {
				v.fail("the instruction %#x lacks an operand", uint16(v.s.Op))
			}
			return
		}
		if t := v.stack[at]; t != want && t != unknown {
			v.fail("the instruction %#x has an operand of type %v, and it has to be %v", uint16(v.s.Op), t, want)
			return
		}
	}
}

// unreachable begins code that is never reached.
func (v *validator) unreachable() {
	b := v.top()
	v.stack, b.unreachable = v.stack[:b.height], true
}

func (v *validator) open(op wasm.Opcode, t wasm.FuncType, escapes bool) {
	v.takeAll(t.Params)
	v.blocks = append(v.blocks, block{op: op, takes: t.Params, makes: t.Results, height: len(v.stack), escapes: escapes})
	v.push(t.Params...)
}

// ends checks that the results of the block in hand are there, and nothing else.
func (v *validator) ends() {
	b := v.top()
	v.takeAll(b.makes)
	if len(v.stack) != b.height {
		v.fail("a block leaves %d operands behind that are not its results", len(v.stack)-b.height)
	}
}

// again begins another part of the block in hand, with operands.
func (v *validator) again(op wasm.Opcode, types []wasm.ValueType) {
	v.ends()
	b := v.top()
	b.op, b.unreachable = op, false
	v.carry(len(types))
	v.push(types...)
}

func (v *validator) end() {
	b := *v.top()
	if b.op == wasm.OpIf && !slices.Equal(b.takes, b.makes) {
		v.fail("an if without else has other results than parameters")
	}
	v.ends()
	v.blocks = v.blocks[:len(v.blocks)-1]
	if len(v.blocks) > 0 {
		v.push(b.makes...)
	}
}

// at is the block that a label names.
func (v *validator) at(label uint32) *block { return &v.blocks[len(v.blocks)-1-int(label)] }

// blockType is that of the block in hand.
func blockType(m *wasm.Module, s *wasm.Instructions) wasm.FuncType {
	switch b := s.Code[s.Start+1]; {
	case b == emptyBlock:
		return wasm.FuncType{}
	case b&0xc0 == 0x40:
		return wasm.FuncType{Results: []wasm.ValueType{wasm.ValueType(b)}}
	}
	r := wasm.Source{Bytes: s.Code, Next: s.Start + 1}
	return m.Type(r.U32())
}

// throws notes that an exception may be thrown here: by the instruction itself.
func (v *validator) throws() {
	if v.top().escapes {
		v.out.calls.throws(v.index)
	}
}

func (v *validator) instruction() {
	s := &v.s
	if e := effects[slot(s.Op)]; e != nil {
		for i := len(e.takes) - 1; i >= 0; i-- {
			v.take(wasm.ValueType(e.takes[i]))
		}
		for i := range len(e.makes) {
			v.push(wasm.ValueType(e.makes[i]))
		}
		return
	}
	switch s.Op {
	case wasm.OpUnreachable:
		v.unreachable()
	case wasm.OpBlock, wasm.OpLoop, wasm.OpTry:
		v.open(s.Op, blockType(v.m, s), v.top().escapes)
	case wasm.OpIf:
		v.take(wasm.I32)
		v.open(s.Op, blockType(v.m, s), v.top().escapes)
	case wasm.OpElse:
		v.again(wasm.OpElse, v.top().takes)
	case wasm.OpEnd:
		v.end()
	case wasm.OpTryTable:
		v.table = true
		escapes := v.top().escapes
		s.Catches(func(c wasm.Catch) {
			v.catch(c)
			escapes = escapes && !c.Any
		})
		v.open(s.Op, blockType(v.m, s), escapes)
	case wasm.OpCatch:
		v.again(wasm.OpCatch, v.m.TagType(s.X).Params)
		v.clause()
	case wasm.OpCatchAll:
		v.again(wasm.OpCatchAll, nil)
		v.clause()
	case wasm.OpDelegate:
		v.end()
	case wasm.OpRethrow:
		v.out.kept = true
		v.out.rethrow[v.at(s.X).clause] = true
		v.throws()
		v.unreachable()
	case wasm.OpThrow:
		v.takeAll(v.m.TagType(s.X).Params)
		v.throws()
		v.unreachable()
	case wasm.OpThrowRef:
		v.table, v.out.kept = true, true
		v.take(wasm.ExnRef)
		v.throws()
		v.unreachable()
	default:
		v.plain()
	}
}

// clause numbers the legacy catch that begins.
func (v *validator) clause() {
	v.top().clause = len(v.out.rethrow)
	v.out.rethrow = append(v.out.rethrow, false)
}

// catch checks that a label takes what a catch hands on.
func (v *validator) catch(c wasm.Catch) {
	want := v.at(c.Label).label()
	var has []wasm.ValueType
	if !c.Any {
		has = v.m.TagType(c.Tag).Params
	}
	v.carry(len(has))
	if n := len(has); c.Ref {
		v.out.kept = true
		if len(want) == 0 || want[len(want)-1] != wasm.ExnRef {
			v.fail("a catch hands on an exception to a label that takes %v", wasm.FuncType{Params: want})
			return
		}
		want = want[:len(want)-1]
		has = has[:n:n]
	}
	if !slices.Equal(has, want) {
		v.fail("a catch hands on %v to a label that takes %v", wasm.FuncType{Params: has}, wasm.FuncType{Params: v.at(c.Label).label()})
	}
}

// plain checks instructions that are those of WebAssembly 2.0.
func (v *validator) plain() {
	s := &v.s
	switch s.Op {
	case wasm.OpBr:
		v.takeAll(v.at(s.X).label())
		v.unreachable()
	case wasm.OpBrIf:
		v.take(wasm.I32)
		t := v.at(s.X).label()
		v.takeAll(t)
		v.push(t...)
	case wasm.OpBrTable:
		v.take(wasm.I32)
		arity := -1
		s.Labels(func(l uint32) {
			t := v.at(l).label()
			if arity >= 0 && arity != len(t) {
				v.fail("the labels of a br_table take different numbers of operands")
			}
			if arity = len(t); v.err == nil {
				v.look(t)
			}
		})
		v.unreachable()
	case wasm.OpReturn:
		v.takeAll(v.blocks[0].makes)
		v.unreachable()
	case wasm.OpCall:
		v.call(v.m.FunctionType(s.X))
		v.out.calls.call(v.index, s.X, v.top().escapes)
	case wasm.OpCallIndirect:
		v.take(wasm.I32)
		t := v.m.Type(s.X)
		if element, _ := v.m.Table(s.Y); element != wasm.FuncRef {
			v.fail("it calls functions of the table %d, whose elements are %v", s.Y, element)
		}
		if hasExnRef(t) {
			v.fail("it calls functions of the type %v by reference: those with exnref can only be called by name", t)
		}
		v.call(t)
		v.out.calls.callIndirect(v.index, s.X, v.top().escapes)
	case wasm.OpDrop:
		v.pop()
	case wasm.OpSelect:
		v.take(wasm.I32)
		a, b := v.pop(), v.pop()
		if a == unknown {
			a = b
		}
		if isReference(a) || isReference(b) || b != unknown && a != b {
			v.fail("a select without a type is between %v and %v", b, a)
		}
		v.push(a)
	case wasm.OpSelectTyped:
		t := wasm.ValueType(s.Code[s.Next-1])
		v.take(wasm.I32)
		v.take(t)
		v.take(t)
		v.push(t)
	case wasm.OpLocalGet:
		v.push(v.locals[s.X])
	case wasm.OpLocalSet:
		v.take(v.locals[s.X])
	case wasm.OpLocalTee:
		v.take(v.locals[s.X])
		v.push(v.locals[s.X])
	case wasm.OpGlobalGet:
		v.push(v.m.Global(s.X).Value)
	case wasm.OpGlobalSet:
		g := v.m.Global(s.X)
		if !g.Mutable {
			v.fail("it sets the global %d, which is not mutable", s.X)
		}
		v.take(g.Value)
	case wasm.OpTableGet, wasm.OpTableSet, wasm.OpTableGrow, wasm.OpTableFill:
		v.tables()
	case wasm.OpRefNull:
		v.push(wasm.ValueType(s.Code[s.Start+1]))
	case wasm.OpRefIsNull:
		switch t := v.pop(); {
		case t == wasm.ExnRef:
			v.out.nulls = append(v.out.nulls, v.base+s.Start)
		case t != unknown && !isReference(t):
			v.fail("it asks of an operand of type %v whether it is null", t)
		}
		v.push(wasm.I32)
	case wasm.OpRefFunc:
		v.out.mayRef = true
		v.out.calls.refer(s.X)
		if hasExnRef(v.m.FunctionType(s.X)) {
			v.fail("it takes a reference to the function %d: those with exnref can only be called by name", s.X)
		}
		v.push(wasm.FuncRef)
	default:
		v.fail("it has the instruction %#x, which nobody here knows", uint16(s.Op))
	}
}

func (v *validator) call(t wasm.FuncType) {
	v.takeAll(t.Params)
	v.carry(len(t.Results))
	v.push(t.Results...)
}

func (v *validator) tables() {
	t, _ := v.m.Table(v.s.X)
	switch v.s.Op {
	case wasm.OpTableGet:
		v.take(wasm.I32)
		v.push(t)
	case wasm.OpTableSet:
		v.take(t)
		v.take(wasm.I32)
	case wasm.OpTableGrow:
		v.take(wasm.I32)
		v.take(t)
		v.push(wasm.I32)
	case wasm.OpTableFill:
		v.take(wasm.I32)
		v.take(t)
		v.take(wasm.I32)
	}
}

func hasExnRef(t wasm.FuncType) bool {
	return slices.Contains(t.Params, wasm.ExnRef) || slices.Contains(t.Results, wasm.ExnRef)
}

// words is how many words of 32 bits values take, or a negative number if there are references
// among them.
func words(types []wasm.ValueType) int {
	n := 0
	for _, t := range types {
		switch t {
		case wasm.I32, wasm.F32:
			n++
		case wasm.I64, wasm.F64:
			n += 2
		case wasm.V128:
			n += 4
		default:
			return -1
		}
	}
	return n
}

// tagNames are the names of a module's tags, from its name section or else its exports.
func tagNames(m *wasm.Module) []string {
	const most = 64 // bytes of one
	names := make([]string, m.Tags())
	m.TagNames(func(i uint32, name []byte) bool {
		names[i] = strings.ToValidUTF8(string(name[:min(len(name), most)]), "")
		return true
	})
	for i := range m.Exports {
		if e := &m.Exports[i]; e.Kind == wasm.Tag && names[e.Index] == "" {
			names[e.Index] = strings.ToValidUTF8(e.Name[:min(len(e.Name), most)], "")
		}
	}
	return names
}
