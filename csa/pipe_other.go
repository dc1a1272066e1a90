//go:build !linux

package csa

import "errors"

// pipe is nothing here: bytes are relayed through a buffer.
type pipe struct{ held int }

type pipePool struct{}

func (*pipePool) get() *pipe { return nil }
func (*pipePool) put(*pipe)  {}
func (*pipePool) close()     {}

func (*pipe) close()                    {}
func (*pipe) readFrom(int) (int, error) { return 0, errors.ErrUnsupported }
func (*pipe) writeTo(int) (int, error)  { return 0, errors.ErrUnsupported }
