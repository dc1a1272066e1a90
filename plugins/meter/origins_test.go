package meter_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"

	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/meter"
	"bulkhead/plugins/wasm"
)

// bodies are the places in a code section of the instructions of each function.
func bodies(b []byte) (section []byte, functions [][2]int) {
	for b = b[8:]; len(b) > 0; {
		n, k := binary.Uvarint(b[1:])
		if b[0] == 10 {
			section = b[1+k:][:n]
		}
		b = b[1+k:][n:]
	}
	n, at := binary.Uvarint(section)
	for ; n > 0; n-- {
		size, k := binary.Uvarint(section[at:])
		at += k
		end := at + int(size)
		groups, k := binary.Uvarint(section[at:])
		for at += k; groups > 0; groups-- {
			_, k := binary.Uvarint(section[at:])
			at += k + 1
		}
		functions = append(functions, [2]int{at, end})
		at = end
	}
	return section, functions
}

// Each place of what comes out is said to come from the function that it is of, and what is copied
// from the same bytes; every instruction that went in has a place; and asking changes nothing.
func TestOrigins(t *testing.T) {
	bulk := w.New()
	bulk.Memory(1)
	bulk.Func("f", "ii:i", "", w.LocalGet(0), w.I32Const(7), w.LocalGet(1), w.MemoryFill,
		w.Loop(w.LocalGet(0), w.I32Const(1), w.I32Sub, w.LocalTee(0), w.BrIf(0)), w.LocalGet(0), w.LocalGet(1), w.I32DivS)
	bulk.Func("g", "i:i", "ii", w.LocalGet(0), w.LocalGet(0), w.Call(0))
	modules := map[string][]byte{"fib": fib(), "bulk": bulk.Bytes()}
	for _, name := range []string{"crash", "statics", "answers"} {
		b, err := os.ReadFile("../../examples/testdata/" + name + ".wasm")
		if err != nil {
			t.Fatal(err)
		}
		modules[name] = b
	}
	for name, b := range modules {
		t.Run(name, func(t *testing.T) {
			plain := rewritten(t, b, meter.Options{})
			asked := rewritten(t, b, meter.Options{Origins: true})
			if !bytes.Equal(plain.Code, asked.Code) || plain.Origins != nil {
				t.Fatal("it comes out otherwise when it is asked where from")
			}
			before, from := bodies(b)
			_, to := bodies(asked.Code)
			for i, f := range from {
				seen := make(map[int]bool)
				last := f[0]
				for at := to[i][0]; at < to[i][1]; at++ {
					old, ok := asked.Origins.At(uint32(at))
					if !ok || int(old) < f[0] || int(old) > f[1] || int(old) < last {
						t.Fatalf("byte %d of function %d comes from %d, %v, and the one before it from %d: the function is %v", at, i, old, ok, last, f)
					}
					last = int(old)
					seen[last] = true
				}
				s := wasm.Instructions{Code: before[f[0]:f[1]]}
				for s.Step() {
					if !seen[f[0]+s.Start] {
						t.Errorf("nothing comes from the instruction %#x at %d of function %d", s.Op, s.Start, i)
					}
				}
			}
			for i := len(from); i < len(to); i++ {
				if old, ok := asked.Origins.At(uint32(to[i][0])); ok {
					t.Errorf("the helper %d is said to come from %d", i, old)
				}
			}
			if _, ok := asked.Origins.At(0); ok {
				t.Error("the number of functions is said to come from an instruction")
			}
		})
	}
}

// An instruction that is copied is the same at the place where it is said to come from.
func TestOriginsOfCopies(t *testing.T) {
	b := fib()
	asked := rewritten(t, b, meter.Options{Origins: true})
	before, from := bodies(b)
	after, to := bodies(asked.Code)
	s := wasm.Instructions{Code: before[from[0][0]:from[0][1]]}
	for s.Step() {
		if s.Op == wasm.OpCall {
			continue // it has another number
		}
		want := before[from[0][0]+s.Start : from[0][0]+s.Next]
		found := false
		for at := to[0][0]; at < to[0][1]-len(want)+1; at++ {
			old, _ := asked.Origins.At(uint32(at))
			found = found || int(old) == from[0][0]+s.Start && bytes.Equal(after[at:at+len(want)], want)
		}
		if !found {
			t.Errorf("the instruction %x at %d is nowhere", want, s.Start)
		}
	}
}
