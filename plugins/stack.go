package plugins

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/tetratelabs/wazero/api"
)

// DefaultStack is how large the stack of a call may become, in bytes, where
// nothing else is said.
const DefaultStack = 4 << 20

// keptStack is how large a stack may be to be kept for the next call.
const keptStack = 64 << 10

// stackField is where the engine keeps the stack of an exported function,
// which it grows by doubling, up to 100 MB, and never shrinks. It does not say
// so in public, hence the look inside. An engine that keeps it elsewhere runs
// no guest.
var stackField struct {
	once  sync.Once
	index int
	err   error
}

// findStackField looks into a function of the engine's, once.
func findStackField(f api.Function) error {
	stackField.once.Do(func() {
		typ := reflect.TypeOf(f)
		if typ.Kind() == reflect.Pointer && typ.Elem().Kind() == reflect.Struct {
			if field, ok := typ.Elem().FieldByName("stack"); ok && field.Type == reflect.TypeFor[[]byte]() {
				stackField.index = field.Index[0]
				return
			}
		}
		stackField.err = fmt.Errorf("the engine's %v has no stack that can be looked at, so none could be bounded", typ)
	})
	return stackField.err
}

// stackSize is how many bytes the stack of f has, after findStackField.
func stackSize(f api.Function) int {
	return reflect.ValueOf(f).Elem().Field(stackField.index).Len()
}
