package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// What prctl calls it; x/sys has no names for it on all architectures.
const (
	prSetMDWE = 65
	prGetMDWE = 66
)

// hasMDWE reports whether the kernel (6.3 and later) can deny a process to make memory
// executable that it has written to.
func hasMDWE() bool {
	_, err := unix.PrctlRetInt(prGetMDWE, 0, 0, 0, 0)
	return err == nil
}

// mdwe becomes bulkhead under what MemoryDenyWriteExecute=yes of systemd does.
func mdwe() {
	path, err := exec.LookPath("bulkhead")
	if err == nil {
		err = unix.Prctl(prSetMDWE, 1, 0, 0, 0)
	}
	if err == nil {
		err = syscall.Exec(path, append([]string{"bulkhead"}, os.Args[1:]...), os.Environ())
	}
	fmt.Fprintln(os.Stderr, "mdwe:", err)
	os.Exit(3)
}
