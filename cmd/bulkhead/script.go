package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"bulkhead/engines"
	"bulkhead/engines/bundle"
	"bulkhead/plugins/admit"
	"bulkhead/plugins/compiler"
)

// readPlugin reads the file of a plugin as a listener with default limits does, and makes one
// script of a script and what it imports. Files are what a script is made of. Warnings go to w.
func readPlugin(ctx context.Context, path string, w io.Writer) (code []byte, files []string, err error) {
	code, err = admit.ReadFile(path)
	if err != nil || !engines.IsScript(path) {
		return code, nil, err
	}
	dir, err := os.MkdirTemp("", "bulkhead-build-*")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	m := bundle.Maker{Command: compiler.Command{Args: compileWith}, Dir: dir}
	script, err := m.Make(ctx, path, code, bundle.Limits{})
	if err != nil {
		return nil, nil, err
	}
	for _, warning := range script.Warnings {
		fmt.Fprintln(w, "warning:", warning)
	}
	return script.Code, script.Files, nil
}
