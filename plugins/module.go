package plugins

import (
	"crypto/sha256"
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

	interpreter *Interpreter // whose the code is; nil: the code is the runtime's
	script      Script       // for the interpreter
	shared      *sharedCode  // whose the runtime's code is; nil: it is the module's own
	charged     int          // bytes for the runtime's code

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
	return r.LoadWithin(r.options.MemoryLimit, nil, name, b, shape)
}

// LoadWithin is Load with another limit of an instance's memory than RuntimeOptions.MemoryLimit, in
// the same terms. The code is that of shared if it has the module, and there for others from then
// on if not. With nil it is the module's own.
func (r *Runtime) LoadWithin(memory int64, shared *SharedCode, name string, b []byte, shape Shape) (*Module, error) {
	pages := admit.Pages(memory)
	if err := shapeError(name, shape); err != nil {
		return nil, err
	}
	var key codeKey
	if shared != nil {
		key = codeKey{sha256.Sum256(b), shape}
	}
	if one := shared.take(key); one != nil {
		if one.code.min <= pages {
			m, err := r.prepare(name, shape, pages, func() (obtained, error) { return r.charged(name, one) })
			if err != nil {
				one.giveBack()
			}
			return m, err
		}
		one.giveBack() // and the gate says what is wrong
	}
	parsed, _, err := admit.Open(b)
	if err != nil {
		return nil, &LoadError{name, []string{err.Error()}}
	}
	if why := admit.Refusals(parsed, shape, pages); why != nil {
		return nil, &LoadError{name, why}
	}
	admit.Mend(parsed, shape)
	return r.prepare(name, shape, pages, func() (obtained, error) { return r.makeCode(name, parsed, shared, key) })
}

// shapeError is that of a shape that there is not.
func shapeError(name string, shape Shape) error {
	if shape != Events && shape != Stdio {
		return fmt.Errorf("%s: loading it as shape %q: there are %q and %q", name, shape, Events, Stdio)
	}
	return nil
}

// prepare makes the module of code that is obtained while the runtime has booked it.
func (r *Runtime) prepare(name string, shape Shape, pages uint32, obtain func() (obtained, error)) (m *Module, err error) {
	if !r.acquire() {
		return nil, fmt.Errorf("%s: loading it into its tenant's runtime: %w", name, ErrClosed)
	}
	defer func() {
		if err != nil {
			r.release(1)
		}
	}()
	if err := r.book(); err != nil {
		return nil, fmt.Errorf("%s: loading it into its tenant's runtime: %w", name, err)
	}
	o, err := obtain()
	if err != nil {
		r.unbook()
		return nil, err
	}
	m = r.newModule(name, o.code, shape, pages)
	m.shared, m.charged = o.shared, o.charged
	return m, nil
}

// obtained is code that a runtime has obtained for a module of its own.
type obtained struct {
	code    *code
	shared  *sharedCode // whose it is; nil: the module's own
	charged int         // bytes of the tenant's memory
}

// makeCode compiles what the gate has let through, and has others take it from shared. Where
// another runtime has done so meanwhile, it is that one's.
func (r *Runtime) makeCode(name string, parsed *wasm.Module, shared *SharedCode, key codeKey) (obtained, error) {
	e, err := r.own()
	if err != nil {
		return obtained{}, fmt.Errorf("%s: loading it into its tenant's runtime: %w", name, err)
	}
	c, err := e.makeCode(name, parsed)
	if err != nil {
		return obtained{}, refusal(name, err)
	}
	if one := shared.share(key, c); one != nil {
		return obtained{c, one, c.bytes}, nil
	}
	if one := shared.take(key); one != nil {
		c.close()
		return obtained{one.code, one, c.bytes}, nil
	}
	return obtained{c, nil, c.bytes}, nil
}

// charged is code that another runtime has made, charged as if it were made now.
func (r *Runtime) charged(name string, one *sharedCode) (obtained, error) {
	n := one.code.bytes
	if !r.options.Memory.Reserve(n) {
		return obtained{}, refusal(name, &compileError{&codeSizeError{n}})
	}
	return obtained{one.code, one, n}, nil
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

// uncharge gives back what is charged for the code.
func (m *Module) uncharge() {
	m.runtime.unbook()
	m.runtime.options.Memory.Release(m.charged)
}

// release undoes retain. The last lets go of the code.
func (m *Module) release() {
	if m.users.Add(-1) > 0 {
		return
	}
	r := m.runtime
	switch {
	case m.interpreter != nil:
		m.interpreter.release()
	case m.shared != nil:
		m.shared.giveBack()
		m.uncharge()
	default:
		m.code.close()
		m.uncharge()
	}
	r.release(1)
}
