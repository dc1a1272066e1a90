package plugins

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"bulkhead/plugins/wasm"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
)

// Module is checked and compiled code, from which instances are made. Its
// methods may be called from any goroutine.
type Module struct {
	name    string
	shape   Shape
	runtime *Runtime
	code    wazero.CompiledModule
	has     [calls]bool // the exports it has
	min     uint32      // pages of memory
	max     uint32

	users  int // instances, and 1 while it is open; guarded by runtime.mu
	closed bool
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
// fault, or ErrClosed. It may take a second for a large module that is not in
// the cache, and must not be called on a loop. b is not kept.
func (r *Runtime) Load(name string, b []byte, shape Shape) (*Module, error) {
	if shape != Events && shape != Stdio {
		return nil, fmt.Errorf("%s: loading it as shape %q: there are %q and %q", name, shape, Events, Stdio)
	}
	parsed, err := wasm.Parse(b)
	if err != nil {
		return nil, &LoadError{name, []string{syntaxError(err)}}
	}
	if why := refusals(parsed, shape, r.pages); why != nil {
		return nil, &LoadError{name, why}
	}
	m := &Module{name: name, shape: shape, runtime: r, users: 1, min: parsed.Memories[0].Min, max: r.pages}
	if l := parsed.Memories[0]; l.HasMax {
		m.max = min(m.max, l.Max)
	}
	for c, export := range callNames {
		m.has[c] = parsed.Export(export) != nil
	}
	if !r.acquire() {
		return nil, fmt.Errorf("%s: loading it into its tenant's runtime: %w", name, ErrClosed)
	}
	if m.code, err = r.compileModule(parsed.Stripped()); err != nil {
		r.release(1)
		return nil, refused(name, "does not compile: %s", firstLine(err))
	}
	return m, nil
}

// syntaxError is a clause about a file, with the mend where there is one.
func syntaxError(err error) string {
	var bad *wasm.SyntaxError
	switch {
	case errors.As(err, &bad) && bad.Truncated:
		return err.Error() + ": it is cut short, so copy or build it again"
	case errors.As(err, &bad) && strings.Contains(bad.What, "component"):
		return err.Error() + ": build it for WASI preview 1"
	}
	return err.Error()
}

func firstLine(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\n")
	return s
}

// compileModule compiles with one worker, whose panics can be caught: the
// compiler asserts by panicking.
func (r *Runtime) compileModule(b []byte) (code wazero.CompiledModule, err error) {
	r.compile.Lock()
	defer r.compile.Unlock()
	defer func() {
		if p := recover(); p != nil {
			code, err = nil, fmt.Errorf("the compiler gave up on it: %v", p)
		}
	}()
	return r.engine.CompileModule(experimental.WithCompilationWorkers(context.Background(), 1), b)
}

// Name is the name the module was loaded by.
func (m *Module) Name() string { return m.name }

// Shape is what the module was loaded as.
func (m *Module) Shape() Shape { return m.shape }

// Runtime is what the module was loaded into.
func (m *Module) Runtime() *Runtime { return m.runtime }

// Close gives the code back as soon as the last instance is gone. No instance
// can be made any more. Calling it again does nothing.
func (m *Module) Close() {
	m.runtime.mu.Lock()
	again := m.closed
	m.closed = true
	m.runtime.mu.Unlock()
	if !again {
		m.leave()
	}
}

// join books an instance.
func (m *Module) join() error {
	m.runtime.mu.Lock()
	defer m.runtime.mu.Unlock()
	if m.closed || m.runtime.closing {
		return fmt.Errorf("%s: making an instance: %w", m.name, ErrClosed)
	}
	m.users++
	return nil
}

// leave undoes join, and closes the code with the last.
func (m *Module) leave() {
	m.runtime.mu.Lock()
	m.users--
	last := m.users == 0
	m.runtime.mu.Unlock()
	if last {
		_ = m.code.Close(context.Background())
		m.runtime.release(1)
	}
}
