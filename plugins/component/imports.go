package component

import (
	"encoding/binary"
	"strings"

	"bulkhead/plugins/wasm"
)

// A component cannot give a module two imports of one name, and Go's modules import some
// functions twice. So what wraps them renames the second one to "fd_write [v2]", and so on.

// importSection is its number in a core module.
const importSection = 2

// Imports returns the core module of a component with its imported functions called as they were
// before it was wrapped. m is what wasm.Parse has made of core. Where there is nothing to rename,
// the result is core itself; else it is new, and has to be parsed again.
func Imports(core []byte, m *wasm.Module) []byte {
	renamed := false
	for i := range m.Imports {
		if m.Imports[i].Kind != wasm.Function {
			return core // which nobody lets in
		}
		renamed = renamed || original(m.Imports[i].Name) != m.Imports[i].Name
	}
	if !renamed {
		return core
	}
	const header = 8
	out := append(make([]byte, 0, len(core)), core[:header]...)
	for at := header; at < len(core); {
		size, start, _ := length(core, at+1)
		end := start + int(size)
		if core[at] == importSection {
			content := importsAsBefore(core[start:end], m)
			out = binary.AppendUvarint(append(out, importSection), uint64(len(content)))
			out = append(out, content...)
		} else {
			out = append(out, core[at:end]...)
		}
		at = end
	}
	return out
}

// importsAsBefore is the import section with the original names.
func importsAsBefore(section []byte, m *wasm.Module) []byte {
	out := binary.AppendUvarint(make([]byte, 0, len(section)), uint64(len(m.Imports)))
	_, at, _ := length(section, 0)
	for i := range m.Imports {
		for _, name := range [...]string{m.Imports[i].Module, original(m.Imports[i].Name)} {
			out = append(binary.AppendUvarint(out, uint64(len(name))), name...)
			n, start, _ := length(section, at)
			at = start + int(n)
		}
		_, end, _ := length(section, at+1) // behind the kind: the type of a function
		out = append(out, section[at:end]...)
		at = end
	}
	return out
}

// original is a name without what makes it another one: " [v2]" or a higher number.
func original(name string) string {
	rest, ok := strings.CutSuffix(name, "]")
	if !ok {
		return name
	}
	before, number, ok := strings.Cut(rest, " [v")
	if !ok || number == "" || strings.Trim(number, "0123456789") != "" {
		return name
	}
	return before
}
