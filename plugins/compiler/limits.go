package compiler

import (
	"fmt"
	"strconv"
	"time"
)

// Limits are what compiling one module may take.
type Limits struct {
	// Memory is the address space in bytes that may be added to what the process
	// has when it starts. Zero: DefaultMemory. Negative: no limit.
	Memory int64
	// CPU is the time on processors, rounded up to seconds. Zero or less:
	// DefaultCPU. It starts with the process.
	CPU time.Duration
	// Wall is the time from the start of the process, after which it is killed.
	// Zero or less: DefaultWall.
	Wall time.Duration
	// Code is the size of the compiled code in bytes. Zero or less: DefaultCode.
	Code int64
}

// What compiling may take where nothing else is said. A Go guest of 2 MiB takes less than a tenth
// of each; the largest module from a public package that was met, of 32 MB, took 41 s of CPU time.
// The time on the wall is a multiple of it, for machines that have much else to do: it is there for
// a process that stands still.
const (
	DefaultMemory = 2 << 30
	DefaultCPU    = 2 * time.Minute
	DefaultWall   = 20 * time.Minute
	DefaultCode   = 512 << 20
)

func (l Limits) filled() Limits {
	if l.Memory == 0 {
		l.Memory = DefaultMemory
	}
	if l.CPU <= 0 {
		l.CPU = DefaultCPU
	}
	l.CPU = (l.CPU + time.Second - 1).Truncate(time.Second)
	if l.Wall <= 0 {
		l.Wall = DefaultWall
	}
	if l.Code <= 0 {
		l.Code = DefaultCode
	}
	return l
}

// args are the limits that the process keeps itself, as it is told them.
func (l Limits) args() []string {
	return []string{
		strconv.FormatInt(l.Memory, 10),
		strconv.FormatInt(int64(l.CPU/time.Second), 10),
		strconv.FormatInt(l.Code, 10),
	}
}

// maxSeconds are as many as a time.Duration surely holds.
const maxSeconds = 1 << 32

func parseArgs(args []string) (l Limits, err error) {
	if len(args) != 3 {
		return l, fmt.Errorf("compiling takes three limits (bytes of memory, seconds, bytes of code) and was given %d; it is started by the host, not by hand", len(args))
	}
	var n [3]int64
	for i, a := range args {
		if n[i], err = strconv.ParseInt(a, 10, 64); err != nil || n[i] == 0 || i > 0 && n[i] < 0 || i == 1 && n[i] > maxSeconds {
			return l, fmt.Errorf("compiling was given the limit %q; it is started by the host, not by hand", a)
		}
	}
	return Limits{Memory: n[0], CPU: time.Duration(n[1]) * time.Second, Code: n[2]}, nil
}

// The clauses for a module that needs more than it may have. They go on from
// "does not compile: ".

func (l Limits) tooMuchMemory() string {
	return "the compiler needed more than " + size(l.Memory) + " of memory"
}

func (l Limits) tooMuchCPU() string {
	return fmt.Sprintf("the compiler needed more than %d s of CPU time", l.CPU/time.Second)
}

func (l Limits) tooMuchTime() string { return fmt.Sprintf("the compiler took longer than %v", l.Wall) }

func (l Limits) tooMuchStack() string {
	return "the compiler needed more than " + size(l.stack()) + " of stack"
}

func (l Limits) tooMuchCode() string { return "its code takes more than " + size(l.Code) }

// stack is how much of the memory one goroutine's stack may be.
func (l Limits) stack() int64 {
	if l.Memory < 0 {
		return DefaultMemory / 8
	}
	return max(l.Memory/8, 1<<20)
}

func size(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
