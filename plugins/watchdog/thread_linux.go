//go:build linux && (amd64 || arm64) && !race

package watchdog

import (
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// alone says that the thread has no part in Go's scheduler.
const alone = true

// The operations of futex(2), on a word of this process alone.
const (
	futexWait = 0 | 128
	futexWake = 1 | 128
)

// What a goroutine does between these two counts as one system call: it has a thread, and
// the scheduler takes its place away for others and does not wait for it, nor does the collector.
// That is how a thread gets by without cgo that runs even when all places are taken by guests.
// In between nothing may be called that could grow the stack, and no pointer be written.

//go:linkname entersyscall runtime.entersyscall
func entersyscall()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// watch looks who runs until stopping is set.
func watch(all []place) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	watchOutside(all)
}

//go:nosplit
//go:norace
func watchOutside(all []place) {
	entersyscall()
	run(all)
	exitsyscall()
}

// doze sleeps until wake, unless wake was called since sleeping was set.
//
//go:nosplit
//go:norace
func doze() { futex(futexWait, 1) }

// nap sleeps for d, which is less than a second, or for less.
//
//go:nosplit
//go:norace
func nap(d time.Duration) {
	t := syscall.Timespec{Nsec: int64(d)}
	syscall.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0)
}

// wake ends the thread's sleep.
func wake() {
	if sleeping.Swap(0) != 0 {
		futex(futexWake, 1)
	}
}

//go:nosplit
//go:norace
func futex(op, value uintptr) {
	syscall.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&sleeping)), op, value, 0, 0, 0)
}
