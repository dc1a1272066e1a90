package compiler

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"time"
)

// explain says why a child failed.
func explain(l Limits, state *os.ProcessState, stdout, stderr []byte) *Failure {
	detail := firstLine(string(stderr))
	status, _ := state.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		switch used := state.UserTime() + state.SystemTime(); {
		// The limit is kept by a clock that is coarser than that of the bill.
		case used >= l.CPU/4*3 && (status.Signal() == syscall.SIGKILL || status.Signal() == syscall.SIGXCPU):
			return &Failure{Why: l.tooMuchCPU(), Certain: true}
		case status.Signal() == syscall.SIGKILL:
			return &Failure{Why: "the compiler was killed, perhaps because the machine has no more memory; try again", Detail: detail}
		}
		if status.Signal() == syscall.SIGSYS {
			return &Failure{Why: "the compiler was ended for a system call that something forbids: say SystemCallErrorNumber=EPERM in the systemd unit, and the error names the call; or leave SystemCallFilter= out", Detail: detail}
		}
		if why := l.ranOut(stderr); why != "" {
			return &Failure{Why: why, Detail: detail}
		}
		return &Failure{Why: fmt.Sprintf("the compiler crashed with signal %d (%v)", int(status.Signal()), status.Signal()), Detail: detail}
	}
	if said := firstLine(string(stdout)); status.ExitStatus() == statusRefused && said != "" {
		return &Failure{Why: said, Certain: true}
	}
	if why := l.ranOut(stderr); why != "" {
		return &Failure{Why: why, Detail: detail}
	}
	return &Failure{Why: fmt.Sprintf("the compiler crashed with exit status %d after %v", status.ExitStatus(), (state.UserTime() + state.SystemTime()).Round(time.Millisecond)), Detail: detail}
}

// ranOut recognises what Go writes when it has to give up, none of which can
// be caught; "" if it is something else.
func (l Limits) ranOut(stderr []byte) string {
	for _, s := range []string{"stack overflow", "stack exceeds"} {
		if bytes.Contains(stderr, []byte(s)) {
			return l.tooMuchStack()
		}
	}
	for _, s := range []string{
		"out of memory", "cannot allocate memory", "failed to create new OS thread", "pthread_create failed",
		"failed to reserve page summary memory",
		// What the race detector says.
		"failed to allocate", "too many address space collisions",
	} {
		if bytes.Contains(stderr, []byte(s)) {
			return l.tooMuchMemory()
		}
	}
	return ""
}
