package meter

import "bulkhead/plugins/wasm"

// FrameUnits is what a call of each of the module's own functions pays for its frame,
// and for being a call.
func FrameUnits(m *wasm.Module) (units []uint32) {
	w := newWriter(m, Options{})
	for _, s := range m.Sections() {
		if s.ID != codeSection {
			continue
		}
		r := source{b: s.Content}
		for i := range r.u32() {
			locals, code := splitBody(r.bytes(int(r.u32())))
			if w.analysis.function(code, w.localSlots(w.imported+i, locals), 0) == nil {
				units = append(units, w.analysis.frame())
			}
		}
	}
	return units
}
