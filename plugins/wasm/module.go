package wasm

import (
	"bytes"
	"encoding/binary"
)

// ValueType is the type of a value, as the format encodes it.
type ValueType byte

// The value types of WebAssembly 2.0.
const (
	I32       ValueType = 0x7f
	I64       ValueType = 0x7e
	F32       ValueType = 0x7d
	F64       ValueType = 0x7c
	V128      ValueType = 0x7b
	FuncRef   ValueType = 0x70
	ExternRef ValueType = 0x6f
)

// ExnRef is the type of a caught exception, of the proposal for exceptions.
const ExnRef ValueType = 0x69

// String is the name of the type in WebAssembly text, such as "i32".
func (t ValueType) String() string {
	switch t {
	case I32:
		return "i32"
	case I64:
		return "i64"
	case F32:
		return "f32"
	case F64:
		return "f64"
	case V128:
		return "v128"
	case FuncRef:
		return "funcref"
	case ExternRef:
		return "externref"
	case ExnRef:
		return "exnref"
	}
	return "unknown"
}

// FuncType is the signature of a function.
type FuncType struct {
	Params, Results []ValueType
}

// String writes the signature as "(i32, i64) -> i32".
func (t FuncType) String() string {
	s := "("
	for i, p := range t.Params {
		if i > 0 {
			s += ", "
		}
		s += p.String()
	}
	s += ")"
	for i, r := range t.Results {
		if i == 0 {
			s += " -> "
		} else {
			s += ", "
		}
		s += r.String()
	}
	return s
}

// Equal reports whether both are the same signature.
func (t FuncType) Equal(u FuncType) bool {
	return string(types(t.Params)) == string(types(u.Params)) && string(types(t.Results)) == string(types(u.Results))
}

// Key is the same for the same signature, and for no other.
func (t FuncType) Key() []byte {
	b := binary.AppendUvarint(nil, uint64(len(t.Params)))
	return append(append(b, types(t.Params)...), types(t.Results)...)
}

func types(t []ValueType) []byte {
	b := make([]byte, len(t))
	for i := range t {
		b[i] = byte(t[i])
	}
	return b
}

// Kind is what an import or export is.
type Kind byte

// The kinds of imports and exports.
const (
	Function Kind = iota
	Table
	Memory
	Global
	Tag // of exceptions: exported at most
)

// String is the name of the kind: "function", "table", "memory", "global" or "tag".
func (k Kind) String() string {
	switch k {
	case Function:
		return "function"
	case Table:
		return "table"
	case Memory:
		return "memory"
	case Global:
		return "global"
	case Tag:
		return "tag"
	}
	return "unknown"
}

// Import is one thing that a module wants from outside.
type Import struct {
	Module, Name string
	Kind         Kind
	Type         FuncType  // of a function
	Value        ValueType // of a global, or of a table's elements
	Limits       Limits    // of a table or memory
}

// Export is one thing that a module shows.
type Export struct {
	Name  string
	Kind  Kind
	Index uint32   // among the things of its kind, the imported ones first
	Type  FuncType // of a function
}

// Limits are the sizes of a memory, in pages, or of a table, in elements.
type Limits struct {
	Min, Max uint32
	HasMax   bool // else Max is zero, and the size is not bounded
}

// bound is the greatest size of what may grow by growth at most.
func (l Limits) bound(growth uint64) uint32 {
	n := uint32(min(uint64(l.Min)+growth, 1<<32-1))
	if l.HasMax {
		n = min(n, l.Max)
	}
	return n
}

// Section is one section of the file, by its number in the format. Content are
// the file's bytes, behind the section's length, and begin at Offset of the file.
type Section struct {
	ID      byte
	Offset  int
	Content []byte
}

