package render

import (
	"strings"

	"bulkhead/abi"
)

// rustDoc is text as a doc comment. What stands in asterisks, and in brackets, is no markup of
// rustdoc's.
func rustDoc(text, indent string) string {
	text = strings.NewReplacer("*", "", "[", "\\[", "]", "\\]").Replace(text)
	return comment(text, "", indent+"/// ", 100)
}

func rustType(t abi.ValueType) string {
	if t == abi.I64 {
		return "i64"
	}
	return "i32"
}

// rustParams writes the parameters of an import.
func rustParams(f abi.Function) string {
	var out []string
	for _, p := range f.Params {
		t := rustType(p.Type)
		switch p.Access {
		case abi.Reads:
			t = "*const u8"
		case abi.Writes:
			t = "*mut u8"
		}
		out = append(out, p.Name+": "+t)
	}
	return strings.Join(out, ", ")
}

// rustCode is the name of the code's variant: BAD_HANDLE is BadHandle, and TLS is Tls.
func rustCode(name string) string {
	if name == "TLS" {
		return "Tls"
	}
	return goCode(name)
}
