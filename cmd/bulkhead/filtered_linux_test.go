package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// filterable are the system calls that the program filtered can forbid.
var filterable = map[string]uint32{
	"capset": unix.SYS_CAPSET, "prlimit64": unix.SYS_PRLIMIT64, "memfd_create": unix.SYS_MEMFD_CREATE,
	"landlock_create_ruleset": unix.SYS_LANDLOCK_CREATE_RULESET,
}

// filtered becomes bulkhead under what SystemCallFilter=~CALL and SystemCallErrorNumber=EPERM of
// systemd do; with kill before the call, under what the first does alone.
func filtered() {
	runtime.LockOSThread()
	args, answer := os.Args[1:], uint32(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM))
	if args[0] == "kill" {
		args, answer = args[1:], unix.SECCOMP_RET_KILL_PROCESS
	}
	call, known := filterable[args[0]]
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: answer},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	path, err := exec.LookPath("bulkhead")
	if !known {
		err = fmt.Errorf("%s is not among those that can be forbidden", args[0])
	}
	if err == nil {
		err = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	}
	if err == nil {
		filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
		err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&filter)), 0, 0)
	}
	if err == nil {
		err = syscall.Exec(path, append([]string{"bulkhead"}, args[1:]...), os.Environ())
	}
	fmt.Fprintln(os.Stderr, "filtered:", err)
	os.Exit(3)
}
