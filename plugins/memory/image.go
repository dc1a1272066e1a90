package memory

import (
	"bytes"
	"os"
)

// systemPage is how many bytes the system maps at once.
var systemPage = os.Getpagesize()

// WholePages is n rounded up to pages of the system's.
func WholePages(n int) int { return (n + systemPage - 1) &^ (systemPage - 1) }

// CopyOverhead is charged for a copy of an Image beside its pages: the kernel's and the
// host's own state of it.
const CopyOverhead = 8 << 10

// Image is what a memory starts as, for any number of private copies. Any
// goroutine may use it.
type Image struct {
	bytes []byte // to be read only
	fd    int
	zero  []bool // of each page of the system's: all bytes are zero
	extra int    // bytes that each copy takes beside CopyOverhead
	maps  mapped
	// frequent is what is known of all that were made of the same Difference, too.
	frequent *frequent
}

// NewImage keeps b, which is a whole number of pages, in a sealed file without a
// name. Pages of zeros take no memory. Each copy is charged extra bytes beside CopyOverhead; the
// image itself is not: that is the caller's. The error has ErrNoMappings inside, or says what
// the system does not do.
func NewImage(mappings MappingAccount, b []byte, extra int) (*Image, error) {
	return newImage(mappings, len(b), extra, func(p int) []byte { return b[p*systemPage:][:systemPage] })
}

// newImage is NewImage of what each page holds, in order, until the next is asked for.
func newImage(mappings MappingAccount, size, extra int, page func(p int) []byte) (*Image, error) {
	g := &Image{zero: make([]bool, size/systemPage), extra: extra, maps: mapped{account: mappings}, frequent: &frequent{}}
	if !g.maps.take(ImageMappings) {
		return nil, noMappings()
	}
	if err := g.keep(page); err != nil {
		g.maps.drop()
		return nil, err
	}
	return g, nil
}

// Close lets go of the image, once. Copies of it stay as they are.
func (g *Image) Close() {
	g.forget()
	g.bytes = nil
	g.maps.drop()
}

// Bytes is what copies start as. It must not be written to, or used after Close.
func (g *Image) Bytes() []byte { return g.bytes }

// Shown is a memory that is the image itself, and no copy of it: it must not be run on, grown or
// freed.
func (g *Image) Shown() *Linear { return &Linear{b: g.bytes} }

// Cost is how many bytes a copy is charged that writes to as many as usual.
func (g *Image) Cost(usual int) int { return CopyOverhead + g.extra + usual }

// page is what a page of the image's copies, or of what they have grown by, is at first.
func (g *Image) page(p int) []byte {
	if p >= len(g.zero) || g.zero[p] {
		return zeros // to read the image there would give it a page
	}
	return g.bytes[p*systemPage:][:systemPage]
}

var zeros = make([]byte, systemPage)

// isZero reports whether all bytes of one page are zero.
func isZero(page []byte) bool { return &page[0] == &zeros[0] || bytes.Equal(page, zeros) }
