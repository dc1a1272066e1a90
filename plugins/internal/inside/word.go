package inside

import (
	"encoding/binary"
	"errors"
	"reflect"
	"unsafe"

	"github.com/tetratelabs/wazero/api"
)

// errNoWord is the error of an engine that keeps globals elsewhere.
var errNoWord = errors.New("the engine's globals are not where they could be looked at, so no call could be stopped in time")

// Word is where the engine keeps a global of a module's own that is an i64, which it reaches there
// without a lock, while the guest runs. That it is the right place is tried: the global is zero
// afterwards, and nothing of its module may run meanwhile.
func Word(g api.MutableGlobal) (*int64, error) {
	state := reflect.ValueOf(g)
	for _, name := range []string{"g", "Me", "opaque"} {
		for state.Kind() == reflect.Interface || state.Kind() == reflect.Pointer {
			state = state.Elem()
		}
		if state.Kind() != reflect.Struct {
			return nil, errNoWord
		}
		state = state.FieldByName(name)
	}
	if state.Kind() != reflect.Slice || state.Type().Elem().Kind() != reflect.Uint8 || state.Len() == 0 {
		return nil, errNoWord
	}
	b := unsafe.Slice((*byte)(state.UnsafePointer()), state.Len())
	const mark = 0x5afe_f0e1_da7a_beef
	g.Set(mark)
	at := -1
	for k := 0; k+8 <= len(b); k += 8 {
		if binary.NativeEndian.Uint64(b[k:]) == mark {
			if at >= 0 {
				at = len(b)
				break
			}
			at = k
		}
	}
	g.Set(0)
	if at < 0 || at == len(b) || uintptr(unsafe.Pointer(&b[at]))%8 != 0 {
		return nil, errNoWord
	}
	word := (*int64)(unsafe.Pointer(&b[at]))
	*word = 1
	tried := g.Get() == 1
	g.Set(0)
	if !tried || *word != 0 {
		return nil, errNoWord
	}
	return word, nil
}
