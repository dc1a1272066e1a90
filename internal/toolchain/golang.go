package toolchain

import (
	"strings"
)

// goLibrary is the guest library: what uses it is a handler, and the rest are programs.
const goLibrary = "bulkhead/sdk/go"

// goFiles has go list print a package, and the author's files in it, with tabs between them.
const goFiles = `{{.ImportPath}}{{if .Module}}{{if .Module.Main}}{{range .GoFiles}}{{"\t"}}{{$.Dir}}/{{.}}{{end}}{{end}}{{end}}`

// buildGo makes a library of a handler, whose exports the host calls, and a program of what uses
// standard input and output alone. Of a handler it says what cannot work in it.
func buildGo(b *build) error {
	compiler, ok := look("go")
	if !ok {
		return b.missing("Go 1.24 or later")
	}
	env := []string{"GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS="}
	var packages strings.Builder
	if _, err := b.callWith(env, &packages, compiler, "list", "-deps", "-f", goFiles, "."); err != nil {
		return err
	}
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", b.out}
	var files []string
	handler := false
	for line := range strings.Lines(packages.String()) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if fields[0] == goLibrary {
			handler = true
		}
		if fields[0] != goLibrary && !strings.HasPrefix(fields[0], goLibrary+"/") {
			files = append(files, fields[1:]...)
		}
	}
	if handler {
		args = append(args, "-buildmode=c-shared")
	}
	if err := b.call(env, compiler, append(args, ".")...); err != nil {
		return err
	}
	if handler {
		b.sayUnworkable(files)
	}
	return nil
}
