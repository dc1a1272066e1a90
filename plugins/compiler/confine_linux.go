package compiler

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dieWithParent has the kernel kill this process when its parent dies.
func dieWithParent() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("asking to die with the parent: %w", err)
	}
	return nil
}

// addressSpace is how much this process has now, in bytes.
func addressSpace() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	var pages int64
	if err == nil {
		_, err = fmt.Sscan(string(b), &pages)
	}
	if err != nil {
		return guessedBase
	}
	return pages * int64(os.Getpagesize())
}

// killFirst has the kernel take this process when the machine runs out of
// memory, and not the one that serves. Under the Landlock rules of the one that serves it cannot:
// RATIONALE.md says why that stays so.
func killFirst() { _ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0) }

// dropPrivileges gives up all capabilities, and the chance to gain any by
// executing a file. With C in the program only this thread can be reached.
func dropPrivileges() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	for _, call := range []struct {
		what, name    string
		trap, a, b, c uintptr
		optional      bool
	}{
		{"setting no_new_privs", "prctl", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, false},
		{"clearing the ambient capabilities", "prctl", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, true},
		{"dropping the capabilities", "capset", unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none)), 0, false},
	} {
		_, _, errno := syscall.AllThreadsSyscall6(call.trap, call.a, call.b, call.c, 0, 0, 0)
		if errno == syscall.ENOTSUP {
			_, _, errno = syscall.RawSyscall6(call.trap, call.a, call.b, call.c, 0, 0, 0)
		}
		if errno != 0 && !call.optional {
			return fmt.Errorf("%s: %w", call.what, withMend(errno, call.name))
		}
	}
	runtime.KeepAlive(&header)
	runtime.KeepAlive(&none)
	if err := unix.Capget(&header, &none[0]); err != nil {
		return fmt.Errorf("looking at the capabilities: %w", err)
	}
	if none[0].Effective|none[1].Effective|none[0].Permitted|none[1].Permitted != 0 {
		return errors.New("it keeps capabilities")
	}
	return nil
}
