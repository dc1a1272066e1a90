package compiler

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"bulkhead/internal/forbidden"

	"golang.org/x/sys/unix"
)

const (
	maxDescriptors = 16
	niceness       = 5 // loops come first

	// guessedBase is the address space of a Go process that has just started, on
	// systems that do not say.
	guessedBase = 2 << 30
)

// confine sets the limits of this process and gives its privileges away, and
// with them the file system: all of it, or all but the working directory. The
// result is a path of that directory that holds from now on.
func confine(l Limits, keepFolder bool) (dir string, err error) {
	// Some of what follows is of one thread: it is the one that compiles.
	runtime.LockOSThread()
	if err := dieWithParent(); err != nil {
		return "", err
	}
	limits := []struct {
		name     string
		resource int
		n        int64
	}{
		{"CORE", unix.RLIMIT_CORE, 0},
		{"NOFILE", unix.RLIMIT_NOFILE, maxDescriptors},
		{"FSIZE", unix.RLIMIT_FSIZE, l.Code},
		{"CPU", unix.RLIMIT_CPU, int64(l.CPU / time.Second)},
		{"AS", unix.RLIMIT_AS, addressSpace() + l.Memory},
	}
	if l.Memory < 0 {
		limits = limits[:len(limits)-1]
	}
	for _, r := range limits {
		if err := setLimit(r.resource, r.n); err != nil {
			return "", fmt.Errorf("setting RLIMIT_%s to %d: %w", r.name, r.n, withMend(err, "prlimit64"))
		}
	}
	debug.SetMaxStack(int(l.stack()))
	if l.Memory > 0 {
		// The collector works harder before the limit is reached, at which all
		// is over.
		debug.SetMemoryLimit(l.Memory / 4 * 3)
	}
	closeInherited()
	// Of use, but nothing depends on it.
	if unix.Getpgrp() == os.Getpid() {
		_ = unix.Setpriority(unix.PRIO_PGRP, 0, niceness) // of all threads
	}
	killFirst()
	if dir, err = becomeOwner(); err != nil {
		return "", err
	}
	if err := dropPrivileges(); err != nil {
		return "", err
	}
	return dir, restrict(keepFolder)
}

// withMend says what to do about a system call that is forbidden.
func withMend(err error, call string) error {
	if mend := forbidden.Mend(err, call); mend != "" {
		return fmt.Errorf("%w; %s", err, mend)
	}
	return err
}

// setLimit sets a limit for good, or leaves one that is lower already.
func setLimit(resource int, n int64) error {
	var r unix.Rlimit
	if err := unix.Getrlimit(resource, &r); err != nil {
		return err
	}
	lower(&r.Cur, n)
	lower(&r.Max, n)
	return unix.Setrlimit(resource, &r)
}

// lower is for a field that is signed on some systems.
func lower[T int64 | uint64](p *T, n int64) { *p = min(*p, T(n)) }

// firstOf is the first of joined errors.
func firstOf(err error) error {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		return all.Unwrap()[0]
	}
	return err
}

// closeInherited closes what an embedding program let slip through. Go's own
// descriptors are marked, and so could not have come from there.
func closeInherited() {
	const most = 1024
	fds := make([]int, 0, most)
	if names, err := os.ReadDir("/dev/fd"); err == nil {
		for _, n := range names {
			if fd, err := strconv.Atoi(n.Name()); err == nil {
				fds = append(fds, fd)
			}
		}
	} else {
		for fd := range most {
			fds = append(fds, fd)
		}
	}
	for _, fd := range fds {
		if fd <= 2 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
}

// becomeOwner makes this process, if it is root's, one of the user that the
// working directory was given to, with nothing of the file system but that
// directory. The result is a path of it.
func becomeOwner() (dir string, err error) {
	var stat unix.Stat_t
	if err := unix.Stat(".", &stat); err != nil {
		return "", fmt.Errorf("looking at its directory: %w", err)
	}
	uid, gid := int(stat.Uid), int(stat.Gid)
	if os.Geteuid() != 0 || uid == 0 {
		return os.Getwd()
	}
	switch err := unix.Chroot("."); {
	case err == nil:
		dir = "/"
	case errors.Is(err, unix.EPERM):
		// The path itself leads through directories of root's.
		dir = "/proc/self/cwd"
	default:
		return "", fmt.Errorf("changing the root directory: %w", err)
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(gid), syscall.Setuid(uid)); err != nil {
		return "", fmt.Errorf("changing to user %d: %w; run as a user who is not root, or leave it CAP_SETUID and CAP_SETGID", uid, firstOf(err))
	}
	if syscall.Setuid(0) == nil {
		return "", errors.New("it can become root again")
	}
	// A change of user undoes this.
	return dir, dieWithParent()
}
