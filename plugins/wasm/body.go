package wasm

import "fmt"

// checker checks the bodies of a module's functions one after the other. What
// it has passed can be decoded without looking at an error again, and names
// nothing that the original module does not have. Types of operands are the
// engine's to check.
type checker struct {
	m      *Module
	r      reader
	start  int // where the instruction in hand begins
	nest   []byte
	locals uint32 // of the function, its parameters included
	all    uint64 // locals of the functions so far
	most   uint64 // that there may be
	tables uint32
	memory bool
}

// functionBody checks the code that b[pos:] is, of function i of all. It returns the
// first thing that is wrong.
func (c *checker) functionBody(b []byte, pos int, i int) *SyntaxError {
	c.r = reader{b: b, pos: pos, file: -1}
	r := &c.r
	const what = "the code of a function"
	sum := uint64(len(c.m.types[c.m.funcs[i]].Params))
	declared := uint64(0)
	for k := r.count(MaxLocals, 2, "groups of locals"); k > 0 && r.err == nil; k-- {
		declared += uint64(r.u32("the number of locals"))
		r.valueType("a local")
		if declared > MaxLocals {
			r.fail("%s has %d locals, and %d are the most", what, declared, MaxLocals)
		}
	}
	if r.err == nil && (r.left() == 0 || b[len(b)-1] != byte(OpEnd)) {
		r.fail("%s has no end", what)
	}
	if c.all += declared; c.all > c.most && r.err == nil {
		r.fail("its functions have %d locals up to here, and %d are the most", c.all, c.most)
	}
	c.locals = uint32(sum + declared)
	c.nest = append(c.nest[:0], byte(OpBlock))
	for r.err == nil && len(c.nest) > 0 {
		if r.pos == len(b) {
			r.fail("%s has no end", what)
			break
		}
		c.instruction()
	}
	if r.err == nil && r.pos < len(b) {
		r.fail("%s goes on for %d bytes behind its end", what, len(b)-r.pos)
	}
	if r.err != nil {
		r.err.What = fmt.Sprintf("function %d: %s", i, r.err.What)
	}
	c.m.final = c.m.final || r.exnref
	return r.err
}

// fail is an error at the start of the instruction in hand.
func (c *checker) fail(format string, args ...any) {
	c.r.pos = c.start
	c.r.fail(format, args...)
}

// ofProposal is fail for the use of a proposal.
func (c *checker) ofProposal(p proposal, format string, args ...any) {
	if c.r.err == nil {
		c.r.pos = c.start
		c.r.ofProposal(p, format, args...)
	}
}

// index reads an index that has to be below n. This is the hot path, so that
// indices of one byte are read here.
func (c *checker) index(n uint32, what string) uint32 {
	r := &c.r
	var i uint32
	if r.pos < len(r.b) && r.b[r.pos] < 0x80 {
		i = uint32(r.b[r.pos])
		r.pos++
	} else {
		i = r.u32(what)
	}
	if i >= n && r.err == nil {
		c.fail("it uses the %s %d, and there are %d", what, i, n)
	}
	return i
}

