// Package sourcemap reads the source map at the end of a script, so that the script's errors name
// the lines that its author has written. The map may say anything: its author may be a customer.
package sourcemap

import (
	"bytes"
	"encoding/base64"
)

// comment is what a source map begins with that is in the script itself.
const comment = "//# sourceMappingURL=data:application/json;base64,"

// Append adds a source map to a script, as a comment behind it.
func Append(script, sourceMap []byte) []byte {
	if len(script) > 0 && script[len(script)-1] != '\n' {
		script = append(script, '\n')
	}
	script = append(script, comment...)
	return append(base64.StdEncoding.AppendEncode(script, sourceMap), '\n')
}

// Cut is a script without the source map at its end, and that. Without one the script is all of
// code. sourceMap is not checked.
func Cut(code []byte) (script, sourceMap []byte) {
	at := bytes.LastIndex(code, []byte(comment))
	if at < 0 || at > 0 && code[at-1] != '\n' {
		return code, nil
	}
	encoded := bytes.TrimRight(code[at+len(comment):], "\r\n\t ")
	sourceMap, err := base64.StdEncoding.AppendDecode(nil, encoded)
	if err != nil {
		return code, nil
	}
	return code[:at], sourceMap
}
