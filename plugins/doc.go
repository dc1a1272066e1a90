// Package plugins turns .wasm bytes into protocol handlers.
//
//	Runtime   one a tenant: an engine, a compile cache, the host functions
//	Module    checked and compiled code, of shape events or stdio
//	Instance  a running handler of shape events; a [csa.Handler] for any number of CSAs
//	Process   a running command of shape stdio; a [csa.Handler] for one CSA
//
// A module passes three gates before it runs: package wasm, which bounds every
// count a file states; the list of what may be imported and has to be exported;
// and the engine's own validation. A guest that then traps, returns nonsense or
// hands over pointers outside its memory loses its instance or its connection,
// and nothing else.
//
// Compiling is bounded by the size of a module and of its functions alone: it
// takes what the engine's compiler takes for them, and is not charged.
//
// What is not bounded yet is time: a guest that loops keeps its goroutine, and
// with it a loop of the host or, by stopping Go's collector, all of them. Nor
// is the depth of its stack, below the engine's own ceiling of about 100 MB for
// one exported function; the stack is given back when the instance is closed,
// and reaching the ceiling takes about a second.
// Both are the meter's, which rewrites modules before they are compiled.
package plugins
