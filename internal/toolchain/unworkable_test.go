package toolchain

import (
	"fmt"
	"strings"
	"testing"

	"bulkhead/plugins/admit"
	"bulkhead/sdk"
)

// Each name of the table is found, by whatever name its package has in the file, and nothing else.
func TestUnworkable(t *testing.T) {
	for _, u := range unworkable {
		names := u.names
		if names == nil {
			names = []string{"Int", "Perm", "Float64"}
		}
		for _, name := range names {
			text := fmt.Sprintf("package main\n\nimport p %q\n\nvar x = p.%s\n", u.path, name)
			want := fmt.Sprintf("./a.go:5:9: p.%s in a handler %s; %s", name, u.what, u.mend)
			if lines := unworkableIn("a.go", []byte(text)); len(lines) != 1 || lines[0] != want {
				t.Errorf("%s.%s: %q; want %q", u.path, name, lines, want)
			}
		}
		for _, name := range append(u.except, "nothing") {
			if u.names == nil && name == "nothing" {
				continue
			}
			text := fmt.Sprintf("package main\n\nimport p %q\n\nvar x = p.%s\n", u.path, name)
			if lines := unworkableIn("a.go", []byte(text)); len(lines) > 0 {
				t.Errorf("%s.%s: %q", u.path, name, lines)
			}
		}
	}
	for name, text := range map[string]string{
		"a variable":           "import \"time\"\n\nfunc f() { var time struct{ Sleep int }; _ = time.Sleep }",
		"another package":      "import \"mine/time\"\n\nvar x = time.Sleep",
		"known":                "import \"time\"\n\nvar x = time.Sleep //bulkhead:known it is short",
		"a field":              "import \"time\"\n\nvar y struct{ time struct{ Sleep int } }\nvar x = y.time.Sleep",
		"what is no Go at all": "import",
	} {
		if lines := unworkableIn("a.go", []byte("package main\n\n"+text+"\n")); len(lines) > 0 {
			t.Errorf("%s: %q", name, lines)
		}
	}
	if lines := unworkableIn("a.go", []byte("package main\n\nimport \"math/rand/v2\"\n\nvar x, y = rand.IntN(3), rand.New(nil)\n")); len(lines) != 1 || !strings.Contains(lines[0], "rand.IntN in a handler repeats") {
		t.Errorf("%q", lines)
	}
}

// A handler is built all the same, and its library is not looked at; a program is not either.
func TestGoSaysWhatIsUnworkable(t *testing.T) {
	files := map[string]string{
		"go.mod":          "module a\n\ngo 1.24\n\nrequire bulkhead v0.0.0\n\nreplace bulkhead => ./bulkhead\n",
		"bulkhead/go.mod": "module bulkhead\n\ngo 1.24\n",
		"a.go":            "package main\n\nimport (\n\t\"a/more\"\n\tguest \"bulkhead/sdk/go\"\n)\n\nfunc init() { guest.Register(more.Handler{}) }\n\nfunc main() {}\n",
		"more/more.go":    "package more\n\nimport (\n\tguest \"bulkhead/sdk/go\"\n\t\"os\"\n)\n\ntype Handler struct{ guest.Base }\n\nfunc (Handler) Data(c *guest.Conn, p []byte) (int, error) { os.Exit(1); return 0, nil }\n",
	}
	for _, f := range sdk.Go() {
		files["bulkhead/"+f.Path] = string(f.Text)
	}
	r, said, err := compiled(t, files)
	const want = "./more/more.go:10:61: os.Exit in a handler ends the instance, with all its connections; an error that a callback returns ends one connection, and so does Abort\n"
	if err != nil || said != want || r.Shape != admit.Events {
		t.Errorf("shape %s, %v\n%s", r.Shape, err, said)
	}
	_, said, err = compiled(t, map[string]string{"go.mod": "module a\n", "a.go": "package main\n\nimport \"os\"\n\nfunc main() { os.Exit(1) }\n"})
	if err != nil || said != "" {
		t.Errorf("%v\n%s", err, said)
	}
}
