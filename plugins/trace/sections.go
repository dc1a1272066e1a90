package trace

import (
	"encoding/binary"
	"os"
	"strings"
)

// linePrefix is what the names of DWARF's sections begin with.
const linePrefix = ".debug_"

// Sections are the contents of the sections of DWARF that a module has, by their names, and of the
// section build_id. What is no module, or ends early, has those up to there. They refer to b.
func Sections(b []byte) map[string][]byte {
	found := make(map[string][]byte)
	if len(b) < 8 || string(b[:4]) != "\x00asm" {
		return found
	}
	for b = b[8:]; len(b) > 0; {
		id := b[0]
		n, k := binary.Uvarint(b[1:])
		if k <= 0 || n > uint64(len(b)-1-k) {
			return found
		}
		content := b[1+k:][:n]
		b = b[1+k:][n:]
		if id != 0 {
			continue
		}
		n, k = binary.Uvarint(content)
		if k <= 0 || n > uint64(len(content)-k) {
			return found
		}
		name := string(content[k:][:n])
		if _, twice := found[name]; !twice && (strings.HasPrefix(name, linePrefix) || name == "build_id") {
			found[name] = content[k:][n:]
		}
	}
	return found
}

// HasLines reports whether a module says which lines its code is from.
func HasLines(b []byte) bool {
	s := Sections(b)
	return len(s[".debug_info"]) > 0 && len(s[".debug_line"]) > 0
}

// Belongs reports whether the file with the lines may be of the same build as the module. It says
// no only where both say which build they are of.
func Belongs(module, lines []byte) bool {
	a, b := Sections(module)["build_id"], Sections(lines)["build_id"]
	return a == nil || b == nil || string(a) == string(b)
}

// FileOf is the file beside a module's that has its lines, where they are not in the module: that
// of "x.wasm" is "x.debug.wasm".
func FileOf(module string) string {
	return strings.TrimSuffix(module, ".wasm") + ".debug.wasm"
}

// ThereIs reports whether there is a file beside a module's that has its lines.
func ThereIs(module string) bool {
	info, err := os.Stat(FileOf(module))
	return err == nil && info.Mode().IsRegular()
}
