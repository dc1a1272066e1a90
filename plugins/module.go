package plugins

import (
	"fmt"
	"strings"
	"sync/atomic"
	"unicode"

	"bulkhead/plugins/admit"
	"bulkhead/plugins/wasm"
)

// Shape is what kind of guest a module is.
type Shape = admit.Shape

// The shapes.
const (
	Events = admit.Events
	Stdio  = admit.Stdio
)

// Module is checked and compiled code as one tenant has it, from which instances are made. Its
// methods may be called from any goroutine.
type Module struct {
	*code
	name    string
	shape   Shape
	runtime *Runtime
	max     uint32       // pages of memory, at most
	pace    atomic.Int64 // fuel that lasts its guests for about refillTime
	lines   *lines       // of its source; nil: nobody says them

	interpreter *Interpreter // whose the code is; nil: the code is the module's own
	script      Script       // for the interpreter

	users  atomic.Int64 // instances and snapshots, and 1 while it is open
	closed atomic.Bool
}

// LoadError is a module that is refused.
type LoadError struct {
	// Name is the name the module was loaded by.
	Name string
	// Why holds everything that is wrong, each as one clause that goes on from
	// the name.
	Why []string
}

// Error says what is wrong in one line: the first few things, and how many
// more there are.
func (e *LoadError) Error() string {
	const most = 3
	s := e.Name + ": " + strings.Join(e.Why[:min(most, len(e.Why))], "; it also ")
	if more := len(e.Why) - most; more > 0 {
		s += fmt.Sprintf("; and %d more of the kind", more)
	}
	return s
}

func refused(name, format string, args ...any) error {
	return &LoadError{name, []string{fmt.Sprintf(format, args...)}}
}

// Load checks and compiles a module. name is what errors call it, such as the
// name of its file. Errors are one line: a *LoadError when the module is at
// fault, or ErrClosed. It may take seconds for a large module that is not in
// the cache, and must not be called on a loop. b is not kept.
func (r *Runtime) Load(name string, b []byte, shape Shape) (*Module, error) {
	return r.LoadWithin(r.options.MemoryLimit, name, b, shape)
}

// LoadWithin is Load with another limit of an instance's memory than RuntimeOptions.MemoryLimit, in
// the same terms. It is part of the code that is compiled.
func (r *Runtime) LoadWithin(memory int64, name string, b []byte, shape Shape) (*Module, error) {
	pages := admit.Pages(memory)
	if err := shapeError(name, shape); err != nil {
		return nil, err
	}
	parsed, _, err := admit.Open(b)
	if err != nil {
		return nil, &LoadError{name, []string{err.Error()}}
	}
	if why := admit.Refusals(parsed, shape, pages); why != nil {
		return nil, &LoadError{name, why}
	}
	admit.Mend(parsed, shape)
	return r.prepare(name, parsed, shape, pages)
}

// shapeError is that of a shape that there is not.
func shapeError(name string, shape Shape) error {
	if shape != Events && shape != Stdio {
		return fmt.Errorf("%s: loading it as shape %q: there are %q and %q", name, shape, Events, Stdio)
	}
	return nil
}

// prepare makes the module of what the gate has let through.
func (r *Runtime) prepare(name string, parsed *wasm.Module, shape Shape, pages uint32) (m *Module, err error) {
	if !r.acquire() {
		return nil, fmt.Errorf("%s: loading it into its tenant's runtime: %w", name, ErrClosed)
	}
	defer func() {
		if err != nil {
			r.release(1)
		}
	}()
	e, err := r.own()
	if err != nil {
		return nil, fmt.Errorf("%s: loading it into its tenant's runtime: %w", name, err)
	}
	if !r.options.Mappings.ReserveMappings(codeMappings) {
		return nil, fmt.Errorf("%s: loading it into its tenant's runtime: %w", name, ErrMappings)
	}
	c, err := e.makeCode(name, parsed)
	if err != nil {
		r.options.Mappings.ReleaseMappings(codeMappings)
		return nil, refusal(name, err)
	}
	return r.newModule(name, c, shape, pages), nil
}

// newModule is a module that runs code, for whose instances there may be so many pages of memory.
// The runtime has booked it.
func (r *Runtime) newModule(name string, c *code, shape Shape, pages uint32) *Module {
	m := &Module{code: c, name: name, shape: shape, runtime: r, max: min(pages, c.declared)}
	m.users.Store(1)
	m.pace.Store(firstFuel)
	return m
}

// firstLine is the first line of an error of the engine's, which may hold names
// from the module, without what is not for printing.
func firstLine(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\n")
	return printable(s)
}

// printable is a text on one line, with a question mark for what is not for printing.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// MoreWithin reports whether instances could grow further if the module were loaded with this limit
// of memory, in bytes.
func (m *Module) MoreWithin(memory int64) bool { return min(admit.Pages(memory), m.declared) > m.max }

// Name is the name the module was loaded by.
func (m *Module) Name() string { return m.name }

// Shape is what the module was loaded as.
func (m *Module) Shape() Shape { return m.shape }

// Runtime is what the module was loaded into.
func (m *Module) Runtime() *Runtime { return m.runtime }

// OneConnection reports whether the module says that an instance of it is for one connection: it
// keeps that one's state where others would find it.
func (m *Module) OneConnection() bool { return m.alone }

// HearsOpen and HearsEOF report whether the module exports csa_open, and csa_eof.
func (m *Module) HearsOpen() bool { return m.has[callOpen] }

// HearsEOF is explained at HearsOpen.
func (m *Module) HearsEOF() bool { return m.has[callEOF] }

// Close frees the code as soon as the last instance is gone. No instance can be made any more.
// Calling it again does nothing.
func (m *Module) Close() {
	if !m.closed.Swap(true) {
		m.release()
	}
}

// addInstance counts an instance, within the limit of the runtime.
func (m *Module) addInstance() error {
	r := m.runtime
	if n := r.living.Add(1); r.most.Load() > 0 && n > r.most.Load() {
		r.living.Add(-1)
		r.refused.Add(1)
		return fmt.Errorf("%s: making an instance: %w", m.name, ErrInstances)
	}
	if !m.retain() {
		r.living.Add(-1)
		return fmt.Errorf("%s: making an instance: %w", m.name, ErrClosed)
	}
	return nil
}

// removeInstance undoes addInstance.
func (m *Module) removeInstance() {
	m.runtime.living.Add(-1)
	m.release()
}

// retain keeps the code in memory until release. It reports false if the module is closed.
func (m *Module) retain() bool {
	if m.closed.Load() || m.runtime.stopped.Load() {
		return false
	}
	for {
		n := m.users.Load()
		if n == 0 {
			return false
		}
		if m.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release undoes retain. The last closes the code, if it is the module's own.
func (m *Module) release() {
	if m.users.Add(-1) > 0 {
		return
	}
	if m.interpreter != nil {
		m.interpreter.release()
	} else {
		m.code.close()
		m.runtime.options.Mappings.ReleaseMappings(codeMappings)
		m.runtime.options.Memory.Release(m.code.bytes)
	}
	m.runtime.release(1)
}
