package bundle

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What a script in Python imports is found as Python finds it, in its folder, and is put behind it.
func TestPython(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  []string // the paths of the files behind the script; none: it is the script alone
	}{
		"nothing":      {map[string]string{"h.py": "x = 1"}, nil},
		"its modules":  {map[string]string{"h.py": "import json, re as r\nfrom collections import (\n deque,\n namedtuple as n)\nfrom math import *"}, nil},
		"not a file":   {map[string]string{"h.py": "import json", "json.py": ""}, nil},
		"a comment":    {map[string]string{"h.py": "# import a\nx = 1 # import a\n"}, nil},
		"a text":       {map[string]string{"h.py": "'''\nimport a\n'''\nx = \"\"\"\\\"\"\"\nimport a\"\"\"\ny = 'import a'; z = rb'\\\nimport a'\nw = '\\'\\\nimport b'"}, nil},
		"no statement": {map[string]string{"h.py": "x = [\nimportant,\nfrom_a]\nraise a from b\ndef f(): yield from c\nx.import_('a')\nf(\n  import_a)\nx = y \\\nimport_b"}, nil},
		"its ways": {map[string]string{"h.py": "import a, b as x, c; import d\nif x: import e\nfrom f import x\nfrom g import (x as y,\n z) ; from i \\\n import *\ndef k():\n\timport j\n",
			"a.py": "", "b.py": "", "c.py": "", "d.py": "", "e.py": "", "f.py": "", "g.py": "", "i.py": "", "j.py": ""}, []string{"a.py", "b.py", "c.py", "d.py", "e.py", "f.py", "g.py", "i.py", "j.py"}},
		"ends of lines":    {map[string]string{"h.py": "\uFEFFimport a\r\nimport b\rimport c", "a.py": "", "b.py": "", "c.py": ""}, []string{"a.py", "b.py", "c.py"}},
		"a package":        {map[string]string{"h.py": "import lib.x", "lib/__init__.py": "", "lib/x.py": ""}, []string{"lib/__init__.py", "lib/x.py"}},
		"a part of it":     {map[string]string{"h.py": "from lib import x, y", "lib/__init__.py": "y = 1", "lib/x.py": ""}, []string{"lib/__init__.py", "lib/x.py"}},
		"a folder":         {map[string]string{"h.py": "import lib.x\nfrom lib import y", "lib/x.py": "", "lib/y.py": ""}, []string{"lib/x.py", "lib/y.py"}},
		"package or file":  {map[string]string{"h.py": "import a", "a.py": "", "a/__init__.py": ""}, []string{"a/__init__.py"}},
		"file or folder":   {map[string]string{"h.py": "import a", "a.py": "", "a/b.py": ""}, []string{"a.py"}},
		"dots":             {map[string]string{"h.py": "import lib.sub.x", "lib/__init__.py": "", "lib/y.py": "from . import z", "lib/z.py": "", "lib/sub/__init__.py": "", "lib/sub/x.py": "from .. import y\nfrom ..y import a\nfrom . import w", "lib/sub/w.py": ""}, []string{"lib/__init__.py", "lib/sub/__init__.py", "lib/sub/x.py", "lib/y.py", "lib/sub/w.py", "lib/z.py"}},
		"from its root":    {map[string]string{"h.py": "import lib.x", "lib/x.py": "import lib.y", "lib/y.py": ""}, []string{"lib/x.py", "lib/y.py"}},
		"a circle":         {map[string]string{"h.py": "import a\nimport a", "a.py": "import b", "b.py": "import a, h"}, []string{"a.py", "b.py", "h.py"}},
		"a link inside":    {map[string]string{"h.py": "import a", "a.py": "-> lib/b.py", "lib/b.py": ""}, []string{"a.py"}},
		"perhaps none":     {map[string]string{"h.py": "try:\n  if x:\n    import a\n  import os.path, b\nexcept ImportError:\n  import c\ntry: from d import x\nexcept: pass", "b.py": "", "c.py": ""}, []string{"b.py", "c.py"}},
		"no Python at all": {map[string]string{"h.py": "import\nimport a.\nimport .b\nfrom c\nfrom . \nfrom d import\nimport )\nimport 'e'\nfrom (", "d.py": ""}, []string{"d.py"}},
		"its characters":   {map[string]string{"h.py": "import grün", "grün.py": ""}, []string{"grün.py"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := (&Maker{}).of(t, filepath.Join(files(t, c.files), "h.py"), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if c.want == nil {
				if string(s.Code) != c.files["h.py"] || !slices.Equal(s.Files, []string{"h.py"}) {
					t.Errorf("%q of %q", s.Code, s.Files)
				}
				return
			}
			want := filesMark
			for i, one := range append([]string{"h.py"}, c.want...) {
				text := strings.TrimPrefix(c.files[one], "\uFEFF")
				if to, ok := strings.CutPrefix(text, "-> "); ok {
					text = c.files[to]
				}
				found := one
				if i == 0 {
					found = "-"
				}
				want += fmt.Sprintf("%d %s %s\n%s\n", len(text), found, one, text)
			}
			if string(s.Code) != want {
				t.Errorf("it is\n%s\nof %q, want\n%s", s.Code, s.Files, want)
			}
		})
	}
}

