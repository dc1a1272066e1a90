package main

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// spins is how often a hybrid looks before it waits. One that spins gives other
// goroutines their turn in between; one that looks does not.
const spins = 4

// wait returns the next events. There are none when a signal came, or when there
// is other work.
func (l *loop) wait() []unix.EpollEvent {
	if len(l.more) > 0 {
		return l.events[:l.look()]
	}
	switch l.o.Wait {
	case "look+block":
		if n := l.look(); n > 0 {
			return l.events[:n]
		}
	case "looks+block":
		for range spins {
			if n := l.look(); n > 0 {
				return l.events[:n]
			}
		}
	case "spin+block", "spin+park":
		for range spins {
			if n := l.look(); n > 0 {
				return l.events[:n]
			}
			runtime.Gosched()
		}
	}
	if l.raw != nil {
		var n int
		l.raw.Read(func(uintptr) bool {
			n = l.look()
			return n > 0
		})
		return l.events[:n]
	}
	n, _ := unix.EpollWait(l.epfd, l.events[:], -1)
	return l.events[:max(n, 0)]
}

// look is an epoll_wait that does not wait, and so need not tell Go's
// scheduler of it.
func (l *loop) look() int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epfd),
		uintptr(unsafe.Pointer(&l.events[0])), uintptr(len(l.events)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}
