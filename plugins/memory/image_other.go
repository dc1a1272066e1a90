//go:build !linux

package memory

import "errors"

var errNoImages = errors.New("this system has no files in memory that could be mapped privately and told apart from what was written")

func (g *Image) keep(func(int) []byte) error     { return errNoImages }
func (g *Image) forget()                         {}
func (g *Image) copyOf(int) ([]byte, error)      { return nil, errNoImages }
func writtenTo([]byte, []int32) (n int, ok bool) { return 0, false }
func dropPages([]byte) bool                      { return false }
func ownPages([]byte) bool                       { return false }
