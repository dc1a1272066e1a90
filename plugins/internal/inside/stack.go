// Package inside looks at what the engine, wazero, does not say in public: where a function's stack
// is, where a global is, and whom it asks for native code. All of it is found by the names and
// types of the engine's fields. Where those are not as expected, as in another version, the answer
// is an error, and nothing is guessed. It depends on the version in go.mod, which its tests try.
package inside

import (
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"

	"github.com/tetratelabs/wazero/api"
)

// stackPlace is where functions of one of the engine's types keep their stacks.
type stackPlace struct {
	function reflect.Type
	field    int
}

// lastPlace is the one that was found last, so that it need not be looked for at each
// function. Guests decide what is looked at, so it is never taken for the place of
// another type, and that a type has none is not kept: what one guest is refused for
// says nothing of the next.
var lastPlace atomic.Pointer[stackPlace]

// Stack is where the engine keeps the stack of an exported function. Its length may be read by
// whoever calls the function, in between and from host functions that it calls; it must not be
// written to. The error says that f is of no type that has a stack, so that it could not be
// bounded: such a function must not be called. The engine's functions for what guests import are
// so, and let panics through. Any goroutine may call it.
func Stack(f api.Function) (*[]byte, error) {
	v := reflect.ValueOf(f)
	if !v.IsValid() {
		return nil, errors.New("there is no such function")
	}
	at := lastPlace.Load()
	if at == nil || at.function != v.Type() {
		var err error
		if at, err = findStack(v.Type()); err != nil {
			return nil, err
		}
		lastPlace.Store(at)
	}
	return (*[]byte)(v.Elem().Field(at.field).Addr().UnsafePointer()), nil
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
