package metertest

import (
	"encoding/binary"
	"math/rand/v2"
)

// throwing is a random module that throws and catches, in an encoding that is chosen when it is
// written: the same one in both, as far as both can say it.
type throwing struct {
	random    *rand.Rand
	tags      [][]byte // the types of what each carries
	functions []*throwingFunction
	onlyFinal bool // it has what the legacy encoding has not
}

// throwingFunction has the type (i32) -> (i32), and locals of type i32. Local 0 is its parameter
// and its result.
type throwingFunction struct {
	body   []*statement
	locals int
	saved  int // locals of type exnref
}

// statement is one of what a function does. All of its results are in locals and in the hash.
type statement struct {
	kind     statementKind
	a, b     int // locals, as a rule
	n        int // a constant
	body     []*statement
	other    []*statement // of an if
	catches  []*catchClause
	frame    *statement   // that a delegate goes to, or a branch; nil: the function
	clause   *catchClause // of a rethrow
	param    bool         // of a try: it has one
	result   bool
	delegate bool // of a try: instead of catches
	escape   bool // something is delegated to here
}

type catchClause struct {
	tag   int // negative: all
	body  []*statement
	kept  bool // it is thrown again
	local int  // of the exnref, in the final encoding
}

type statementKind int

const (
	doNote statementKind = iota
	doMath
	doIf
	doLoop
	doBlock
	doBranch
	doReturn
	doCall
	doCallIndirect
	doThrow
	doTry
	doRethrow
	doSave     // final only: keeps what a try catches in a local
	doThrowRef // final only: throws that, or null
	doDivide
)

func generateThrowing(seed uint64) *throwing {
	g := &throwing{random: rand.New(rand.NewPCG(seed, 7))}
	types := []byte{typeI32, typeI64, typeF32, typeF64}
	wide := g.random.IntN(2) == 0
	for range 1 + g.random.IntN(4) {
		var t []byte
		switch {
		case !wide && g.random.IntN(2) == 0:
			t = []byte{types[2*g.random.IntN(2)]}
		case wide:
			room := 3
			for g.random.IntN(3) > 0 && len(t) < 3 {
				v := types[g.random.IntN(4)]
				if v == typeI64 || v == typeF64 {
					room--
				}
				if room--; room < 0 {
					break
				}
				t = append(t, v)
			}
		}
		g.tags = append(g.tags, t)
	}
	g.onlyFinal = g.random.IntN(3) == 0
	for range 2 + g.random.IntN(4) {
		f := &throwingFunction{locals: 4}
		g.functions = append(g.functions, f)
	}
	for _, f := range g.functions {
		f.body = g.statements(f, nil, nil, 5, 1+g.random.IntN(5))
	}
	return g
}

