package exceptions

import (
	"encoding/binary"
	"fmt"

	"bulkhead/plugins/wasm"
)

const emptyBlock = 0x40

// writer writes one module anew.
type writer struct {
	m       *wasm.Module
	o       Options
	found   *checked
	may     []bool // throw: functions, and behind them signatures
	exnref  wasm.ValueType
	flight  uint32 // the global with the tag under way
	words   uint32 // how many globals behind it hold what it carries: words of 32 bits
	refs    [2]int // and behind those, references: to functions, and external ones
	bare    []bool // functions that only the host calls, which trap by themselves
	wrapped []uint32
	wrapper map[uint32]uint32 // the place in wrapped
	blocks  [][]wasm.ValueType
	blockOf map[string]uint32 // the type of a block with these parameters
	limit   int
	out     []byte
	code    []byte
	origins Origins

	nulls   []int // what is left of checked.nulls
	clauses int
}

func lower(m *wasm.Module, c *checked, o Options) (*Lowered, error) {
	c.calls.spread()
	w := &writer{m: m, o: o, found: c, may: c.calls.may, exnref: wasm.I64, nulls: c.nulls,
		flight: uint32(m.GlobalCount()), wrapper: make(map[uint32]uint32), blockOf: make(map[string]uint32)}
	for i := range m.Tags() {
		w.carries(m.TagType(uint32(i)).Params)
	}
	if w.words > 1 {
		w.exnref = wasm.V128
	}
	total := 0
	for _, s := range m.Sections() {
		total += len(s.Content) + 6
	}
	w.limit = MaxGrowth*total + MinGrowth
	w.findWrapped()
	if err := w.module(total); err != nil {
		return nil, err
	}
	lowered, err := wasm.Parse(w.out)
	if err == nil {
		if used, _ := lowered.Exceptions(); used {
			err = &wasm.SyntaxError{What: "it has a reference to an exception where there can be none"}
		}
	}
	if err != nil {
		if e, ok := err.(*wasm.SyntaxError); ok {
			err = &wasm.SyntaxError{What: "with its exceptions rewritten, " + e.What}
		}
		return nil, err
	}
	return &Lowered{Module: lowered, Code: w.out, Used: true, Flight: w.flight, Tags: tagNames(m), Origins: w.origins}, nil
}

// carries makes room for what a tag carries.
func (w *writer) carries(types []wasm.ValueType) {
	n := uint32(0)
	var refs [2]int
	for _, t := range types {
		if k, ok := reference(t); ok {
			refs[k]++
		} else {
			n += width(t)
		}
	}
	w.words = max(w.words, n)
	for k := range refs {
		w.refs[k] = max(w.refs[k], refs[k])
	}
}

// reference is which kind of reference a type is that comes out as it is.
func reference(t wasm.ValueType) (kind int, ok bool) {
	switch t {
	case wasm.FuncRef:
		return 0, true
	case wasm.ExternRef:
		return 1, true
	}
	return 0, false
}

// width is how many words of 32 bits a number takes.
func width(t wasm.ValueType) uint32 {
	switch t {
	case wasm.I32, wasm.F32:
		return 1
	case wasm.V128:
		return 4
	}
	return 2
}

// findWrapped finds the functions that the host calls and that may throw. Where nobody else calls
// one, it traps instead; for the others there is a function that calls it and then traps.
func (w *writer) findWrapped() {
	w.bare = make([]bool, w.found.calls.functions)
	one := func(i uint32) {
		switch _, known := w.wrapper[i]; {
		case !w.may[i] || known:
		case !w.found.calls.called[i]:
			w.bare[i] = true
		default:
			w.wrapper[i] = uint32(len(w.wrapped))
			w.wrapped = append(w.wrapped, i)
		}
	}
	for i := range w.m.Exports {
		if e := &w.m.Exports[i]; e.Kind == wasm.Function {
			one(e.Index)
		}
	}
	if w.m.Start {
		one(w.m.StartFunction)
	}
}

// host is the function that the host has to call instead of one.
func (w *writer) host(i uint32) uint32 {
	if k, ok := w.wrapper[i]; ok {
		return uint32(w.found.calls.functions) + k
	}
	return i
}

