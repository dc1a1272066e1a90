// Package component takes the core module out of a WebAssembly component that was made
// by wrapping one. Such a component has the module first, and behind it adapters that
// turn WASI preview 1 into preview 2. It reads the lengths of sections and nothing
// that they hold, in time proportional to their number, and allocates nothing.
package component

import (
	"bulkhead/plugins/wasm"
)

// Header is how a component starts.
const Header = "\x00asm\x0d\x00\x01\x00"

// The numbers of the sections that are looked at, and of the last one that there is.
const (
	coreModule = 1
	nested     = 4
	last       = 12
)

// Is reports whether a file is a component, by its first bytes.
func Is(b []byte) bool { return len(b) >= len(Header) && string(b[:len(Header)]) == Header }

// Core returns the first core module of the component b, as a part of b, and where in b it begins.
// Nothing of it is checked. Behind the header every section has to be whole. A component that has
// other components before its first module has been composed of them, and is refused. The error
// is a *wasm.SyntaxError, in the terms of [wasm.Parse].
func Core(b []byte) (core []byte, offset int, err error) {
	switch {
	case !Is(b):
		return nil, 0, &wasm.SyntaxError{What: "it is not a WebAssembly component"}
	case len(b) > wasm.MaxModule:
		return nil, 0, &wasm.SyntaxError{What: "it has more bytes than a module may have"}
	}
	composed := false
	for at := len(Header); at < len(b); {
		id := b[at]
		if id > last {
			return nil, 0, &wasm.SyntaxError{Offset: at, What: "it is a WebAssembly component with a section of an unknown kind", Mend: wasm.ForPreview1}
		}
		size, start, ok := length(b, at+1)
		switch {
		case !ok:
			return nil, 0, &wasm.SyntaxError{Offset: at + 1, What: "the length of a section of the component is no number of 32 bits"}
		case start < 0 || uint64(size) > uint64(len(b)-start):
			return nil, 0, &wasm.SyntaxError{Offset: len(b), What: "the file ends inside a section of the component", Mend: "it is cut short, so copy or build it again", Truncated: true}
		}
		end := start + int(size)
		switch {
		case id == coreModule && core == nil:
			core, offset = b[start:end:end], start
		case id == nested && core == nil:
			composed = true
		}
		at = end
	}
	switch {
	case composed:
		return nil, 0, &wasm.SyntaxError{What: "it is a WebAssembly component that consists of others", Mend: wasm.ForPreview1}
	case core == nil:
		return nil, 0, &wasm.SyntaxError{What: "it is a WebAssembly component without a core module", Mend: wasm.ForPreview1}
	}
	return core, offset, nil
}

// length reads a number of at most 32 bits, and returns where the next byte is. ok is
// false for a longer number; next is negative when the file ends in it.
func length(b []byte, at int) (n uint32, next int, ok bool) {
	for shift := 0; ; shift += 7 {
		if at >= len(b) {
			return 0, -1, true
		}
		c := b[at]
		at++
		if shift == 28 && c > 0x0f {
			return 0, 0, false
		}
		n |= uint32(c&0x7f) << shift
		if c < 0x80 {
			return n, at, true
		}
	}
}
