package memory

import (
	"errors"
	"fmt"
	"unsafe"

	"bulkhead/internal/bytesize"

	"golang.org/x/sys/unix"
)

// A memory has a place: addresses for all it may ever have, which are nobody else's (see
// addresses), and of which only what is in use is mapped. So one that does not grow takes one
// mapping, and what is above it faults.

const (
	// PlainMappings is what a memory takes that is no copy: one mapping, which grows.
	PlainMappings = 1
	// copyMappings is what a copy of an image takes. What it has grown by is one more.
	copyMappings = 1
)

// places are those of this process's memories.
var places addresses

// takenTries is how many places are tried that somebody else has something in.
const takenTries = 8

// newSpace takes a place for most bytes, of which the first are readable, writable and zero.
func newSpace(most, first int) ([]byte, error) {
	space, err := placeFor(most, first, -1, unix.MAP_ANON)
	if err == nil && first > 0 {
		smallPages(space[:first])
	}
	return space, err
}

// copyOf takes a place for most bytes, which begins with a private copy of an image.
func (g *Image) copyOf(most int) ([]byte, error) {
	return placeFor(most, len(g.bytes), g.fd, 0)
}

// placeFor takes a place and maps something privately at its beginning.
func placeFor(n, first, fd int, flags uintptr) ([]byte, error) {
	for try := 1; ; try++ {
		at, ok := places.take(uint64(n))
		if !ok {
			return nil, fmt.Errorf("%w: taking %s: there is no address space left", ErrNoRoom, bytesize.String(int64(n)))
		}
		space := unsafe.Slice((*byte)(pointer(at)), n)
		err := mapAt(space[:first], fd, flags)
		switch {
		case err == nil:
			return space, nil
		case errors.Is(err, unix.EEXIST) && try < takenTries:
			continue // the place stays with whoever has it
		}
		freeSpace(space, 0)
		return nil, fmt.Errorf("%w: mapping %s: %w (see vm.max_map_count)", ErrNoRoom, bytesize.String(int64(first)), err)
	}
}

// pointer is an address outside Go's heap.
func pointer(at uint64) unsafe.Pointer {
	a := uintptr(at)
	return *(*unsafe.Pointer)(unsafe.Pointer(&a))
}

func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// extendSpace has the bytes from used to size readable and writable, and zero. Those from
// from are, if any, which were got so.
func extendSpace(space []byte, from, used, size int) error {
	if used > from {
		// In place, or not at all: it stays one mapping.
		_, _, errno := unix.Syscall6(unix.SYS_MREMAP, addressOf(space)+uintptr(from), uintptr(used-from), uintptr(size-from), 0, 0, 0)
		if errno != 0 {
			return errno
		}
		return nil
	}
	if err := mapAt(space[from:size], -1, unix.MAP_ANON); err != nil {
		return err
	}
	smallPages(space[from:size])
	return nil
}

// mapAt maps something privately where a slice is, and nothing else.
func mapAt(b []byte, fd int, flags uintptr) error {
	if len(b) == 0 {
		return nil
	}
	at := addressOf(b)
	got, _, errno := unix.Syscall6(unix.SYS_MMAP, at, uintptr(len(b)), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_FIXED_NOREPLACE|flags, uintptr(fd), 0)
	if errno != 0 {
		return errno
	}
	if got != at { // before Linux 4.17
		_, _, _ = unix.Syscall(unix.SYS_MUNMAP, got, uintptr(len(b)), 0)
		return unix.EEXIST
	}
	return nil
}

// shrinkSpace gives the bytes from from to to back, which extendSpace has got.
func shrinkSpace(space []byte, from, to int) bool { return unmap(space[from:to]) }

func unmap(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	_, _, errno := unix.Syscall(unix.SYS_MUNMAP, addressOf(b), uintptr(len(b)), 0)
	return errno == 0
}

// freeSpace gives a place back, of which so many bytes are mapped.
func freeSpace(space []byte, mapped int) {
	if unmap(space[:mapped]) {
		places.give(uint64(addressOf(space)), uint64(len(space)))
	}
}
