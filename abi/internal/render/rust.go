package render

import "strings"

// rustDoc is text as a doc comment. What stands in asterisks, and in brackets, is no markup of
// rustdoc's.
func rustDoc(text, indent string) string {
	text = strings.NewReplacer("*", "", "[", "\\[", "]", "\\]").Replace(text)
	return comment(text, "", indent+"/// ", 100)
}

// rustCode is the name of the code's variant: BAD_HANDLE is BadHandle, and TLS is Tls.
func rustCode(name string) string {
	if name == "TLS" {
		return "Tls"
	}
	return goCode(name)
}
