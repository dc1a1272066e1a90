package memory

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// seals are those of an image's file: nobody changes it any more.
const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// File is another descriptor of the image's file, which is the caller's to close. Whoever has it
// can read the image, and nobody can change it.
func (g *Image) File() (fd int, err error) {
	if g.bytes == nil {
		return -1, errNoFile
	}
	fd, err = unix.FcntlInt(uintptr(g.fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return -1, fmt.Errorf("another descriptor of an image: %w", err)
	}
	return fd, nil
}

// ImageOf makes an image of the file of another process's, which File gave: the pages are there
// once. The file has to be size bytes, which is a whole number of pages. The image owns fd from
// here on; on an error it is closed. Mappings and extra are NewImage's.
func ImageOf(mappings MappingAccount, fd, size, extra int) (*Image, error) {
	g, err := imageOf(mappings, fd, size, extra)
	if err != nil {
		_ = unix.Close(fd)
	}
	return g, err
}

func imageOf(mappings MappingAccount, fd, size, extra int) (*Image, error) {
	if size <= 0 || size%systemPage != 0 {
		return nil, fmt.Errorf("an image of %d bytes is not a whole number of pages", size)
	}
	if have, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err != nil || have&seals != seals {
		return nil, fmt.Errorf("the file of an image could be changed by others: its seals are %#x (%w)", have, err)
	}
	var is unix.Stat_t
	if err := unix.Fstat(fd, &is); err != nil || is.Size != int64(size) {
		return nil, fmt.Errorf("the file of an image has %d bytes and not %d (%w)", is.Size, size, err)
	}
	g := &Image{zero: make([]bool, size/systemPage), extra: extra, maps: mapped{account: mappings}, frequent: &frequent{}, fd: fd}
	g.findZeros(size)
	if !g.maps.take(ImageMappings) {
		return nil, noMappings()
	}
	var err error
	if g.bytes, err = unix.Mmap(fd, 0, size, unix.PROT_READ, unix.MAP_SHARED); err != nil {
		g.maps.drop()
		return nil, fmt.Errorf("mapping the file of an image: %w", err)
	}
	pagemap() // opened now, and not when descriptors have run out
	return g, nil
}

// findZeros notes which pages the file has not: to read those would give it some. Where the system
// does not tell, none is known to be zero, which is right, and costs memory.
func (g *Image) findZeros(size int) {
	for p := range g.zero {
		g.zero[p] = true
	}
	for at := int64(0); at < int64(size); {
		from, err := unix.Seek(g.fd, at, unix.SEEK_DATA)
		if err == unix.ENXIO {
			return
		}
		to := int64(size)
		if err == nil {
			to, err = unix.Seek(g.fd, from, unix.SEEK_HOLE)
		}
		if err != nil {
			clear(g.zero)
			return
		}
		for p := int(from) / systemPage; p < len(g.zero) && int64(p*systemPage) < to; p++ {
			g.zero[p] = false
		}
		at = to
	}
}
