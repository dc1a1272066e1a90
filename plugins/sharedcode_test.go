package plugins

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/wasm"
)

// sharing makes interpreters that have code in common, and counts how often one is compiled.
func sharing(t *testing.T) (s *SharedCode, of func(module []byte) *Interpreter, compiled *atomic.Int64) {
	t.Helper()
	s, compiled = &SharedCode{}, new(atomic.Int64)
	t.Cleanup(func() {
		s.Close()
		if len(s.all) > 0 {
			t.Errorf("the code of %d modules is left", len(s.all))
		}
	})
	return s, func(module []byte) *Interpreter {
		p := NewInterpreter(InterpreterOptions{Name: "the interpreter", Module: module, Shared: s, Compiling: func(string) func() {
			compiled.Add(1)
			return func() {}
		}})
		t.Cleanup(func() {
			p.Close()
			if p.users != 0 || p.code != nil || p.engine != nil || len(p.spare)+len(p.sets) > 0 {
				t.Errorf("of an interpreter there are %d users, %v, %v, %d executors and %d sets left", p.users, p.code, p.engine, len(p.spare), len(p.sets))
			}
		})
		return p
	}, compiled
}

// tells wants an instance of the module to have the script of a number.
func tells(t *testing.T, m *Module, number int) {
	t.Helper()
	i, err := m.Instantiate(listener())
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if r := do(t, i, tellScript); r != secret(number) {
		t.Errorf("script %d is %#x", number, r)
	}
	if r := do(t, i, countGlobal); r != 1 {
		t.Errorf("script %d: a global that is 0 at the start is %d", number, r-1)
	}
}

// Interpreters of one module, one after another and at the same time, compile it once. What is over
// of one is not of the next.
func TestSharedCode(t *testing.T) {
	s, of, compiled := sharing(t)
	module := interpreterModule()
	for k := range 3 {
		n := newTenant(t, 0)
		p := of(module)
		m := n.loadScript(p, 16, k)
		tells(t, m, k)
		m.Close()
		again := n.loadScript(p, 16, 10+k) // when the interpreter has let go of it
		p.Close()
		tells(t, again, 10+k)
		again.Close()
		n.r.Close()
		<-n.r.Done()
		if p.code != nil || p.engine != nil {
			t.Error("an interpreter without scripts has code")
		}
	}
	n := newTenant(t, 0)
	first, second := of(module), of(module)
	a, b := n.loadScript(first, 16, 1), n.loadScript(second, 16, 2)
	a.Close()
	first.Close()
	tells(t, b, 2)
	if c := compiled.Load(); c != 1 {
		t.Errorf("it is compiled %d times", c)
	}
	s.Close() // and what is in use goes on
	tells(t, b, 2)
	tells(t, n.loadScript(second, 16, 3), 3)
	third := n.loadScript(of(module), 16, 4)
	tells(t, third, 4)
	b.Close()
	if c := compiled.Load(); c != 1 {
		t.Errorf("it is compiled %d times", c)
	}
}

// A module is known by its bytes. There is a bound of how many are kept, and none is kept when
// sharing is over; the code is the interpreter's own then.
func TestSharedCodeIsBounded(t *testing.T) {
	s, of, compiled := sharing(t)
	n := newTenant(t, 0)
	named := func(k int) []byte { // which differ in a custom section
		name := strconv.Itoa(k)
		return append(interpreterModule(), append([]byte{0, byte(1 + len(name)), byte(len(name))}, name...)...)
	}
	for k := range mostSharedCode + 2 {
		m := n.loadScript(of(named(k)), 16, k)
		tells(t, m, k)
		m.Close()
	}
	if len(s.all) != mostSharedCode || compiled.Load() != mostSharedCode+2 {
		t.Errorf("%d modules are kept, and %d were compiled", len(s.all), compiled.Load())
	}
	s.Close()
	if len(s.all) != 0 {
		t.Errorf("%d modules that nobody has are kept", len(s.all))
	}
	m := n.loadScript(of(named(0)), 16, 1)
	tells(t, m, 1)
	m.Close()
	if len(s.all) != 0 || compiled.Load() != mostSharedCode+3 {
		t.Errorf("%d modules are kept, and %d were compiled", len(s.all), compiled.Load())
	}
}

