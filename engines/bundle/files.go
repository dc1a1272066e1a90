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

// gathered is what a script is made of so far, and what is wrong with it.
type gathered struct {
	files  []scriptFile
	errors []string
}

// full reports whether there are as many errors as are told.
func (g *gathered) full() bool { return len(g.errors) >= maxLines }

// build makes one script of a script and of the files that resolve adds for each, of which it tells
// what is wrong.
func (g *gathered) build(script string, read func(path string) answer, resolve func(f scriptFile)) (r result) {
	a := read(script)
	if a.Kind != isFile {
		r.Errors = []string{script + ": " + wrong(a).Error()}
		return r
	}
	g.files = []scriptFile{{"-", script, a.content}}
	for i := 0; i < len(g.files) && !g.full(); i++ {
		resolve(g.files[i])
	}
	switch {
	case len(g.errors) > 0:
		r.Errors = g.errors
	case len(g.files) == 1:
		r.Plain = true
	default:
		r.Code = oneScript(g.files)
	}
	return r
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
