package plugins

import "sync/atomic"

// Held counts what the instances of a Listener hold of their tenant's memory and mappings: linear
// memory, what instances that sleep have written, stacks, what calls run on, and snapshots. The
// code is not in it: see Module.Held. The zero value is ready for use. Any goroutine may call its
// methods.
type Held struct {
	memory, mappings atomic.Int64
}

// Memory is in bytes.
func (h *Held) Memory() int64 { return h.memory.Load() }

// Mappings is a number of memory mappings.
func (h *Held) Mappings() int64 { return h.mappings.Load() }

// Held is what the module's code holds of its tenant's memory, in bytes, and of its mappings,
// however many Listeners have instances of it. Code for which nothing is charged, since it is
// small, counts as none, and so does an Interpreter's.
func (m *Module) Held() (memory, mappings int64) {
	if m.interpreter != nil {
		return 0, 0
	}
	return int64(m.charged), codeMappings
}

// budget is a tenant's budgets of memory and mappings, as a Listener's instances use them.
type budget struct {
	r    *Runtime
	held *Held // nil: nobody counts
}

// budget is what l's instances of one of r's modules are charged to.
func (l *Listener) budget(r *Runtime) *budget {
	if b := l.charged.Load(); b != nil && b.r == r {
		return b
	}
	b := &budget{r, l.Held}
	l.charged.Store(b)
	return b
}

// Reserve is memory.Account's.
func (b *budget) Reserve(n int) bool {
	if !b.r.options.Memory.Reserve(n) {
		return false
	}
	if b.held != nil {
		b.held.memory.Add(int64(n))
	}
	return true
}

// Release is memory.Account's.
func (b *budget) Release(n int) {
	b.r.options.Memory.Release(n)
	if b.held != nil {
		b.held.memory.Add(int64(-n))
	}
}

// ReserveMappings is memory.MappingAccount's.
func (b *budget) ReserveMappings(n int) bool {
	if !b.r.options.Mappings.ReserveMappings(n) {
		return false
	}
	if b.held != nil {
		b.held.mappings.Add(int64(n))
	}
	return true
}

// ReleaseMappings is memory.MappingAccount's.
func (b *budget) ReleaseMappings(n int) {
	b.r.options.Mappings.ReleaseMappings(n)
	if b.held != nil {
		b.held.mappings.Add(int64(-n))
	}
}