// statements makes some, inside of frames and of the clauses of catches.
func (g *throwing) statements(f *throwingFunction, frames []*statement, clauses []*catchClause, depth, n int) []*statement {
	var list []*statement
	for range n {
		s := &statement{kind: statementKind(g.random.IntN(int(doDivide) + 3)), a: g.random.IntN(f.locals), b: g.random.IntN(f.locals), n: g.random.IntN(1000)}
		if s.kind > doDivide {
			s.kind = doTry
		}
		inside := func() []*statement {
			return g.statements(f, append(frames[:len(frames):len(frames)], s), clauses, depth-1, 1+g.random.IntN(3))
		}
		switch s.kind {
		case doIf, doLoop, doBlock, doTry, doSave:
			if depth == 0 {
				s.kind = doCall
			}
		case doThrowRef:
			if f.saved == 0 {
				s.kind = doThrow
			}
		case doBranch:
			if len(frames) == 0 {
				s.kind = doReturn
			}
		case doRethrow:
			if len(clauses) == 0 {
				s.kind = doThrow
			}
		}
		if (s.kind == doSave || s.kind == doThrowRef) && !g.onlyFinal {
			s.kind = doMath
		}
		switch s.kind {
		case doIf:
			s.body = inside()
			if g.random.IntN(2) == 0 {
				s.other = inside()
			}
		case doLoop:
			s.n = 1 + g.random.IntN(3)
			s.b = f.locals
			f.locals++
			s.body = inside()
		case doBlock:
			s.body = inside()
		case doBranch:
			s.frame = frames[g.random.IntN(len(frames))]
			if s.frame.kind == doLoop || s.frame.result {
				s.kind = doMath
			}
		case doCall, doCallIndirect:
			s.n = g.random.IntN(len(g.functions))
		case doThrow:
			s.n = g.random.IntN(len(g.tags))
		case doSave:
			s.n = f.saved
			f.saved++
			s.body = inside()
		case doThrowRef:
			s.n = g.random.IntN(f.saved)
		case doRethrow:
			s.clause = clauses[g.random.IntN(len(clauses))]
			s.clause.kept = true
		case doTry:
			s.param, s.result = g.random.IntN(3) == 0, g.random.IntN(3) == 0
			if s.delegate = g.random.IntN(5) == 0; s.delegate {
				s.result = false
				if k := g.random.IntN(len(frames) + 1); k < len(frames) {
					s.frame = frames[k]
					s.frame.escape = true
				}
			}
			s.body = inside()
			if s.delegate {
				break
			}
			for range g.random.IntN(3) {
				s.catches = append(s.catches, &catchClause{tag: g.random.IntN(len(g.tags))})
			}
			if g.random.IntN(3) == 0 {
				s.catches = append(s.catches, &catchClause{tag: -1})
			}
			for _, c := range s.catches {
				// In a clause, the frame of the try can be branched to, and nothing delegated to.
				c.body = g.statements(f, frames, append(clauses[:len(clauses):len(clauses)], c), depth-1, 1+g.random.IntN(2))
				c.local = f.saved
				f.saved++
			}
		}
		list = append(list, s)
	}
	return list
}

// throwingWriter writes one function.
type throwingWriter struct {
	g      *throwing
	f      *throwingFunction
	legacy bool
	b      []byte
	depth  int
	// function stands for the function as a frame.
	function *statement
	frames   map[*statement]int   // the depth that a branch to it goes to
	escape   map[*statement]int   // of the block that what is delegated to it goes to
	tries    map[*catchClause]int // the depth of the try that it is of
}

// The globals of these modules: a hash, how many calls and turns are left.
const (
	hashGlobal = 0
	leftGlobal = 1
)

func (w *throwingWriter) op(b ...byte) { w.b = append(w.b, b...) }
func (w *throwingWriter) num(op byte, i int) {
	w.b = binary.AppendUvarint(append(w.b, op), uint64(i))
}
func (w *throwingWriter) constant(n int) {
	w.b = append(w.b, 0x41)
	for {
		c := byte(n & 0x7f)
		if n >>= 7; n == 0 && c&0x40 == 0 {
			w.b = append(w.b, c)
			return
		}
		w.b = append(w.b, c|0x80)
	}
}

// note takes an i32 and puts it into the hash.
func (w *throwingWriter) note() {
	w.num(0x23, hashGlobal)
	w.op(0x73)
	w.constant(16777619)
	w.op(0x6c)
	w.num(0x24, hashGlobal)
}

// noteAll takes what a tag carries.
func (w *throwingWriter) noteAll(types []byte) {
	for i := len(types) - 1; i >= 0; i-- {
		switch types[i] {
		case typeF32:
			w.op(0xbc)
		case typeF64:
			w.op(0xbd, 0xa7)
		case typeI64:
			w.op(0x42, 31, 0x89, 0xa7) // so that both halves count
		}
		w.note()
	}
}

// carried puts what a tag carries on the stack.
func (w *throwingWriter) carried(types []byte, from int) {
	for i, t := range types {
		w.num(0x20, from)
		w.constant(i + 3)
		w.op(0x6c)
		switch t {
		case typeF32:
			w.op(0xbe)
		case typeI64:
			w.op(0xac, 0x42, 13, 0x89)
		case typeF64:
			w.op(0xb7)
		}
	}
}

