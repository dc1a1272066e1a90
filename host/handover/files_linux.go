package handover

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// marks are those of all units, in memory that both processes have.
type marks struct {
	fd int
	b  []byte
}

// newMarks makes them, all unset.
func newMarks() (*marks, error) {
	fd, err := unix.MemfdCreate("bulkhead-marks", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making the marks of a handover: %w", err)
	}
	if err := unix.Ftruncate(fd, 4*mostUnits); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("making the marks of a handover: %w", err)
	}
	return marksOf(fd)
}

// marksOf are those of a file, which they own.
func marksOf(fd int) (*marks, error) {
	var is unix.Stat_t
	err := unix.Fstat(fd, &is)
	if err == nil && is.Size != 4*mostUnits {
		err = fmt.Errorf("they have %d bytes", is.Size)
	}
	var b []byte
	if err == nil {
		b, err = unix.Mmap(fd, 0, 4*mostUnits, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("mapping the marks of a handover: %w", err)
	}
	return &marks{fd, b}, nil
}

// at is the mark of a unit.
func (m *marks) at(n int) *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(&m.b[4*n])) }

// closeFile lets go of the file of marks that stay.
func (m *marks) closeFile() { _ = unix.Close(m.fd) }

// close lets go of them. Nobody uses one any more.
func (m *marks) close() {
	_ = unix.Munmap(m.b)
	_ = unix.Close(m.fd)
}

// records is a file of what does not fit into a message.
func records(b []byte) (fd int, err error) {
	fd, err = unix.MemfdCreate("bulkhead-records", unix.MFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("making the file of records: %w", err)
	}
	for at := 0; at < len(b); {
		n, err := unix.Pwrite(fd, b[at:], int64(at))
		if err != nil {
			_ = unix.Close(fd)
			return -1, fmt.Errorf("writing the file of records: %w", err)
		}
		at += n
	}
	return fd, nil
}

// forgetRecords lets go of the file of records. What is in it is gone at once, also for the other
// process: there may be secrets.
func forgetRecords(fd int) {
	_ = unix.Ftruncate(fd, 0)
	_ = unix.Close(fd)
}

// readRecords reads n bytes, which have to be all, of the file of records.
func readRecords(fd int, n int64) ([]byte, error) {
	var is unix.Stat_t
	if err := unix.Fstat(fd, &is); err != nil {
		return nil, err
	}
	if is.Size != n || n > mostRecords {
		return nil, fmt.Errorf("the file of records has %d bytes, and should have %d", is.Size, n)
	}
	b := make([]byte, n)
	for at := 0; at < len(b); {
		k, err := unix.Pread(fd, b[at:], int64(at))
		if err != nil {
			return nil, err
		}
		if k == 0 {
			return nil, fmt.Errorf("the file of records is cut at %d of %d bytes", at, n)
		}
		at += k
	}
	return b, nil
}

// Room is how many descriptors this process can have beside those that it has.
func Room() int64 {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return max(0, int64(min(limit.Cur, 1<<31))-int64(len(open)))
}
