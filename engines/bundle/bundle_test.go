package bundle

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"bulkhead/engines/sourcemap"
	"bulkhead/plugins/compiler"
)

// The test binary is also the process that makes bundles.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case "child":
			os.Exit(compiler.Main(os.Args[2:], Task()))
		case "broken": // as esbuild may be
			os.Exit(compiler.Main(os.Args[2:], compiler.Task{Name: taskName, Do: func(in io.Reader, out io.Writer) error {
				over := make(chan struct{})
				go func() { panic("nobody catches this") }()
				<-over
				return nil
			}}))
		case "curious":
			os.Exit(compiler.Main(os.Args[2:], compiler.Task{Name: taskName, Do: func(in io.Reader, out io.Writer) error {
				p := newParent(in, out)
				var got []string
				for _, path := range []string{"../secret", "/etc/passwd", "lib/../../secret", "link", "lib/link/secret", "", "a\x00b"} {
					if a := p.ask(said{Read: path}); a.Kind != isAbsent && a.Kind != isBarred {
						got = append(got, path)
					}
				}
				return p.out.Encode(said{Result: &result{Errors: append(got, "this is all")}})
			}}))
		case "talkative":
			os.Exit(compiler.Main(os.Args[2:], compiler.Task{Name: taskName, Do: func(_ io.Reader, out io.Writer) error {
				_, err := io.WriteString(out, "{nonsense\n")
				return err
			}}))
		}
	}
	os.Exit(m.Run())
}

func child(role string) compiler.Command {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return compiler.Command{Args: []string{exe, role}}
}