func (w *throwingWriter) open(op byte, blockType ...byte) {
	w.b = append(append(w.b, op), blockType...)
	w.depth++
}

func (w *throwingWriter) end() {
	w.op(0x0b)
	w.depth--
}

// left is how many labels lie between here and a depth.
func (w *throwingWriter) label(depth int) int { return w.depth - depth }

// spend takes one of what is left, and returns when there is nothing.
func (w *throwingWriter) spend() {
	w.num(0x23, leftGlobal)
	w.constant(1)
	w.op(0x6b)
	w.num(0x24, leftGlobal)
	w.num(0x23, leftGlobal)
	w.constant(0)
	w.op(0x48, 0x04, 0x40)
	w.num(0x20, 0)
	w.op(0x0f, 0x0b)
}

// escaping writes the content of a frame, which what is delegated to it leaves by a block of its
// own in the final encoding.
func (w *throwingWriter) escaping(s *statement, list []*statement) {
	if w.legacy || !s.escape {
		w.list(list)
		return
	}
	w.open(0x02, 0x40)
	w.open(0x02, typeExnref)
	w.escape[s] = w.depth
	w.list(list)
	w.num(0x0c, 1)
	w.end()
	w.op(0x0a)
	w.end()
}

const typeExnref = 0x69

func (w *throwingWriter) list(list []*statement) {
	for _, s := range list {
		w.statement(s)
	}
}

func (w *throwingWriter) statement(s *statement) {
	switch s.kind {
	case doNote:
		w.num(0x20, s.a)
		w.constant(s.n)
		w.op(0x6a)
		w.note()
	case doMath:
		w.num(0x20, s.a)
		w.constant(s.n*2 + 1)
		w.op(0x6c)
		w.num(0x20, s.b)
		w.op(0x6a)
		w.num(0x21, s.b)
	case doDivide: // which traps now and then
		w.num(0x20, s.a)
		w.num(0x20, s.b)
		w.constant(63)
		w.op(0x71)
		if s.n%8 != 0 {
			w.constant(1)
			w.op(0x72)
		}
		w.op(0x6e)
		w.num(0x21, s.a)
	case doIf:
		w.num(0x20, s.a)
		w.constant(1 << (s.n % 5))
		w.op(0x71)
		w.open(0x04, 0x40)
		w.frames[s] = w.depth
		w.escaping(s, s.body)
		if s.other != nil {
			w.op(0x05)
			w.escaping(s, s.other)
		}
		w.end()
	case doLoop:
		w.constant(s.n)
		w.num(0x21, s.b)
		w.open(0x03, 0x40)
		w.frames[s] = w.depth
		w.spend()
		w.escaping(s, s.body)
		w.num(0x20, s.b)
		w.constant(1)
		w.op(0x6b)
		w.num(0x22, s.b)
		w.num(0x0d, 0)
		w.end()
	case doBlock:
		w.open(0x02, 0x40)
		w.frames[s] = w.depth
		w.escaping(s, s.body)
		w.end()
	case doBranch:
		w.num(0x20, s.a)
		w.constant(3)
		w.op(0x71)
		w.num(0x0d, w.label(w.frames[s.frame]))
	case doReturn:
		w.num(0x20, s.b)
		w.constant(7)
		w.op(0x71, 0x04, 0x40)
		w.num(0x20, s.a)
		w.op(0x0f, 0x0b)
	case doCall, doCallIndirect:
		w.num(0x20, s.b) // lies below the call
		w.num(0x20, s.a)
		if s.kind == doCall {
			w.num(0x10, s.n)
		} else {
			w.constant(s.n)
			w.op(0x11, 0, 0)
		}
		w.op(0x6a)
		w.num(0x21, s.b)
	case doThrow:
		w.num(0x20, s.a)
		w.constant(1)
		w.op(0x71, 0x04, 0x40)
		w.carried(w.g.tags[s.n], s.b)
		w.num(0x08, s.n)
		w.op(0x0b)
	case doRethrow:
		w.num(0x20, s.a)
		w.constant(2)
		w.op(0x71)
		w.open(0x04, 0x40)
		if w.legacy {
			w.num(0x09, w.label(w.tries[s.clause]))
		} else {
			w.num(0x20, w.f.locals+s.clause.local)
			w.op(0x0a)
		}
		w.end()
	case doSave:
		w.open(0x02, typeExnref)
		out := w.depth
		w.open(0x02, 0x40)
		w.frames[s] = w.depth // leaves what was kept before
		w.op(0x1f, 0x40, 1, 3)
		w.b = binary.AppendUvarint(w.b, uint64(w.label(out)))
		w.depth++
		w.escaping(s, s.body)
		w.end()
		w.end()
		w.num(0x20, w.f.locals+s.n)
		w.end()
		w.num(0x22, w.f.locals+s.n)
		w.op(0xd1)
		w.note()
	case doThrowRef:
		w.num(0x20, s.a)
		w.constant(4)
		w.op(0x71, 0x04, 0x40)
		w.num(0x20, w.f.locals+s.n)
		w.op(0x0a, 0x0b)
	case doTry:
		w.try(s)
	}
}

