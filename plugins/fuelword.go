package plugins

import (
	"encoding/binary"
	"errors"
	"reflect"
	"unsafe"

	"github.com/tetratelabs/wazero/api"
)

// errNoFuelWord is the error of an engine that keeps globals elsewhere.
var errNoFuelWord = errors.New("the engine's globals are not where they could be looked at, so no call could be stopped in time")

// fuelWord is where the engine keeps a global of a module's own, which it reaches there
// without a lock, while the guest runs. It does not say so in public, hence the look
// inside; that it is the right place is tried. The global is zero afterwards, and nothing of
// its module may run meanwhile.
func fuelWord(g api.MutableGlobal) (*int64, error) {
	state := reflect.ValueOf(g)
	for _, name := range []string{"g", "Me", "opaque"} {
		for state.Kind() == reflect.Interface || state.Kind() == reflect.Pointer {
			state = state.Elem()
		}
		if state.Kind() != reflect.Struct {
			return nil, errNoFuelWord
		}
		state = state.FieldByName(name)
	}
	if state.Kind() != reflect.Slice || state.Type().Elem().Kind() != reflect.Uint8 || state.Len() == 0 {
		return nil, errNoFuelWord
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
		return nil, errNoFuelWord
	}
	word := (*int64)(unsafe.Pointer(&b[at]))
	*word = 1
	tried := g.Get() == 1
	g.Set(0)
	if !tried || *word != 0 {
		return nil, errNoFuelWord
	}
	return word, nil
}
