package plugins

import (
	"errors"
	"fmt"

	"bulkhead/plugins/wasm"

	"github.com/tetratelabs/wazero/experimental"
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
// Its methods are called by whoever runs the instance.
type linearMemory struct {
	account MemoryAccount
	space   []byte
	b       []byte // space[:in use]
	extra   int    // charged as well, until Free
}

// newLinearMemory reserves max pages and takes min of them. It charges extra
// bytes more.
func newLinearMemory(account MemoryAccount, min, max uint32, extra int) (*linearMemory, error) {
	space, err := unix.Mmap(-1, 0, int(max)*wasm.PageSize, unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("%w: reserving %d bytes of address space: %w", ErrMemory, int(max)*wasm.PageSize, err)
	}
	smallPages(space)
	m := &linearMemory{account: account, space: space, b: space[:0:0]}
	if account.Reserve(extra) {
		m.extra = extra
	}
	if m.extra != extra || m.Reallocate(uint64(min)*wasm.PageSize) == nil {
		m.Free()
		return nil, fmt.Errorf("%w, which starts with %s; close some, or raise its tenant's memory", ErrMemory, size(int64(min)*wasm.PageSize+int64(extra)))
	}
	return m, nil
}

// Allocate hands the memory to the engine; it is the one memory there is.
func (m *linearMemory) Allocate(_, _ uint64) experimental.LinearMemory { return m }

// Reallocate grows the memory to size bytes in place. It returns nil, and the
// guest's memory.grow fails, when the account or the machine has no more.
func (m *linearMemory) Reallocate(size uint64) []byte {
	if size > uint64(len(m.space)) {
		return nil
	}
	used := len(m.b)
	more := int(size) - used
	if more > 0 {
		if !m.account.Reserve(more) {
			return nil
		}
		if err := unix.Mprotect(m.space[used:size], unix.PROT_READ|unix.PROT_WRITE); err != nil {
			m.account.Release(more)
			return nil
		}
		m.b = m.space[:size:size]
	}
	return m.b
}

// Free gives everything back, once. Nothing may run in the instance then, or
// ever after.
func (m *linearMemory) Free() {
	if m.space == nil {
		return
	}
	m.account.Release(len(m.b) + m.extra)
	_ = unix.Munmap(m.space)
	m.space, m.b = nil, nil
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
