package plugins

import (
	"errors"
	"fmt"

	"bulkhead/plugins/wasm"
)

// ErrMemory is the error of an instance that its tenant's memory, or the
// machine's, has no room for.
var ErrMemory = errors.New("there is no memory left for another instance")

// linearMemory is one instance's memory: a place for all it may ever
// have, of which the pages in use are readable, writable and charged. Having
// a place, it never moves, so that a window stays where it is; and what is
// above it faults instead of being another instance's, unless it has all it may.
//
// Its first bytes may be a private copy of an image, of which only those pages
// take memory, and are charged, that were written to: see copy.go.
//
// Its methods are called by whoever runs the instance.
type linearMemory struct {
	account MemoryAccount
	space   []byte // its place; what is not in use faults
	b       []byte // space[:in use]
	charged int    // bytes of the account, until Free
	maps    mapped

	image   *image // nil: none
	written written
}

// newLinearMemory takes a place for max pages, and min pages there.
func newLinearMemory(o *RuntimeOptions, min, max uint32) (*linearMemory, error) {
	m := &linearMemory{account: o.Memory, maps: mapped{account: o.Mappings}}
	if !m.maps.take(plainMappings) {
		return nil, noMappings()
	}
	n := int(min) * wasm.PageSize
	if !m.charge(n) {
		m.maps.drop()
		return nil, noRoom(int64(n))
	}
	var err error
	if m.space, err = newSpace(max, n); err != nil {
		m.discharge(n)
		m.maps.drop()
		return nil, err
	}
	m.b = m.space[:n:n]
	return m, nil
}

func noRoom(n int64) error {
	return fmt.Errorf("%w, which starts with %s; close some, or raise its tenant's memory", ErrMemory, size(n))
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

// grow is the engine's: it makes the memory size bytes large. It returns nil, and the
// guest's memory.grow fails, when that cannot be.
func (m *linearMemory) grow(size uint64) []byte {
	if m.growTo(size) != nil {
		return nil
	}
	return m.b
}

// growTo makes the memory size bytes large, in place, if it is smaller. The error is
// ErrMemory or ErrMappings, as it is: a guest may ask for ever.
func (m *linearMemory) growTo(size uint64) error {
	used := len(m.b)
	switch {
	case size <= uint64(used):
		return nil
	case size > uint64(len(m.space)):
		return ErrMemory
	}
	more := int(size) - used
	if !m.charge(more) {
		return ErrMemory
	}
	from := m.own()
	first := m.image != nil && used == from
	if first && !m.maps.take(1) {
		m.discharge(more)
		return ErrMappings
	}
	if extendSpace(m.space, from, used, int(size)) != nil {
		m.discharge(more)
		if first {
			m.maps.give(1)
		}
		return ErrMemory
	}
	m.b = m.space[:size:size]
	return nil
}

// own is where what is no copy begins.
func (m *linearMemory) own() int {
	if m.image == nil {
		return 0
	}
	return len(m.image.bytes)
}

// Free gives everything back, once. Nothing may run in the instance then, or
// ever after.
func (m *linearMemory) Free() {
	if m.space == nil {
		return
	}
	m.discharge(m.charged)
	freeSpace(m.space, len(m.b))
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
