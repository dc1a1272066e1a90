// Package lua has the engine for handlers in Lua: Lua 5.4 and a few files of C, built to a module
// that speaks the ABI. build.sh builds it from src, engines/guest and the source package beside it.
package lua

import _ "embed"

//go:embed lua.wasm
var engine []byte

//go:embed types/bulkhead.lua
var types string

// Engine is the module, without a script. It is the package's: callers do not write to it.
func Engine() []byte { return engine }

// Types declares for editors (LuaLS) what the engine has for handlers: the content of
// types/bulkhead.lua.
func Types() string { return types }