// What is refused of code that others have compiled is refused in the words in which it is else.
func TestSharedCodeIsRefused(t *testing.T) {
	_, of, compiled := sharing(t)
	n := newTenant(t, 0)
	module := interpreterModule()
	m := n.loadScript(of(module), 16, 1)
	p := of(module)
	refused := func(p *Interpreter) string {
		_, err := n.r.LoadScript(1<<20, "x.js", p, script(2), Stdio)
		if _, ok := errors.AsType[*LoadError](err); !ok {
			t.Fatalf("as a program it is loaded: %v", err)
		}
		return err.Error()
	}
	own := NewInterpreter(InterpreterOptions{Name: "the interpreter", Module: module})
	defer own.Close()
	if got, want := refused(p), refused(own); got != want {
		t.Errorf("%s\nwithout sharing: %s", got, want)
	}
	if p.users != 0 || p.code != nil {
		t.Errorf("what is refused has code: %d users", p.users)
	}
	tells(t, m, 1)
	if c := compiled.Load(); c != 1 {
		t.Errorf("it is compiled %d times", c)
	}
}

// compiles counts what is compiled of a runtime's.
func (n *tenant) compiles() (compiled *atomic.Int64) {
	compiled = new(atomic.Int64)
	n.r.options.Compiling = func(string) func() {
		compiled.Add(1)
		return func() {}
	}
	return compiled
}

// loadShared is load of what others may have.
func (n *tenant) loadShared(s *SharedCode, b []byte) *Module {
	n.t.Helper()
	m, err := n.r.LoadWithin(n.r.options.MemoryLimit, s, "test.wasm", b, Events)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(m.Close)
	return m
}

// large is a module whose code is so large that it is charged.
func large(m *w.Module) []byte {
	m.Func("large", ":", "", bytes.Repeat(w.Cat(w.I32Const(1), w.Drop), freeCode))
	return m.Bytes()
}

