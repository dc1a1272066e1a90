// Package meter rewrites WebAssembly modules so that they pay for what they
// execute. The module that comes out behaves as the one that went in, and
// counts down a global of its own, its fuel: at the head of each function and of
// each loop, and before work whose length is an operand. Where the fuel is found to
// be below zero, a function of the host is called, which can give the module more,
// let others run, or stop the call for good by a trap. There is no path on which
// more than a bounded number of instructions run between two such places.
//
// What instructions cost, and why the sums are right, is in docs/METER.md. The count
// depends on nothing but the module and its input.
package meter

import "bulkhead/plugins/wasm"

// What the host and a rewritten module agree on. No module that [wasm.Parse]
// accepts has these names of its own.
const (
	// ImportModule and Refill name the function () -> () that a rewritten module
	// imports. It is called when FuelExport is below zero: what is there is the debt,
	// and the function sets it to what the module may use up next, having taken note of
	// the debt. When it leaves it below zero, it is called again at the next check.
	ImportModule = wasm.ReservedModule
	Refill       = "refill"
	// FuelExport is the mutable i64 global with the fuel. It is zero at first.
	FuelExport = wasm.ReservedPrefix + "fuel"
	// StartExport is the function () -> () that was the module's start function, if
	// it had one. The engine no longer calls it: the host does, once, before
	// anything else of the instance.
	StartExport = wasm.ReservedPrefix + "start"
)

// Options bound what a rewritten module may grow to.
type Options struct {
	// MaxPages is the most pages of memory. What the module declares holds when it is
	// less. Zero is the format's own bound, 65,536.
	MaxPages uint32
	// MaxTableGrowth is how many elements each table may grow by. What the module
	// declares holds when it is less. Zero is no bound.
	MaxTableGrowth uint32
	// Exports are more things that the module shows: its own, under names that begin with
	// wasm.ReservedPrefix and that nothing else here has. Their types are not looked at.
	Exports []wasm.Export
	// Detach makes the module one whose instances can be given another's state: what
	// State.Globals lists is exported, the active data segments are empty, or left out
	// where the code refers to none, and
	// whoever makes an instance has to write them to its memory, and the memory declares
	// one page more than it may have, which whoever provides it has to refuse the
	// guest. MaxPages has to be below 65,536 then, and no data segment may depend on an
	// import.
	Detach bool
	// Origins has Metered.Origins be made. The code that comes out is the same with it.
	Origins bool
}

// Metered is a rewritten module.
type Metered struct {
	// Code is the module for the engine. It belongs to the caller.
	Code []byte
	// Start reports whether it exports StartExport.
	Start bool
	// State and Data are what an instance changes, and what stands in its memory at
	// first. Both are empty without Options.Detach. Data refers to the bytes of the
	// module that was given.
	State State
	Data  []Segment
	// Origins says where the code comes from; it is empty without Options.Origins.
	Origins Origins
}
