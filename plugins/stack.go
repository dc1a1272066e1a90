package plugins

import (
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"

	"github.com/tetratelabs/wazero/api"
)

// DefaultStack is how large the stack of a call may become, in bytes, where
// nothing else is said.
const DefaultStack = 4 << 20

// keptStack is how large a stack may be to be kept for the next call.
const keptStack = 64 << 10

// stackPlace is where functions of one of the engine's types keep their stacks.
type stackPlace struct {
	function reflect.Type
	field    int
}

// lastPlace is the one that was found last, so that it need not be looked for at each
// call. Guests decide what is looked at, so it is never taken for the place of
// another type, and that a type has none is not kept: what one guest is refused for
// says nothing of the next.
var lastPlace atomic.Pointer[stackPlace]

// export is a function of the guest's that may be called.
type export struct {
	api.Function         // nil: none
	stack        *[]byte // where the engine keeps its stack
}

// stackSize is how many bytes the stack of the function has. The engine grows it by doubling, up to
// 100 MB, and never shrinks it. Where there is no function it is 0.
func (e *export) stackSize() int {
	if e.stack == nil {
		return 0
	}
	return len(*e.stack)
}

// exportOf finds out where the stack of an exported function is. The engine does not say so in
// public, hence the look inside. The error says that f is of no type that has a
// stack, so that it could not be bounded: such a function must not be called. The
// engine's functions for what guests import are so, and let panics through.
func exportOf(f api.Function) (export, error) {
	v := reflect.ValueOf(f)
	if !v.IsValid() {
		return export{}, errors.New("there is no such function")
	}
	at := lastPlace.Load()
	if at == nil || at.function != v.Type() {
		var err error
		if at, err = findStack(v.Type()); err != nil {
			return export{}, err
		}
		lastPlace.Store(at)
	}
	return export{f, (*[]byte)(v.Elem().Field(at.field).Addr().UnsafePointer())}, nil
}

func findStack(function reflect.Type) (*stackPlace, error) {
	if function.Kind() == reflect.Pointer && function.Elem().Kind() == reflect.Struct {
		field, ok := function.Elem().FieldByName("stack")
		if ok && len(field.Index) == 1 && field.Type == reflect.TypeFor[[]byte]() {
			return &stackPlace{function, field.Index[0]}, nil
		}
	}
	return nil, fmt.Errorf("the engine's %v has no stack that can be looked at, so none could be bounded", function)
}
