//go:build linux && (amd64 || arm64) && !race

package watchdog

import (
	"runtime"
	"syscall"
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
	run(all)
}

//go:nosplit
//go:norace
func run(all []place) {
	entersyscall()
	var p pace
	for stopping.Load() == 0 {
		if p.idle {
			sleeping.Store(1)
			// Who has entered since the last look may not have seen that.
			if !look(all, false).running && stopping.Load() == 0 {
				futex(futexWait, 1)
			}
			sleeping.Store(0)
		}
		nap(int64(p.next()))
		found := look(all, false)
		if found.running {
			nap(int64(Again))
			again := look(all, true)
			again.entered = again.entered || found.entered
			found = again
		}
		p.note(found)
	}
	exitsyscall()
}

// nap sleeps for ns nanoseconds, or less.
//
//go:nosplit
//go:norace
func nap(ns int64) {
	t := syscall.Timespec{Nsec: ns}
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
