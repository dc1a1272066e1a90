package admit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/plugins/wasm"

	"golang.org/x/sys/unix"
)

// What is no file of a module's size is not read, and a pipe does not keep the reader waiting.
func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	small, large, pipe := filepath.Join(dir, "small"), filepath.Join(dir, "large"), filepath.Join(dir, "pipe")
	if err := os.WriteFile(small, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, wasm.MaxModule+1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadFile(small); err != nil || string(b) != "abc" {
		t.Errorf("a small file is %q, %v", b, err)
	}
	for name, want := range map[string]string{
		large: " is larger than ", pipe: " is not a regular file", dir: " is a directory", filepath.Join(dir, "none"): "no such file",
	} {
		if _, err := ReadFile(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("reading %s gives %v, not %q", filepath.Base(name), err, want)
		}
	}
}
