package engines

import (
	"os"
	"path/filepath"
)

// AssemblyScriptMarks are the files by which a folder is a project in AssemblyScript: its
// configuration, or a file of the guest library.
var AssemblyScriptMarks = []string{"asconfig.json", filepath.Join("bulkhead", "exports.ts")}

// AssemblyScript reports whether a file that ends with .ts is of a project in AssemblyScript, and
// no script, though IsScript says so by its name: whether its folder, or one above it, has one of
// the marks. project is that folder.
func AssemblyScript(path string) (project string, ok bool) {
	if filepath.Ext(path) != ".ts" {
		return "", false
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", false
	}
	for at := filepath.Dir(abs); ; at = filepath.Dir(at) {
		for _, mark := range AssemblyScriptMarks {
			if _, err := os.Stat(filepath.Join(at, mark)); err == nil {
				return at, true
			}
		}
		if at == filepath.Dir(at) {
			return "", false
		}
	}
}
