package canary

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"bulkhead/internal/hosttest"

	"golang.org/x/sys/unix"
)

// refusal is a system call that the kernel refuses a daemon from some time on, for
// which its third argument has to have a value, or any.
type refusal struct {
	call     uint32
	any      bool
	argument uint32
	errno    unix.Errno
}

// What putting an instance back needs of the kernel.
var (
	noPagemap = refusal{call: unix.SYS_PREAD64, any: true, errno: unix.EIO}
	noDrop    = refusal{call: unix.SYS_MADVISE, argument: unix.MADV_DONTNEED, errno: unix.EINVAL}
	noHide    = refusal{call: unix.SYS_MPROTECT, argument: unix.PROT_NONE, errno: unix.ENOMEM}
)

// refusals are the ways in which instances cannot be put back.
var refusals = map[string][]refusal{
	"nobody tells what was written to": {noPagemap},
	"pages cannot be dropped":          {noDrop},
	"what has grown cannot be hidden":  {noHide},
	"nothing can be done":              {noPagemap, noDrop, noHide},
}

// refuse has the kernel refuse calls to all of this process's threads.
func refuse(all []refusal) error {
	const number, third = 0, 16 + 2*8 // in the data that a filter sees; the low half comes first
	var filter []unix.SockFilter
	load := func(at uint32) {
		filter = append(filter, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at})
	}
	unless := func(is uint32, skip uint8) {
		filter = append(filter, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: skip, K: is})
	}
	answer := func(what uint32) {
		filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: what})
	}
	for _, r := range all {
		load(number)
		if r.any {
			unless(r.call, 1)
		} else {
			unless(r.call, 3)
			load(third)
			unless(r.argument, 1)
		}
		answer(unix.SECCOMP_RET_ERRNO | uint32(r.errno))
	}
	answer(unix.SECCOMP_RET_ALLOW)
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("asking for no new privileges: %w", err)
	}
	if r, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program))); errno != 0 || r != 0 {
		return fmt.Errorf("having system calls refused: %w (thread %d)", errno, r)
	}
	return tried(all)
}

// tried makes sure that the calls are refused.
func tried(all []refusal) error {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Munmap(page) }()
	for _, r := range all {
		var err error
		switch r {
		case noPagemap:
			_, err = unix.Pread(0, page, 0)
		case noDrop:
			err = unix.Madvise(page, unix.MADV_DONTNEED)
		case noHide:
			err = unix.Mprotect(page, unix.PROT_NONE)
		}
		if !errors.Is(err, r.errno) {
			return fmt.Errorf("system call %d is answered with %v, not %v", r.call, err, r.errno)
		}
	}
	return nil
}

// Where the kernel does not help to put instances back, they are thrown away, and nobody
// sees anything of another's either.
func TestInstancesThatCannotBePutBack(t *testing.T) {
	for name := range refusals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := shortFolder(t)
			all := sites()[:3]
			var said strings.Builder
			d := exec.Command(os.Args[0])
			d.Env = append(os.Environ(), daemonConfig+"="+hosttest.WriteConfig(t, hostTable(2)+roomy("roomy")+write(t, dir, "roomy", all...)), daemonRefuses+"="+name)
			d.Stderr = &said
			d.Stdout = &said
			if err := d.Start(); err != nil {
				t.Fatal(err)
			}
			gone := make(chan error, 1)
			go func() { gone <- d.Wait() }()
			defer func() { _ = d.Process.Kill() }()
			hosttest.Eventually(t, "the daemon is ready", func() bool {
				select {
				case err := <-gone:
					t.Fatalf("the daemon does not start: %v\n%s", err, said.String())
				default:
				}
				_, err := os.Stat(dir + "/ready")
				return err == nil
			})
			c := &crowd{t: t, ended: make(map[string]int)}
			c.left.Store(int64(max(*connections/20, 500)))
			for n := range 8 {
				c.run(uint64(n), all, ways())
			}
			c.all.Wait()
			_ = d.Process.Signal(syscall.SIGTERM)
			select {
			case err := <-gone:
				if err != nil {
					t.Errorf("the daemon ended with %v\n%s", err, said.String())
				}
			case <-time.After(patience):
				t.Error("the daemon does not end")
			}
		})
	}
}

func refuseNamed(name string) error { return refuse(refusals[name]) }
