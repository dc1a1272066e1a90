package memory

import (
	"fmt"
	"sync"

	"bulkhead/internal/forbidden"

	"golang.org/x/sys/unix"
)

// keep makes the file of an image, whose fields for it are unset, and maps it. page is what each
// page holds, in order, until the next is asked for.
func (g *Image) keep(page func(p int) []byte) (err error) {
	g.fd, err = unix.MemfdCreate("bulkhead-snapshot", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if mend := forbidden.Mend(err, "memfd_create"); mend != "" {
		err = fmt.Errorf("%w; %s", err, mend)
	}
	if err != nil {
		return fmt.Errorf("keeping the memory of a guest that has started: %w", err)
	}
	pagemap() // opened now, and not when descriptors have run out
	if err := g.write(page); err != nil {
		_ = unix.Close(g.fd)
		return fmt.Errorf("keeping the memory of a guest that has started: %w", err)
	}
	return nil
}

// writeBuffers are for pages that follow on each other, so that one call writes them.
var writeBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

func (g *Image) write(page func(p int) []byte) error {
	size := len(g.zero) * systemPage
	if err := unix.Ftruncate(g.fd, int64(size)); err != nil {
		return err
	}
	buffer := writeBuffers.Get().(*[64 << 10]byte)
	defer writeBuffers.Put(buffer)
	run := buffer[:0]
	for p := range g.zero {
		b := page(p)
		if g.zero[p] = isZero(b); !g.zero[p] {
			run = append(run, b...)
		}
		if len(run) > 0 && (g.zero[p] || len(run)+systemPage > cap(run)) {
			end := p + 1
			if g.zero[p] {
				end = p
			}
			if err := writeAt(g.fd, run, end*systemPage-len(run)); err != nil {
				return err
			}
			run = run[:0]
		}
	}
	if err := writeAt(g.fd, run, size-len(run)); err != nil {
		return err
	}
	if _, err := unix.FcntlInt(uintptr(g.fd), unix.F_ADD_SEALS, seals); err != nil {
		return err
	}
	var err error
	g.bytes, err = unix.Mmap(g.fd, 0, size, unix.PROT_READ, unix.MAP_SHARED)
	return err
}

// writeAt writes all of b to a file, at an offset.
func writeAt(fd int, b []byte, at int) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(fd, b, int64(at))
		if err != nil {
			return err
		}
		b, at = b[n:], at+n
	}
	return nil
}

// forget undoes keep.
func (g *Image) forget() {
	_ = unix.Munmap(g.bytes)
	_ = unix.Close(g.fd)
}

// dropPages gives the pages back to the system: what is read there next is the
// image, or zero.
func dropPages(b []byte) bool { return unix.Madvise(b, unix.MADV_DONTNEED) == nil }

// ownPages gives a copy pages of its own that are as its image's, as if each was written to. It
// reports false where the kernel does not, before Linux 5.14 or for want of memory; they fault
// then, as any other.
func ownPages(b []byte) bool { return unix.Madvise(b, unix.MADV_POPULATE_WRITE) == nil }
