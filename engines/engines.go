// Package engines makes modules of scripts: an engine, which is a module that runs scripts of one
// language, and the script as a data segment of it. What comes out is an ordinary module that runs
// anywhere the ABI does.
//
// The same script and the same engine make the same bytes. Modules of one engine differ in data
// alone, so their compiled code is the same.
package engines

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"bulkhead/engines/js"
	"bulkhead/engines/lua"
	"bulkhead/engines/python"
	"bulkhead/engines/sourcemap"
	"bulkhead/plugins/wasm"
)

// Room is how many bytes a script and its name may have together.
const Room = 512<<10 - 2

// scriptExport is the global that says where in its memory an engine looks for the script.
const scriptExport = "bulkhead_script"

// Engine is one of the engines that this program has.
type Engine struct {
	// Language is what its scripts are written in.
	Language string
	// Module is the engine without a script. Nobody writes to it.
	Module []byte

	extensions []string // what the names of its scripts end with
	example    string   // a handler that does something
}

// The engines that there are.
var (
	JavaScript = &Engine{"JavaScript", js.Engine(), []string{".js", ".mjs", ".ts", ".mts"}, `export default { line(c, text) { c.send(text + "\n") } }`}
	Python     = &Engine{"Python", python.Engine(), []string{".py"}, `def line(c, text): c.send(text + "\n")`}
	Lua        = &Engine{"Lua", lua.Engine(), []string{".lua"}, `return { line = function(c, text) c:send(text .. "\n") end }`}
)

var all = []*Engine{JavaScript, Python, Lua}

// engineFor is the engine for a file, by its name. Nil: the file is none's script.
func engineFor(path string) *Engine {
	for _, e := range all {
		if slices.Contains(e.extensions, filepath.Ext(path)) {
			return e
		}
	}
	return nil
}

// exampleFor is a handler in the language of a script.
func exampleFor(name string) string {
	if e := engineFor(name); e != nil {
		return e.example
	}
	return JavaScript.example
}

// IsScript reports whether a file is a script by its name: whether it ends with .js, .mjs, .ts,
// .mts, .py or .lua. What is none is a module.
func IsScript(path string) bool { return engineFor(path) != nil }

// Module makes the module of a plugin's file: of a script, as its name says, the engine with the
// script in it; anything else is one, and is returned as it is. b of a script is as package
// bundle makes it. The caller does not write to the result, which may be b.
func Module(path string, b []byte) ([]byte, error) {
	e := engineFor(path)
	if e == nil {
		return b, nil
	}
	return Pack(e.Module, filepath.Base(path), b)
}

// Pack puts a script into an engine. name is what the script's errors call it, unless a source map
// at the script's end names the file that a line came from.
func Pack(engine []byte, name string, script []byte) ([]byte, error) {
	at, content, err := segment(engine, name, script)
	if err != nil {
		return nil, err
	}
	return withSegment(engine, at, content)
}

// segment is a script as an engine has it in its memory, and where.
func segment(engine []byte, name string, script []byte) (at uint32, content []byte, err error) {
	script = bytes.TrimPrefix(script, []byte("\uFEFF")) // which some editors write
	script, sourceMap := sourcemap.Cut(script)
	switch {
	case bytes.HasPrefix(script, []byte("\x00asm")):
		return 0, nil, fmt.Errorf("%s holds a WebAssembly module and no script; call it .wasm", name)
	case len(bytes.TrimSpace(script)) == 0 && sourceMap != nil:
		// esbuild leaves out what nobody uses.
		return 0, nil, fmt.Errorf("%s exports no handler; write, for example: %s", name, exampleFor(name))
	case len(bytes.TrimSpace(script)) == 0:
		return 0, nil, fmt.Errorf("%s is empty; a handler is, for example: %s", name, exampleFor(name))
	case len(name)+len(script) > Room:
		return 0, nil, fmt.Errorf("%s has %d bytes, and a script may have %d; leave out what it does not need, or minify it", name, len(script), Room-len(name))
	}
	if at, err = scriptAddress(engine); err != nil {
		return 0, nil, err
	}
	lines := linesOf(sourceMap, Room-len(name)-len(script))
	content = make([]byte, 0, 8+len(name)+1+len(script)+len(lines))
	content = binary.LittleEndian.AppendUint32(content, uint32(len(name)))
	content = binary.LittleEndian.AppendUint32(content, uint32(len(script)))
	content = append(append(content, name...), 0)
	return at, append(append(content, script...), lines...), nil
}

