package compiler

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tells is a child that says how it is confined.
func tells(args []string) int {
	fmt.Print(told(args))
	return statusRefused
}

func told(args []string) string {
	var s strings.Builder
	inherited := 0
	for fd := 3; fd < 100; fd++ {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			inherited++
		}
	}
	l, err := parseArgs(args)
	if err != nil {
		return err.Error()
	}
	dir, err := confine(l, true)
	if err != nil {
		return err.Error()
	}
	for fd := 3; fd < 100; fd++ {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			fmt.Fprintf(&s, "fd %d is open; ", fd)
		}
	}
	var death int32
	_ = unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&death)), 0, 0, 0)
	nnp, _ := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	prio, _ := unix.Getpriority(unix.PRIO_PROCESS, 0)
	sid, _ := unix.Getsid(0)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	_ = unix.Capget(&header, &caps[0])
	fmt.Fprintf(&s, "uid %d gid %d death %d nnp %d nice %d session %v caps %v ", os.Getuid(), os.Getgid(), death, nnp, 20-prio, sid == os.Getpid(), caps)
	for _, r := range []int{unix.RLIMIT_CORE, unix.RLIMIT_NOFILE, unix.RLIMIT_FSIZE, unix.RLIMIT_CPU, unix.RLIMIT_AS} {
		var limit unix.Rlimit
		_ = unix.Getrlimit(r, &limit)
		max := int64(limit.Max)
		if r == unix.RLIMIT_AS {
			max = min(max>>30, 999)
		}
		fmt.Fprintf(&s, "%d ", max)
		if limit.Cur != limit.Max {
			s.WriteString("(soft) ")
		}
	}
	probe := dir + "/probe"
	wrote := os.WriteFile(probe, nil, 0o600)
	_, outside := os.Stat("/proc/self/status")
	fmt.Fprintf(&s, "env %q inherited %d writes %v sees %v", os.Environ(), inherited, wrote == nil, outside == nil)
	return s.String()
}

func TestConfined(t *testing.T) {
	// Of what embedding programs leave open, the child keeps nothing.
	r, err := unix.FcntlInt(0, unix.F_DUPFD, 40) // which is not marked
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(r)
	t.Setenv("GODEBUG", "cpu.avx=on")
	t.Setenv("SECRET", "x")
	_, err = self("tells", Limits{}).Compile(context.Background(), nil, t.TempDir())
	if err == nil {
		t.Fatal("it says nothing")
	}
	uid, sees := os.Getuid(), true
	if uid == 0 {
		uid, sees = nobody, false
	}
	for _, want := range []string{
		fmt.Sprintf("uid %d gid %d ", uid, uid),
		fmt.Sprintf("death %d nnp 1 nice 5 session true caps [{0 0 0} {0 0 0}] 0 16 %d %d ", syscall.SIGKILL, DefaultCode, DefaultCPU/time.Second),
		`env ["GOMAXPROCS=1" "GOTRACEBACK=none" "BULKHEAD_COMPILES=1" "GODEBUG=cpu.avx=on"]`,
		fmt.Sprintf("writes true sees %v", sees),
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the child says\n%v\nwant %s", err, want)
		}
	}
	if strings.Contains(err.Error(), "inherited 0") || strings.Contains(err.Error(), "(soft)") || strings.Contains(err.Error(), "is open") {
		t.Errorf("the child says\n%v", err)
	}
}
