//go:build !linux

package confine

import "errors"

func canSeccomp() error { return errors.New("this system has no seccomp; Linux has") }

func startSeccomp() error { panic("there is no seccomp here") }
