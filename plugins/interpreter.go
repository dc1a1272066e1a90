package plugins

import (
	"crypto/sha256"
	"fmt"
	"sync"

	"bulkhead/csa"
	"bulkhead/plugins/admit"
	"bulkhead/plugins/codestore"
	"bulkhead/plugins/compiler"
	"bulkhead/plugins/memory"
	"bulkhead/plugins/wasm"
)

// Interpreter is a module of the host's own that runs scripts. It is compiled once for all the
// Runtimes that load scripts for it, and let go of with the last of these. Instances have the code
// in common and nothing else: memory, globals, tables, fuel, accounts, log and clocks are those of
// the Instance and its Runtime. The code is nobody's account's, nor are the memory mappings that it
// takes. Any goroutine may use it.
type Interpreter struct {
	options InterpreterOptions
	stop    chan struct{} // closed when closed

	making sync.Mutex // held while code is made; mu, which may be taken meanwhile, never is for long
	mu     sync.Mutex
	engine *engine     // nil before the first script, and when all is over
	code   *code       // nil: no script is loaded
	shared *sharedCode // whose code and engine these are; nil: they are its own
	users  int         // Modules, and one that is being made
	closed bool
	sets   map[*csa.Loop]*executorSet // on which instances of pools run, by loop
	spare  []*executor                // that nobody has
}

// InterpreterOptions are an Interpreter's module, and how it is compiled.
type InterpreterOptions struct {
	// Name is what the log calls the module.
	Name string
	// Module is the module without a script. It is kept, and not written to.
	Module []byte
	// Code, Compiler and Compiling are as in RuntimeOptions.
	Code      *codestore.Store
	Compiler  compiler.Command
	Compiling func(name string) (done func())
	// Note takes a line for the operator's log. Any goroutine may call it. Nil: nobody wants to
	// know.
	Note func(text string)
	// Shared has code that others have compiled of the same module, and keeps what this one
	// compiles. Nil: it is compiled for this one, and let go of with its last script.
	Shared *SharedCode
}

// Script is what an Interpreter runs: bytes that stand in the memory of each of its instances
// before anything of that runs, as a data segment of the module would have it.
type Script struct {
	At    uint32
	Bytes []byte // they are kept, and not written to
}

// NewInterpreter makes an interpreter. Nothing is compiled before the first script is loaded.
func NewInterpreter(o InterpreterOptions) *Interpreter {
	if o.Compiling == nil {
		o.Compiling = func(string) func() { return func() {} }
	}
	if o.Note == nil {
		o.Note = func(string) {}
	}
	return &Interpreter{options: o, stop: make(chan struct{})}
}

// Close has no more scripts be loaded, and lets go of everything with the last that is. It does not
// wait. Calling it again does nothing.
func (p *Interpreter) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.stop)
		p.end()
	}
}

// LoadScript makes a module of a script. It is as Load would make it of the interpreter's module
// with the script as one data segment more: name, memory, which is as LoadWithin has it, the shape
// and the errors are the same.
func (r *Runtime) LoadScript(memory int64, name string, p *Interpreter, script Script, shape Shape) (*Module, error) {
	if err := shapeError(name, shape); err != nil {
		return nil, err
	}
	pages := admit.Pages(memory)
	if !r.acquire() {
		return nil, fmt.Errorf("%s: loading it into its tenant's runtime: %w", name, ErrClosed)
	}
	c, err := p.use(name, shape, pages)
	if err != nil {
		r.release(1)
		return nil, err
	}
	m := r.newModule(name, c, shape, pages)
	m.interpreter, m.script = p, script
	return m, nil
}

