package wasmtest

// Component wraps a core module as tools do that adapt WASI preview 1 to preview 2: types and
// imports before it, and other modules and a component behind it. What those hold means nothing.
func Component(core []byte) []byte {
	return cat(ComponentHeader,
		Section(7, []byte("a type")), Section(10, []byte("an import")),
		Section(1, core), Section(1, New().Bytes()), Section(2, []byte("instances")),
		Section(4, ComponentHeader), Section(11, []byte("an export")), Section(0, []byte("\x04name")))
}

// ComponentHeader is how a component starts; it is one without sections.
var ComponentHeader = []byte("\x00asm\x0d\x00\x01\x00")
