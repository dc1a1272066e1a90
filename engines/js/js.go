// Package js has the engine for handlers in JavaScript: QuickJS and a few files of C, built to a
// module that speaks the ABI. build.sh builds it from src and the source package beside it.
package js

import _ "embed"

//go:embed js.wasm
var engine []byte

//go:embed bulkhead.d.ts
var types string

// Engine is the module, without a script. It is the package's: callers do not write to it.
func Engine() []byte { return engine }

// Types declares in TypeScript what the engine has for handlers: the content of bulkhead.d.ts.
func Types() string { return types }
