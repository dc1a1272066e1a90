package plugins

import "golang.org/x/sys/unix"

// yieldThread lets other threads have the core that this one is on. A loop that
// has just been woken there would wait for the kernel's next turn otherwise,
// some milliseconds. It is an ordinary system call, so that the collector does
// not wait for it.
func yieldThread() { _, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
