package plugins

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// threadTime is the processor time of this thread, in nanoseconds.
func threadTime() int64 {
	var t unix.Timespec
	// It does not block, so the scheduler need not know.
	_, _, errno := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_THREAD_CPUTIME_ID, uintptr(unsafe.Pointer(&t)), 0)
	if errno != 0 {
		return nanotime()
	}
	return t.Nano()
}

// yieldThread lets other threads have the core that this one is on. A loop that
// has just been woken there would wait for the kernel's next turn otherwise,
// some milliseconds. It is an ordinary system call, so that the collector does
// not wait for it.
func yieldThread() { _, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