func (w *throwingWriter) try(s *statement) {
	if s.param {
		w.num(0x20, s.a)
	}
	if w.legacy {
		w.tryLegacy(s)
	} else {
		w.tryFinal(s)
	}
	if s.result {
		w.num(0x21, s.b)
	}
}

// blockType is that of a try: 1 and 2 are types with a parameter.
func (s *statement) blockType() byte {
	switch {
	case s.param && s.result:
		return 0
	case s.param:
		return 1
	case s.result:
		return typeI32
	}
	return 0x40
}

// tried is what is tried.
func (w *throwingWriter) tried(s *statement) {
	if s.param {
		w.num(0x21, s.a)
	}
	w.escaping(s, s.body)
	if s.result {
		w.num(0x20, s.a)
	}
}

func (w *throwingWriter) tryLegacy(s *statement) {
	w.open(0x06, s.blockType())
	w.frames[s] = w.depth
	w.tried(s)
	if s.delegate {
		w.depth--
		depth := 0
		if s.frame != nil {
			depth = w.frames[s.frame]
		}
		w.num(0x18, w.label(depth))
		return
	}
	for _, c := range s.catches {
		w.tries[c] = w.depth
		if c.tag < 0 {
			w.op(0x19)
		} else {
			w.num(0x07, c.tag)
			w.noteAll(w.g.tags[c.tag])
		}
		w.list(c.body)
		if s.result {
			w.num(0x20, s.b)
		}
	}
	w.end()
}

func (w *throwingWriter) tryFinal(s *statement) {
	if s.delegate {
		// What is delegated to the function leaves it, as does what is delegated to a frame that
		// has no handlers of its own: by a block of the frame's.
		to := s.frame
		if to == nil {
			to = w.function
		}
		out := w.escape[to]
		if s.param {
			w.num(0x21, s.a) // the block has none
		}
		w.op(0x1f, 0x40, 1, 3)
		w.b = binary.AppendUvarint(w.b, uint64(w.label(out)))
		w.depth++
		w.frames[s] = w.depth
		w.escaping(s, s.body)
		w.end()
		return
	}
	if s.param {
		w.num(0x21, s.a)
	}
	// There is one block for the end, and one for each catch, with what that hands on.
	var result byte = 0x40
	if s.result {
		result = typeI32
	}
	w.open(0x02, result)
	w.frames[s] = w.depth
	end := w.depth
	labels := make([]int, len(s.catches))
	for i := len(s.catches) - 1; i >= 0; i-- {
		w.open(0x02, w.g.handed(s.catches[i])...)
		labels[i] = w.depth
	}
	if s.param {
		w.num(0x20, s.a)
	}
	w.op(0x1f, s.blockType(), byte(len(s.catches)))
	for i, c := range s.catches {
		kind := byte(0)
		if c.kept {
			kind = 1
		}
		if c.tag < 0 {
			w.op(kind + 2)
		} else {
			w.num(kind, c.tag)
		}
		w.b = binary.AppendUvarint(w.b, uint64(w.label(labels[i])))
	}
	w.depth++
	w.tried(s)
	w.end()
	w.num(0x0c, w.label(end))
	for _, c := range s.catches {
		w.end()
		if c.kept {
			w.num(0x21, w.f.locals+c.local)
		}
		if c.tag >= 0 {
			w.noteAll(w.g.tags[c.tag])
		}
		w.list(c.body)
		if s.result {
			w.num(0x20, s.b)
		}
		w.num(0x0c, w.label(end))
	}
	w.end()
}

