package metertest

import (
	"encoding/binary"
	"fmt"

	"bulkhead/plugins/meter"
	"bulkhead/plugins/wasm"
)

// The globals that [counted] adds, as they are exported.
const (
	// exactExport is the sum of the costs of all instructions that were executed.
	exactExport = "test.exact"
	// slackExport is how much more the meter may have charged for them.
	slackExport = "test.slack"
)

// slackPerCharge is the most that a charge may be too much by, because what it pays
// for lies behind a condition. The meter's own
// bound may be lower.
const slackPerCharge = 100

// opcode is an instruction's, with the prefix 0xfc or 0xfd in the high byte.
type opcode = wasm.Opcode

// counted returns the valid module b with two counters, which it exports. Right in
// front of every single instruction its cost is added to the one, and where a
// charge could be the most that it may be too much is added to the other. It merges
// nothing and knows nothing of regions, and it shares no code with the meter but
// the prices, so that it is a measure for it. bulk reports whether the module has
// instructions whose cost depends on operands; these are counted without that.
func counted(b []byte) (out []byte, bulk bool, err error) {
	r := &bytesReader{b: b, at: 8}
	out = append(out, b[:8]...)
	var globals, imported uint64
	seen := make(map[byte]bool)
	// Sections that are missing come where they belong, in front of before.
	add := func(before byte) {
		if !seen[6] && before > 6 {
			seen[6] = true
			out = appendSection(out, 6, append([]byte{2}, counterGlobals...))
		}
		if !seen[7] && before > 7 {
			seen[7] = true
			out = appendSection(out, 7, append([]byte{2}, counterExports(globals)...))
		}
	}
	for r.at < len(b) && r.err == nil {
		id := r.byte()
		content := r.take(int(r.unsigned()))
		if id != 0 {
			add(id)
			seen[id] = true
		}
		s := &bytesReader{b: content}
		switch id {
		case 2:
			globals, imported = s.imports()
		case 6:
			n := s.unsigned()
			globals += n
			content = append(binary.AppendUvarint(nil, n+2), content[s.at:]...)
			content = append(content, counterGlobals...)
		case 7:
			n := s.unsigned()
			content = append(binary.AppendUvarint(nil, n+2), content[s.at:]...)
			content = append(content, counterExports(globals)...)
		case 10:
			n := s.unsigned()
			content = binary.AppendUvarint(nil, n)
			for i := range n {
				c := &counter{body: s.take(int(s.unsigned())), exact: globals, slack: globals + 1, imported: imported}
				if err := c.count(); err != nil {
					return nil, false, fmt.Errorf("function %d: %w", imported+i, err)
				}
				bulk = bulk || c.bulk
				content = append(content, list(c.out)...)
			}
		}
		if s.err != nil {
			return nil, false, fmt.Errorf("section %d: %w", id, s.err)
		}
		out = appendSection(out, id, content)
	}
	add(0xff)
	return out, bulk, r.err
}

// Two mutable i64, zero at first.
var counterGlobals = []byte{0x7e, 1, 0x42, 0, 0x0b, 0x7e, 1, 0x42, 0, 0x0b}

func counterExports(first uint64) []byte {
	return append(export(exactExport, 3, int(first)), export(slackExport, 3, int(first)+1)...)
}

func appendSection(out []byte, id byte, content []byte) []byte {
	out = binary.AppendUvarint(append(out, id), uint64(len(content)))
	return append(out, content...)
}

// counter counts in one function.
type counter struct {
	body         []byte
	exact, slack uint64 // the globals
	imported     uint64 // functions

	out  []byte
	bulk bool
}

// add adds units to a global.
func (c *counter) add(global uint64, units int64) {
	if units == 0 {
		return
	}
	c.out = binary.AppendUvarint(append(c.out, 0x23), global)
	c.out = appendSigned(append(c.out, 0x42), units)
	c.out = binary.AppendUvarint(append(c.out, 0x7c, 0x24), global)
}

