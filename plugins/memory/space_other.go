//go:build !linux

package memory

import (
	"fmt"

	"bulkhead/internal/bytesize"

	"golang.org/x/sys/unix"
)

const (
	// PlainMappings is what a memory takes: what is in use, and what is reserved.
	PlainMappings = 2
	copyMappings  = 2
)

// newSpace reserves address space for most bytes, of which the first are readable and writable.
func newSpace(most, first int) ([]byte, error) {
	space, err := unix.Mmap(-1, 0, most, unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("%w: reserving %s of address space: %w", ErrNoRoom, bytesize.String(int64(most)), err)
	}
	if err := extendSpace(space, 0, 0, first); err != nil {
		freeSpace(space, 0)
		return nil, fmt.Errorf("%w: taking %s: %w", ErrNoRoom, bytesize.String(int64(first)), err)
	}
	return space, nil
}

// extendSpace has the bytes from used to size readable and writable.
func extendSpace(space []byte, _, used, size int) error {
	if used == size {
		return nil
	}
	return unix.Mprotect(space[used:size], unix.PROT_READ|unix.PROT_WRITE)
}

// shrinkSpace is for copies, which there are none of here.
func shrinkSpace([]byte, int, int) bool { return false }

// freeSpace gives all of it back.
func freeSpace(space []byte, _ int) { _ = unix.Munmap(space) }
