package plugins

import (
	"bulkhead/plugins/internal/inside"

	"github.com/tetratelabs/wazero/api"
)

// DefaultStack is how large the stack of a call may become, in bytes, where
// nothing else is said.
const DefaultStack = 4 << 20

// keptStack is how large a stack may be to be kept for the next call.
const keptStack = 64 << 10

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

// exportOf finds out where the stack of an exported function is. The error says that it has none,
// so that it could not be bounded: such a function must not be called.
func exportOf(f api.Function) (export, error) {
	stack, err := inside.Stack(f)
	if err != nil {
		return export{}, err
	}
	return export{f, stack}, nil
}
