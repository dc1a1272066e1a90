package cputime

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Thread is the processor time of the calling thread, in nanoseconds. It means something
// as a difference, on one thread.
func Thread() int64 {
	var t unix.Timespec
	// It does not block, so the scheduler need not know.
	_, _, errno := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_THREAD_CPUTIME_ID, uintptr(unsafe.Pointer(&t)), 0)
	if errno != 0 {
		return Monotonic()
	}
	return t.Nano()
}

// threadID tells the calling thread from all others.
func threadID() int {
	id, _, _ := unix.RawSyscall(unix.SYS_GETTID, 0, 0, 0)
	return int(id)
}
