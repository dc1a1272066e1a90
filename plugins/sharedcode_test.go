package plugins

import (
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
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
