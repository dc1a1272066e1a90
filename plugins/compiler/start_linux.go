package compiler

import (
	"os"
	"syscall"
)

// childAttributes have the child lead a session of its own and die with the
// thread that starts it.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// programPath is where the program is started from. Ours is the very file that
// runs: what lies under its name may have been replaced by another version.
func programPath(program string) string {
	const running = "/proc/self/exe"
	if self, err := os.Executable(); err == nil && self == program {
		if _, err := os.Stat(running); err == nil {
			return running
		}
	}
	return program
}