var errEngine = errors.New("the engine is no module that a script can be put into; build it again with its build.sh")

// section is one section of a module.
type section struct {
	id   byte
	body []byte
}

func sections(b []byte) (all []section, err error) {
	r := reader{b: b}
	if string(r.take(len(wasm.Header))) != wasm.Header {
		return nil, errEngine
	}
	for len(r.b) > 0 && !r.bad {
		id := r.byte()
		all = append(all, section{id, r.take(int(r.number()))})
	}
	if r.bad {
		return nil, errEngine
	}
	return all, nil
}

// scriptAddress is where the engine looks for its script.
func scriptAddress(engine []byte) (uint32, error) {
	all, err := sections(engine)
	if err != nil {
		return 0, err
	}
	index, found := uint64(0), false
	for _, s := range all {
		if s.id != wasm.ExportSection {
			continue
		}
		r := reader{b: s.body}
		for n := r.number(); n > 0 && !r.bad; n-- {
			name, kind, i := r.take(int(r.number())), r.byte(), r.number()
			if string(name) == scriptExport && kind == 3 {
				index, found = i, true
			}
		}
	}
	for _, s := range all {
		if s.id != wasm.GlobalSection || !found {
			continue
		}
		r := reader{b: s.body}
		n := r.number()
		for i := uint64(0); i < n && !r.bad; i++ {
			r.take(2) // its type, and whether it changes
			if r.byte() != 0x41 {
				return 0, errEngine // no i32 constant: engines have none of other kinds
			}
			v := r.signed()
			if r.byte() == 0x0b && i == index && !r.bad {
				return uint32(v), nil
			}
		}
	}
	return 0, errEngine
}

// withSegment adds a data segment behind the others.
func withSegment(engine []byte, at uint32, content []byte) ([]byte, error) {
	all, err := sections(engine)
	if err != nil {
		return nil, err
	}
	// It is an active segment of the memory, at a constant address.
	segment := append(make([]byte, 0, len(content)+16), 0, 0x41)
	segment = append(wasm.AppendSigned(segment, int64(int32(at))), 0x0b)
	segment = append(binary.AppendUvarint(segment, uint64(len(content))), content...)
	out := append(make([]byte, 0, len(engine)+len(segment)+16), wasm.Header...)
	added := false
	for _, s := range all {
		body := s.body
		if s.id == wasm.DataSection || s.id == wasm.DataCountSection {
			r := reader{b: body}
			n := r.number()
			if r.bad {
				return nil, errEngine
			}
			body = append(binary.AppendUvarint(nil, n+1), r.b...)
		}
		if s.id == wasm.DataSection {
			body = append(body, segment...)
			added = true
		}
		out = append(out, s.id)
		out = binary.AppendUvarint(out, uint64(len(body)))
		out = append(out, body...)
	}
	if !added {
		return nil, errEngine
	}
	return out, nil
}

// reader reads what is left of a module. What is not there makes it bad, and is zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.bad, n = true, 0
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) byte() byte {
	if b := r.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > 1<<32-1 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) signed() (v int64) {
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		v |= int64(b&0x7f) << shift
		if b&0x80 == 0 {
			if b&0x40 != 0 {
				v |= -1 << (shift + 7)
			}
			return v
		}
	}
	r.bad = true
	return 0
}
