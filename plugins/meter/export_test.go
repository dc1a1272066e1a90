package meter

import "bulkhead/plugins/wasm"

// FrameUnits is what a call of each of the module's own functions pays for its frame,
// and for being a call.
func FrameUnits(m *wasm.Module) (units []uint32) {
	w := newWriter(m, Options{})
	for _, s := range m.Sections() {
		if s.ID != wasm.CodeSection {
			continue
		}
		r := wasm.Source{Bytes: s.Content}
		for i := range r.U32() {
			locals, code := splitBody(r.Take(int(r.U32())))
			if w.analysis.function(code, w.localSlots(w.imported+i, locals), 0) == nil {
				units = append(units, w.analysis.frame())
			}
		}
	}
	return units
}
