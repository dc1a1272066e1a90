package admit

import (
	"crypto/sha256"

	"bulkhead/plugins/exceptions"
	"bulkhead/plugins/meter"
	"bulkhead/plugins/wasm"
)

// Report is what can be said of a module without running it.
type Report struct {
	// Size is in bytes.
	Size   int
	SHA256 [sha256.Size]byte
	// Shape is what it seems to be made for; "" when that is neither.
	Shape   Shape
	Imports []ImportReport
	// Exports are all of them, as the module has them.
	Exports []wasm.Export
	// Memory is nil for a module without one.
	Memory *wasm.Limits
	Tables []wasm.Limits
	// Functions and Globals are its own.
	Functions, Globals int
	// Start reports whether a function runs at instantiation.
	Start bool
	// Exceptions reports whether it uses exceptions, and Legacy whether in the legacy encoding;
	// Tags are how many kinds of them it has.
	Exceptions, Legacy bool
	Tags               int
	// Ignored are the names of custom sections, which the host drops.
	Ignored []string
	// OneConnection reports whether it says that each connection has to have an instance of its
	// own.
	OneConnection bool
	// Unsnapshotable is why no Snapshot can be made of it, each reason as one clause
	// that goes on from "it". It is empty where one can be.
	Unsnapshotable []string
	// Mended are what the host changes of it, each as one clause that goes on from the
	// name of the file.
	Mended []string
	// Refused is what it would be refused for, each as one clause that goes on
	// from the name of the file. It is empty for a module that would be
	// compiled.
	Refused []string
}

// ImportReport is one import.
type ImportReport struct {
	wasm.Import
	// Refused is why it is refused; "" when it is not.
	Refused string
}

// Inspect looks at a module as a runtime does that loads it, but does not compile it. memory is
// the limit of one instance in bytes; zero or less is DefaultMemory. Of a component it looks at the
// core module that is taken out, but Size and SHA256 are those of the file. The error says why the
// file is no module at all, as one clause; the report then has its size and hash, and that reason.
func Inspect(b []byte, memory int64) (Report, error) {
	rep := Report{Size: len(b), SHA256: sha256.Sum256(b)}
	m, core, err := Open(b)
	if err != nil {
		rep.Refused = []string{err.Error()}
		return rep, err
	}
	shape := Events
	switch {
	case m.Export(data) != nil:
		rep.Shape = Events
	case m.Export(command) != nil:
		rep.Shape, shape = Stdio, Stdio
	}
	for i := range m.Imports {
		r := ImportReport{Import: m.Imports[i], Refused: refuseImport(&m.Imports[i], shape)}
		rep.Imports = append(rep.Imports, r)
	}
	if len(m.Memories) > 0 {
		rep.Memory = &m.Memories[0]
	}
	rep.Exports, rep.Tables = m.Exports, m.Tables
	rep.Functions, rep.Globals = m.Functions, m.Globals
	rep.Start, rep.Ignored = m.Start, m.Custom
	rep.Exceptions, rep.Legacy = m.Exceptions()
	rep.Tags = m.Tags()
	rep.OneConnection = OneConnection(m)
	rep.Refused = Refusals(m, shape, Pages(memory))
	if len(core) < len(b) {
		rep.Mended = append(rep.Mended, unwrapped(core))
	}
	rep.Mended = append(rep.Mended, Mend(m, shape)...)
	lowered, err := exceptions.Lower(m, exceptions.Options{})
	if err != nil {
		rep.Refused = append(rep.Refused, err.Error())
		return rep, nil
	}
	rep.Unsnapshotable = meter.StateOf(lowered.Module).Hidden
	return rep, nil
}