// module writes all sections. The code comes first, since it says which types it needs.
func (w *writer) module(total int) error {
	if s := w.m.Section(wasm.CodeSection); s != nil {
		if err := w.codeSection(s); err != nil {
			return err
		}
	}
	w.out = append(make([]byte, 0, total+len(w.code)/4+4096), wasm.Header...)
	// What may have to be written where the module has no such section.
	missing := []byte{wasm.GlobalSection, wasm.ExportSection, wasm.StartSection, wasm.ElementSection}
	until := func(place byte) {
		for len(missing) > 0 && missing[0] <= place {
			switch id := missing[0]; {
			case id == place: // it is there
			case id == wasm.GlobalSection:
				w.globals(nil)
			case id == wasm.ExportSection:
				w.exports()
			case id == wasm.StartSection:
				w.start()
			default:
				w.elements(nil)
			}
			missing = missing[1:]
		}
	}
	for i := range w.m.Sections() {
		s := &w.m.Sections()[i]
		switch s.ID {
		case wasm.TagSection:
			continue
		case wasm.DataCountSection:
			until(wasm.ElementSection + 1) // it stands in front of the code
		default:
			until(s.ID)
		}
		switch s.ID {
		case wasm.TypeSection:
			w.types(s.Content)
		case wasm.FunctionSection:
			w.functions(s.Content)
		case wasm.GlobalSection:
			w.globals(s.Content)
		case wasm.ExportSection:
			w.exports()
		case wasm.StartSection:
			w.start()
		case wasm.ElementSection:
			w.elements(s.Content)
		case wasm.CodeSection:
			w.section(s.ID, w.code)
		default:
			w.section(s.ID, s.Content)
		}
	}
	until(wasm.ElementSection + 1)
	w.names()
	if len(w.out) > w.limit {
		return w.tooLarge(len(w.out))
	}
	return nil
}

func (w *writer) tooLarge(n int) error {
	return &wasm.SyntaxError{What: fmt.Sprintf("with its exceptions rewritten, it has %d bytes, and %d are the most: it consists of calls and catches with little between", n, w.limit)}
}

func (w *writer) section(id byte, content []byte) {
	w.out = binary.AppendUvarint(append(w.out, id), uint64(len(content)))
	w.out = append(w.out, content...)
}

// valueType is what a type is now.
func (w *writer) valueType(t wasm.ValueType) byte {
	if t == wasm.ExnRef {
		t = w.exnref
	}
	return byte(t)
}

// types writes the signatures, and those of blocks that are added.
func (w *writer) types(content []byte) {
	b := binary.AppendUvarint(make([]byte, 0, len(content)+16), uint64(w.m.Types()+len(w.blocks)))
	list := func(types []wasm.ValueType) {
		b = binary.AppendUvarint(b, uint64(len(types)))
		for _, t := range types {
			b = append(b, w.valueType(t))
		}
	}
	for i := range w.m.Types() {
		t := w.m.Type(uint32(i))
		b = append(b, 0x60)
		list(t.Params)
		list(t.Results)
	}
	for _, params := range w.blocks {
		b = append(b, 0x60)
		list(params)
		list(nil)
	}
	w.section(wasm.TypeSection, b)
}

// vector is the content of a section that is a vector, with more items at its end.
func vector(content []byte, more int, items []byte) []byte {
	n, k := uint64(0), 0
	if content != nil {
		n, k = binary.Uvarint(content)
	}
	b := binary.AppendUvarint(make([]byte, 0, len(content)+len(items)+8), n+uint64(more))
	return append(append(b, content[k:]...), items...)
}

func (w *writer) functions(content []byte) {
	var b []byte
	for _, i := range w.wrapped {
		b = binary.AppendUvarint(b, uint64(w.m.FunctionTypeIndex(i)))
	}
	w.section(wasm.FunctionSection, vector(content, len(w.wrapped), b))
}