// A module that two tenants have is compiled once. Neither sees, counts, logs or uses up anything
// of the other, nor ends it, and each is charged for all of it, so that neither learns of the
// other.
func TestRuntimesShareCode(t *testing.T) {
	b := large(interpreterGuest())
	alone := newTenant(t, 0)
	m := alone.load(b, Events)
	memoryOfOne, mappingsOfOne := m.Held()
	if memoryOfOne < freeCode {
		t.Fatalf("%d bytes are charged for the code", memoryOfOne)
	}
	var s SharedCode
	t.Cleanup(func() {
		s.Close()
		if len(s.all) > 0 {
			t.Errorf("the code of %d modules is left", len(s.all))
		}
	})
	var ns [2]*tenant
	var ms [2]*Module
	var is [2]*Instance
	for k := range ns {
		n := newTenant(t, 0)
		compiled := n.compiles()
		n.r.options.Random = func(b []byte) { b[0], b[1], b[2], b[3] = byte(k+1), 0, 0, 0 }
		ns[k], ms[k] = n, n.loadShared(&s, b)
		if c := compiled.Load(); c != int64(1-k) {
			t.Errorf("tenant %d compiles %d times", k, c)
		}
		if memory, mappings := ms[k].Held(); memory != memoryOfOne || mappings != mappingsOfOne {
			t.Errorf("tenant %d has code of %d bytes and %d mappings; alone %d and %d", k, memory, mappings, memoryOfOne, mappingsOfOne)
		}
		if held, maps := n.acc.held.Load(), n.maps.held.Load(); held != alone.acc.held.Load() || maps != alone.maps.held.Load() {
			t.Errorf("tenant %d is charged %d bytes and %d mappings; alone %d and %d", k, held, maps, alone.acc.held.Load(), alone.maps.held.Load())
		}
		i, err := ms[k].Instantiate(&Listener{Name: "web", Tenant: "acme", EventTimeout: 10 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(i.Close)
		if err := put(i.memory.Bytes(), scriptAt, script(k+1).Bytes); err != nil {
			t.Fatal(err)
		}
		n.acc.Release(int(memoryOfOne)) // strangers counts memory alone
		t.Cleanup(func() { n.acc.Reserve(int(memoryOfOne)) })
		is[k] = i
	}
	if ms[0].code != ms[1].code {
		t.Error("the code is not the same")
	}
	strangers(t, ns, is)

	// What is over of one is not of the other. The engine is the first one's.
	is[0].Close()
	ms[0].Close()
	ns[0].r.Close()
	<-ns[0].r.Done()
	if n := ns[0].maps.held.Load(); n != 0 {
		t.Errorf("%d mappings are still held", n)
	}
	if r := do(t, is[1], tellScript); r != secret(2) {
		t.Errorf("then the other tells %#x", r)
	}
	if _, ok := is[1].call(callData, 0, trap); ok {
		t.Error("it traps, and returns")
	}
	is[1].Close()
	third := newTenant(t, 0)
	compiled := third.compiles()
	if third.loadShared(&s, b); compiled.Load() != 0 {
		t.Error("what the second has is compiled for the third")
	}
	if third.load(b, Events).code == ms[1].code || compiled.Load() != 1 {
		t.Error("who shares nothing has the others' code")
	}
	if _, err := third.r.LoadWithin(third.r.options.MemoryLimit, &s, "x.wasm", b, Stdio); err == nil {
		t.Error("it is taken as a program")
	}
}

// What a module is refused for, it is refused for though another tenant has it.
func TestSharedCodeIsAskedForInVain(t *testing.T) {
	guest := w.Echo()
	guest.HiddenMemory(2)
	b := large(guest)
	var s SharedCode
	t.Cleanup(s.Close)
	first := newTenant(t, 0)
	one := first.loadShared(&s, b)

	for what, c := range map[string]struct {
		memory, limit, mappings int64
		want                    string
	}{
		"memory of an instance": {memory: wasm.PageSize, want: "declares at least"},
		"memory for the code":   {memory: 2 * wasm.PageSize, limit: freeCode, want: "raise its memory"},
		"mappings":              {memory: 2 * wasm.PageSize, mappings: engineMappings, want: "mappings"},
	} {
		n := newTenant(t, 0)
		compiled := n.compiles()
		n.acc.limit.Store(c.limit)
		n.maps.limit.Store(c.mappings)
		if _, err := n.r.LoadWithin(c.memory, &s, "x.wasm", b, Events); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", what, err, c.want)
		}
		if c := compiled.Load(); c != 0 || one.shared.users != 1 {
			t.Errorf("%s: it is compiled %d times, and has %d users", what, c, one.shared.users)
		}
		if held := n.acc.held.Load(); held != 0 {
			t.Errorf("%s: %d bytes are held", what, held)
		}
	}
	closed := newTenant(t, 0)
	closed.r.Close()
	if _, err := closed.r.LoadWithin(2*wasm.PageSize, &s, "x.wasm", b, Events); !errors.Is(err, ErrClosed) || one.shared.users != 1 {
		t.Errorf("in a closed runtime: %v, and there are %d users", err, one.shared.users)
	}
}

// Runtimes that load the same module at the same time do not wait for each other, and have one code
// between them in the end, however they come and go.
func TestRuntimesShareCodeAtTheSameTime(t *testing.T) {
	b := interpreterModule()
	var s SharedCode
	var all sync.WaitGroup
	for range 8 {
		n := newTenant(t, 0)
		all.Go(func() {
			for range 5 {
				m, err := n.r.LoadWithin(wasm.PageSize, &s, "x.wasm", b, Events)
				if err != nil {
					t.Error(err)
					return
				}
				i, err := m.Instantiate(listener())
				if err != nil {
					t.Error(err)
					m.Close()
					return
				}
				if r, ok := i.call(callData, 0, countGlobal); !ok || r != 1 {
					t.Errorf("a global that is 0 at the start is %d", r-1)
				}
				m.Close()
				i.Close()
			}
			n.r.Close()
		})
	}
	all.Wait()
	if len(s.all) != 0 {
		t.Errorf("the code of %d modules is left", len(s.all))
	}
	s.Close()
}
