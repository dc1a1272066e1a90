//go:build !linux

package handover

import (
	"errors"
	"sync/atomic"
)

var errSystem = errors.New("connections can be handed over on Linux alone")

type marks struct{ fd int }

func newMarks() (*marks, error)              { return nil, errSystem }
func marksOf(int) (*marks, error)            { return nil, errSystem }
func (m *marks) at(int) *atomic.Uint32       { return nil }
func (m *marks) closeFile()                  {}
func (m *marks) close()                      {}
func records([]byte) (int, error)            { return -1, errSystem }
func forgetRecords(int)                      {}
func readRecords(int, int64) ([]byte, error) { return nil, errSystem }

// Room is 0: nothing can be handed over on this system.
func Room() int64 { return 0 }
