package plugins

import (
	"errors"
	"fmt"

	"bulkhead/plugins/wasm"

	"golang.org/x/sys/unix"
)

// ErrMemory is the error of an instance that its tenant's memory, or the
// machine's, has no room for.
var ErrMemory = errors.New("there is no memory left for another instance")

// linearMemory is one instance's memory: address space for all it may ever
// have, of which the pages in use are readable, writable and charged. Being
// reserved, it never moves, so that a window stays where it is; and what is
// above it faults instead of being another instance's.
//
// Its first bytes may be a private copy of an image, of which only those pages
// take memory, and are charged, that were written to: see copy.go.
//
// Its methods are called by whoever runs the instance.
type linearMemory struct {
	account MemoryAccount
	space   []byte
	b       []byte // space[:in use]
	charged int    // bytes of the account, until Free
	maps    mapped

	image   *image // nil: none
	written written
}

// newLinearMemory reserves max pages and takes min of them.
func newLinearMemory(o *RuntimeOptions, min, max uint32) (*linearMemory, error) {
	m := &linearMemory{account: o.Memory, maps: mapped{account: o.Mappings}}
	if !m.maps.take(plainMappings) {
		return nil, noMappings()
	}
	var err error
	if m.space, err = reserveSpace(max); err != nil {
		m.maps.drop()
		return nil, err
	}
	m.b = m.space[:0:0]
	if m.grow(uint64(min)*wasm.PageSize) == nil {
		m.Free()
		return nil, noRoom(int64(min) * wasm.PageSize)
	}
	return m, nil
}

func noRoom(n int64) error {
	return fmt.Errorf("%w, which starts with %s; close some, or raise its tenant's memory", ErrMemory, size(n))
}

// reserveSpace takes address space and nothing else.
func reserveSpace(pages uint32) ([]byte, error) {
	space, err := unix.Mmap(-1, 0, int(pages)*wasm.PageSize, unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("%w: reserving %s of address space: %w (an instance takes two mappings: see vm.max_map_count)", ErrMemory, size(int64(pages)*wasm.PageSize), err)
	}
	return space, nil
}

// charge has the account know of more bytes, or reports false.
func (m *linearMemory) charge(more int) bool {
	if !m.account.Reserve(more) {
		return false
	}
	m.charged += more
	return true
}

func (m *linearMemory) discharge(less int) {
	m.charged -= less
	m.account.Release(less)
}

// grow makes the memory size bytes large, in place, if it is smaller. It returns
// nil, and the guest's memory.grow fails, when the account or the machine has no
// more.
func (m *linearMemory) grow(size uint64) []byte {
	used := len(m.b)
	switch {
	case size <= uint64(used):
		return m.b
	case size > uint64(len(m.space)):
		return nil
	}
	more := int(size) - used
	if !m.charge(more) {
		return nil
	}
	if m.image != nil && used == len(m.image.bytes) && !m.maps.take(1) {
		m.discharge(more)
		return nil
	}
	smallPages(m.space[used:size])
	if err := unix.Mprotect(m.space[used:size], unix.PROT_READ|unix.PROT_WRITE); err != nil {
		m.discharge(more)
		if m.image != nil && used == len(m.image.bytes) {
			m.maps.give(1)
		}
		return nil
	}
	m.b = m.space[:size:size]
	return m.b
}

// Free gives everything back, once. Nothing may run in the instance then, or
// ever after.
func (m *linearMemory) Free() {
	if m.space == nil {
		return
	}
	m.discharge(m.charged)
	_ = unix.Munmap(m.space)
	m.space, m.b = nil, nil
	m.maps.drop()
}

// size writes a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
