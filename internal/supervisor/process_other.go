//go:build !linux

package supervisor

import (
	"os"
	"syscall"
)

// attributes has the worker be out of reach of a terminal's signals. It finds out by itself when
// this process has gone: see Link.Signals.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// program is the path of this one's file.
func program() (string, error) { return os.Executable() }
