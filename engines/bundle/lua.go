package bundle

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

func isLua(file string) bool { return path.Ext(file) == ".lua" }

// luaLibraries are what require gives of the engine's own, without a file.
var luaLibraries = strings.Fields("_G string table math utf8 coroutine os")

// luaAbsent are libraries of Lua that a handler does not have.
var luaAbsent = strings.Fields("io debug package")

// buildLua makes one script of a script in Lua and of the files that it requires, and they do,
// by a name that stands there as text. Names are paths in the script's folder, as Lua has them.
func buildLua(script string, read func(path string) answer) result {
	b := luaBuilder{read: read, known: make(map[string]bool)}
	return b.build(script, read, b.resolve)
}

type luaBuilder struct {
	gathered
	read  func(path string) answer
	known map[string]bool // by their names: read, or none
}

// resolve adds what a file requires.
func (b *luaBuilder) resolve(f scriptFile) {
	for _, r := range luaRequires(f.text) {
		if b.known[r.name] || slices.Contains(luaLibraries, r.name) {
			continue
		}
		if err := b.add(r.name); err != nil && !r.may {
			b.errors = append(b.errors, fmt.Sprintf("%s:%d:%d: require of %q: %v", f.path, r.line, r.column, short(r.name), err))
			if b.full() {
				return
			}
		}
	}
}

func (b *luaBuilder) add(name string) error {
	target := strings.ReplaceAll(name, ".", "/")
	switch {
	case strings.HasPrefix(name, ".") || strings.ContainsAny(name, "/\\"):
		return fmt.Errorf("a name is a path from the script's folder, with dots for slashes and without .lua; write, for example: require \"lib.parse\"")
	case name == "" || len(name) > maxPath || strings.HasSuffix(name, ".") || strings.Contains(name, "..") || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return errName
	}
	paths := []string{target + ".lua", target + "/init.lua"}
	for _, p := range paths {
		switch a := b.read(p); a.Kind {
		case isFile:
			b.known[name] = true
			b.files = append(b.files, scriptFile{name, p, a.content})
			return nil
		case isBarred:
			return wrong(a)
		}
	}
	if slices.Contains(luaAbsent, name) {
		return fmt.Errorf("a handler has none of it; docs/LUA.md says what it has")
	}
	return fmt.Errorf("there is no %s and no %s in the script's folder; put the file there, or write its path from that folder, with dots for slashes and without .lua", paths[0], paths[1])
}
