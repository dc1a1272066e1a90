//go:build !linux

package plugins

import "errors"

// systemPage is not used where there are no images.
const systemPage = 4096

var errNoImages = errors.New("this system has no files in memory that could be mapped privately and told apart from what was written")

func newImage([]byte) (*image, error)            { return nil, errNoImages }
func (g *image) close()                          {}
func (g *image) copyOf(uint32) ([]byte, error)   { return nil, errNoImages }
func writtenTo([]byte, []int32) (n int, ok bool) { return 0, false }
func dropPages([]byte) bool                      { return false }