func (c *checker) instruction() {
	r := &c.r
	c.start = r.pos
	b := r.b[r.pos]
	r.pos++
	switch operands[b] {
	case nothing:
		switch Opcode(b) {
		case OpElse:
			if top := len(c.nest) - 1; c.nest[top] != byte(OpIf) {
				c.fail("it has an else outside of an if")
			} else {
				c.nest[top] = byte(OpElse)
			}
		case OpEnd:
			c.nest = c.nest[:len(c.nest)-1]
		case OpCatchAll:
			c.clause(OpCatchAll)
		case OpThrowRef:
			c.m.final = true
		}
	case local:
		c.index(c.locals, "local")
	case number32:
		r.signed(32, "a constant")
	case number64:
		r.signed(64, "a constant")
	case access:
		c.access(accessSizes[b-0x28])
	case label:
		c.label(Opcode(b))
	case labels:
		n := r.count(MaxBranches, 1, "labels of a br_table")
		for ; n >= 0 && r.err == nil; n-- {
			c.index(uint32(len(c.nest)), "label")
		}
	case blockType:
		c.m.legacy = c.m.legacy || Opcode(b) == OpTry
		c.blockType()
		c.open(b)
	case tryTable:
		c.m.final = true
		c.blockType()
		for n := r.count(MaxCatches, 2, "catches of a try_table"); n > 0 && r.err == nil; n-- {
			kind := r.byte("a catch")
			if kind > 3 {
				c.fail("it has a catch of the unknown kind %d", kind)
			}
			if kind < 2 {
				c.index(uint32(len(c.m.tags)), "tag")
			}
			c.index(uint32(len(c.nest)), "label")
		}
		c.open(b)
	case tag:
		c.index(uint32(len(c.m.tags)), "tag")
		if Opcode(b) == OpCatch {
			c.clause(OpCatch)
		}
	case function:
		i := c.index(uint32(len(c.m.funcs)), "function")
		if Opcode(b) == OpRefFunc && r.err == nil && (c.m.declared == nil || !c.m.declared[i]) {
			c.fail("it takes a reference to the function %d, which no export, element or global names", i)
		}
	case indirect:
		c.index(uint32(len(c.m.types)), "type")
		c.index(c.tables, "table")
	case global:
		c.index(uint32(c.m.globals), "global")
	case table:
		c.index(c.tables, "table")
	case memory:
		c.oneMemory()
	case bytes4:
		r.bytes(4, "a constant")
	case bytes8:
		r.bytes(8, "a constant")
	case valueTypes:
		if n := r.u32("the number of types of a select"); n != 1 {
			c.fail("it has a select of %d types, which is not one", n)
		}
		r.valueType("a select")
	case referenceType:
		r.refType(nullReference)
	case prefix:
		if b == prefixMisc {
			c.misc()
		} else {
			c.vector()
		}
	default:
		if name, of := unsupported(b); name != "" {
			c.ofProposal(of, "it uses the instruction %s", name)
		} else {
			c.fail("it has the unknown instruction %#x", b)
		}
	}
}

// open begins a block.
func (c *checker) open(op byte) {
	if len(c.nest) > MaxNesting {
		c.fail("it nests blocks %d deep, and %d are the most", len(c.nest), MaxNesting)
	}
	c.nest = append(c.nest, op)
}

// label is the operand of a branch, and of the legacy instructions that name a try.
func (c *checker) label(op Opcode) {
	if op != OpDelegate {
		i := c.index(uint32(len(c.nest)), "label")
		if op == OpRethrow && c.r.err == nil {
			if at := Opcode(c.nest[len(c.nest)-1-int(i)]); at != OpCatch && at != OpCatchAll {
				c.fail("it has a rethrow outside of the catch that it names")
			}
		}
		return
	}
	top := len(c.nest) - 1
	if Opcode(c.nest[top]) != OpTry {
		c.fail("it has a delegate outside of a try")
		return
	}
	c.nest = c.nest[:top]
	c.index(uint32(top), "label")
}

// clause begins a catch or catch_all of a legacy try.
func (c *checker) clause(op Opcode) {
	top := len(c.nest) - 1
	if was := Opcode(c.nest[top]); was != OpTry && was != OpCatch {
		c.fail("it has a catch outside of a try")
		return
	}
	c.nest[top] = byte(op)
}

func (c *checker) blockType() {
	r := &c.r
	if r.left() == 0 {
		r.short("the type of a block")
		return
	}
	switch b := r.b[r.pos]; {
	case b == 0x40:
		r.pos++
	case b&0xc0 == 0x40: // a negative number of one byte
		r.valueType("a block")
	default:
		i := r.signed(33, "the type of a block")
		if r.err != nil {
			return
		}
		if i < 0 {
			c.fail("it has a block of the unknown type %d", i)
		} else if i >= int64(len(c.m.types)) {
			c.fail("it uses the type %d, and there are %d", i, len(c.m.types))
		}
	}
}