// files writes files into a folder, and is the folder. A text "-> PATH" makes a link.
func files(t *testing.T, texts map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "scripts")
	for name, text := range texts {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if to, ok := strings.CutPrefix(text, "-> "); ok {
			err = errors.Join(err, os.Symlink(to, path))
		} else {
			err = errors.Join(err, os.WriteFile(path, []byte(text), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func (m *Maker) of(t *testing.T, path string, limits Limits) (Script, error) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return m.Make(context.Background(), path, text, limits)
}

// wantErrors wants a script to be refused with just these lines, or what has them in it.
func wantErrors(t *testing.T, path string, limits Limits, want []string) {
	t.Helper()
	_, err := (&Maker{}).of(t, path, limits)
	e, ok := err.(*Error)
	if !ok || len(e.Lines) != len(want) {
		t.Fatalf("%v", err)
	}
	for i, want := range want {
		if !strings.Contains(e.Lines[i], want) {
			t.Errorf("%q, want %q", e.Lines[i], want)
		}
	}
}

// makers make bundles here, and some in a process of their own.
func makers(t *testing.T, name string) map[string]*Maker {
	all := map[string]*Maker{"here": {}}
	switch name {
	case "cycle", "linked package", "syntax elsewhere", "link to a file", "many bytes":
		all["child"] = &Maker{Command: child("child"), Dir: t.TempDir()}
	}
	return all
}

func manifestOf(fields string) string { return "{" + fields + "}" }

// What a script imports is found as Node and TypeScript find it.
func TestImports(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  []string // parts of the bundle
	}{
		"types":         {map[string]string{"h.ts": "enum E { A = 7 }; interface I { a: E }; const x: I = { a: E.A }; export default x as I satisfies I"}, []string{"A"}},
		"a file":        {map[string]string{"h.ts": `import { a } from "./a.ts"; export default a`, "a.ts": `export const a: string = "found"`}, []string{`"found"`}},
		"JavaScript":    {map[string]string{"h.js": `import { a } from "./a.js"; export default a`, "a.js": `export const a = "found"`}, []string{`"found"`}},
		"without end":   {map[string]string{"h.mts": `import { a } from "./a"; export default a`, "a.ts": `export const a = "found"`}, []string{`"found"`}},
		"compiled name": {map[string]string{"h.ts": `import { a } from "./a.mjs"; export default a`, "a.mts": `export const a = "found"`}, []string{`"found"`}},
		"folder":        {map[string]string{"h.ts": `import { a } from "./lib"; export default a`, "lib/index.ts": `export { a } from ".."`, "index.ts": `export const a = "found"`}, []string{`"found"`}},
		"cycle":         {map[string]string{"h.ts": `import { a } from "./a"; export const b = "b"; export default a`, "a.ts": `import { b } from "./h"; export const a = () => b + "found"`}, []string{`"found"`}},
		"JSON, text":    {map[string]string{"h.ts": `import j from "./j.json"; import t from "./t.txt"; export default [j, t]`, "j.json": `{"j": "found"}`, "t.txt": "text"}, []string{`"found"`, `"text"`}},
		"CommonJS":      {map[string]string{"h.js": `const { a } = require("./a.cjs"); export default a`, "a.cjs": `exports.a = "found"`}, []string{`"found"`}},
		"tree":          {map[string]string{"h.ts": `import { a } from "./a"; export default a`, "a.ts": `export const a = "found"; export const b = "left out"`}, []string{`"found"`, "!left out"}},
		"environment":   {map[string]string{"h.ts": `export default process.env.NODE_ENV`}, []string{`"production"`}},
		"link inside":   {map[string]string{"h.ts": `import { a } from "./a.ts"; export default a`, "a.ts": "-> lib/b.ts", "lib/b.ts": `export { a } from "./c.ts"`, "lib/c.ts": `export const a = "found"`}, []string{`"found"`}},

		"package, main":       {map[string]string{"h.ts": `import a from "p"; export default a`, "node_modules/p/package.json": manifestOf(`"main": "lib"`), "node_modules/p/lib/index.js": `module.exports = "found"`}, []string{`"found"`}},
		"package, module":     {map[string]string{"h.ts": `import a from "p"; export default a`, "node_modules/p/package.json": manifestOf(`"main": "a.js", "module": "b.js"`), "node_modules/p/b.js": `export default "found"`, "node_modules/p/a.js": ""}, []string{`"found"`}},
		"package, index":      {map[string]string{"h.ts": `import a from "p"; export default a`, "node_modules/p/index.js": `export default "found"`}, []string{`"found"`}},
		"package, file":       {map[string]string{"h.ts": `import a from "@s/p/lib/a"; export default a`, "node_modules/@s/p/lib/a.js": `export default "found"`}, []string{`"found"`}},
		"package above":       {map[string]string{"h.ts": `import a from "./lib/a"; export default a`, "lib/a.ts": `export { default } from "p"`, "node_modules/p/index.js": `export default "found"`}, []string{`"found"`}},
		"package in package":  {map[string]string{"h.ts": `import a from "p"; export default a`, "node_modules/p/index.js": `export { default } from "q"`, "node_modules/p/node_modules/q/index.js": `export default "found"`, "node_modules/q/index.js": `export default "the other"`}, []string{`"found"`, "!other"}},
		"linked package":      {map[string]string{"h.ts": `import a from "p"; export default a`, "node_modules/p": "-> .store/p/node_modules/p", "node_modules/.store/p/node_modules/p/index.js": `export { default } from "q"`, "node_modules/.store/p/node_modules/q/index.js": `export default "found"`}, []string{`"found"`}},
		"exports":             {map[string]string{"h.ts": `import a from "p"; export default a`, "node_modules/p/package.json": manifestOf(`"main": "none.js", "exports": "./a.js"`), "node_modules/p/a.js": `export default "found"`}, []string{`"found"`}},
		"exports, conditions": {map[string]string{"h.ts": `import a from "p"; export default a`, "node_modules/p/package.json": manifestOf(`"exports": {"node": "./n.js", "types": "./a.d.ts", "import": {"browser": null, "default": "./a.js"}, "default": "./n.js"}`), "node_modules/p/a.js": `export default "found"`, "node_modules/p/n.js": ``}, []string{`"found"`}},
		"exports, require":    {map[string]string{"h.js": `export default require("p")`, "node_modules/p/package.json": manifestOf(`"exports": {".": {"import": "./n.js", "require": ["./a.js"]}}`), "node_modules/p/a.js": `module.exports = "found"`, "node_modules/p/n.js": ``}, []string{`"found"`}},
		"exports, paths":      {map[string]string{"h.ts": `import a from "p/sub/x/y"; import b from "p/b"; export default [a, b]`, "node_modules/p/package.json": manifestOf(`"exports": {"./*": "./no/*.js", "./sub/*": "./lib/*.js", "./b": "./lib/b.js"}`), "node_modules/p/lib/x/y.js": `export default "found"`, "node_modules/p/lib/b.js": `export default "also"`}, []string{`"found"`, `"also"`}},
		"own name":            {map[string]string{"h.ts": `import a from "me/x"; export default a`, "package.json": manifestOf(`"name": "me", "exports": {"./x": "./x.js"}`), "x.ts": `export default "found"`}, []string{`"found"`}},
		"own imports":         {map[string]string{"h.ts": `import a from "#a/b"; import c from "#c"; export default [a, c]`, "package.json": manifestOf(`"imports": {"#a/*": "./lib/*.ts", "#c": "c"}`), "lib/b.ts": `export default "found"`, "node_modules/c/index.js": `export default "also"`}, []string{`"found"`, `"also"`}},
		"no side effects":     {map[string]string{"h.ts": `import { a } from "p"; export default a`, "node_modules/p/package.json": manifestOf(`"sideEffects": false, "module": "index.js"`), "node_modules/p/index.js": `export { a } from "./a.js"; export { b } from "./b.js"`, "node_modules/p/a.js": `export const a = "found"`, "node_modules/p/b.js": `export const b = console.log("left out")`}, []string{`"found"`, "!left out"}},
	} {
		for how, m := range makers(t, name) {
			t.Run(name+", "+how, func(t *testing.T) {
				dir := files(t, c.files)
				script := ""
				for name := range c.files {
					if strings.HasPrefix(name, "h.") {
						script = name
					}
				}
				s, err := m.of(t, filepath.Join(dir, script), Limits{})
				if err != nil {
					t.Fatal(err)
				}
				text, sourceMap := sourcemap.Cut(s.Code)
				for _, want := range c.want {
					part, not := strings.CutPrefix(want, "!")
					if strings.Contains(string(text), part) == not {
						t.Errorf("want %s in:\n%s", want, text)
					}
				}
				m, err := sourcemap.Parse(sourceMap)
				if err != nil || len(m.Places) == 0 {
					t.Errorf("the source map: %v %s", err, sourceMap)
				}
				for _, source := range m.Sources {
					if _, ok := c.files[source]; !ok {
						t.Errorf("a source is called %q, of %q", source, s.Files)
					}
				}
				if s.Files[0] != script {
					t.Errorf("it is made of %q", s.Files)
				}
			})
		}
	}
}

// What cannot be imported is said with the file, the line, the column and the mend.
func TestImportsThatFail(t *testing.T) {
	long := strings.Repeat("x", 2*maxPath)
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"syntax":           {map[string]string{"h.ts": "export default {\n  a: number = ;\n}"}, `h.ts:2:15: Unexpected ";"`},
		"syntax elsewhere": {map[string]string{"h.ts": `import "./lib/a.ts"`, "lib/a.ts": "let a = 1;\nlet a = 2;\n"}, `lib/a.ts:2:5: The symbol "a" has already been declared; `},
		"several":          {map[string]string{"h.ts": "import \"./a\";\nimport \"./b\";\n"}, `and 1 more`},
		"no such name":     {map[string]string{"h.ts": `import { b } from "./a.ts"; export default b`, "a.ts": "export const a = 1"}, `h.ts:1:10: No matching export in "a.ts" for import "b"`},
		"missing":          {map[string]string{"h.ts": "\n  import './none.ts'"}, `h.ts:2:10: import of "./none.ts": there is no such file; write its path from this file`},
		"long":             {map[string]string{"h.ts": "import './" + long + "'"}, `there is no such file`},
		"folder":           {map[string]string{"h.ts": "import './lib'", "lib/a.ts": ""}, `import of "./lib": that is a folder without a package.json or an index file`},
		"above":            {map[string]string{"h.ts": "import '../secret.js'", "../secret.js": ""}, `import of "../secret.js": it is outside of the script's folder`},
		"above from below": {map[string]string{"h.ts": "import './lib/a'", "lib/a.ts": "import '../../secret.js'", "../secret.js": ""}, `lib/a.ts:1:8: import of "../../secret.js": it is outside`},
		"absolute":         {map[string]string{"h.ts": "import '/etc/passwd'"}, `it is outside of the script's folder`},
		"file URL":         {map[string]string{"h.ts": "import 'file:///etc/passwd'"}, `it is outside of the script's folder`},
		"link to a file":   {map[string]string{"h.ts": "import './a.js'", "a.js": "-> ../secret.js", "../secret.js": ""}, `a.js is, or lies behind, a symbolic link that leads out of the script's folder`},
		"link to a folder": {map[string]string{"h.ts": "import './lib/secret.js'", "lib": "-> ..", "../secret.js": ""}, `lib/secret.js is, or lies behind, a symbolic link`},
		"absolute link":    {map[string]string{"h.ts": "import './a.txt'", "a.txt": "-> /etc/passwd"}, `symbolic link that leads out`},
		"link in circles":  {map[string]string{"h.ts": "import './a.ts'", "a.ts": "-> b.ts", "b.ts": "-> a.ts"}, `cannot be read`},
		"linked package":   {map[string]string{"h.ts": "import 'p'", "node_modules": "-> ../other", "../other/p/index.js": ""}, `symbolic link that leads out`},
		"network":          {map[string]string{"h.ts": "import 'https://example.com/a.js'"}, `nothing is fetched from a network`},
		"Node":             {map[string]string{"h.ts": "import 'node:fs'"}, `it comes with Node, and a handler has none of it`},
		"Node's":           {map[string]string{"h.ts": "import { readFile } from 'fs/promises'; readFile('x')"}, `it comes with Node`},
		"no package":       {map[string]string{"h.ts": "import '@s/p/x'"}, `there is no node_modules/@s/p beside the script; put the package there, for example by npm install @s/p`},
		"no name":          {map[string]string{"h.ts": "import ''"}, `that is no name of a package`},
		"strange names":    {map[string]string{"h.ts": "import '@x'; import 'a/../../b'; import 'x\\\\y'"}, `that is no name of a package`},
		"stylesheet":       {map[string]string{"h.ts": "import './a.css'", "a.css": ""}, `a.css cannot be imported; files that end with .ts`},
		"not exported":     {map[string]string{"h.ts": "import 'p/b'", "node_modules/p/package.json": manifestOf(`"exports": {".": "./a.js"}`), "node_modules/p/b.js": ""}, `the package p does not export that: its package.json has no "./b" in exports`},
		"only itself":      {map[string]string{"h.ts": "import 'p/b'", "node_modules/p/package.json": manifestOf(`"exports": "./a.js"`)}, `the package p exports nothing but itself`},
		"blocked":          {map[string]string{"h.ts": "import 'p/b'", "node_modules/p/package.json": manifestOf(`"exports": {"./b": null}`)}, `its package.json has nothing for it that fits a handler`},
		"Node alone":       {map[string]string{"h.ts": "import 'p'", "node_modules/p/package.json": manifestOf(`"exports": {"node": "./a.js"}`)}, `its package.json has nothing for it that fits a handler`},
		"exports above":    {map[string]string{"h.ts": "import 'p'", "node_modules/p/package.json": manifestOf(`"exports": "./../../../secret.js"`), "../secret.js": ""}, `which leads out of the package`},
		"exports, no path": {map[string]string{"h.ts": "import 'p'", "node_modules/p/package.json": manifestOf(`"exports": "a.js"`)}, `which does not begin with ./`},
		"not in imports":   {map[string]string{"h.ts": "import '#a'", "package.json": manifestOf(`"imports": {"#b": "./b.js"}`)}, `no package.json above this file has it in imports`},
		"imports forever":  {map[string]string{"h.ts": "import '#a'", "package.json": manifestOf(`"name": "me", "imports": {"#a": "me"}, "exports": "./none.js"`)}, `there is no such file`},
		"package.json":     {map[string]string{"h.ts": "import 'p'", "node_modules/p/package.json": "{"}, `node_modules/p/package.json cannot be read: `},
		"deep exports":     {map[string]string{"h.ts": "import 'p'", "node_modules/p/package.json": manifestOf(`"exports": ` + strings.Repeat(`{"default":`, 100) + `"./a.js"` + strings.Repeat("}", 100))}, `exports: it is deeper than 32`},
		"numbers":          {map[string]string{"h.ts": "import 'p'", "node_modules/p/package.json": manifestOf(`"exports": 7`)}, `exports: there is something else than texts`},
		"unprintable":      {map[string]string{"h.ts": "import './\\x1b[31m\\n.ts'"}, `import of "./\x1b[31m\n.ts": there is no such file`},
		"many files":       {map[string]string{"h.ts": "import './a.ts'; import './b.ts'; import './c.ts'; import './d.ts'; import './e.ts'", "a.ts": "", "b.ts": "", "c.ts": "", "d.ts": "", "e.ts": ""}, `it takes more than 5 files; bundle them beforehand, or raise its listener's script_files`},
		"many bytes":       {map[string]string{"h.ts": "import './a.ts'", "a.ts": "// " + strings.Repeat("x", 1<<20)}, `its files have more than 1 MiB together; leave out what it does not need, or raise its listener's script_bytes`},
	} {
		for how, m := range makers(t, name) {
			t.Run(name+", "+how, func(t *testing.T) {
				_, err := m.of(t, filepath.Join(files(t, c.files), "h.ts"), Limits{Files: 5, Bytes: 1 << 20})
				wrong, ok := errors.AsType[*Error](err)
				if !ok || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("%v\nwant %s", err, c.want)
				}
				key := ""
				for _, of := range []string{"script_files", "script_bytes"} {
					if strings.HasSuffix(c.want, of) {
						key = of
					}
				}
				if wrong.Key != key {
					t.Errorf("the limit's key is %q, want %q", wrong.Key, key)
				}
				if len(wrong.Lines) > maxLines || strings.ContainsAny(err.Error(), "\n\x1b") {
					t.Errorf("%q", wrong.Lines)
				}
			})
		}
	}
}

