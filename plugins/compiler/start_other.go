//go:build unix && !linux

package compiler

import "syscall"

// childAttributes have the child lead a session of its own.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// programPath is where the program is started from.
func programPath(program string) string { return program }
