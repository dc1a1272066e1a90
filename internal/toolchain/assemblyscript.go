package toolchain

import (
	"os"
	"path/filepath"
)

// assemblyScript is what the compiler is told where no asconfig.json says it.
var assemblyScript = []string{"-O2", "--runtime", "incremental"}

// AssemblyScript reports whether a file that ends with .ts is of a project in AssemblyScript, and
// not a script in TypeScript: in its folder, or one above it, there is asconfig.json, or the guest
// library. project is that folder.
func AssemblyScript(path string) (project string, ok bool) {
	if filepath.Ext(path) != ".ts" {
		return "", false
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", false
	}
	for at := filepath.Dir(abs); ; at = filepath.Dir(at) {
		for _, mark := range []string{"asconfig.json", libraryMark} {
			if _, err := os.Stat(filepath.Join(at, mark)); err == nil {
				return at, true
			}
		}
		if at == filepath.Dir(at) {
			return "", false
		}
	}
}

// libraryMark is a file of the guest library, where a project has that.
var libraryMark = filepath.Join("bulkhead", "exports.ts")

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
