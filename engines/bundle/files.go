package bundle

import (
	"bytes"
	"fmt"
)

// filesMark is what a script of several files begins with, for engines that take them behind each
// other: see guest.h of engines/guest. Each file follows, with a line before it.
const filesMark = "\x1bfiles\n"

// scriptFile is a file of a script.
type scriptFile struct {
	name, path string // what the engine finds it by; "-": it is the script
	text       []byte
}

// oneScript is a script of several files, the script itself first.
func oneScript(files []scriptFile) []byte {
	code := []byte(filesMark)
	for _, f := range files {
		text := bytes.TrimPrefix(f.text, []byte("\uFEFF"))
		code = fmt.Appendf(code, "%d %s %s\n", len(text), f.name, f.path)
		code = append(append(code, text...), '\n')
	}
	return code
}
