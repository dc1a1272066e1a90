package bundle

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

func TestPlainJSON(t *testing.T) {
	for in, want := range map[string]string{
		"":                            "",
		"\uFEFF{}":                    "{}",
		`{"a": "// no /* comment", }`: `{"a": "// no /* comment"  }`,
		"{ // c\n\"a\": 1, // d\n}":   "{ \n\"a\": 1  \n}",
		"[1, /* a\nb */ 2, /* c */ ]": "[1, \n 2   ]",
		`{"a\"b,": [",}",],}`:         `{"a\"b,": [",}" ] }`,
		"/":                           "/",
		"/*":                          "",
		"/* open\n":                   "\n",
		`"open`:                       `"open`,
		`"open\`:                      `"open\`,
		"{,}":                         "{ }",
	} {
		if got := plainJSON([]byte(in)); string(got) != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func FuzzTsconfig(f *testing.F) {
	f.Add([]byte("{ // c\n\"compilerOptions\": {\"target\": \"ES2023\", /* x */}, }"))
	f.Add([]byte(`{"compilerOptions": {"paths": {"@/*": ["./*"]}, "jsx": "preserve"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		lines := bytes.Count(b, []byte("\n"))
		if got := bytes.Count(plainJSON(b), []byte("\n")); got != lines {
			t.Errorf("%q has %d lines, and %d without comments", b, lines, got)
		}
		if json.Valid(b) && !json.Valid(plainJSON(b)) {
			t.Errorf("%q became %q", b, plainJSON(b))
		}
		if raw, _ := readTsconfig(b); !json.Valid([]byte(raw)) {
			t.Errorf("%q gives %q", b, raw)
		}
	})
}

// What changes the script's meaning is as tsconfig.json says; what the host does not follow is
// refused, with the line.
func TestTsconfig(t *testing.T) {
	imports := `import { a } from "./a"; export default a`
	for name, c := range map[string]struct {
		script, tsconfig, want, wrong string
	}{
		"nothing that matters": {imports, "{\n  // strict\n  \"compilerOptions\": {\"strict\": true, \"target\": \"ES5\", \"types\": [],},\n}", "const a", ""},
		"paths":                {imports, "{\n  // c\n  \"compilerOptions\": {\n    \"paths\": {\"@/*\": [\"./*\"]}\n  }\n}", "", `tsconfig.json:4: the host does not follow paths; write imports relative to the file that they are in ("./lib/x"), or put names`},
		"baseUrl":              {imports, "{\"compilerOptions\": {\"baseUrl\": \".\"}}", "", "tsconfig.json:1: the host does not follow baseUrl; "},
		"null":                 {imports, "{\"compilerOptions\": {\"paths\": null}}", "const a", ""},
		"nonsense":             {imports, "{", "", "tsconfig.json cannot be read: unexpected end of JSON input"},
		"fields are set":       {"class A { x = 1 }; export default A", `{"compilerOptions": {"useDefineForClassFields": false}}`, "this.x = 1", ""},
		"fields are defined":   {"class A { x = 1 }; export default A", `{}`, "x = 1;", ""},
		"old decorators":       {"const d = (...a: any[]) => {}; class A { @d m() {} }; export default A", `{"compilerOptions": {"experimentalDecorators": true}}`, "__decorateClass(", ""},
		"decorators":           {"const d = (...a: any[]) => {}; class A { @d m() {} }; export default A", `{}`, "__decorateElement(", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := files(t, map[string]string{"h.ts": c.script, "a.ts": "export const a: string = 'a'", "tsconfig.json": c.tsconfig})
			s, err := (&Maker{}).of(t, filepath.Join(dir, "h.ts"), Limits{})
			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) {
					t.Errorf("%v, want %s", err, c.wrong)
				}
				return
			}
			code := strings.ReplaceAll(string(s.Code), "var a =", "const a =")
			if err != nil || !strings.Contains(code, c.want) {
				t.Errorf("%v, want %q in\n%s", err, c.want, code)
			}
		})
	}
	// A script in JavaScript that imports nothing has nothing to do with it.
	dir := files(t, map[string]string{"h.js": "export default {} // import", "tsconfig.json": `{"compilerOptions": {"paths": {}}}`})
	if _, err := (&Maker{}).of(t, filepath.Join(dir, "h.js"), Limits{}); err != nil {
		t.Error(err)
	}
}
