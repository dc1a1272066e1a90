package confine

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// denied are the system calls that neither the daemon nor a compiler makes, and that have been ways
// into kernels and other processes. They fail with EPERM. What is not here is allowed: Go's runtime
// may use another call with its next version, and a daemon that ends at that is worse than the
// chance that a harmless call is made.
var denied = append([]uint32{
	// other processes
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_KCMP, unix.SYS_PIDFD_GETFD, unix.SYS_PROCESS_MADVISE,
	// namespaces and mounts
	unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE,
	unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
	unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_FANOTIFY_INIT, unix.SYS_QUOTACTL, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT,
	// the kernel
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_REBOOT, unix.SYS_SYSLOG,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL, unix.SYS_PERSONALITY,
	// the machine
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_ADJTIMEX, unix.SYS_CLOCK_ADJTIME, unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME, unix.SYS_VHANGUP,
}, deniedOfMachine...)

// families are the kinds of sockets that can be opened. Netlink is how Go finds network interfaces.
var families = []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}

// newNamespaces are the flags of clone that make namespaces.
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// Offsets in struct seccomp_data; of 64-bit arguments the low half, on little-endian machines.
const (
	offsetCall     = 0
	offsetArch     = 4
	offsetArgument = 16
)

// filter is the program that the kernel runs at each system call.
func filter() []unix.SockFilter {
	const (
		load    = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		anyBit  = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		atLeast = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		answer  = unix.BPF_RET | unix.BPF_K
		allow   = unix.SECCOMP_RET_ALLOW
		refuse  = unix.SECCOMP_RET_ERRNO
	)
	var f []unix.SockFilter
	add := func(code uint16, k uint32, yes, no uint8) {
		f = append(f, unix.SockFilter{Code: code, K: k, Jt: yes, Jf: no})
	}
	add(load, offsetArch, 0, 0)
	add(equal, auditArch, 1, 0)
	add(answer, refuse|uint32(unix.EPERM), 0, 0)
	add(load, offsetCall, 0, 0)
	const x32 = 0x40000000 // other numbers for the same calls, on amd64
	add(atLeast, x32, 0, 1)
	add(answer, refuse|uint32(unix.ENOSYS), 0, 0)
	for _, call := range denied {
		add(equal, call, 0, 1)
		add(answer, refuse|uint32(unix.EPERM), 0, 0)
	}
	// Its flags are in memory. C libraries go on with clone.
	add(equal, unix.SYS_CLONE3, 0, 1)
	add(answer, refuse|uint32(unix.ENOSYS), 0, 0)
	add(equal, unix.SYS_CLONE, 0, 4)
	add(load, offsetArgument, 0, 0)
	add(anyBit, newNamespaces, 0, 1)
	add(answer, refuse|uint32(unix.EPERM), 0, 0)
	add(answer, allow, 0, 0)
	add(equal, unix.SYS_SOCKET, 1, 0)
	add(answer, allow, 0, 0)
	add(load, offsetArgument, 0, 0)
	for _, family := range families {
		add(equal, family, 0, 1)
		add(answer, allow, 0, 0)
	}
	add(answer, refuse|uint32(unix.EAFNOSUPPORT), 0, 0)
	return f
}

// canSeccomp says why there is no seccomp here.
func canSeccomp() error {
	if auditArch == 0 {
		return errors.New("its filter is made for amd64 and arm64, and not for " + runtime.GOARCH)
	}
	if _, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("the kernel has no seccomp: %w", err)
	}
	return nil
}

// startSeccomp has the filter be in force for all threads, and for what they start.
func startSeccomp() error {
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("setting no_new_privs: %w", errno)
	}
	f := filter()
	program := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(f)
	switch {
	case errno != 0:
		return fmt.Errorf("putting the filter of system calls in force: %w", errno)
	case thread != 0:
		return fmt.Errorf("putting the filter of system calls in force: thread %d has one of its own", thread)
	}
	return nil
}