// use is the code, for one user more, who releases it. name is the script's, for errors.
func (p *Interpreter) use(name string, shape Shape, pages uint32) (*code, error) {
	p.making.Lock() // who needs the code waits until it is there
	defer p.making.Unlock()
	p.mu.Lock()
	c, closed := p.code, p.closed
	if !closed {
		p.users++
	}
	p.mu.Unlock()
	if closed {
		return nil, fmt.Errorf("%s: loading it: %w", name, ErrClosed)
	}
	if c == nil {
		c = p.fromShared()
	}
	if c != nil && c.min <= pages && c.fits[shape] {
		return c, nil
	}
	c, err := p.made(name, c, shape, pages)
	if err != nil {
		p.release()
	}
	return c, err
}

// fromShared is the code of the module that others have compiled, which is the interpreter's from
// now on until its last user is gone. Nil: there is none. making is held.
func (p *Interpreter) fromShared() *code {
	if p.options.Shared == nil || p.engine != nil {
		return nil
	}
	one := p.options.Shared.take(p.key())
	if one == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shared, p.code, p.engine = one, one.code, one.code.engine
	return p.code
}

// key is what the code is shared by.
func (p *Interpreter) key() codeKey { return codeKey{module: sha256.Sum256(p.options.Module)} }

// made checks that the interpreter's module may run, as one of a shape with so many pages of
// memory, and has it compiled if c, its code, is nil. making is held.
func (p *Interpreter) made(name string, c *code, shape Shape, pages uint32) (*code, error) {
	parsed, err := wasm.Parse(p.options.Module)
	if err != nil {
		return nil, &LoadError{name, []string{err.Error()}}
	}
	if why := admit.Refusals(parsed, shape, pages); why != nil {
		return nil, &LoadError{name, why}
	}
	if c != nil {
		return c, nil
	}
	if p.engine == nil {
		e, err := newEngine(engineOptions{
			store:     p.options.Code,
			compiler:  p.options.Compiler,
			compiling: p.options.Compiling,
			memory:    memory.Unlimited{},
			note:      p.options.Note,
			stop:      p.stop,
		})
		if err != nil {
			return nil, fmt.Errorf("%s: loading it: %w", name, err)
		}
		p.mu.Lock()
		p.engine = e
		p.mu.Unlock()
	}
	c, err = p.engine.makeCode(p.options.Name, parsed)
	if err != nil {
		return nil, refusal(name, err)
	}
	c.fits = make(map[Shape]bool)
	for _, s := range []Shape{Events, Stdio} {
		c.fits[s] = admit.Refusals(parsed, s, admit.MostPages) == nil
	}
	c.base = newBase(p.options.Name, c)
	var one *sharedCode
	if p.options.Shared != nil {
		one = p.options.Shared.share(p.key(), c)
	}
	if one != nil {
		c.engine.done()
	}
	p.mu.Lock()
	p.code, p.shared = c, one
	p.mu.Unlock()
	return c, nil
}

// release takes a user off. The last lets go of the code.
func (p *Interpreter) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users--; p.users == 0 {
		p.dropSpare()
		switch {
		case p.shared != nil:
			p.shared.giveBack()
			p.shared, p.code, p.engine = nil, nil, nil
		case p.code != nil:
			p.code.close()
			p.code = nil
		}
		p.end()
	}
}

// end closes the engine of an interpreter that is closed, when nobody uses it. mu is held.
func (p *Interpreter) end() {
	if p.closed && p.users == 0 && p.engine != nil {
		p.engine.done()
		p.engine = nil
	}
}

// fill writes to a new instance's memory what the module has in it from the start.
func (m *Module) fill(memory []byte) error {
	for _, d := range m.code.data {
		if err := put(memory, uint64(d.Offset), d.Bytes); err != nil {
			return err
		}
	}
	return nil
}

// put writes a segment of data.
func put(memory []byte, at uint64, b []byte) error {
	if end := at + uint64(len(b)); end > uint64(len(memory)) {
		return &Trap{Call: "instantiation", Why: fmt.Sprintf("its data goes up to byte %d of a memory of %d", end, len(memory))}
	}
	copy(memory[at:], b)
	return nil
}
