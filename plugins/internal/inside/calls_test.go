package inside

import (
	"context"
	"encoding/binary"
	"testing"

	w "bulkhead/internal/wasmtest"
)

// The calls of a function that has trapped are there, the innermost first, and none of one that is
// too deep or has not trapped.
func TestCallsOf(t *testing.T) {
	m := w.New()
	m.Memory(1)
	m.Func("c", "i:i", "", w.LocalGet(0), w.I32Const(0), w.I32DivS)
	m.Func("b", "i:i", "", w.LocalGet(0), w.Call(0), w.I32Const(1), w.I32Add)
	m.Func("a", "i:i", "", w.LocalGet(0), w.Call(1), w.I32Const(1), w.I32Add)
	m.Func("deep", "i:i", "", w.LocalGet(0), w.If(w.LocalGet(0), w.I32Const(-1), w.I32Add, w.Call(3), w.Drop), w.LocalGet(0), w.Call(2))
	m.Func("fine", ":i", "", w.I32Const(1))
	m.Func("down", "i:i", "", w.LocalGet(0), w.Call(5), w.I32Const(1), w.I32Add)
	g, err := start(t, m.Bytes(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for _, c := range []struct {
		name       string
		args       []uint64
		most, want int
	}{{"c", []uint64{7}, 9, 1}, {"b", []uint64{7}, 9, 2}, {"a", []uint64{7}, 9, 3}, {"a", []uint64{7}, 2, 2}, {"deep", []uint64{5}, 99, 9}, {"deep", []uint64{9999}, 12, 12}, {"fine", nil, 9, 0}, {"down", []uint64{1}, 9, 0}} {
		f := g.ExportedFunction(c.name)
		if _, err := f.Call(ctx, c.args...); (err == nil) != (c.name == "fine") {
			t.Fatalf("%s: %v", c.name, err)
		}
		if c.name == "down" {
			continue // what is there is of whatever came before
		}
		calls, err := CallsOf(f, c.most)
		if err != nil || len(calls.At) != c.want || len(calls.Code) == 0 {
			t.Errorf("%s: its calls are %v, of %d bytes of code, %v; want %d", c.name, calls.At, len(calls.Code), err, c.want)
		}
		for i, at := range calls.At {
			// The functions stand in the code in their order, and each is called by one behind it.
			if int(at) > len(calls.Code) || i > 0 && i < 3 && at <= calls.At[i-1] {
				t.Errorf("%s: its calls are at %v, of code of %d bytes", c.name, calls.At, len(calls.Code))
			}
		}
	}
	for _, f := range []foreign{{}} {
		if _, err := CallsOf(f, 9); err == nil {
			t.Error("another engine's function has calls")
		}
		if _, err := CallsOf(&f, 9); err == nil {
			t.Error("another engine's function has calls")
		}
	}
	if _, err := CallsOf(nil, 9); err == nil {
		t.Error("no function has calls")
	}
}

// A stack that is not as expected ends the search: nothing outside it is read, and it comes to an
// end.
func TestUnwindStrangeStacks(t *testing.T) {
	const bottom = 1 << 20
	for _, words := range [][]uint64{
		nil, {1}, {bottom, 1}, {bottom + 8, 1, bottom + 8}, {bottom - 8, 1}, {0, 1}, {1 << 63, 1}, {bottom + 16, 1, bottom, 2},
		{bottom + 3, 1, 2, 3}, {^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}, {16, 0, 0, 1, ^uint64(0) - 40}, {8, 8, 8, 8, 8, 8, 8, 8},
	} {
		stack := make([]byte, 0, 64)
		for _, v := range words {
			stack = binary.LittleEndian.AppendUint64(stack, v)
		}
		for _, at := range []uintptr{0, 8, 4, uintptr(len(stack)), ^uintptr(0) - 7, ^uintptr(0)} {
			for name, unwind := range map[string]func(add func(uintptr) bool){
				"frames": func(add func(uintptr) bool) { unwindFrames(stack, at, bottom, add) },
				"sizes":  func(add func(uintptr) bool) { unwindSizes(stack, at, add) },
			} {
				n := 0
				unwind(func(uintptr) bool { n++; return n < 100 })
				if n > len(words) {
					t.Errorf("%s of %x from %d: %d calls", name, words, at, n)
				}
			}
		}
	}
}
