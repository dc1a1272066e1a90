//go:build !linux

package csa

import "errors"

// pipe is nothing here: bytes are relayed through a buffer.
type pipe struct{ buffered int }

// PipeDescriptors is how many descriptors a pipe takes; 0 where relays use none.
const PipeDescriptors = 0

type pipePool struct{ most int }

func (*pipePool) get(PipeShare) *pipe { return nil }
func (*pipePool) put(*pipe)           {}
func (*pipePool) close()              {}

func (*pipe) close()                    {}
func (*pipe) readFrom(int) (int, error) { return 0, errors.ErrUnsupported }
func (*pipe) writeTo(int) (int, error)  { return 0, errors.ErrUnsupported }
