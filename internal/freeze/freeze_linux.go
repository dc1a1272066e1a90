// Freeze stops the one thread of a process that runs the loop of a listening TCP socket, and
// nothing else of it, until it is killed. It prints the thread's number when that stands still.
//
//	freeze PID PORT
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: freeze PID PORT")
		os.Exit(2)
	}
	if err := freeze("/proc/"+os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "freeze:", err)
		os.Exit(1)
	}
}

// freeze returns when the thread, or the process, has gone.
func freeze(process, port string) error {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return err
	}
	var thread int
	for range 600 { // it may be at work now
		if thread, err = waiting(process, fmt.Sprintf(":%04X", n)); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	runtime.LockOSThread() // it is the one that traces
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(thread), 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("tracing thread %d: %w", thread, errno)
	}
	if err := unix.PtraceInterrupt(thread); err != nil {
		return fmt.Errorf("stopping thread %d: %w", thread, err)
	}
	for stopped := false; ; {
		var status unix.WaitStatus
		switch _, err := unix.Wait4(thread, &status, unix.WALL, nil); {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case !status.Stopped():
			return nil
		}
		if !stopped {
			stopped = true
			fmt.Println(thread)
		}
	}
}

// waiting finds the thread that waits for an epoll which has the socket that listens at the port.
func waiting(process, port string) (thread int, err error) {
	table, err := os.ReadFile(process + "/net/tcp")
	if err != nil {
		return 0, err
	}
	socket := ""
	for line := range strings.Lines(string(table)) {
		const listens = "0A"
		if f := strings.Fields(line); len(f) > 9 && strings.HasSuffix(f[1], port) && f[3] == listens {
			socket = "socket:[" + f[9] + "]"
		}
	}
	names, err := filepath.Glob(process + "/fd/*")
	if err != nil || socket == "" {
		return 0, fmt.Errorf("nobody listens at port %s: %w", port, err)
	}
	watched := []byte("none")
	for _, name := range names {
		if to, _ := os.Readlink(name); to == socket {
			watched = fmt.Appendf(nil, "tfd: %8s ", filepath.Base(name))
		}
	}
	tasks, err := filepath.Glob(process + "/task/*")
	if err != nil {
		return 0, err
	}
	for _, task := range tasks {
		call, err := os.ReadFile(task + "/syscall")
		var number, fd int
		if _, err2 := fmt.Sscanf(string(call), "%d 0x%x", &number, &fd); err != nil || err2 != nil || number != unix.SYS_EPOLL_PWAIT {
			continue
		}
		info, err := os.ReadFile(fmt.Sprintf("%s/fdinfo/%d", process, fd))
		if err == nil && bytes.Contains(info, watched) {
			return strconv.Atoi(filepath.Base(task))
		}
	}
	return 0, errors.New("no thread waits for the socket now")
}