// What cannot be found is said with its place and the mend, as for JavaScript.
func TestPythonErrors(t *testing.T) {
	long := strings.Repeat("a", 401)
	const dots = "its dots lead out of the packages in the script's folder; a file beside the script is imported by its name alone; write, for example: import helper"
	for name, c := range map[string]struct {
		files  map[string]string
		limits Limits
		want   []string
	}{
		"no file":           {map[string]string{"h.py": "\n  import json, a"}, Limits{}, []string{`h.py:2:16: import of "a": there is no a.py and no a/__init__.py in the script's folder, and the engine has no such module; put the file there, or leave the import out`}},
		"in another file":   {map[string]string{"h.py": "import a", "a.py": "\n\nfrom lib.b import x", "lib/c.py": ""}, Limits{}, []string{`a.py:3:6: import of "lib.b": there is no lib/b.py and no lib/b/__init__.py in the script's folder; put the file there`}},
		"above":             {map[string]string{"h.py": "from .. import a\nfrom . import b\nfrom .c import d", "b.py": "", "c.py": ""}, Limits{}, []string{`h.py:1:6: import of "..": ` + dots, `h.py:2:6: import of ".": ` + dots, `h.py:3:6: import of ".c": ` + dots}},
		"above the package": {map[string]string{"h.py": "import lib.x", "lib/__init__.py": "from .. import x", "lib/x.py": "from ...y import x"}, Limits{}, []string{`lib/__init__.py:1:6: import of "..": ` + dots, `lib/x.py:1:6: import of "...y": ` + dots}},
		"of Python's":       {map[string]string{"h.py": "import asyncio, os.path"}, Limits{}, []string{`import of "asyncio": the engine does not have it, and there is no asyncio.py in the script's folder; a handler waits without it, in an async def: await sleep(ms)`, `import of "os.path": the engine does not have it`}},
		"in a module":       {map[string]string{"h.py": "import json.decoder\nimport a.b", "a.py": ""}, Limits{}, []string{`h.py:1:8: import of "json.decoder": the engine's own module json has no module in it`, `h.py:2:8: import of "a.b": a.py is a file, and no folder that has b.py`}},
		"a bare folder":     {map[string]string{"h.py": "import lib\nfrom lib import y", "lib/x.py": ""}, Limits{}, []string{`h.py:1:8: import of "lib": lib is a folder without an __init__.py; put one there, or name a file in it`, `h.py:2:6: import of "lib": there is no lib/y.py`}},
		"a link outside":    {map[string]string{"h.py": "try: import a\nexcept: pass", "a.py": "-> /etc/passwd"}, Limits{}, []string{`import of "a": a.py is, or lies behind, a symbolic link that leads out of the script's folder`}},
		"long":              {map[string]string{"h.py": "import " + long}, Limits{}, []string{`its name has more than 400 bytes`}},
		"many files":        {map[string]string{"h.py": "import a, b", "a.py": "", "b.py": ""}, Limits{Files: 2}, []string{`h.py:1:11: import of "b": it takes more than 2 files; bundle them beforehand, or raise its listener's script_files`}},
		"many bytes":        {map[string]string{"h.py": "import a", "a.py": strings.Repeat("#", 100)}, Limits{Bytes: 50}, []string{`its files have more than 50 bytes together; leave out what it does not need, or raise its listener's script_bytes`}},
	} {
		t.Run(name, func(t *testing.T) {
			wantErrors(t, filepath.Join(files(t, c.files), "h.py"), c.limits, c.want)
		})
	}
}

// The engine's modules are those of the page, which a test of the engine imports, and the two that
// a script has without an import.
func TestPythonModules(t *testing.T) {
	page, err := os.ReadFile("../../docs/PYTHON.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(strings.ReplaceAll(string(page), "\n", " "), "The engine has the modules ")
	list, _, _ := strings.Cut(rest, ".")
	named := map[string]bool{"__main__": true, "builtins": true}
	for i, name := range strings.Split(list, "`") {
		if i%2 == 1 {
			named[name] = true
		}
	}
	for name := range pythonModules {
		if !named[name] {
			t.Errorf("the page does not name %s", name)
		}
	}
	if len(named) != len(pythonModules) {
		t.Errorf("the page names %d modules, of %d", len(named), len(pythonModules))
	}
}

// A change of a file that is imported makes another script; without one it is that of before.
func TestPythonChanges(t *testing.T) {
	texts := map[string]string{"h.py": "import a", "a.py": "x = 1"}
	m := &Maker{}
	one, err := m.of(t, filepath.Join(files(t, texts), "h.py"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	again, _ := m.of(t, filepath.Join(files(t, texts), "h.py"), Limits{})
	texts["a.py"] = "x = 2"
	two, _ := m.of(t, filepath.Join(files(t, texts), "h.py"), Limits{})
	if string(one.Code) != string(again.Code) || string(one.Code) == string(two.Code) {
		t.Errorf("%q, %q and then %q", one.Code, again.Code, two.Code)
	}
}

// FuzzPythonImports: whatever the text is, names are found where it has them, in their order.
func FuzzPythonImports(f *testing.F) {
	for _, s := range []string{"import a.b as c, d", "from ..a import (b,\n c as d)", "try:\n import a\nexcept: import b", "'''\nimport a", "x = [\nimport a", "import\\\n a", "from . import *", "if x: import a; import b\r\rimport c", "#\nimport a.", "from import import import"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		ends := strings.NewReplacer("\r\n", "\n", "\r", "\n")
		lines := strings.Split(strings.TrimPrefix(ends.Replace(string(text)), "\uFEFF"), "\n")
		line, column := 0, 0
		for _, p := range pythonImports(text) {
			if p.line < line || p.line == line && p.column <= column {
				t.Fatalf("%d:%d comes behind %d:%d", p.line, p.column, line, column)
			}
			line, column = p.line, p.column
			first, _, _ := strings.Cut(p.name, ".")
			if p.dots > 0 {
				first = "."
			}
			if line > len(lines) || column > len(lines[line-1]) || !strings.HasPrefix(lines[line-1][column-1:], first) || p.written() == "" {
				t.Fatalf("there is no %q at %d:%d", p.written(), line, column)
			}
		}
	})
}