func (c *checker) oneMemory() {
	r := &c.r
	if r.byte("the index of a memory") != 0 && r.err == nil {
		c.ofProposal(multiMemory, "it uses a memory by another index than 0: a use")
	}
	c.needMemory()
}

func (c *checker) needMemory() {
	if !c.memory {
		c.fail("it uses the memory 0, and there are 0")
	}
}

func (c *checker) access(size byte) {
	r := &c.r
	align := c.small("the alignment of an access")
	if align > uint32(size) && r.err == nil {
		if align&0x40 != 0 && align < 0x80 {
			c.ofProposal(multiMemory, "it uses a memory by its index: a use")
		} else {
			c.fail("it has an access to the memory with the alignment 2^%d, and 2^%d is the most", align, size)
		}
	}
	c.small("the offset of an access")
	if !c.memory {
		c.needMemory()
	}
}

// small is a u32 that mostly has one byte.
func (c *checker) small(what string) uint32 {
	r := &c.r
	if r.pos < len(r.b) && r.b[r.pos] < 0x80 {
		r.pos++
		return uint32(r.b[r.pos-1])
	}
	return r.u32(what)
}

func (c *checker) data(what string) {
	if c.m.data < 0 {
		c.fail("it uses a data segment, and the module has no data count section")
		return
	}
	c.index(uint32(c.m.data), what)
}

func (c *checker) misc() {
	r := &c.r
	n := r.u32("an instruction")
	if n >= uint32(len(miscOperands)) {
		if n >= 19 && n <= 22 {
			c.ofProposal(wideArithmetic, "it uses the instruction 0xfc %d", n)
		}
		c.fail("it has the unknown instruction 0xfc %d", n)
		return
	}
	switch miscOperands[n] {
	case dataMemory:
		c.data("data segment")
		c.oneMemory()
	case data:
		c.data("data segment")
	case memories:
		c.oneMemory()
		c.oneMemory()
	case memory:
		c.oneMemory()
	case elementTable:
		c.index(uint32(c.m.ElementSegments), "element segment")
		c.index(c.tables, "table")
	case element:
		c.index(uint32(c.m.ElementSegments), "element segment")
	case tables:
		c.index(c.tables, "table")
		c.index(c.tables, "table")
	case table:
		c.index(c.tables, "table")
	}
}

func (c *checker) vector() {
	r := &c.r
	n := r.u32("an instruction")
	if r.err != nil {
		return
	}
	if n > 0xff {
		switch {
		case n < 0x114:
			c.ofProposal(relaxedSIMD, "it uses the instruction 0xfd %#x", n)
		case n >= 0x120 && n < 0x160:
			c.ofProposal(halfPrecision, "it uses the instruction 0xfd %#x", n)
		}
		c.fail("it has the unknown instruction 0xfd %#x", n)
		return
	}
	switch vectorOperands[n] {
	case access:
		c.access(vectorSize(byte(n)))
	case bytes16:
		r.bytes(16, "a constant")
	case lanes:
		for _, l := range r.bytes(16, "the lanes of a shuffle") {
			if l >= 32 {
				c.fail("it uses the lane %d, and there are 32", l)
			}
		}
	case accessLane:
		c.access(vectorSize(byte(n)))
		c.lane(byte(n))
	case lane:
		c.lane(byte(n))
	case unknown:
		c.fail("it has the unknown instruction 0xfd %#x", n)
	}
}

func (c *checker) lane(n byte) {
	if l := c.r.byte("a lane"); l >= laneCount(n) {
		c.fail("it uses the lane %d, and there are %d", l, laneCount(n))
	}
}
