package proc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// maxPID is the largest process id that Linux hands out.
const maxPID = 1 << 22

// CPU returns the processor time, user and system together, that the process
// pid has used since it began, all its threads counted, to the nanosecond. Any
// goroutine may call it, for any process of any user. It fails when there is no
// such process.
func CPU(pid int) (time.Duration, error) {
	if pid < 1 || pid > maxPID {
		return 0, fmt.Errorf("reading the CPU clock of process %d: %w (process ids are 1 to %d)", pid, unix.ESRCH, maxPID)
	}
	// The kernel names a process's clock by its id, inverted; 2 is the
	// scheduler's own account, which has no clock ticks to round to.
	clock := int32(^pid<<3 | 2)
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		return 0, fmt.Errorf("reading the CPU clock of process %d: %w (has it ended?)", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// TreeCPU is CPU of a process and of all that descend from it and run. What those have used that
// have ended is not in it.
func TreeCPU(pid int) (time.Duration, error) {
	all, err := CPU(pid)
	if err != nil {
		return 0, err
	}
	names, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		for _, field := range bytes.Fields(b) {
			child, err := strconv.Atoi(string(field))
			if err != nil {
				return 0, fmt.Errorf("%s: %w", name, err)
			}
			used, err := TreeCPU(child)
			if err != nil {
				return 0, err
			}
			all += used
		}
	}
	return all, nil
}

// tick is the unit of /proc/PID/stat: USER_HZ is 100 on every Linux that Go
// runs on.
const tick = time.Second / 100

// CPUSplit returns the processor time of the process pid as user and system
// time, to 10 ms: use it for their shares, and CPU for the sum.
func CPUSplit(pid int) (user, system time.Duration, err error) {
	name := fmt.Sprintf("/proc/%d/stat", pid)
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, 0, fmt.Errorf("reading the CPU time of process %d: %w (has it ended?)", pid, err)
	}
	if user, system, err = parseStat(b); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", name, err)
	}
	return user, system, nil
}

// parseStat takes fields 14 and 15, utime and stime, out of a stat line. The
// second field is the program's name in parentheses and may hold anything.
func parseStat(b []byte) (user, system time.Duration, err error) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return 0, 0, fmt.Errorf("no program name in %q", b)
	}
	f := bytes.Fields(b[i+1:])
	if len(f) < 13 {
		return 0, 0, fmt.Errorf("%d fields after the program name, want 13 or more", len(f))
	}
	u, err := strconv.ParseUint(string(f[11]), 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("user time: %w", err)
	}
	s, err := strconv.ParseUint(string(f[12]), 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("system time: %w", err)
	}
	return time.Duration(u) * tick, time.Duration(s) * tick, nil
}
