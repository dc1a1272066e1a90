// Command generate writes what comes from the tables of package abi: abi/ABI.md, sdk/c/csa.h,
// the bindings of the other guest libraries, and plugins/hostcalls.go. It is run by "go generate
// ./abi", in the folder abi.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"bulkhead/abi/internal/render"
)

func main() {
	if err := generate(".."); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func generate(root string) error {
	files, err := render.Files(root)
	if err != nil {
		return err
	}
	for path, text := range files {
		name := filepath.Join(root, filepath.FromSlash(path))
		if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, text) {
			continue // keeps the time of a file that has not changed
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
