package toolchain

import (
	"strings"
)

// buildGo makes a library of a handler, whose exports the host calls, and a program of what uses
// standard input and output alone.
func buildGo(b *build) error {
	compiler, ok := look("go")
	if !ok {
		return b.missing("Go 1.24 or later")
	}
	env := []string{"GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS="}
	var packages strings.Builder
	if _, err := b.callWith(env, &packages, compiler, "list", "-deps", "-f", "{{.ImportPath}}", "."); err != nil {
		return err
	}
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", b.out}
	for name := range strings.Lines(packages.String()) {
		if strings.TrimSpace(name) == "bulkhead/sdk/go" {
			args = append(args, "-buildmode=c-shared")
		}
	}
	return b.call(env, compiler, append(args, ".")...)
}
