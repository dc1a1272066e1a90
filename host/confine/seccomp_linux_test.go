package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"bulkhead/host/config"

	"golang.org/x/sys/unix"
)

// underSeccomp says what is wrong with a process that the filter holds, on threads that are older
// and on others.
func underSeccomp() []string {
	begin := onThreads(tryCalls)
	r, err := Enforce(&config.Config{File: "a.toml", Host: config.Host{Seccomp: true}})
	if err != nil || !r.Seccomp.InForce {
		return []string{fmt.Sprint(r, err)}
	}
	said := begin()
	wrong := tryCalls("main")
	for _, more := range said {
		wrong = append(wrong, more...)
	}
	return wrong
}

func tryCalls(own string) []string {
	var wrong []string
	want := func(ok bool, what string, err error) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf("thread %s: %s: %v", own, what, err))
		}
	}
	for _, call := range denied {
		// Arguments with which each fails in another way, should it get through.
		const none = ^uintptr(0)
		_, _, errno := unix.RawSyscall6(uintptr(call), none, none, none, none, none, none)
		want(errno == unix.EPERM, fmt.Sprintf("system call %d", call), errno)
	}
	_, _, errno := unix.RawSyscall(unix.SYS_CLONE3, 0, 0, 0)
	want(errno == unix.ENOSYS, "clone3", errno)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env, cmd.SysProcAttr = []string{"CONFINE_AS=child"}, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}
	err := cmd.Run()
	want(errors.Is(err, unix.EPERM), "a process in namespaces of its own", err)
	for _, family := range []int{unix.AF_PACKET, unix.AF_VSOCK, unix.AF_ALG, unix.AF_BLUETOOTH} {
		fd, err := unix.Socket(family, unix.SOCK_RAW, 0)
		want(err == unix.EAFNOSUPPORT, fmt.Sprintf("a socket of family %d", family), err)
		if err == nil {
			unix.Close(fd)
		}
	}

	cmd = exec.Command("/proc/self/exe")
	cmd.Env = []string{"CONFINE_AS=child"}
	err = cmd.Run()
	want(err == nil, "starting itself", err)
	for _, network := range []string{"tcp", "unix"} {
		at := "127.0.0.1:0"
		if network == "unix" {
			at = "@" + own + fmt.Sprint(os.Getpid())
		}
		ln, err := net.Listen(network, at)
		want(err == nil, network, err)
		if err == nil {
			ln.Close()
		}
	}
	_, err = net.Interfaces()
	want(err == nil, "the network interfaces", err)
	fd, err := unix.MemfdCreate("test", 0)
	want(err == nil, "a memfd", err)
	unix.Close(fd)
	var threads sync.WaitGroup
	for range 20 { // that the runtime may start
		threads.Go(func() {
			runtime.LockOSThread()
			_ = unix.Nanosleep(&unix.Timespec{Nsec: 1000}, nil)
		})
	}
	threads.Wait()
	return wrong
}

// The filter refuses what it is for, on all threads, and nothing that the process needs.
func TestSeccomp(t *testing.T) {
	if err := canSeccomp(); err != nil {
		t.Skip(err)
	}
	var wrong []string
	if err := json.Unmarshal(runAs(t, "seccomp", t.TempDir()), &wrong); err != nil {
		t.Fatal(err)
	}
	for _, w := range wrong {
		t.Error(w)
	}
}
