//go:build !linux

package canary

import "errors"

func refuseNamed(string) error { return errors.New("only Linux can be told to refuse system calls") }
