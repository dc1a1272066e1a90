package plugins

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"

	"bulkhead/plugins/admit"
	"bulkhead/plugins/codestore"
	"bulkhead/plugins/exceptions"
	"bulkhead/plugins/meter"
	"bulkhead/plugins/wasm"

	"github.com/tetratelabs/wazero"
)

// code is what was compiled of a module, and what is known of that. Nothing of it is a tenant's,
// and nothing changes but what is measured: what a tenant has besides is its Module.
type code struct {
	engine   *engine
	compiled wazero.CompiledModule
	bytes    int         // charged for the native code
	has      [calls]bool // the exports it has
	min      uint32      // pages of memory
	declared uint32      // pages at most, by what it says itself
	extra    int         // bytes charged for an executor beyond its memory
	state    meter.State
	data     []meter.Segment
	fits     map[Shape]bool    // an Interpreter's: which shapes its module has
	base     *base             // an Interpreter's: what its instances begin as; nil: as any module's do
	quick    atomic.Bool       // an executor was made in less than quickExecutor
	throws   bool              // it uses exceptions
	alone    bool              // it keeps one connection's state where all would find it
	tags     []string          // their names; fewer may be known
	format   [sha256.Size]byte // of the rewritten code, and so of what its instances are
}

// freeFootprint is how much an instance may take in the host, in bytes, before
// that is charged as memory. It is above what small guests take, so that their
// accounts hold whole pages.
const freeFootprint = 64 << 10

// codeMappings is how many memory mappings code takes, and how it is called.
const codeMappings = 2

// makeCode rewrites and compiles what the gate has let through. name is what the log calls it. The
// mappings that it takes are the caller's affair. The error is refusal's.
func (e *engine) makeCode(name string, parsed *wasm.Module) (*code, error) {
	lowered, err := exceptions.Lower(parsed, exceptions.Options{})
	if err != nil {
		return nil, err
	}
	parsed = lowered.Module
	c := &code{engine: e, throws: lowered.Used, tags: lowered.Tags, min: parsed.Memories[0].Min, declared: wasm.MaxPages}
	if l := parsed.Memories[0]; l.HasMax {
		c.declared = l.Max
	}
	if extra := parsed.Footprint(); extra > freeFootprint {
		c.extra = extra
	}
	for n, export := range callNames {
		c.has[n] = parsed.Export(export) != nil
	}
	options := meterOptions
	options.Exports = lowered.Exports()
	metered, err := meter.Rewrite(parsed, options)
	if err != nil {
		return nil, err
	}
	c.has[callBegin] = metered.Start
	c.alone = admit.OneConnection(parsed)
	c.state = metered.State
	c.data = meter.Compact(metered.Data)
	sum := codestore.Sum(sha256.Sum256(metered.Code))
	c.format = formatOf(sum, c.state)
	if c.compiled, c.bytes, err = e.compileModule(name, metered.Code, sum); err != nil {
		return nil, &compileError{err}
	}
	return c, nil
}

// meterOptions are how modules are rewritten. The memory of an instance has a bound of its
// tenant's, of which the code knows nothing: what is over it has to be counted
// (executor.Reallocate).
var meterOptions = meter.Options{MaxPages: admit.MostPages, MaxTableGrowth: wasm.MaxGrowth, Detach: true}

// close lets go of the code, of which no instance is left. What was charged for it stays charged.
func (c *code) close() {
	if c.base != nil {
		c.base.image.Close()
	}
	_ = c.compiled.Close(context.Background())
}

// compileError is the error of code that does not compile.
type compileError struct{ err error }

func (e *compileError) Error() string { return e.err.Error() }
func (e *compileError) Unwrap() error { return e.err }

// refusal is what makeCode's error says of the module of a name.
func refusal(name string, err error) error {
	compiling, ok := errors.AsType[*compileError](err)
	if !ok {
		return &LoadError{name, []string{err.Error()}}
	}
	err = compiling.err
	if big, ok := errors.AsType[*codeSizeError](err); ok {
		return refused(name, "%v", big)
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%s: it cannot be compiled now, which is not its fault: the disk is full: %w; make room there, or give [host] state a folder on another disk", name, err)
	}
	return refused(name, "does not compile: %s", firstLine(err))
}