// handed is the type of the block that a catch goes to: of one value, or the number of a type.
func (g *throwing) handed(c *catchClause) []byte {
	n := 2
	if c.kept {
		n += 1 + len(g.tags)
	}
	if c.tag >= 0 {
		return []byte{byte(n + c.tag)}
	}
	return []byte{byte(n + len(g.tags))}
}

// bytes writes the module. The functions 0 and on are exported as "f0" and on, and the globals.
func (g *throwing) bytes(legacy bool) []byte {
	var b []byte
	section := func(id byte, content []byte) {
		b = append(binary.AppendUvarint(append(b, id), uint64(len(content))), content...)
	}
	b = append(b, "\x00asm\x01\x00\x00\x00"...)
	// (i32) -> (i32), (i32) -> (), what catches hand on, the same with an exnref, and the tags'
	// own.
	n := len(g.tags)
	t := []byte{0x60, 1, typeI32, 1, typeI32, 0x60, 1, typeI32, 0}
	for _, kept := range []bool{false, true} {
		if legacy && kept {
			break
		}
		for _, tag := range append(g.tags[:n:n], nil) {
			results := tag
			if kept {
				results = append(tag[:len(tag):len(tag)], typeExnref)
			}
			t = append(append(t, 0x60, 0, byte(len(results))), results...)
		}
	}
	types := 2 + 2*(n+1)
	if legacy {
		types -= n + 1
	}
	firstTag := types
	for _, tag := range g.tags {
		t = append(append(append(t, 0x60, byte(len(tag))), tag...), 0)
		types++
	}
	section(1, append([]byte{byte(types)}, t...))
	k := byte(len(g.functions))
	section(3, append([]byte{k}, make([]byte, k)...))
	section(4, []byte{1, 0x70, 0, k})
	tags := []byte{byte(n)}
	for i := range g.tags {
		tags = append(tags, 0, byte(firstTag+i))
	}
	section(13, tags)
	section(6, []byte{2, typeI32, 1, 0x41, 0, 0x0b, typeI32, 1, 0x41, 0, 0x0b})
	exports := []byte{k + 2, 1, 'h', 3, hashGlobal, 1, 'l', 3, leftGlobal}
	elements := []byte{1, 0, 0x41, 0, 0x0b, k}
	for i := range k {
		exports = append(exports, 2, 'f', '0'+i, 0, i)
		elements = append(elements, i)
	}
	section(7, exports)
	section(9, elements)
	code := []byte{k}
	for _, f := range g.functions {
		w := &throwingWriter{g: g, f: f, legacy: legacy, frames: make(map[*statement]int), escape: make(map[*statement]int), tries: make(map[*catchClause]int)}
		w.spend()
		function := &statement{escape: true}
		w.function = function
		w.escaping(function, f.body)
		w.num(0x20, 0)
		w.op(0x0b)
		locals := []byte{1, byte(f.locals - 1), typeI32}
		if !legacy {
			locals = binary.AppendUvarint([]byte{2, byte(f.locals - 1), typeI32}, uint64(f.saved))
			locals = append(locals, typeExnref)
		}
		code = binary.AppendUvarint(code, uint64(len(locals)+len(w.b)))
		code = append(append(code, locals...), w.b...)
	}
	section(10, code)
	return b
}
