package inside

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"runtime"
	"unsafe"

	"github.com/tetratelabs/wazero/api"
)

// Calls is where a call was when it trapped.
type Calls struct {
	// At are places in Code, each behind the instruction that called the one before it, the
	// innermost first; the first is that of the trap, or of the call of the host. Calls of other
	// modules, such as the host's, are left out.
	At []uint32
	// Code is the module's native code. It is the engine's, and gone when the module is closed.
	Code []byte
}

// CallsOf are the calls that f had made when it trapped, or that it is in, at most so many. It is
// called when f has returned an error, and before it is called again, or by a function of the host
// that f calls; the guest's stack is read. Where a trap leaves
// none, as an overflow of the stack does, there are none. The error says that the engine is not as
// expected, or that nobody knows how its stacks are on this processor.
func CallsOf(f api.Function, most int) (c Calls, err error) {
	v := reflect.ValueOf(f)
	if !v.IsValid() || v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return c, fmt.Errorf("the engine's %T has no calls that can be looked at", f)
	}
	defer func() {
		if p := recover(); p != nil { // reflect's, of a field that is another
			c, err = Calls{}, fmt.Errorf("the engine's %T has no calls that can be looked at: %v", f, p)
		}
	}()
	call := v.Elem()
	state := call.FieldByName("execCtx")
	c.Code = call.FieldByName("parent").Elem().FieldByName("parent").Elem().FieldByName("executable").Bytes()
	stack := call.FieldByName("stack").Bytes()
	top := uintptr(call.FieldByName("stackTop").Uint())
	sp := state.FieldByName("stackPointerBeforeGoCall").Pointer()
	fp := uintptr(state.FieldByName("framePointerBeforeGoCall").Uint())
	back := state.FieldByName("goCallReturnAddress").Pointer()
	if sp == 0 || len(c.Code) == 0 || len(stack) == 0 {
		return c, nil
	}
	code := uintptr(unsafe.Pointer(unsafe.SliceData(c.Code)))
	add := func(pc uintptr) bool {
		if pc > code && pc-code <= uintptr(len(c.Code)) {
			c.At = append(c.At, uint32(pc-code))
		}
		return len(c.At) < most
	}
	add(back)
	bottom := uintptr(unsafe.Pointer(unsafe.SliceData(stack)))
	if top < bottom || top-bottom > uintptr(len(stack)) {
		return Calls{}, fmt.Errorf("the engine's %T has the top of its stack elsewhere", f)
	}
	stack = stack[:top-bottom]
	switch runtime.GOARCH {
	case "amd64":
		unwindFrames(stack, fp-bottom, bottom, add)
	case "arm64":
		unwindSizes(stack, sp-bottom, add)
	default:
		return Calls{}, fmt.Errorf("how calls stand on the stack is not known on %s", runtime.GOARCH)
	}
	return c, nil
}

// word is the one at a place of the stack.
func word(stack []byte, at uintptr) (w uintptr, ok bool) {
	if at%8 != 0 || at >= uintptr(len(stack)) || uintptr(len(stack))-at < 8 {
		return 0, false
	}
	return uintptr(binary.LittleEndian.Uint64(stack[at:])), true
}

// unwindFrames gives add the return addresses from the frame at a place on: the address of the
// frame before it, and the return address, as on amd64. Each frame is above the one before it, or
// it is the last.
func unwindFrames(stack []byte, at, bottom uintptr, add func(pc uintptr) bool) {
	for {
		above, ok1 := word(stack, at)
		pc, ok2 := word(stack, at+8)
		if !ok1 || !ok2 || !add(pc) || above-bottom <= at {
			return
		}
		at = above - bottom
	}
}

// unwindSizes does it where each frame has its size below it, and the size of arguments and results
// above its return address, as on arm64.
func unwindSizes(stack []byte, at uintptr, add func(pc uintptr) bool) {
	limit := uintptr(len(stack))
	for {
		size, ok := word(stack, at)
		if !ok || size > limit {
			return
		}
		at += size + 16
		pc, ok1 := word(stack, at)
		arguments, ok2 := word(stack, at+8)
		if !ok1 || !ok2 || !add(pc) || arguments > limit {
			return
		}
		at += 16 + arguments
	}
}
