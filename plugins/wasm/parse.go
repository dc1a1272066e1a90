package wasm

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// The numbers of the sections.
const (
	CustomSection = iota
	TypeSection
	ImportSection
	FunctionSection
	TableSection
	MemorySection
	GlobalSection
	ExportSection
	StartSection
	ElementSection
	CodeSection
	DataSection
	DataCountSection
	TagSection
)

var sectionNames = [...]string{"custom", "type", "import", "function", "table", "memory", "global", "export", "start", "element", "code", "data", "data count", "tag"}

// place is where a section stands among the others.
func place(id byte) int {
	switch id {
	case DataCountSection:
		return 2*ElementSection + 1
	case TagSection:
		return 2*MemorySection + 1
	default:
		return 2 * int(id)
	}
}

// Parse reads a module. The result refers to b, which must not be written to as
// long as the result is in use. The error is a *SyntaxError and says what is wrong as
// one clause that goes on from the name of the file.
func Parse(b []byte) (*Module, error) {
	m, r := &Module{data: -1}, &reader{b: b, file: len(b)}
	m.header(r)
	code, last := -1, 0
	for r.left() > 0 {
		start := r.pos
		id := r.byte("a section")
		if int(id) >= len(sectionNames) {
			r.pos = start
			r.fail("it has a section of the unknown kind %d: a proposal that is not supported", id)
			break
		}
		what := "the " + sectionNames[id] + " section"
		size := r.u32("the length of " + what)
		body := r.pos
		r.bytes(size, what)
		if r.err != nil {
			break
		}
		s := &reader{b: b[:r.pos], pos: body, file: -1}
		if id != CustomSection {
			if place(id) <= last {
				r.pos = start
				r.fail("%s is in the wrong place, or there twice", what)
				break
			}
			last = place(id)
		}
		switch id {
		case CustomSection:
			m.custom(s)
		case TypeSection:
			m.typeSection(s)
		case ImportSection:
			m.importSection(s)
		case FunctionSection:
			m.functionSection(s)
		case TableSection:
			m.tableSection(s)
		case MemorySection:
			m.memorySection(s)
		case TagSection:
			m.tagSection(s)
		case GlobalSection:
			m.globalSection(s)
		case ExportSection:
			m.exportSection(s)
		case StartSection:
			m.startSection(s)
		case ElementSection:
			m.elementSection(s)
		case CodeSection:
			code = m.codeSection(s)
		case DataSection:
			m.dataSection(s)
		case DataCountSection:
			m.data = int(s.u32("the number of data segments"))
		}
		if s.err == nil && s.left() > 0 {
			s.fail("%s has %d bytes more than it needs", what, s.left())
		}
		if s.err != nil {
			return nil, s.err
		}
		m.final = m.final || s.exnref
		if id != CustomSection {
			m.sections = append(m.sections, Section{ID: id, Offset: body, Content: b[body:r.pos]})
		}
	}
	if r.err == nil {
		switch {
		case max(code, 0) != m.Functions:
			r.fail("it declares %d functions and has the code of %d", m.Functions, max(code, 0))
		case m.data >= 0 && m.data != m.DataSegments:
			r.fail("it declares %d data segments and has %d", m.data, m.DataSegments)
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	return m, nil
}

func (m *Module) header(r *reader) {
	b := r.b
	switch {
	case len(b) == 0:
		r.fail("it is empty, not a WebAssembly module")
	case len(b) > MaxModule:
		r.fail("it has %d bytes, and %d are the most", len(b), MaxModule)
	case string(b[:min(4, len(b))]) != "\x00asm"[:min(4, len(b))]:
		r.fail("it is not a WebAssembly module: it starts with % x instead of 00 61 73 6d", b[:min(4, len(b))])
		if b[0] == '(' {
			r.err.Mend = "it seems to be the text of one, of which wat2wasm makes a module"
		}
	case len(b) < 8:
		r.short("its header")
	case string(b[4:8]) == "\x0d\x00\x01\x00":
		r.fail("it is a WebAssembly component, not a core module")
		r.err.Mend = ForPreview1
	case binary.LittleEndian.Uint32(b[4:]) != 1:
		r.fail("it is of the unknown WebAssembly version %d", binary.LittleEndian.Uint32(b[4:]))
	default:
		r.pos = 8
	}
}

func (m *Module) custom(r *reader) {
	name := r.name("the name of a custom section")
	if len(m.Custom) < 64 && r.err == nil {
		m.Custom = append(m.Custom, name)
	}
	if name == "producers" && r.err == nil && m.producers == nil {
		m.producers = r.b[r.pos:]
	}
	if name == "name" && r.err == nil && m.names == nil {
		m.nameSection(r.b[r.pos:])
	}
	r.pos += r.left()
}

func (r *reader) valueType(what string) ValueType {
	t := ValueType(r.byte(what))
	r.exnref = r.exnref || t == ExnRef
	if r.err == nil && t.String() == "unknown" {
		r.pos--
		if name, of := unsupportedType(byte(t)); name != "" {
			r.ofProposal(of, "%s is of the type %s", what, name)
		}
		r.fail("%s is of the unknown type %#x", what, byte(t))
	}
	return t
}

func (r *reader) refType(what string) ValueType {
	t := ValueType(r.byte(what))
	if t == ExnRef && what == nullReference {
		r.exnref = true
	} else if r.err == nil && t != FuncRef && t != ExternRef {
		r.pos--
		if name, of := unsupportedType(byte(t)); name != "" {
			r.ofProposal(of, "%s is of the type %s", what, name)
		}
		r.fail("%s is of the type %#x, which is no supported reference", what, byte(t))
	}
	return t
}

func (m *Module) typeSection(r *reader) {
	for n := r.count(MaxTypes, 3, "types"); n > 0 && r.err == nil; n-- {
		if form := r.byte("a type"); form != 0x60 && r.err == nil {
			r.pos--
			switch form {
			case 0x4e, 0x4f, 0x50, 0x5e, 0x5f:
				r.ofProposal(garbageCollection, "a type has the form %#x", form)
			default:
				r.fail("a type has the unknown form %#x", form)
			}
			return
		}
		var t FuncType
		for n := r.count(MaxParams, 1, "parameters"); n > 0 && r.err == nil; n-- {
			t.Params = append(t.Params, r.valueType("a parameter"))
		}
		for n := r.count(MaxParams, 1, "results"); n > 0 && r.err == nil; n-- {
			t.Results = append(t.Results, r.valueType("a result"))
		}
		m.types = append(m.types, t)
	}
}

func (m *Module) typeIndex(r *reader) uint32 {
	i := r.u32("the type of a function")
	if r.err == nil && int(i) >= len(m.types) {
		r.fail("a function has the type %d of %d", i, len(m.types))
		return 0
	}
	return i
}

func (m *Module) importSection(r *reader) {
	for n := r.count(MaxImports, 4, "imports"); n > 0 && r.err == nil; n-- {
		at := r.pos
		i := Import{Module: r.name("the module of an import"), Name: r.name("the name of an import")}
		if i.Module == ReservedModule {
			r.pos = at
			r.fail("it imports %q of the module %q, which is the host's own: call it something else", i.Name, i.Module)
			return
		}
		i.Kind = Kind(r.byte("an import"))
		switch i.Kind {
		case Function:
			t := m.typeIndex(r)
			if r.err != nil {
				return
			}
			m.funcs = append(m.funcs, t)
			i.Type = m.types[t]
		case Table:
			i.Value = r.refType("a table")
			i.Limits = r.limits("a table", 1<<32-1)
			m.tableTypes = append(m.tableTypes, i.Value)
			m.tableLimits = append(m.tableLimits, i.Limits)
		case Memory:
			i.Limits = r.limits("a memory", MaxPages)
			if m.imported[Memory] > 0 {
				r.ofProposal(multiMemory, "it imports a second memory: a use")
			}
		case Global:
			i.Value = r.valueType("a global")
			m.globalTypes = append(m.globalTypes, GlobalType{i.Value, r.mutability()})
			m.globals++
		case Tag:
			r.pos = at
			r.fail("the import %q is a tag, and the host has none to give: link what defines it into the module", i.Module+"."+i.Name)
			return
		default:
			r.fail("the import %q is of the unknown kind %d", i.Module+"."+i.Name, i.Kind)
			return
		}
		m.imported[i.Kind]++
		m.Imports = append(m.Imports, i)
	}
}

func (r *reader) mutability() bool {
	b := r.byte("a global")
	if b > 1 {
		r.pos--
		r.fail("a global is of the unknown mutability %d", b)
	}
	return b == 1
}

func (r *reader) limits(what string, most uint64) (l Limits) {
	at := r.pos
	flag := r.byte(what)
	switch {
	case r.err != nil:
		return l
	case flag&2 != 0 && flag < 4:
		r.pos = at
		r.ofProposal(threads, "%s is shared: a use", what)
		return l
	case flag >= 4 && flag < 8:
		r.pos = at
		r.ofProposal(memory64, "%s has sizes of 64 bits: a use", what)
		return l
	case flag >= 8 && flag < 16:
		r.pos = at
		r.ofProposal(customPages, "%s has pages of another size: a use", what)
		return l
	case flag > 1:
		r.pos = at
		r.fail("%s has limits of the unknown kind %d", what, flag)
		return l
	}
	l.Min = r.u32("the size of " + what)
	if l.HasMax = flag == 1; l.HasMax {
		l.Max = r.u32("the greatest size of " + what)
		if l.Max < l.Min {
			r.fail("%s has the size %d, which is above its greatest size %d", what, l.Min, l.Max)
		}
	}
	if uint64(l.Min) > most || uint64(l.Max) > most {
		r.pos = at
		r.fail("%s has the size %d, and %d is the most", what, max(l.Min, l.Max), most)
	}
	return l
}

func (m *Module) functionSection(r *reader) {
	n := r.count(MaxFunctions, 1, "functions")
	for m.Functions < n && r.err == nil {
		m.funcs = append(m.funcs, m.typeIndex(r))
		m.Functions++
	}
}

func (m *Module) tableSection(r *reader) {
	n := r.count(MaxTables, 3, "tables")
	for sum := uint64(0); n > 0 && r.err == nil; n-- {
		t := r.refType("a table")
		l := r.limits("a table", 1<<32-1)
		if sum += uint64(l.Min); sum > MaxElements && r.err == nil {
			r.fail("its tables have %d elements, and %d are the most", sum, MaxElements)
		}
		m.elements += int(l.bound(MaxGrowth))
		m.Tables = append(m.Tables, l)
		m.tableTypes = append(m.tableTypes, t)
		m.tableLimits = append(m.tableLimits, l)
	}
}

func (m *Module) memorySection(r *reader) {
	const most = 1_000 // one would do, if more were not worth a reason of their own
	for n := r.count(most, 2, "memories"); n > 0 && r.err == nil; n-- {
		if m.imported[Memory]+len(m.Memories) > 0 {
			r.ofProposal(multiMemory, "it has a second memory: a use")
			return
		}
		m.Memories = append(m.Memories, r.limits("a memory", MaxPages))
	}
}

// nullReference is what a ref.null is called, which may be of exnref where nothing else is.
const nullReference = "a null reference"

func (m *Module) tagSection(r *reader) {
	m.final = true
	for n := r.count(MaxTags, 2, "tags"); n > 0 && r.err == nil; n-- {
		at := r.pos
		if attribute := r.byte("a tag"); attribute != 0 && r.err == nil {
			r.pos = at
			r.fail("a tag is of the unknown kind %d", attribute)
		}
		i := r.u32("the type of a tag")
		if r.err != nil {
			return
		}
		if int(i) >= len(m.types) {
			r.pos = at
			r.fail("a tag has the type %d of %d", i, len(m.types))
			return
		}
		t := m.types[i]
		if len(t.Results) > 0 || len(t.Params) > MaxTagParams {
			r.pos = at
			r.fail("a tag has the type %v, and it can only have parameters, of which %d are the most", t, MaxTagParams)
			return
		}
		m.tags = append(m.tags, i)
	}
}

func (m *Module) globalSection(r *reader) {
	n := r.count(MaxGlobals, 4, "globals")
	for m.Globals < n && r.err == nil {
		m.globalTypes = append(m.globalTypes, GlobalType{r.valueType("a global"), r.mutability()})
		m.constant(r, "the value of a global")
		m.Globals++
		m.globals++
	}
}

// declare notes that a function is named outside of code, so that code may take
// a reference to it. A function that there is not is not noted.
func (m *Module) declare(i uint32) {
	if int(i) >= len(m.funcs) {
		return
	}
	if m.declared == nil {
		m.declared = make([]bool, len(m.funcs))
	}
	m.declared[i] = true
}

// constant passes a constant expression: one instruction, and an end.
func (m *Module) constant(r *reader, what string) {
	at := r.pos
	switch op := r.byte(what); Opcode(op) {
	case OpEnd:
		r.pos = at
		r.fail("%s is made by no instruction", what)
	case OpI32Const:
		r.signed(32, what)
	case OpI64Const:
		r.signed(64, what)
	case OpF32Const:
		r.bytes(4, what)
	case OpF64Const:
		r.bytes(8, what)
	case OpGlobalGet:
		if i := r.u32(what); r.err == nil && int(i) >= m.imported[Global] {
			r.pos = at
			r.fail("%s is the global %d, and only the %d that are imported may be used there", what, i, m.imported[Global])
		}
	case OpRefFunc:
		i := r.u32(what)
		if r.err == nil && int(i) >= len(m.funcs) {
			r.pos = at
			r.fail("%s is the function %d of %d", what, i, len(m.funcs))
		}
		m.declare(i)
	case OpRefNull:
		r.refType(nullReference)
	case prefixVector:
		if b := r.byte(what); b != 0x0c && r.err == nil {
			r.pos = at
			r.fail("%s is made by the instruction 0xfd %#x, which is not constant", what, b)
		}
		r.bytes(16, what)
	default:
		if r.err == nil {
			r.pos = at
			if name, of := unsupported(op); name != "" {
				r.ofProposal(of, "%s is made by the instruction %s", what, name)
			}
			r.fail("%s is made by the instruction %#x, which is not constant", what, op)
		}
	}
	if end := r.byte(what); Opcode(end) != OpEnd && r.err == nil {
		r.pos--
		switch end {
		case 0x23, 0x41, 0x42, 0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e:
			r.ofProposal(extendedConstants, "%s is made by several instructions: a use", what)
		}
		r.fail("%s is made by more than one instruction", what)
	}
}

func (m *Module) exportSection(r *reader) {
	n := r.count(MaxExports, 3, "exports")
	seen := make(map[string]bool)
	totals := [5]int{len(m.funcs), m.imported[Table] + len(m.Tables), m.imported[Memory] + len(m.Memories), m.globals, len(m.tags)}
	for ; n > 0 && r.err == nil; n-- {
		at := r.pos
		e := Export{Name: r.name("the name of an export")}
		e.Kind = Kind(r.byte("an export"))
		e.Index = r.u32("an export")
		switch {
		case r.err != nil:
			return
		case e.Kind > Tag:
			r.fail("the export %q is of the unknown kind %d", e.Name, e.Kind)
			return
		case strings.HasPrefix(e.Name, ReservedPrefix):
			r.pos = at
			r.fail("the export %q has a name that is the host's own: call it something that does not start with %q", e.Name, ReservedPrefix)
			return
		case seen[e.Name]:
			r.fail("the export %q is there twice", e.Name)
			return
		case uint64(e.Index) >= uint64(totals[e.Kind]):
			r.fail("the export %q is the %v %d of %d", e.Name, e.Kind, e.Index, totals[e.Kind])
			return
		}
		if e.Kind == Function {
			e.Type = m.types[m.funcs[e.Index]]
			m.declare(e.Index)
		}
		seen[e.Name] = true
		m.Exports = append(m.Exports, e)
	}
}

func (m *Module) startSection(r *reader) {
	const what = "the start function"
	at := r.pos
	i := r.u32(what)
	switch {
	case r.err != nil:
		return
	case int(i) >= len(m.funcs):
		r.pos = at
		r.fail("%s is the function %d of %d", what, i, len(m.funcs))
		return
	}
	if t := m.types[m.funcs[i]]; len(t.Params)+len(t.Results) > 0 {
		r.pos = at
		r.fail("%s %d has the type %v, and it can only be ()", what, i, t)
		return
	}
	m.Start, m.StartFunction = true, i
}

func (m *Module) elementSection(r *reader) {
	n := r.count(MaxSegments, 3, "element segments")
	for m.ElementSegments < n && r.err == nil {
		const what = "an element segment"
		at := r.pos
		flags := r.u32(what)
		if flags > 7 {
			r.pos = at
			r.fail("%s is of the unknown kind %d", what, flags)
		}
		// The lowest bit means passive, or declarative with the next one.
		passive, explicit, expressions := flags&1 != 0, flags&2 != 0, flags&4 != 0
		if !passive {
			i := uint32(0)
			if explicit {
				i = r.u32(what)
			}
			if int(i) >= len(m.tableTypes) && r.err == nil {
				r.pos = at
				r.fail("%s is for the table %d of %d", what, i, len(m.tableTypes))
			}
			m.constant(r, "the offset of "+what)
		}
		if passive || explicit {
			if expressions {
				r.refType(what)
			} else if kind := r.byte(what); kind != 0 {
				r.fail("%s has elements of the unknown kind %d", what, kind)
			}
		}
		size := 1
		if expressions {
			size = 2
		}
		k := r.count(MaxElements-m.inSegments, size, "elements")
		m.elementLengths = append(m.elementLengths, uint32(k))
		for ; k > 0 && r.err == nil; k-- {
			if expressions {
				m.constant(r, "an element")
			} else {
				at := r.pos
				i := r.u32("an element")
				if int(i) >= len(m.funcs) && r.err == nil {
					r.pos = at
					r.fail("an element is the function %d of %d", i, len(m.funcs))
				}
				m.declare(i)
			}
			m.inSegments++
		}
		m.ElementSegments++
	}
}

func (m *Module) codeSection(r *reader) int {
	defer func() { m.declared = nil }()
	n := r.count(MaxFunctions, 1, "functions")
	c := checker{m: m, tables: uint32(len(m.tableTypes)), memory: m.imported[Memory]+len(m.Memories) > 0,
		most: MaxAllLocals + uint64(r.left()/8)}
	for i := 0; i < n && r.err == nil; i++ {
		const what = "the code of a function"
		at := r.pos
		size := r.u32("the length of " + what)
		if size > MaxBody {
			r.pos = at
			r.fail("%s has %d bytes, and %d are the most", what, size, MaxBody)
		}
		start := r.pos
		r.bytes(size, what)
		index := m.imported[Function] + i
		switch {
		case r.err != nil:
			r.err.What = fmt.Sprintf("function %d: %s", index, r.err.What)
		case index >= len(m.funcs):
			r.pos = at
			r.fail("it declares %d functions and has the code of %d", m.Functions, n)
		default:
			r.err = c.functionBody(r.b[:r.pos], start, index)
		}
	}
	return n
}

func (m *Module) dataSection(r *reader) {
	n := r.count(MaxSegments, 2, "data segments")
	for m.DataSegments < n && r.err == nil {
		const what = "a data segment"
		flags := r.u32(what)
		if flags > 2 {
			r.fail("%s is of the unknown kind %d", what, flags)
		}
		if flags == 2 {
			if i := r.u32(what); i != 0 && r.err == nil {
				r.ofProposal(multiMemory, "%s is for the memory %d: a use", what, i)
			}
		}
		if flags != 1 && m.imported[Memory]+len(m.Memories) == 0 && r.err == nil {
			r.fail("%s is for the memory 0 of 0", what)
		}
		if flags != 1 {
			m.constant(r, "the offset of "+what)
		}
		n := r.u32("the length of " + what)
		r.bytes(n, what)
		m.dataLengths = append(m.dataLengths, n)
		m.DataSegments++
	}
}
