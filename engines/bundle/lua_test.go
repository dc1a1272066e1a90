package bundle

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What a script in Lua requires is found as Lua finds it, in its folder, by a name that stands
// there as text, and is put behind it.
func TestLua(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  []string // the files of the bundle, as "name path"; none: it is the script alone
	}{
		"nothing":   {map[string]string{"h.lua": "return {}"}, nil},
		"a library": {map[string]string{"h.lua": `local s = require "string"`}, nil},
		"a comment": {map[string]string{"h.lua": "-- require 'a'\n--[[ require 'a' ]] --[==[ ]] require 'a' ]==]"}, nil},
		"a text":    {map[string]string{"h.lua": `return "require 'a'", [[ require "b" ]], 'it\'s require "c"'`}, nil},
		"other's":   {map[string]string{"h.lua": `x.require "a" x:require("b") requires "c" local require2 = f "d"`}, nil},
		"a file":    {map[string]string{"h.lua": `require "a"`, "a.lua": "return 1"}, []string{"- h.lua", "a a.lua"}},
		"all its ways": {map[string]string{"h.lua": `require("a") require [[b]] x = "x" .. require 'c' pcall(require, "d") return require--[[ ]](--
"e")`, "a.lua": "", "b.lua": "", "c.lua": "", "d.lua": "", "e.lua": ""}, []string{"- h.lua", "a a.lua", "b b.lua", "c c.lua", "d d.lua", "e e.lua"}},
		"a folder":       {map[string]string{"h.lua": `require "lib.x" require "lib"`, "lib/x.lua": "", "lib/init.lua": ""}, []string{"- h.lua", "lib.x lib/x.lua", "lib lib/init.lua"}},
		"from its root":  {map[string]string{"h.lua": `require "lib.x"`, "lib/x.lua": `require "lib.y"`, "lib/y.lua": ""}, []string{"- h.lua", "lib.x lib/x.lua", "lib.y lib/y.lua"}},
		"a circle":       {map[string]string{"h.lua": `require "a" require "a"`, "a.lua": `require "b"`, "b.lua": `require "a"`}, []string{"- h.lua", "a a.lua", "b b.lua"}},
		"a link inside":  {map[string]string{"h.lua": `require "a"`, "a.lua": "-> lib/b.lua", "lib/b.lua": ""}, []string{"- h.lua", "a a.lua"}},
		"perhaps none":   {map[string]string{"h.lua": `local ok, a = pcall(require, "a") return require "b"`, "b.lua": ""}, []string{"- h.lua", "b b.lua"}},
		"the first line": {map[string]string{"h.lua": "#!/usr/bin/lua require 'a'\nrequire 'b'", "b.lua": ""}, []string{"- h.lua", "b b.lua"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(files(t, c.files), "h.lua")
			s, err := (&Maker{}).of(t, path, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if c.want == nil {
				if string(s.Code) != c.files["h.lua"] || !slices.Equal(s.Files, []string{"h.lua"}) {
					t.Errorf("%q of %q", s.Code, s.Files)
				}
				return
			}
			want := filesMark
			for _, one := range c.want {
				text := c.files[strings.Fields(one)[1]]
				if to, ok := strings.CutPrefix(text, "-> "); ok {
					text = c.files[to]
				}
				want += fmt.Sprintf("%d %s\n%s\n", len(text), one, text)
			}
			if string(s.Code) != want || len(s.Files) != len(c.want) {
				t.Errorf("it is\n%s\nof %q, want\n%s", s.Code, s.Files, want)
			}
		})
	}
}

