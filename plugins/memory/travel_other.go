//go:build !linux

package memory

// File fails: there are no images on this system.
func (g *Image) File() (fd int, err error) { return -1, errNoFile }

// ImageOf likewise.
func ImageOf(MappingAccount, int, int, int) (*Image, error) { return nil, errNoImages }
