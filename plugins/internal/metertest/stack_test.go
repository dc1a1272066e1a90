package metertest

import (
	"fmt"
	"testing"

	"bulkhead/internal/wasmtest"
	"bulkhead/plugins/meter"
)

const (
	// stackPerUnit is how many bytes of stack one unit of fuel pays for.
	stackPerUnit = 8 * meter.SlotsPerUnit
	// leastStack is how many bytes the engine's compiler has in use when it finds that
	// the stack is too large: it doubles it, up to some 50 MB.
	leastStack = 25_000_000
)

// TestFuelBoundsTheStack recurses for ever in functions that keep many values
// over the call, which the engine has to spill into the frame, and wants each frame to
// be paid for. With -whole, there are more numbers of values.
func TestFuelBoundsTheStack(t *testing.T) {
	e := newEngine(t, true)
	for _, letter := range "iIfFV" {
		for _, values := range []int{0, 1, 10, 100, 400} {
			if raceDetector && values != 100 {
				continue // which sizes there are makes no difference to it
			}
			if !*whole && values != 0 && values != 100 {
				continue // the large stacks take the time
			}
			t.Run(fmt.Sprintf("%c%d", letter, values), func(t *testing.T) {
				p, err := e.compile(t.Context(), recursion(byte(letter), values))
				if err == nil {
					err = p.refused
				}
				if err != nil {
					t.Fatal(err)
				}
				defer p.close(t.Context())
				w := newWorld(e, "metered", large)
				ctx := w.context(t.Context())
				m, err := w.instantiate(ctx, p)
				if err != nil {
					t.Fatal(err)
				}
				defer m.Close(ctx)
				o, err := w.call(ctx, m, "f", []uint64{0})
				if err != nil {
					t.Fatal(err)
				}
				if !o.overflow() {
					t.Fatalf("%s, want a stack overflow", o)
				}
				if paid := o.fuel * stackPerUnit; paid < leastStack {
					t.Errorf("it used up the stack with %d units of fuel, which are for %d bytes", o.fuel, paid)
				}
			})
		}
	}
}

// recursion is a module whose function loads that many values from memory, calls
// itself, and only then stores them.
func recursion(letter byte, values int) []byte {
	type ops struct{ load, store []byte }
	at := map[byte]ops{
		'i': {[]byte{0x28, 0, 0}, []byte{0x36, 0, 0}},
		'I': {[]byte{0x29, 0, 0}, []byte{0x37, 0, 0}},
		'f': {[]byte{0x2a, 0, 0}, []byte{0x38, 0, 0}},
		'F': {[]byte{0x2b, 0, 0}, []byte{0x39, 0, 0}},
		'V': {[]byte{0xfd, 0, 0, 0}, []byte{0xfd, 11, 0, 0}},
	}[letter]
	m := wasmtest.New()
	m.Memory(1)
	var body [][]byte
	for i := range values {
		body = append(body, wasmtest.I32Const(int32(i*16)), wasmtest.I32Const(int32(i*16)), at.load)
	}
	body = append(body, wasmtest.LocalGet(0), wasmtest.Call(wasmtest.Func(0)), wasmtest.LocalSet(0))
	for range values {
		body = append(body, at.store)
	}
	body = append(body, wasmtest.LocalGet(0))
	m.Func("f", "i:i", "", body...)
	return m.Bytes()
}