func (c *counter) count() error {
	r := &bytesReader{b: c.body}
	slots := int64(0) // of its own locals
	for n := r.unsigned(); n > 0; n-- {
		k := int64(r.unsigned())
		if r.byte() == typeV128 {
			k *= 2
		}
		slots += k
	}
	c.out = append(c.out, c.body[:r.at]...)
	c.add(c.exact, (slots+meter.SlotsPerUnit-1)/meter.SlotsPerUnit+meter.Turn)
	instructions, err := r.frame()
	if err != nil {
		return err
	}
	c.add(c.slack, slackPerCharge+1+instructions/meter.SlotsPerUnit)
	for r.at < len(c.body) && r.err == nil {
		start := r.at
		op, operand := r.instruction()
		cost := int64(meter.Cost(op))
		switch op {
		case 0x10:
			if operand < c.imported {
				cost = meter.HostCall
			}
		case 0x40, 0xfc08, 0xfc0a, 0xfc0b, 0xfc0c, 0xfc0e, 0xfc0f, 0xfc11:
			c.bulk = true
		}
		c.add(c.exact, cost)
		c.out = append(c.out, c.body[start:r.at]...)
		switch op {
		case 0x03: // loop
			c.add(c.exact, meter.Turn)
			c.add(c.slack, slackPerCharge)
		case 0x04, 0x05, 0x0b, 0x0d: // if, else, end, br_if
			if r.at < len(c.body) {
				c.add(c.slack, slackPerCharge)
			}
		}
	}
	return r.err
}

func appendSigned(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

// frame is at least how many slots the values take that the instructions from here on
// make. It stays where it is. No signature in these tests has more than
// 16 slots of parameters and results.
func (r bytesReader) frame() (slots int64, err error) {
	slots = 16
	for r.at < len(r.b) && r.err == nil {
		switch op, _ := r.instruction(); op {
		case 0x02, 0x03, 0x04, 0x10, 0x11: // block, loop, if, call, call_indirect
			slots += 16
		default:
			slots += 2
		}
	}
	return slots, r.err
}

// bytesReader reads valid modules. It panics on none, but believes them.
type bytesReader struct {
	b   []byte
	at  int
	err error
}

func (r *bytesReader) byte() byte {
	if p := r.take(1); len(p) == 1 {
		return p[0]
	}
	return 0
}

func (r *bytesReader) take(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.b)-r.at {
		if r.err == nil {
			r.err = fmt.Errorf("%d bytes are wanted at %d of %d", n, r.at, len(r.b))
		}
		r.at = len(r.b)
		return nil
	}
	r.at += n
	return r.b[r.at-n : r.at]
}

func (r *bytesReader) unsigned() uint64 {
	var v uint64
	for shift := 0; shift < 70; shift += 7 {
		c := r.byte()
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			break
		}
	}
	return v
}

// leb skips n numbers of variable length, signed or not.
func (r *bytesReader) leb(n int) {
	for range n {
		r.unsigned()
	}
}

func (r *bytesReader) limits() {
	if r.byte() == 1 {
		r.leb(1)
	}
	r.leb(1)
}

// imports skips the imports and counts the globals and functions.
func (r *bytesReader) imports() (globals, functions uint64) {
	for n := r.unsigned(); n > 0; n-- {
		r.take(int(r.unsigned()))
		r.take(int(r.unsigned()))
		switch r.byte() {
		case 0:
			r.leb(1)
			functions++
		case 1:
			r.byte()
			r.limits()
		case 2:
			r.limits()
		case 3:
			r.take(2)
			globals++
		}
	}
	return globals, functions
}

// instruction reads one, and returns its first immediate when that is an index
// or a constant i32.
func (r *bytesReader) instruction() (op opcode, operand uint64) {
	op = opcode(r.byte())
	switch {
	case op == 0xfc:
		op = 0xfc00 | opcode(r.unsigned())
		switch op {
		case 0xfc08, 0xfc0a, 0xfc0c, 0xfc0e:
			operand = r.unsigned()
			r.leb(1)
		case 0xfc09, 0xfc0b, 0xfc0d, 0xfc0f, 0xfc10, 0xfc11:
			operand = r.unsigned()
		}
	case op == 0xfd:
		op = 0xfd00 | opcode(r.unsigned())
		switch sub := op & 0xff; {
		case sub <= 11 || sub == 92 || sub == 93:
			r.leb(2)
		case sub == 12 || sub == 13:
			r.take(16)
		case sub >= 21 && sub <= 34:
			r.take(1)
		case sub >= 84 && sub <= 91:
			r.leb(2)
			r.take(1)
		}
	case op >= 0x02 && op <= 0x04, op == 0x0c, op == 0x0d, op == 0x10, op >= 0x20 && op <= 0x26,
		op == 0x3f, op == 0x40, op == 0x41, op == 0x42, op == 0xd0, op == 0xd2:
		operand = r.unsigned()
	case op == 0x0e:
		operand = r.unsigned()
		r.leb(int(operand) + 1)
	case op == 0x11:
		operand = r.unsigned()
		r.leb(1)
	case op == 0x1c:
		operand = r.unsigned()
		r.take(int(operand))
	case op >= 0x28 && op <= 0x3e:
		r.leb(2)
	case op == 0x43:
		r.take(4)
	case op == 0x44:
		r.take(8)
	}
	return op, operand
}
