package toolchain

import (
	"path/filepath"

	"bulkhead/engines"
)

// assemblyScript is what the compiler is told where no asconfig.json says it.
var assemblyScript = []string{"-O2", "--runtime", "incremental"}

// libraryMark is a file of the guest library, where a project has that.
var libraryMark = engines.AssemblyScriptMarks[1]

// buildAssemblyScript uses the compiler that npm has installed in the project, or in a folder
// above, or else that on PATH. What it is told stands in asconfig.json; the name section stays, for
// traces.
func buildAssemblyScript(b *build) error {
	if _, ok := look("node"); !ok {
		return b.missing("node and asc")
	}
	asc, ok := b.above("node_modules", ".bin", "asc")
	if !ok {
		if asc, ok = look("asc"); !ok {
			return b.missing("asc")
		}
	}
	entries := b.files
	if len(entries) == 0 {
		entries = []string{"assembly/index.ts", "index.ts"}
	}
	var told []string
	if !b.has("asconfig.json") {
		told = assemblyScript
		if b.has(libraryMark) {
			told = append(told, "--use", "abort=bulkhead/abort/aborted")
		}
	}
	for _, entry := range entries {
		if b.has(entry) {
			return b.call(nil, asc, append([]string{entry, "--debug", "--outFile", b.out}, told...)...)
		}
	}
	return &failed{"asc", errNoEntry, "the handler is looked for in assembly/index.ts and index.ts; or name its file"}
}

// above finds a program by its place in the folder of the source, or in one above that.
func (b *build) above(place ...string) (path string, ok bool) {
	at, err := filepath.Abs(b.dir)
	if err != nil {
		return "", false
	}
	for {
		found, _ := filepath.Glob(filepath.Join(append([]string{at}, place...)...))
		if path, ok := look(found...); ok {
			return path, true
		}
		if at == filepath.Dir(at) {
			return "", false
		}
		at = filepath.Dir(at)
	}
}
