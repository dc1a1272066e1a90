package meter

import (
	"encoding/binary"
	"fmt"

	"bulkhead/plugins/wasm"
)

// wasm.CodeSection writes the code of all functions, and of the helpers that they turn
// out to need, into w.code.
func (w *writer) codeSection(s *wasm.Section) error {
	r := wasm.Source{Bytes: s.Content}
	n := r.U32()
	const count = 5 // bytes left free for the number of functions
	w.code = make([]byte, count, len(s.Content)+len(s.Content)/2+1024)
	for i := range n {
		index := w.imported + i
		size := int(r.U32())
		at := r.Next
		first := len(w.origins)
		err := w.rewriteFunction(index, r.Take(size))
		if err == nil && len(w.code) > w.limit {
			err = fmt.Errorf("metered, the code up to here has %d bytes, and %d are the most: it consists of loops and branches with little between", len(w.code), w.limit)
		}
		if err != nil {
			return &wasm.SyntaxError{Offset: s.Offset + at, What: fmt.Sprintf("function %d: %v", index, err)}
		}
		w.origins[first:].move(len(w.code)-len(w.body), at)
	}
	if w.o.Origins {
		// The helpers come from nowhere.
		w.origins = append(w.origins, origin{new: uint32(len(w.code)), old: noOrigin})
	}
	for _, h := range w.helpers {
		w.appendBody(h.body(w))
	}
	var number [10]byte
	k := binary.PutUvarint(number[:], uint64(n)+uint64(len(w.helpers)))
	w.code = w.code[count-k:]
	copy(w.code, number[:k])
	w.origins.move(k-count, 0)
	return nil
}

func (w *writer) appendBody(b []byte) {
	w.code = binary.AppendUvarint(w.code, uint64(len(b)))
	w.code = append(w.code, b...)
}

// splitBody is the locals of a function, and its instructions.
func splitBody(body []byte) (locals, code []byte) {
	r := wasm.Source{Bytes: body}
	for n := r.U32(); n > 0; n-- {
		r.U32()
		r.Next++
	}
	return body[:r.Next], body[r.Next:]
}

// localSlots is how many slots the parameters and locals of a function take.
func (w *writer) localSlots(index uint32, locals []byte) uint32 {
	slots := valueSlots(w.m.FunctionType(index).Params)
	r := wasm.Source{Bytes: locals}
	for n := r.U32(); n > 0; n-- {
		k := r.U32()
		if wasm.ValueType(r.Take(1)[0]) == wasm.V128 {
			k *= 2
		}
		slots += k
	}
	return slots
}

// rewriteFunction appends the code of a function, of which its body is given.
func (w *writer) rewriteFunction(index uint32, body []byte) error {
	locals, code := splitBody(body)
	a := &w.analysis
	if err := a.function(code, w.localSlots(index, locals), valueSlots(w.m.FunctionType(index).Results)); err != nil {
		return err
	}
	b := append(w.body[:0], locals...)
	from := func(at int, copied bool) {
		if w.o.Origins {
			w.origins = append(w.origins, origin{uint32(len(b)), uint32(len(locals) + at), copied})
		}
	}
	from(0, false)
	b = w.charge(b, a.charged(0)+uint64(a.frame()))
	b = append(b, w.check...)
	done := 0
	for _, m := range a.marks {
		from(done, true)
		b = append(b, code[done:m.at]...)
		done = int(m.end)
		from(int(m.at), false)
		switch m.kind {
		case chargeLoop:
			b = append(b, w.loopCheck...)
			b = w.charge(b, a.charged(m.arg))
		case chargeNode:
			units := a.charged(m.arg)
			if units > 0 {
				b = w.charge(b, units)
			}
			if a.nodes[m.arg].checks || a.nodes[m.arg].looks {
				b = append(b, w.check...)
			}
		case lookOnly:
			b = append(b, w.check...)
		case renumberedCall:
			b = binary.AppendUvarint(append(b, opCall), uint64(m.arg))
		case renumberedRef:
			b = binary.AppendUvarint(append(b, byte(wasm.OpRefFunc)), uint64(m.arg))
		case shortOpcode:
			b = binary.AppendUvarint(b, uint64(m.arg))
		case helperCall:
			b = binary.AppendUvarint(append(b, opCall), w.helperIndex(m.arg))
		}
		if len(b) > MaxBody {
			return fmt.Errorf("metered, it has more than %d bytes: it consists of loops and branches with little between", MaxBody)
		}
	}
	from(done, true)
	b = append(b, code[done:]...)
	w.body = b
	if len(b) > MaxBody {
		return fmt.Errorf("metered, it has %d bytes, and %d are the most: it consists of loops and branches with little between", len(b), MaxBody)
	}
	w.appendBody(b)
	return nil
}

// takesValues reports whether the block in hand has parameters.
func (w *writer) takesValues(s *wasm.Instructions) bool {
	r := wasm.Source{Bytes: s.Code, Next: s.Start + 1}
	if b := s.Code[r.Next]; b&0xc0 == 0x40 {
		return false
	}
	return len(w.m.Type(r.U32()).Params) > 0
}

// blockSlots is how many slots the values take that meet at the end of a block, or
// at the head of a loop.
func (w *writer) blockSlots(s *wasm.Instructions) uint32 {
	r := wasm.Source{Bytes: s.Code, Next: s.Start + 1}
	switch b := s.Code[r.Next]; {
	case b == emptyBlock:
		return 0
	case b&0xc0 == 0x40:
		if wasm.ValueType(b) == wasm.V128 {
			return 2
		}
		return 1
	}
	t := w.m.Type(r.U32())
	return valueSlots(t.Params) + valueSlots(t.Results)
}
