package memory

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pagemap is where the kernel tells of this process's pages; -1 where it does not.
var pagemap = sync.OnceValue(func() int {
	fd, err := unix.Open("/proc/self/pagemap", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
})

// writtenTo tells how many pages of a copy, or of what it has grown by, were written to, which are
// those that have become the copy's own, and as many of them as fit into pages, in order. ok is
// false when the kernel does not tell.
func writtenTo(copied []byte, pages []int32) (n int, ok bool) {
	fd := pagemap()
	if fd < 0 {
		return 0, false
	}
	if len(copied) >= leastScanned && !cannotScan.Load() {
		if n, ok = scanWritten(fd, copied, pages); ok {
			return n, true
		}
	}
	return readWritten(fd, copied, pages)
}

// leastScanned is how large a memory is that the scan is quicker for than reading of all its pages.
const leastScanned = 256 << 10

// cannotScan is set when the kernel has no PAGEMAP_SCAN, which came with Linux 6.7.
var cannotScan atomic.Bool

// pageScan is the kernel's struct pm_scan_arg, and what it fills.
type pageScan struct {
	size, flags, start, end, walkEnd, regions, room uint64
	most, inverted, all, any, told                  uint64

	found [64]pageRegion
}

// pageRegion is the kernel's struct page_region: pages from start to end, addresses both.
type pageRegion struct{ start, end, categories uint64 }

const (
	scanRequest = 0xc0606610 // PAGEMAP_SCAN
	scanSize    = 12 * 8

	// What a page may be.
	scanFile, scanPresent, scanSwapped = 1 << 2, 1 << 3, 1 << 4
)

// pageScans are for one scan each. They are on the heap, as the kernel is given an address in them
// as a number.
var pageScans = sync.Pool{New: func() any { return new(pageScan) }}

// scanWritten is writtenTo by a call that tells of those pages alone. It reports false where that
// fails.
func scanWritten(fd int, copied []byte, pages []int32) (n int, ok bool) {
	s := pageScans.Get().(*pageScan)
	defer pageScans.Put(s)
	first := uint64(addressOf(copied))
	end := first + uint64(len(copied))
	found := s.found[:]
	for at := first; at < end; at = s.walkEnd {
		s.size, s.start, s.end = scanSize, at, end
		s.regions, s.room = uint64(uintptr(unsafe.Pointer(&found[0]))), uint64(len(found))
		s.inverted, s.all, s.any, s.told = scanFile, scanFile, scanPresent|scanSwapped, scanPresent
		got, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), scanRequest, uintptr(unsafe.Pointer(s)))
		if errno != 0 || s.walkEnd <= at {
			if errno == unix.ENOTTY || errno == unix.EINVAL {
				cannotScan.Store(true)
			}
			return 0, false
		}
		for _, r := range found[:got] {
			for p := int(r.start-first) / systemPage; p < int(r.end-first)/systemPage; p++ {
				if n < len(pages) {
					pages[n] = int32(p)
				}
				n++
			}
		}
	}
	return n, true
}

// pagemapBuffers are for one reading of pagemap each.
var pagemapBuffers = sync.Pool{New: func() any { return new([8 * 1024]byte) }}

// The bits of an entry of pagemap.
const (
	pageIsFile    = 1 << 61
	pageIsSwapped = 1 << 62
	pageIsPresent = 1 << 63
)

// readWritten is writtenTo by reading what the kernel tells of each page.
func readWritten(fd int, copied []byte, pages []int32) (n int, ok bool) {
	buffer := pagemapBuffers.Get().(*[8 * 1024]byte)
	defer pagemapBuffers.Put(buffer)
	first := int64(addressOf(copied)) / int64(systemPage)
	count := len(copied) / systemPage
	for at := 0; at < count; {
		want := min((count-at)*8, len(buffer))
		got, err := unix.Pread(fd, buffer[:want], (first+int64(at))*8)
		if err != nil || got < 8 {
			return 0, false
		}
		for k := 0; k+8 <= got; k += 8 {
			entry := binary.LittleEndian.Uint64(buffer[k:])
			if entry&(pageIsPresent|pageIsSwapped) != 0 && entry&pageIsFile == 0 {
				if n < len(pages) {
					pages[n] = int32(at + k/8)
				}
				n++
			}
		}
		at += got / 8
	}
	return n, true
}
