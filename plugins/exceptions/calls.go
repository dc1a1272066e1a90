package exceptions

import (
	"fmt"

	"bulkhead/plugins/wasm"
)

// calls is who calls whom where an exception would leave the caller, and which functions throw by
// themselves. Its nodes are the functions, and behind them one for each signature: all functions
// of it that a table may hold.
type calls struct {
	m         *wasm.Module
	signature []uint32 // of each type, the first type that is equal
	functions int
	to        []uint32 // the callers, of all edges in the order of their callers
	of        []uint32 // and the callees
	last      []uint32 // of each callee, the last caller and one
	referred  []bool
	called    []bool // by name or by reference
	may       []bool
	queue     []uint32
}

func newCalls(m *wasm.Module) *calls {
	c := &calls{m: m, functions: m.Imported(wasm.Function) + m.Functions, signature: make([]uint32, m.Types())}
	first := make(map[string]uint32)
	for i := range c.signature {
		key := string(m.Type(uint32(i)).Key())
		at, ok := first[key]
		if !ok {
			at = uint32(i)
			first[key] = at
		}
		c.signature[i] = at
	}
	nodes := c.functions + m.Types()
	c.last, c.may = make([]uint32, nodes), make([]bool, nodes)
	c.referred, c.called = make([]bool, c.functions), make([]bool, c.functions)
	return c
}

// refer notes that a table may hold a function.
func (c *calls) refer(i uint32) {
	if c.called[i] = true; !c.referred[i] {
		c.referred[i] = true
		c.edge(c.node(c.m.FunctionTypeIndex(i)), i)
	}
}

// node is that of the functions with a signature.
func (c *calls) node(typ uint32) uint32 { return uint32(c.functions) + c.signature[typ] }

func (c *calls) call(from, to uint32, escapes bool) {
	if c.called[to] = true; escapes {
		c.edge(from, to)
	}
}

func (c *calls) callIndirect(from, typ uint32, escapes bool) {
	if escapes {
		c.edge(from, c.node(typ))
	}
}

// edge notes that what to throws comes out of from. Functions are looked at one after the other.
func (c *calls) edge(from, to uint32) {
	if c.last[to] == from+1 {
		return
	}
	c.last[to] = from + 1
	c.to, c.of = append(c.to, from), append(c.of, to)
}

// throws notes a function that throws by itself.
func (c *calls) throws(i uint32) {
	if !c.may[i] {
		c.may[i] = true
		c.queue = append(c.queue, i)
	}
}

// spread finds out which functions may throw, through what they call too.
func (c *calls) spread() {
	start := make([]uint32, len(c.may)+1) // of the edges to each node
	for _, to := range c.of {
		start[to+1]++
	}
	for i := 1; i < len(start); i++ {
		start[i] += start[i-1]
	}
	callers := make([]uint32, len(c.of))
	next := append([]uint32(nil), start...)
	for i, to := range c.of {
		callers[next[to]] = c.to[i]
		next[to]++
	}
	for len(c.queue) > 0 {
		i := c.queue[len(c.queue)-1]
		c.queue = c.queue[:len(c.queue)-1]
		for _, caller := range callers[start[i]:start[i+1]] {
			c.throws(caller)
		}
	}
	c.to, c.of, c.last = nil, nil, nil
}

// outside looks at what of a module outside of code has to do with exceptions: functions that are
// referred to, and references to exceptions, of which there can only be the first value of a
// global.
func outside(m *wasm.Module, c *calls) error {
	refer := func(i uint32) error {
		if c.refer(i); hasExnRef(m.FunctionType(i)) {
			return &wasm.SyntaxError{What: fmt.Sprintf("it has a reference to the function %d: those with exnref can only be called by name", i)}
		}
		return nil
	}
	// constant passes a constant expression. exn is whether it has to be an exnref.
	constant := func(r *wasm.Source, exn bool) error {
		s := wasm.Instructions{Code: r.Bytes, Next: r.Next}
		s.Step()
		r.Next = s.Next + 1
		switch {
		case exn != (s.Op == wasm.OpRefNull && wasm.ValueType(s.Code[s.Start+1]) == wasm.ExnRef):
			return &wasm.SyntaxError{What: "it has a constant of the type exnref that is no global's, or a global of it that is not null at first"}
		case s.Op == wasm.OpRefFunc:
			return refer(s.X)
		}
		return nil
	}
	if s := m.Section(wasm.GlobalSection); s != nil {
		r := wasm.Source{Bytes: s.Content}
		for n := r.U32(); n > 0; n-- {
			if err := constant(&r, wasm.ValueType(r.Take(2)[0]) == wasm.ExnRef); err != nil {
				return err
			}
		}
	}
	if s := m.Section(wasm.ElementSection); s != nil {
		r := wasm.Source{Bytes: s.Content}
		for n := r.U32(); n > 0; n-- {
			if err := element(&r, constant, refer); err != nil {
				return err
			}
		}
	}
	return nil
}

// element passes one element segment.
func element(r *wasm.Source, constant func(*wasm.Source, bool) error, refer func(uint32) error) error {
	flags := r.U32()
	passive, explicit, expressions := flags&1 != 0, flags&2 != 0, flags&4 != 0
	if !passive {
		if explicit {
			r.U32()
		}
		if err := constant(r, false); err != nil {
			return err
		}
	}
	if passive || explicit {
		r.Take(1)
	}
	for n := r.U32(); n > 0; n-- {
		var err error
		if expressions {
			err = constant(r, false)
		} else {
			err = refer(r.U32())
		}
		if err != nil {
			return err
		}
	}
	return nil
}