// Module is what [Parse] found in a file. It belongs to the caller, and refers to
// the bytes of the file. What only reads it may be called by many goroutines at
// a time.
type Module struct {
	Imports  []Import
	Exports  []Export
	Memories []Limits // the module's own
	Tables   []Limits // the module's own
	// Functions, Globals, DataSegments and ElementSegments are how many the
	// module itself has, imports not counted.
	Functions, Globals            int
	DataSegments, ElementSegments int
	// Start reports whether a function runs at instantiation, and StartFunction
	// which one, imports counted.
	Start         bool
	StartFunction uint32
	// Custom are the names of the custom sections, the first 64 of them.
	Custom []string

	types       []FuncType
	funcs       []uint32 // the type of each function, imports first
	tableTypes  []ValueType
	tableLimits []Limits
	imported    [4]int // of each kind
	globals     int    // all
	data        int    // as the data count section says; -1 without one
	sections    []Section
	elements    int // that its tables may have
	inSegments  int // elements
	names       []byte
	tagNames    []byte
	tags        []uint32 // the type of each
	globalTypes []GlobalType
	final       bool   // it uses exceptions, in the one encoding
	legacy      bool   // and the other
	producers   []byte // of the custom section
	declared    []bool // of each function; nil when none is, and behind the code

	dataLengths, elementLengths []uint32 // of each segment
}

// Sections are the module's sections but the custom ones, in the order of the
// file. They are to be read only.
func (m *Module) Sections() []Section { return m.sections }

// Imported is how many things of a kind the module imports.
func (m *Module) Imported(k Kind) int { return m.imported[k] }

// Types is how many signatures the module lists.
func (m *Module) Types() int { return len(m.types) }

// Type is the signature of that number, which has to be below Types.
func (m *Module) Type(i uint32) FuncType { return m.types[i] }

// FunctionType is the signature of a function, imports counted.
func (m *Module) FunctionType(i uint32) FuncType { return m.types[m.funcs[i]] }

// FunctionTypeIndex is the number of that signature.
func (m *Module) FunctionTypeIndex(i uint32) uint32 { return m.funcs[i] }

// Table is the type of the elements of a table and its sizes, imports counted.
func (m *Module) Table(i uint32) (ValueType, Limits) { return m.tableTypes[i], m.tableLimits[i] }

// Tags is how many tags of exceptions the module has.
func (m *Module) Tags() int { return len(m.tags) }

// TagType is the signature of a tag, which has no results. i has to be below Tags.
func (m *Module) TagType(i uint32) FuncType { return m.types[m.tags[i]] }

// Exceptions reports whether the module uses exceptions, which the engine does not run: tags, the
// type exnref, or instructions; and whether there are some of the legacy encoding among these.
func (m *Module) Exceptions() (used, legacy bool) { return m.final || m.legacy, m.legacy }

// GlobalType is the type of a global.
type GlobalType struct {
	Value   ValueType
	Mutable bool
}

// Global is the type of a global, imports counted.
func (m *Module) Global(i uint32) GlobalType { return m.globalTypes[i] }

// GlobalCount is how many globals there are, imports counted.
func (m *Module) GlobalCount() int { return m.globals }

// DataLength is how many bytes a data segment has.
func (m *Module) DataLength(i uint32) uint32 { return m.dataLengths[i] }

// ElementLength is how many elements an element segment has.
func (m *Module) ElementLength(i uint32) uint32 { return m.elementLengths[i] }

// BuiltBy reports whether the module's list of producers, if it has one, names the
// tool. Nothing vouches for that list.
func (m *Module) BuiltBy(tool string) bool { return bytes.Contains(m.producers, []byte(tool)) }

// Export returns the export of that name, or nil.
func (m *Module) Export(name string) *Export {
	for i := range m.Exports {
		if m.Exports[i].Name == name {
			return &m.Exports[i]
		}
	}
	return nil
}

// Footprint is about how many bytes an instance takes in the host, beyond its
// memory and what every instance takes, for tables, globals and segments.
func (m *Module) Footprint() int {
	const reference, instance, global, segment, function = 8, 40, 88, 24, 40
	return m.elements*reference + m.inSegments*instance + m.Globals*global + m.DataSegments*segment + len(m.Imports)*function
}
