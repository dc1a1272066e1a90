package abi_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"bulkhead/abi/internal/render"
)

func TestGeneratedFilesAreFresh(t *testing.T) {
	files, err := render.Files("..")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 4 {
		t.Errorf("only %d files are generated", len(files))
	}
	for path, want := range files {
		got, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(path)))
		if err != nil {
			t.Errorf("%v; run: go generate ./abi", err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s is stale; run: go generate ./abi", path)
		}
	}
}
