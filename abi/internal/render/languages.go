package render

import (
	"strings"

	"bulkhead/abi"
)

// tsDoc is text as a doc comment of TypeScript's.
func tsDoc(text, indent string) string {
	if line := indent + "/** " + text + " */"; !strings.Contains(text, "\n") && len(line) <= 100 {
		return line
	}
	return indent + "/**\n" + comment(text, "", indent+" * ", 100) + "\n" + indent + " */"
}

// params writes the parameters of an import, each with its type behind a colon, as Rust,
// AssemblyScript and Zig have them. reads and writes are the types of pointers.
func params(f abi.Function, reads, writes string) string {
	var out []string
	for _, p := range f.Params {
		t := p.Type.String()
		switch p.Access {
		case abi.Reads:
			t = reads
		case abi.Writes:
			t = writes
		}
		out = append(out, p.Name+": "+t)
	}
	return strings.Join(out, ", ")
}
