package wasm

import (
	"fmt"
	"unicode/utf8"
)

// SyntaxError is a module that breaks the format, or one of the bounds.
type SyntaxError struct {
	// Offset is where in the file, in bytes from its start.
	Offset int
	// What is wrong, as one clause.
	What string
	// Mend is how it can be built otherwise, as one clause that goes on from What;
	// "" when there is nothing to be said.
	Mend string
	// Truncated reports that the file ends too early.
	Truncated bool
}

// Error says what is wrong and where, and the mend.
func (e *SyntaxError) Error() string {
	s := fmt.Sprintf("%s (at byte %d)", e.What, e.Offset)
	if e.Mend != "" {
		s += ": " + e.Mend
	}
	return s
}

// reader reads b[pos:]. The first error sticks, and everything read after it
// is zero, so that callers check once a loop.
type reader struct {
	b    []byte // up to the end of what is being read; offsets are the file's
	pos  int
	file int // the length of the file; -1 in a section, whose end is not the file's
	err  *SyntaxError

	exnref bool // that type was read
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = &SyntaxError{Offset: r.pos, What: fmt.Sprintf(format, args...)}
	}
}

// short is an end where more had to come: of the file, or of a section.
func (r *reader) short(what string) {
	if r.err != nil {
		return
	}
	if len(r.b) == r.file {
		r.err = &SyntaxError{Offset: r.file, What: "the file ends inside " + what, Mend: "it is cut short, so copy or build it again", Truncated: true}
	} else {
		r.fail("%s does not fit into its section", what)
	}
}

func (r *reader) left() int {
	if r.err != nil {
		return 0
	}
	return len(r.b) - r.pos
}

func (r *reader) byte(what string) byte {
	if r.left() < 1 {
		r.short(what)
		return 0
	}
	r.pos++
	return r.b[r.pos-1]
}

// bytes returns the next n bytes, which stay the file's.
func (r *reader) bytes(n uint32, what string) []byte {
	if uint64(r.left()) < uint64(n) {
		r.short(what)
		return nil
	}
	r.pos += int(n)
	return r.b[r.pos-int(n) : r.pos]
}

func (r *reader) u32(what string) uint32 {
	var v uint32
	for shift := 0; ; shift += 7 {
		b := r.byte(what)
		if shift == 28 && b > 0x0f {
			r.fail("%s is a number of more than 32 bits", what)
		}
		if r.err != nil {
			return 0
		}
		v |= uint32(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
}

// signed reads a signed number of at most that many bits. In its last byte the
// bits that it does not need have to repeat its sign.
func (r *reader) signed(bits uint, what string) int64 {
	if r.err == nil && r.pos < len(r.b) && r.b[r.pos] < 0x80 {
		r.pos++
		return int64(int8(r.b[r.pos-1]<<1)) >> 1
	}
	var v int64
	for shift := uint(0); ; shift += 7 {
		b := r.byte(what)
		if r.err != nil {
			return 0
		}
		if shift+7 >= bits {
			// The sign and what is above it.
			if high := int8(b<<1) >> (bits - shift); b >= 0x80 || high != 0 && high != -1 {
				r.pos--
				r.fail("%s is a number of more than %d bits", what, bits)
				return 0
			}
		}
		v |= int64(b&0x7f) << shift
		if b < 0x80 {
			if shift+7 < 64 {
				v = v << (64 - shift - 7) >> (64 - shift - 7)
			}
			return v
		}
	}
}

// count reads how many things of at least size bytes follow. What it returns
// is at most limit, and the bytes for so many are there.
func (r *reader) count(limit, size int, what string) int {
	at := r.pos
	n := r.u32("the number of " + what)
	switch {
	case r.err != nil:
		return 0
	case uint64(n) > uint64(limit):
		r.pos = at
		r.fail("it has %d %s, and %d are the most", n, what, limit)
		return 0
	case uint64(n)*uint64(size) > uint64(r.left()):
		left := r.left()
		r.pos = at
		r.fail("it says that %d %s follow, in %d bytes", n, what, left)
		return 0
	}
	return int(n)
}

func (r *reader) name(what string) string {
	at := r.pos
	n := r.u32("the length of " + what)
	if n > MaxName {
		r.pos = at
		r.fail("%s has %d bytes, and %d are the most", what, n, MaxName)
	}
	b := r.bytes(n, what)
	if !utf8.Valid(b) {
		r.pos = at
		r.fail("%s is not UTF-8", what)
		return ""
	}
	return string(b)
}