// What cannot be found is said with its place and the mend, as for JavaScript.
func TestLuaErrors(t *testing.T) {
	for name, c := range map[string]struct {
		files  map[string]string
		limits Limits
		want   []string
	}{
		"no file":         {map[string]string{"h.lua": "\n  local a = require 'lib.a'"}, Limits{}, []string{`h.lua:2:21: require of "lib.a": there is no lib/a.lua and no lib/a/init.lua in the script's folder; put the file there, or`}},
		"in another file": {map[string]string{"h.lua": "require 'a'", "a.lua": "\n\nrequire 'b'"}, Limits{}, []string{`a.lua:3:9: require of "b": there is no b.lua`}},
		"a path":          {map[string]string{"h.lua": "require './a'", "a.lua": ""}, Limits{}, []string{`h.lua:1:9: require of "./a": a name is a path from the script's folder, with dots for slashes and without .lua`}},
		"above":           {map[string]string{"h.lua": "require '../a'"}, Limits{}, []string{`require of "../a": a name is a path`}},
		"dots":            {map[string]string{"h.lua": "require 'a..b' require 'a.' require '' require 'a b'"}, Limits{}, []string{`require of "a..b": that is no name`, `require of "a.": that is`, `require of "": that`, `require of "a b": that`}},
		"the end":         {map[string]string{"h.lua": "require 'a.lua'", "a.lua": ""}, Limits{}, []string{`there is no a/lua.lua`}},
		"no such library": {map[string]string{"h.lua": "require 'io'"}, Limits{}, []string{`h.lua:1:9: require of "io": a handler has none of it; docs/LUA.md says what it has`}},
		"a link outside":  {map[string]string{"h.lua": "require 'a'", "a.lua": "-> /etc/passwd"}, Limits{}, []string{`require of "a": a.lua is, or lies behind, a symbolic link that leads out of the script's folder`}},
		"many files":      {map[string]string{"h.lua": "require 'a' require 'b'", "a.lua": "", "b.lua": ""}, Limits{Files: 2}, []string{`h.lua:1:21: require of "b": it takes more than 2 files; bundle them beforehand, or raise its listener's script_files`}},
		"many bytes":      {map[string]string{"h.lua": "require 'a'", "a.lua": strings.Repeat("-", 100)}, Limits{Bytes: 50}, []string{`its files have more than 50 bytes together; leave out what it does not need, or raise its listener's script_bytes`}},
	} {
		t.Run(name, func(t *testing.T) {
			wantErrors(t, filepath.Join(files(t, c.files), "h.lua"), c.limits, c.want)
		})
	}
}

// A change of a file that is required makes another script; without one it is that of before.
func TestLuaChanges(t *testing.T) {
	texts := map[string]string{"h.lua": "return require 'a'", "a.lua": "return 1"}
	m := &Maker{}
	one, err := m.of(t, filepath.Join(files(t, texts), "h.lua"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	again, _ := m.of(t, filepath.Join(files(t, texts), "h.lua"), Limits{})
	texts["a.lua"] = "return 2"
	two, _ := m.of(t, filepath.Join(files(t, texts), "h.lua"), Limits{})
	if string(one.Code) != string(again.Code) || string(one.Code) == string(two.Code) {
		t.Errorf("%q, %q and then %q", one.Code, again.Code, two.Code)
	}
}

// FuzzLuaRequires: whatever the text is, names are found where it has them, in their order.
func FuzzLuaRequires(f *testing.F) {
	for _, s := range []string{"require 'a'", "require[==[\n]=]b]==]", "--[[ require 'a'", "pcall(require, \"a\\\"b\")", "require \"", "require '\\", "#\nrequire[[", "a..require'x'"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		lines := strings.Split(string(text), "\n")
		line, column := 0, 0
		for _, r := range luaRequires(text) {
			if r.line < line || r.line == line && r.column <= column {
				t.Fatalf("%d:%d comes behind %d:%d", r.line, r.column, line, column)
			}
			line, column = r.line, r.column
			if line > len(lines) || column > len(lines[line-1]) || !strings.ContainsRune(`"'[`, rune(lines[line-1][column-1])) {
				t.Fatalf("there is no text at %d:%d", line, column)
			}
			if !strings.Contains(string(text), r.name) {
				t.Fatalf("%q is not in the text", r.name)
			}
		}
	})
}
