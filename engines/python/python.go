// Package python has the engine for handlers in Python: MicroPython 1.25 and a few files of C,
// built to a module that speaks the ABI. build.sh builds it from src, engines/guest and the
// sources beside it.
package python

import _ "embed"

//go:embed python.wasm
var engine []byte

var (
	//go:embed types/__builtins__.pyi
	builtins string
	//go:embed types/crc.pyi
	crc string
)

// Engine is the module, without a script. It is the package's: callers do not write to it.
func Engine() []byte { return engine }

// Types declares for editors (Pyright) what the engine has for handlers: the contents of
// __builtins__.pyi and crc.pyi, which belong into the folder of the handler.
func Types() (ofBuiltins, ofCRC string) { return builtins, crc }
