package engines

import (
	"bytes"
	"path/filepath"
)

// Parts are what Pack makes one module of: an engine of this program, and a script as that has it.
// Whoever compiles the engine once for many scripts needs no more of each than this.
type Parts struct {
	Engine *Engine
	// At is where in the engine's memory Script has to stand before the engine starts.
	At     uint32
	Script []byte
}

// Apart returns what Module would make one module of, for a plugin's file: a script, as its name
// says, or a module that Pack has made with an engine of this program. ok is false for any other
// module, of which there are no parts. The caller does not write to them: they may be parts of b.
func Apart(path string, b []byte) (p Parts, ok bool, err error) {
	e := engineFor(path)
	if e == nil {
		p, ok = unpack(b)
		return p, ok, nil
	}
	at, script, err := segment(e.Module, filepath.Base(path), b)
	return Parts{e, at, script}, err == nil, err
}

// unpack takes a module apart. Only what Pack makes of an engine as it is now counts, to the last
// byte.
func unpack(b []byte) (Parts, bool) {
	at, script := scriptIn(b)
	if script == nil {
		return Parts{}, false
	}
	for _, e := range all {
		if len(b) <= len(e.Module) {
			continue
		}
		if whole, err := withSegment(e.Module, at, script); err == nil && bytes.Equal(whole, b) {
			return Parts{e, at, script}, true
		}
	}
	return Parts{}, false
}
