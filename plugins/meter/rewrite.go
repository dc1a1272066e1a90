package meter

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"bulkhead/plugins/wasm"
)

// What may come out at most. Compilers' modules grow by a third or so.
const (
	// MaxBody is how many bytes the rewritten code of one function may have.
	MaxBody = 4 * wasm.MaxBody
	// MaxGrowth is how many times as large as the original the whole may be, MinGrowth
	// bytes aside.
	MaxGrowth = 4
	MinGrowth = 64 << 10
	// MaxName and MaxNames are how many bytes of names of functions are kept: of one,
	// which is cut, and of all, after which the other functions have none.
	MaxName  = 64
	MaxNames = 4 << 20
)

// writer writes one module anew.
type writer struct {
	m        *wasm.Module
	o        Options
	imported uint32 // functions, the refill not counted: its index
	out      []byte
	code     []byte // the content of the code section
	limit    int    // of the length of what comes out

	helpers  []operation
	helperOf map[operation]uint32
	types    []wasm.FuncType // new ones
	getFuel  []byte
	setFuel  []byte
	// The engine's register allocation follows the first way into a block, so
	// the check has the empty arm first; and where there is a loop to go back to,
	// the arm with the call does that and does not meet the other at all.
	check     []byte
	loopCheck []byte // goes in front of the charge of a loop without parameters
	analysis  analysis
	body      []byte
	state     State // with Options.Detach
	data      []Segment
	origins   Origins // with Options.Origins
}

// Rewrite makes a module pay for what it executes; how is in docs/METER.md. m is
// only read, and may be used by many at a time. The error is a
// *wasm.SyntaxError, of a module that would become too large.
func Rewrite(m *wasm.Module, o Options) (*Metered, error) {
	if used, _ := m.Exceptions(); used {
		return nil, &wasm.SyntaxError{What: "it uses exceptions, which have to be rewritten before it is metered"}
	}
	w := newWriter(m, o)
	if o.Detach {
		var ok bool
		if w.data, ok = ActiveData(m); !ok || o.MaxPages == 0 || o.MaxPages == wasm.MaxPages {
			return nil, &wasm.SyntaxError{What: "it has a memory whose first content is not known from the module alone, or has no bound"}
		}
		for _, l := range m.Memories {
			if l.Min > o.MaxPages {
				return nil, &wasm.SyntaxError{What: fmt.Sprintf("its memory has %d pages from the start, and %d are the most", l.Min, o.MaxPages)}
			}
		}
		w.state = StateOf(m)
	}
	if err := w.module(); err != nil {
		return nil, err
	}
	return &Metered{Code: w.out, Start: m.Start, State: w.state, Data: w.data, Origins: w.origins}, nil
}

func newWriter(m *wasm.Module, o Options) *writer {
	w := &writer{m: m, o: o, imported: uint32(m.Imported(wasm.Function)), helperOf: make(map[operation]uint32)}
	fuel := binary.AppendUvarint(nil, uint64(m.Imported(wasm.Global)+m.Globals))
	w.getFuel = append([]byte{opGlobalGet}, fuel...)
	w.setFuel = append([]byte{opGlobalSet}, fuel...)
	refill := binary.AppendUvarint([]byte{opCall}, uint64(w.imported))
	w.check = append(w.check, w.getFuel...)
	w.check = append(w.check, opI64Const, 0, i64GeS, opIf, emptyBlock, opElse)
	w.check = append(append(w.check, refill...), opEnd)
	w.loopCheck = append(w.loopCheck, w.getFuel...)
	w.loopCheck = append(w.loopCheck, opI64Const, 0, i64LtS, opIf, emptyBlock)
	w.loopCheck = append(append(w.loopCheck, refill...), opBr, 1, opEnd)
	w.analysis.w = w
	return w
}

// charge appends the instructions that take units.
func (w *writer) charge(b []byte, units uint64) []byte {
	b = append(b, w.getFuel...)
	b = wasm.AppendSigned(append(b, opI64Const), int64(units))
	b = append(b, i64Sub)
	return append(b, w.setFuel...)
}