// Looking for files is bounded, too: a script may name any number that are not there.
func TestTriesAreBounded(t *testing.T) {
	dir := files(t, map[string]string{"h.ts": "import './a'; import './b'; import './c'; import './d'"})
	_, err := (&Maker{}).of(t, filepath.Join(dir, "h.ts"), Limits{Files: 1})
	wrong, ok := errors.AsType[*Error](err)
	if !ok || wrong.Key != "script_files" || !slices.ContainsFunc(wrong.Lines, func(s string) bool {
		return strings.Contains(s, "takes more than 25 tries, 25 for each file of its listener's script_files; write imports with the files' endings")
	}) {
		t.Errorf("%v %q", err, wrong)
	}
}

// A script in JavaScript that imports nothing is as it was written, whatever words are in it.
func TestNothingToImport(t *testing.T) {
	for _, text := range []string{"export default {}", "// an import of goods from \"here\"\nexport default { /* import */ }\n", "\uFEFFexport default import.meta"} {
		dir := files(t, map[string]string{"h.js": text})
		for how, m := range makers(t, "cycle") {
			if s, err := m.of(t, filepath.Join(dir, "h.js"), Limits{}); err != nil || string(s.Code) != text {
				t.Errorf("%s: %v %q", how, err, s.Code)
			}
		}
	}
}

