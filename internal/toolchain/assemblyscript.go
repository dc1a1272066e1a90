package toolchain

import (
	"path/filepath"
)

// buildAssemblyScript uses the compiler that npm has installed in the project, or in a folder
// above. What it is told stands in asconfig.json; the name section stays, for traces.
func buildAssemblyScript(b *build) error {
	if _, ok := look("node"); !ok {
		return b.missing("node and asc")
	}
	dir, err := filepath.Abs(b.dir)
	if err != nil {
		return err
	}
	asc := ""
	for at := dir; asc == ""; at = filepath.Dir(at) {
		if path, ok := look(filepath.Join(at, "node_modules", ".bin", "asc")); ok {
			asc = path
		} else if at == filepath.Dir(at) {
			path, ok := look("asc")
			if !ok {
				return b.missing("asc")
			}
			asc = path
		}
	}
	for _, entry := range []string{"assembly/index.ts", "index.ts"} {
		if b.has(entry) {
			return b.call(nil, asc, entry, "--debug", "--outFile", b.out)
		}
	}
	return &failed{"asc", errNoEntry, "the handler is looked for in assembly/index.ts and index.ts"}
}