// module writes all sections. The code comes first, since what it uses has to be
// known for those before it.
func (w *writer) module() error {
	given := make([]*wasm.Section, wasm.DataCountSection+1)
	total := 0
	for i := range w.m.Sections() {
		s := &w.m.Sections()[i]
		given[s.ID] = s
		total += len(s.Content) + 6
	}
	w.limit = MaxGrowth*total + MinGrowth
	if s := given[wasm.CodeSection]; s != nil {
		if err := w.codeSection(s); err != nil {
			return err
		}
	}
	w.out = make([]byte, 0, total+len(w.code)+len(w.code)/8+4096)
	w.out = append(w.out, wasm.Header...)
	content := func(id int) []byte {
		if given[id] == nil {
			return []byte{0}
		}
		return given[id].Content
	}
	first, extra := w.signatures()
	w.vector(wasm.TypeSection, content(wasm.TypeSection), len(w.types), extra)
	w.vector(wasm.ImportSection, content(wasm.ImportSection), 1, w.refillImport(first))
	w.vector(wasm.FunctionSection, content(wasm.FunctionSection), len(w.helpers), w.helperTypes(first))
	if given[wasm.TableSection] != nil {
		w.section(wasm.TableSection, w.tables())
	}
	if given[wasm.MemorySection] != nil {
		w.section(wasm.MemorySection, w.memories())
	}
	w.globals(content(wasm.GlobalSection))
	w.section(wasm.ExportSection, w.exports())
	if s := given[wasm.ElementSection]; s != nil {
		w.section(wasm.ElementSection, w.elements(s.Content))
	}
	if w.o.Detach && !w.state.Segments {
		given[wasm.DataCountSection], given[wasm.DataSection] = nil, nil // nobody misses them
	}
	if s := given[wasm.DataCountSection]; s != nil {
		w.section(wasm.DataCountSection, s.Content)
	}
	if given[wasm.CodeSection] != nil {
		w.section(wasm.CodeSection, w.code)
	}
	if s := given[wasm.DataSection]; s != nil {
		data := s.Content
		if w.o.Detach {
			data = emptiedData(data)
		}
		w.section(wasm.DataSection, data)
	}
	w.names()
	if len(w.out) > w.limit {
		return &wasm.SyntaxError{What: fmt.Sprintf("metered, it has %d bytes, and %d are the most: it consists of loops and branches with little between", len(w.out), w.limit)}
	}
	return nil
}

func (w *writer) section(id byte, content []byte) {
	w.out = append(w.out, id)
	w.out = binary.AppendUvarint(w.out, uint64(len(content)))
	w.out = append(w.out, content...)
}

// vector writes a section that is a vector, with more items at its end.
func (w *writer) vector(id byte, content []byte, more int, items []byte) {
	n, k := binary.Uvarint(content)
	if n == 0 && more == 0 {
		return
	}
	var count [10]byte
	c := binary.PutUvarint(count[:], n+uint64(more))
	w.out = append(w.out, id)
	w.out = binary.AppendUvarint(w.out, uint64(c+len(content)-k+len(items)))
	w.out = append(w.out, count[:c]...)
	w.out = append(w.out, content[k:]...)
	w.out = append(w.out, items...)
}

// signatures are the types that are added: of the refill, and of the helpers. It
// returns the index of the first.
func (w *writer) signatures() (first int, b []byte) {
	first = w.m.Types()
	w.types = []wasm.FuncType{{}}
	for _, h := range w.helpers {
		w.typeOf(h.signature(w.m))
	}
	for _, t := range w.types {
		b = append(b, 0x60)
		for _, list := range [][]wasm.ValueType{t.Params, t.Results} {
			b = binary.AppendUvarint(b, uint64(len(list)))
			for _, v := range list {
				b = append(b, byte(v))
			}
		}
	}
	return first, b
}

