// Package admit decides which modules may run: what a module has to export, what it may import, and
// everything for which it is refused, said so that whoever built it can mend it. It looks at
// modules that package wasm has parsed, and runs nothing.
package admit

import "bulkhead/plugins/wasm"

// Shape is what kind of guest a module is.
type Shape string

// The shapes.
const (
	// Events is a handler that is called with what happens, as package abi
	// says.
	Events Shape = "events"
	// Stdio is a plain WASI command whose standard input and output are the
	// connection.
	Stdio Shape = "stdio"
)

// The exports that are looked at by name.
const (
	data       = "csa_data"
	initialize = "_initialize"
	command    = "_start"
)

// DefaultMemory is the greatest memory of one instance, in bytes, where nothing else is said.
const DefaultMemory = 64 << 20

// MostPages is the greatest memory that an instance can have: a page less than the
// format allows, since the engine is told of one more than there may be.
const MostPages = wasm.MaxPages - 1

// Pages is how many pages of 64 KiB an instance may have whose memory is limited to so many bytes:
// as many as are whole, but at least one. Zero or less is DefaultMemory.
func Pages(memory int64) uint32 {
	if memory <= 0 {
		memory = DefaultMemory
	}
	return uint32(min(max(memory/wasm.PageSize, 1), MostPages))
}