// globals writes the globals, and behind them those of the exception under way.
func (w *writer) globals(content []byte) {
	var b []byte
	n := uint64(0)
	if content != nil {
		r := wasm.Source{Bytes: content}
		n = uint64(r.U32())
		for range n {
			t := wasm.ValueType(r.Take(1)[0])
			mutable := r.Take(1)[0]
			s := wasm.Instructions{Code: content, Next: r.Next}
			s.Step()
			b = append(b, w.valueType(t), mutable)
			if t == wasm.ExnRef {
				b = appendZero(b, w.exnref)
			} else {
				b = append(b, content[s.Start:s.Next]...)
			}
			b = append(b, byte(wasm.OpEnd))
			r.Next = s.Next + 1
		}
	}
	for range 1 + w.words {
		b = append(appendZero(append(b, byte(wasm.I32), 1), wasm.I32), byte(wasm.OpEnd))
	}
	for k, t := range []wasm.ValueType{wasm.FuncRef, wasm.ExternRef} {
		for range w.refs[k] {
			b = append(appendZero(append(b, byte(t), 1), t), byte(wasm.OpEnd))
		}
	}
	n += uint64(1+w.words) + uint64(w.refs[0]+w.refs[1])
	w.section(wasm.GlobalSection, append(binary.AppendUvarint(nil, n), b...))
}

// start and exports go by the module's fields: whoever has read it may have changed those.
func (w *writer) start() {
	if w.m.Start {
		w.section(wasm.StartSection, binary.AppendUvarint(nil, uint64(w.host(w.m.StartFunction))))
	}
}

func (w *writer) exports() {
	var b []byte
	n := uint64(0)
	for i := range w.m.Exports {
		e := &w.m.Exports[i]
		index := e.Index
		switch e.Kind {
		case wasm.Tag:
			continue
		case wasm.Function:
			index = w.host(index)
		}
		b = binary.AppendUvarint(b, uint64(len(e.Name)))
		b = append(append(b, e.Name...), byte(e.Kind))
		b = binary.AppendUvarint(b, uint64(index))
		n++
	}
	w.section(wasm.ExportSection, append(binary.AppendUvarint(nil, n), b...))
}

// elements has functions stay declared for ref.func whose exports now name others.
func (w *writer) elements(content []byte) {
	if !w.found.mayRef || len(w.wrapped) == 0 {
		if content != nil {
			w.section(wasm.ElementSection, content)
		}
		return
	}
	const declarative, functions = 3, 0
	b := binary.AppendUvarint([]byte{declarative, functions}, uint64(len(w.wrapped)))
	for _, i := range w.wrapped {
		b = binary.AppendUvarint(b, uint64(i))
	}
	w.section(wasm.ElementSection, vector(content, 1, b))
}

// names writes the names of functions, and those of what is added: the ones of what they call.
func (w *writer) names() {
	var b []byte
	n := uint64(0)
	one := func(i uint32, name []byte) {
		b = binary.AppendUvarint(b, uint64(i))
		b = append(binary.AppendUvarint(b, uint64(len(name))), name...)
		n++
	}
	added := make([][]byte, len(w.wrapped))
	w.m.FunctionNames(func(i uint32, name []byte) bool {
		one(i, name)
		if k, ok := w.wrapper[i]; ok {
			added[k] = name
		}
		return len(b) < w.limit
	})
	for k, name := range added {
		if name != nil {
			one(uint32(w.found.calls.functions+k), name)
		}
	}
	if n == 0 {
		return
	}
	b = append(binary.AppendUvarint(nil, n), b...)
	content := append([]byte("\x04name\x01"), binary.AppendUvarint(nil, uint64(len(b)))...)
	w.section(wasm.CustomSection, append(content, b...))
}

// appendZero appends the instruction that makes the zero of a type.
func appendZero(b []byte, t wasm.ValueType) []byte {
	switch t {
	case wasm.I32:
		return append(b, byte(wasm.OpI32Const), 0)
	case wasm.I64:
		return append(b, byte(wasm.OpI64Const), 0)
	case wasm.F32:
		return append(b, byte(wasm.OpF32Const), 0, 0, 0, 0)
	case wasm.F64:
		return append(b, byte(wasm.OpF64Const), 0, 0, 0, 0, 0, 0, 0, 0)
	case wasm.V128:
		return append(append(b, 0xfd, 0x0c), make([]byte, 16)...)
	}
	return append(b, byte(wasm.OpRefNull), byte(t))
}
