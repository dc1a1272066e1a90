package supervisor

import "syscall"

// attributes has the worker be out of reach of a terminal's signals, and die with this process: a
// worker without a supervisor would keep the next daemon from the addresses and the state folder.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// program is the one that this process runs, even if its file was replaced.
func program() (string, error) { return "/proc/self/exe", nil }