// A script whose path is a link lies where that leads to.
func TestTheScriptIsALink(t *testing.T) {
	dir := files(t, map[string]string{"one/h.ts": `import a from "./a"; export default a`, "one/a.ts": `export default "found"`, "h.ts": "-> one/h.ts"})
	s, err := (&Maker{}).of(t, filepath.Join(dir, "h.ts"), Limits{})
	if err != nil || !strings.Contains(string(s.Code), `"found"`) {
		t.Errorf("%v %s", err, s.Code)
	}
}

// What is no regular file keeps nobody waiting.
func TestPipesAreNotRead(t *testing.T) {
	dir := files(t, map[string]string{"h.ts": "import './a.ts'"})
	if err := syscall.Mkfifo(filepath.Join(dir, "a.ts"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := (&Maker{}).of(t, filepath.Join(dir, "h.ts"), Limits{}); err == nil || !strings.Contains(err.Error(), "a.ts is not a regular file") {
		t.Error(err)
	}
}

// A bundle is made again when a file of it has changed, has gone, or would now be found in place of
// another, and only then; so is an error.
func TestMadeAgain(t *testing.T) {
	dir := files(t, map[string]string{"h.ts": `import { a } from "./a.js"; export default a`, "a.js": `export const a = 1`})
	path := filepath.Join(dir, "h.ts")
	kept, asked := map[[sha256.Size]byte][]byte{}, 0
	m := &Maker{Kept: func(sum [sha256.Size]byte) ([]byte, error) {
		asked++
		if b := kept[sum]; b != nil {
			return b, nil
		}
		return nil, os.ErrNotExist
	}}
	var last []byte
	make := func(what string, again bool, want string) {
		t.Helper()
		before := asked
		s, err := m.of(t, path, Limits{})
		switch {
		case want == "" && err == nil, want != "" && (err != nil || !strings.Contains(string(s.Code), want)):
			t.Errorf("%s: %v %s", what, err, s.Code)
		case again && asked == before && err == nil:
			t.Errorf("%s: it was made again", what)
		case !again && string(s.Code) == string(last) && err == nil:
			t.Errorf("%s: it was not made again", what)
		}
		if err == nil {
			last = s.Code
			kept[sha256.Sum256(s.Code)] = s.Code
		}
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	make("at first", false, "a = 1")
	make("as it was", true, "a = 1")
	write("a.js", "export const a = 2")
	make("an import has changed", false, "a = 2")
	make("as it was then", true, "a = 2")
	write("a.js", "export const a = ;")
	make("an import is wrong", false, "")
	runs := len(m.made[path].seen)
	make("it is wrong again", true, "")
	if len(m.made[path].seen) != runs {
		t.Error("an error was found again")
	}
	if err := os.Remove(filepath.Join(dir, "a.js")); err != nil {
		t.Fatal(err)
	}
	make("an import has gone", false, "")
	write("a.ts", "export const a: number = 3")
	make("another file is there", false, "a = 3")
	write("a.js", "export const a = 4")
	make("a file comes before it", false, "a = 4")
	clear(kept)
	if s, err := m.of(t, path, Limits{}); err != nil || string(s.Code) != string(last) {
		t.Errorf("it was not kept: %v", err)
	}
}

// A child that goes wrong is an error that says so, and never the end of this process. It gets
// nothing from outside of the folder, whatever it asks for.
func TestChildrenThatGoWrong(t *testing.T) {
	dir := files(t, map[string]string{"h.ts": "import './a'", "a.ts": "", "lib/b.ts": "", "../secret": "x", "link": "-> ../secret", "lib/link": "-> ../.."})
	for role, want := range map[string]string{
		"broken":    "h.ts cannot be made into one script: the compiler crashed with exit status 2",
		"curious":   "this is all",
		"talkative": "said something that cannot be understood",
		"none":      "h.ts cannot be made into one script: ",
	} {
		m := &Maker{Command: child(role), Dir: t.TempDir()}
		if role == "none" {
			m.Command.Args = []string{"/bin/false"}
		}
		_, err := m.of(t, filepath.Join(dir, "h.ts"), Limits{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", role, err, want)
		}
		if len(m.made) != 0 && role != "curious" {
			t.Errorf("%s: it would not be tried again", role)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	m := &Maker{Command: child("child"), Dir: t.TempDir()}
	if _, err := m.Make(ctx, filepath.Join(dir, "h.ts"), []byte("import './a'"), Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("when it is over: %v", err)
	}
}

// What a script's fate depends on is told: the files that it is made of, and those that are not
// there.
func TestLooked(t *testing.T) {
	for _, c := range []struct {
		script string
		files  map[string]string
		want   []string // among others
		fails  bool
	}{
		{"h.js", map[string]string{"h.js": "export default {}"}, []string{"h.js"}, false},
		{"h.js", map[string]string{"h.js": `import "./a.js"`, "a.js": ""}, []string{"h.js", "a.js"}, false},
		{"h.js", map[string]string{"h.js": `import "./a.js"`}, []string{"h.js", "a.js"}, true},
		{"h.lua", map[string]string{"h.lua": `require "a"`}, []string{"h.lua", "a.lua", "a/init.lua"}, true},
		{"h.py", map[string]string{"h.py": `import a`, "a.py": ""}, []string{"h.py", "a.py"}, false},
	} {
		s, err := (&Maker{}).of(t, filepath.Join(files(t, c.files), c.script), Limits{})
		looked := s.Looked
		if refused, ok := errors.AsType[*Error](err); ok {
			looked = refused.Looked
		}
		if (err != nil) != c.fails {
			t.Errorf("%v: %v", c.files, err)
		}
		for _, want := range c.want {
			if n := len(slices.DeleteFunc(slices.Clone(looked), func(path string) bool { return path != want })); n != 1 {
				t.Errorf("%v: %s is %d times in %v, want once", c.files, want, n, looked)
			}
		}
	}
}
