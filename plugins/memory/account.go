// Package memory is the linear memory of guests: a place for each of which only the pages in use
// are mapped and charged, images of which memories are private copies, what such a copy has that
// its image has not, and accounts that are charged for all of it. It knows nothing of WebAssembly
// but that memories grow and stay where they are.
package memory

import (
	"errors"
	"fmt"

	"bulkhead/internal/bytesize"
)

// Account is a budget of memory. Its methods are called from any goroutine and must not block.
type Account interface {
	// Reserve takes n bytes, or reports false when there are not so many left;
	// Release gives them back.
	Reserve(n int) bool
	Release(n int)
}

// MappingAccount is a budget of memory mappings, of which the system gives a process so many. Its
// methods are called from any goroutine and must not block.
type MappingAccount interface {
	// ReserveMappings takes n, or reports false when there are not so many left;
	// ReleaseMappings gives them back.
	ReserveMappings(n int) bool
	ReleaseMappings(n int)
}

// Unlimited is an Account and a MappingAccount of which anything can be had.
type Unlimited struct{}

// Reserve is always true.
func (Unlimited) Reserve(int) bool { return true }

// Release does nothing.
func (Unlimited) Release(int) {}

// ReserveMappings is always true.
func (Unlimited) ReserveMappings(int) bool { return true }

// ReleaseMappings does nothing.
func (Unlimited) ReleaseMappings(int) {}

// ErrNoRoom is the error of an instance that its tenant's memory, or the machine's, has no room
// for.
var ErrNoRoom = errors.New("there is no memory left for another instance")

// ErrNoMappings is the error of what its tenant has no memory mappings left for.
var ErrNoMappings = errors.New("its tenant has no memory mappings left (mappings)")

// NoRoom is an ErrNoRoom that says for how many bytes, and the mend.
func NoRoom(n int) error {
	return fmt.Errorf("%w, which starts with %s; close some, or raise its tenant's memory", ErrNoRoom, bytesize.String(int64(n)))
}

func noMappings() error {
	return fmt.Errorf("%w; raise mappings of the tenant, or the system's vm.max_map_count", ErrNoMappings)
}
