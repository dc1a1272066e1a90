// Package python has the engine for handlers in Python: MicroPython 1.25 and a few files of C,
// built to a module that speaks the ABI. build.sh builds it from src, engines/guest and the
// sources beside it.
package python

import _ "embed"

//go:embed python.wasm
var engine []byte

// Engine is the module, without a script. It is the package's: callers do not write to it.
func Engine() []byte { return engine }
