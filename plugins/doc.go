// Package plugins turns .wasm bytes into protocol handlers.
//
//	Runtime   one a tenant: an engine, a compile cache, the host functions
//	Module    checked and compiled code, of shape events or stdio
//	Instance  a running handler of shape events; a [csa.Handler] for any number of CSAs
//	Process   a running command of shape stdio; a [csa.Handler] for one CSA
//
// A module passes three gates before it runs: package wasm, which bounds every count a file states
// and checks every instruction; the list of what may be imported and has to be exported; and the
// engine's own validation. A guest that then traps, returns nonsense or hands over pointers outside
// its memory loses its instance or its connection, and nothing else.
//
// Every module is rewritten by package meter before it is compiled, so that its
// guests pay for what they execute with fuel, and call the host when that is used up:
// usage.go is what happens then. A call begins on its loop and has it for a slice of
// 100 µs; one that takes longer passes the loop on and goes on in the background
// (background.go), by leave of its tenant's [CPU], and visits its loop when it sends
// (visit.go). The CPU time of an event and the stack
// of a call are bounded, and a call that is over is stopped as by a trap.
//
// Compiling takes what the engine's compiler takes; with RuntimeOptions.Compiler
// that is bounded, in a process of its own (package compiler).
package plugins