// typeOf is the place of a signature among the added ones, of which there are few.
func (w *writer) typeOf(t wasm.FuncType) int {
	for i := range w.types {
		if w.types[i].Equal(t) {
			return i
		}
	}
	w.types = append(w.types, t)
	return len(w.types) - 1
}

func (w *writer) refillImport(typ int) []byte {
	b := appendName(nil, ImportModule)
	b = append(appendName(b, Refill), byte(wasm.Function))
	return binary.AppendUvarint(b, uint64(typ))
}

func (w *writer) helperTypes(first int) (b []byte) {
	for _, h := range w.helpers {
		b = binary.AppendUvarint(b, uint64(first+w.typeOf(h.signature(w.m))))
	}
	return b
}

func appendLimits(b []byte, l wasm.Limits) []byte {
	if !l.HasMax {
		return binary.AppendUvarint(append(b, 0), uint64(l.Min))
	}
	b = binary.AppendUvarint(append(b, 1), uint64(l.Min))
	return binary.AppendUvarint(b, uint64(l.Max))
}

// tableLimits are the limits of a table in what comes out, with a Max in any case:
// the greatest size that it can have.
func (w *writer) tableLimits(i uint32) wasm.Limits {
	_, l := w.m.Table(i)
	if w.o.MaxTableGrowth > 0 && int(i) >= w.m.Imported(wasm.Table) {
		bound := uint32(min(uint64(l.Min)+uint64(w.o.MaxTableGrowth), 1<<32-1))
		if !l.HasMax || l.Max > bound {
			l.Max, l.HasMax = bound, true
		}
	}
	if !l.HasMax {
		l.Max = 1<<32 - 1
	}
	return l
}

func (w *writer) tables() []byte {
	b := binary.AppendUvarint(nil, uint64(len(w.m.Tables)))
	for i := range w.m.Tables {
		index := uint32(w.m.Imported(wasm.Table) + i)
		t, _ := w.m.Table(index)
		b = appendLimits(append(b, byte(t)), w.tableLimits(index))
	}
	return b
}

// maxPages is the greatest size of the memory.
func (w *writer) maxPages() uint32 {
	most := uint32(wasm.MaxPages)
	if w.o.MaxPages > 0 {
		most = min(most, w.o.MaxPages)
	}
	for _, l := range w.m.Memories {
		if l.HasMax {
			most = min(most, l.Max)
		}
	}
	return most
}

func (w *writer) memories() []byte {
	b := binary.AppendUvarint(nil, uint64(len(w.m.Memories)))
	for _, l := range w.m.Memories {
		if l.HasMax || w.o.MaxPages > 0 {
			// Less than the memory has from the start is the engine's to refuse.
			l.HasMax, l.Max = true, max(l.Min, w.maxPages())
		}
		if w.o.Detach {
			l.Max++
		}
		b = appendLimits(b, l)
	}
	return b
}

func (w *writer) globals(content []byte) {
	r := wasm.Source{Bytes: content}
	b := make([]byte, 0, len(content)+16)
	n := r.U32()
	b = binary.AppendUvarint(b, uint64(n)+1)
	for ; n > 0; n-- {
		b = append(b, r.Take(2)...)
		b = w.constant(&r, b)
	}
	b = append(b, byte(wasm.I64), 1, opI64Const, 0, opEnd)
	w.section(wasm.GlobalSection, b)
}

// function is the index that a function has now.
func (w *writer) function(i uint32) uint64 {
	if i >= w.imported {
		return uint64(i) + 1
	}
	return uint64(i)
}

// constant copies a constant expression.
func (w *writer) constant(r *wasm.Source, b []byte) []byte {
	s := wasm.Instructions{Code: r.Bytes, Next: r.Next}
	s.Step()
	if s.Op == wasm.OpRefFunc {
		b = binary.AppendUvarint(append(b, byte(s.Op)), w.function(s.X))
	} else {
		b = append(b, r.Bytes[s.Start:s.Next]...)
	}
	r.Next = s.Next + 1
	return append(b, opEnd)
}

