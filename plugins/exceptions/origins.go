package exceptions

import (
	"math"
	"sort"
)

// Origins says where in the code section that was given each place in the one that came out comes
// from.
type Origins []origin

// origin is that of the code from new on, up to the next: copied from old on, or all of it put in
// at old, or instead of the instruction there.
type origin struct {
	new, old uint32
	copied   bool
}

// noOrigin stands for code that was not in the module.
const noOrigin = math.MaxUint32

func (o *Origins) add(wanted bool, one origin) {
	if wanted {
		*o = append(*o, one)
	}
}

// move adds to the offsets.
func (o Origins) move(by, oldBy int) {
	for i := range o {
		o[i].new += uint32(by)
		if o[i].old != noOrigin {
			o[i].old += uint32(oldBy)
		}
	}
}

// At is where the byte at an offset comes from. Both are offsets into the contents of code
// sections, as DWARF has them. For an instruction that was put in, it is the one it stands for, or
// that it stands behind. ok is false for code that was not in the module, and for what is no
// instruction's place.
func (o Origins) At(offset uint32) (at uint32, ok bool) {
	i := sort.Search(len(o), func(i int) bool { return o[i].new > offset }) - 1
	switch {
	case i < 0 || o[i].old == noOrigin:
		return 0, false
	case o[i].copied:
		return o[i].old + offset - o[i].new, true
	}
	return o[i].old, true
}
