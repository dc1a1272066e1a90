package meter

import (
	"math"
	"slices"
)

// Origins says where in the code section that was given each place in the one that came out comes
// from. The module that runs has no part of it: whoever wants one rewrites the module again, with
// Options.Origins.
type Origins []origin

// origin is that of the code from new on, up to the next: copied from old on, or all of it put in
// at old, or instead of the instruction there.
type origin struct {
	new, old uint32
	copied   bool
}

// noOrigin stands for code that was not in the module: that of the helpers.
const noOrigin = math.MaxUint32

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
// sections, as DWARF has them. For an instruction that the meter has put in, it is the one it
// stands in front of. ok is false for code that was not in the module, and for what is no
// instruction's place.
func (o Origins) At(offset uint32) (at uint32, ok bool) {
	i, found := slices.BinarySearchFunc(o, offset, func(o origin, offset uint32) int {
		switch {
		case o.new < offset:
			return -1
		case o.new > offset:
			return 1
		}
		return 0
	})
	if found {
		// Of several at one place, all but the last are empty.
		for i+1 < len(o) && o[i+1].new == offset {
			i++
		}
	} else {
		i--
	}
	switch {
	case i < 0 || o[i].old == noOrigin:
		return 0, false
	case o[i].copied:
		return o[i].old + offset - o[i].new, true
	}
	return o[i].old, true
}
