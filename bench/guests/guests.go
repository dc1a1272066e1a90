// Package guests holds the modules that the cost of the meter is measured with:
// small programs of the kind that handlers are made of, in C, built by build.sh.
package guests

import "embed"

// files are the shipped modules.
//
//go:embed src/*.wasm
var files embed.FS

// Code returns the module of a name, without its ".wasm". It belongs to the
// caller. The error is that of a name that is not there.
func Code(name string) ([]byte, error) { return files.ReadFile("src/" + name + ".wasm") }
