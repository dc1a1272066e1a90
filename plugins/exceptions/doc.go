// Package exceptions rewrites WebAssembly modules that use exceptions to modules of
// WebAssembly 2.0, which the engine runs without a feature that it calls experimental. The
// module that comes out behaves as the one that went in. It is what the meter then rewrites, so
// that what the rewriter adds pays as other code does.
//
// While an exception is under way, a global holds which tag it has, and others what it carries. To
// throw is to set them and to branch to the handler, or to leave the function; behind each call
// that may throw the global is looked at. Which calls may is found out from who calls whom, and
// from which functions of each signature tables can hold.
//
// The engine validates what comes out, and would not see what was wrong with what went in: an
// exnref is a number now, for one. So the functions of a module that uses exceptions are validated
// here, types of operands and all, before anything is rewritten. What the module has besides comes
// out as it was.
package exceptions

import (
	"strconv"

	"bulkhead/plugins/wasm"
)

// What may come out, and what checking may take.
const (
	// MaxGrowth is how many times as large as the original the whole may be, MinGrowth bytes
	// aside.
	MaxGrowth = 4
	MinGrowth = 64 << 10
	// MaxHeight is how many operands may be on the stack at a time.
	MaxHeight = 1 << 20
	// MaxWork is how many operands instructions may carry for each byte of the code: calls,
	// branches and blocks, which may have up to a thousand each. MinWork is free.
	MaxWork = 64
	MinWork = 1 << 20
	// MaxKept is how many bytes an exception may carry that is kept as an exnref, or thrown again.
	MaxKept = 12
)

// FlightExport is the name under which whoever runs the module shows Lowered.Flight, so as to tell
// an exception that nobody has caught from other traps.
const FlightExport = wasm.ReservedPrefix + "exception"

// Options say what is wanted beside the module.
type Options struct {
	// Origins has Lowered.Origins be made. The code that comes out is the same with it.
	Origins bool
}

// Lowered is a module without exceptions.
type Lowered struct {
	// Module is what came out, read again. It is the one that was given if that uses no exceptions;
	// then all else is empty.
	Module *wasm.Module
	// Code are its bytes.
	Code []byte
	// Used reports whether the module that was given uses exceptions.
	Used bool
	// Flight is the global, of type i32, that holds what is thrown and not caught yet: a tag's
	// index and one, or zero. Guests' own code never runs while it is not zero.
	Flight uint32
	// Tags are the names of the tags by index, "" where there is none.
	Tags []string
	// Origins says where the code comes from; it is empty without Options.Origins.
	Origins Origins
}

// Exports are what the engine's module has to show beside its own exports: Flight, by the name of
// FlightExport. It is empty for a module without exceptions.
func (l *Lowered) Exports() []wasm.Export {
	if !l.Used {
		return nil
	}
	return []wasm.Export{{Name: FlightExport, Kind: wasm.Global, Index: l.Flight}}
}

// Thrown names the tag that a value of Flight stands for, by Lowered.Tags: quoted, or by its
// number.
func Thrown(tags []string, flight uint32) string {
	i := flight - 1
	if int64(i) < int64(len(tags)) && tags[i] != "" {
		return strconv.Quote(tags[i])
	}
	return strconv.FormatUint(uint64(i), 10)
}

// Lower rewrites a module that uses exceptions. What m exports and starts with are its fields, not
// its sections. m is only read, and may be used by many at a time. The error is a
// *wasm.SyntaxError: of a module that is not valid, that would become too large, or that uses
// exceptions in a way that cannot be rewritten.
func Lower(m *wasm.Module, o Options) (*Lowered, error) {
	if used, _ := m.Exceptions(); !used {
		return &Lowered{Module: m}, nil
	}
	c, err := check(m)
	if err != nil {
		return nil, err
	}
	return lower(m, c, o)
}
