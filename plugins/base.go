package plugins

import (
	"slices"

	"bulkhead/plugins/admit"
	"bulkhead/plugins/memory"
	"bulkhead/plugins/wasm"
)

// base is what instances of an interpreter's module begin as, before their script is put into their
// memory: the module has started and prepared itself, once for the scripts of all tenants. It has
// nothing of any, and does not change.
type base struct {
	image   *memory.Image
	globals []uint64
}

// newBase makes the base of an interpreter's code. Nil: its instances begin as any module's do,
// since the system has no images, or the module does something else than to prepare itself.
func newBase(name string, c *code) *base {
	if c.state.Hidden != nil {
		return nil
	}
	r := NewRuntime(RuntimeOptions{}) // nobody's, which bounds nothing
	defer r.Close()
	if !r.acquire() {
		return nil
	}
	defer r.release(1)
	i := r.newModule(name, c, Events, admit.MostPages).unmade(&Listener{})
	if i.instantiate(ownPlace) != nil {
		return nil
	}
	defer i.Close()
	if i.each(callBegin, callInitialize, callPrepare) != nil || len(i.timers) > 0 {
		return nil
	}
	image, err := memory.NewImage(memory.Unlimited{}, i.memory.Bytes(), 0)
	if err != nil {
		return nil
	}
	b := &base{image: image}
	for _, g := range i.exec.globals {
		b.globals = append(b.globals, g.Get())
	}
	return b
}

// fits reports whether there is a base, and a module's instances may have so much memory.
func (b *base) fits(m *Module) bool {
	return b != nil && len(b.image.Bytes()) <= int(m.max)*wasm.PageSize
}

// copy is a memory that begins as the base, and may have most bytes. All of it is charged, as it
// would be without a base.
func (b *base) copy(of *budget, most int) (*memory.Linear, error) {
	return b.image.CopyWhole(of, of, most)
}

// startFrom has an instance whose memory is a copy of the base go on from there.
func (i *Instance) startFrom(b *base) {
	i.globals = slices.Clone(b.globals)
	i.exec.bind(i)
	i.exec.bound, i.globals = nil, nil // they are the executor's for good
	i.based = true
}