func (w *writer) exports() []byte {
	n := len(w.m.Exports) + len(w.o.Exports) + 1 + len(w.state.Globals)
	if w.m.Start {
		n++
	}
	b := binary.AppendUvarint(nil, uint64(n))
	one := func(name string, k wasm.Kind, i uint64) {
		b = append(appendName(b, name), byte(k))
		b = binary.AppendUvarint(b, i)
	}
	for _, list := range [][]wasm.Export{w.m.Exports, w.o.Exports} {
		for i := range list {
			e := &list[i]
			index := uint64(e.Index)
			if e.Kind == wasm.Function {
				index = w.function(e.Index)
			}
			one(e.Name, e.Kind, index)
		}
	}
	one(FuelExport, wasm.Global, uint64(w.m.Imported(wasm.Global)+w.m.Globals))
	if w.m.Start {
		one(StartExport, wasm.Function, w.function(w.m.StartFunction))
	}
	for _, i := range w.state.Globals {
		one(GlobalExport(i), wasm.Global, uint64(i))
	}
	return b
}

func (w *writer) elements(content []byte) []byte {
	r := wasm.Source{Bytes: content}
	b := make([]byte, 0, len(content)+len(content)/8+16)
	n := r.U32()
	b = binary.AppendUvarint(b, uint64(n))
	for ; n > 0; n-- {
		flags := r.U32()
		b = binary.AppendUvarint(b, uint64(flags))
		passive, explicit, expressions := flags&1 != 0, flags&2 != 0, flags&4 != 0
		if !passive {
			if explicit {
				b = binary.AppendUvarint(b, uint64(r.U32()))
			}
			b = w.constant(&r, b)
		}
		if passive || explicit {
			b = append(b, r.Take(1)...)
		}
		k := r.U32()
		b = binary.AppendUvarint(b, uint64(k))
		for ; k > 0; k-- {
			if expressions {
				b = w.constant(&r, b)
			} else {
				b = binary.AppendUvarint(b, w.function(r.U32()))
			}
		}
	}
	return b
}

// helper is the place of an operation's helper among the helpers.
func (w *writer) helper(o operation) (uint32, error) {
	if i, ok := w.helperOf[o]; ok {
		return i, nil
	}
	if len(w.helpers) == MaxHelpers {
		return 0, fmt.Errorf("it uses bulk operations on more than %d different tables and segments", MaxHelpers)
	}
	i := uint32(len(w.helpers))
	w.helpers = append(w.helpers, o)
	w.helperOf[o] = i
	return i, nil
}

// names writes the names of functions anew.
func (w *writer) names() {
	var b []byte
	count := uint64(0)
	one := func(i uint64, name []byte) bool {
		if len(name) > MaxName {
			name = name[:MaxName]
			for !utf8.Valid(name) {
				name = name[:len(name)-1]
			}
		}
		b = binary.AppendUvarint(b, i)
		b = binary.AppendUvarint(b, uint64(len(name)))
		b = append(b, name...)
		count++
		return len(b) < MaxNames
	}
	refill := false
	w.m.FunctionNames(func(i uint32, name []byte) bool {
		if i >= w.imported && !refill {
			refill = true
			one(uint64(w.imported), []byte(Refill))
		}
		return one(w.function(i), name)
	})
	if !refill {
		one(uint64(w.imported), []byte(Refill))
	}
	for i, h := range w.helpers {
		one(w.helperIndex(uint32(i)), []byte(h.name()))
	}
	var number [10]byte
	k := binary.PutUvarint(number[:], count)
	body := appendName(nil, "name")
	body = append(body, 1)
	body = binary.AppendUvarint(body, uint64(k+len(b)))
	body = append(body, number[:k]...)
	w.section(wasm.CustomSection, append(body, b...))
}

// helperIndex is the index of the ith helper as a function: they are the last.
func (w *writer) helperIndex(i uint32) uint64 {
	return uint64(w.imported) + 1 + uint64(w.m.Functions) + uint64(i)
}

func appendName(b []byte, name string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(name))), name...)
}
