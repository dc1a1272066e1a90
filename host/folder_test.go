package host_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// readsFile is a program that writes the file "a/b.txt" of its folder to its output, or traps.
func readsFile() *w.Module {
	const open, path, vectors, moved, buffer = 2000, 1000, 16, 8, 4096
	m := w.New()
	pathOpen := m.Import("wasi_snapshot_preview1", "path_open", "iiiiiIIii:i")
	read := m.Import("wasi_snapshot_preview1", "fd_read", "iiii:i")
	write := m.Import("wasi_snapshot_preview1", "fd_write", "iiii:i")
	m.Memory(1)
	m.Data(path, "a/b.txt")
	m.Func("_start", ":", "",
		w.I32Const(3), w.I32Const(1), w.I32Const(path), w.I32Const(7), w.I32Const(0), w.I64Const(2), w.I64Const(2), w.I32Const(0), w.I32Const(open),
		w.Call(pathOpen), w.If(w.Unreachable),
		w.I32Const(vectors), w.I32Const(buffer), w.I32Store(0), w.I32Const(vectors), w.I32Const(4096), w.I32Store(4),
		w.I32Const(open), w.I32Load(0), w.I32Const(vectors), w.I32Const(1), w.I32Const(moved), w.Call(read), w.If(w.Unreachable),
		w.I32Const(vectors), w.I32Const(moved), w.I32Load(0), w.I32Store(4),
		w.I32Const(1), w.I32Const(vectors), w.I32Const(1), w.I32Const(moved), w.Call(write), w.If(w.Unreachable))
	return m
}

func folderConfig(t *testing.T, memory, folder string) string {
	return fmt.Sprintf(`
[host]
state = %q
[tenant.acme]
memory = %q
[[listener]]
name = "files"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
shape = "stdio"
folder = %q
`, hosttest.State(), memory, writeModule(t, readsFile()), folder)
}

// Programs see the folder as it was when their listener began, and it is on their tenant's
// account.
func TestFolder(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "a", "b.txt")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("hello ", 500)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h := hosttest.Serve(t, folderConfig(t, "1MiB", folder), host.Options{})
	used := h.Stats().Tenants[0].Memory
	if used < int64(len(text)) {
		t.Errorf("%d bytes are charged for a folder of %d", used, len(text))
	}
	if err := os.WriteFile(file, []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		c := hosttest.Dial(t, h.Addr("files"))
		hosttest.Hear(t, c, text)
		hosttest.HearEnd(t, c)
		_ = c.Close()
	}
	hosttest.Eventually(t, "the programs are gone", func() bool { return h.Stats().Tenants[0].Memory == used })
	h.Close()
	if left := h.Stats().Tenants[0].Memory; left != 0 {
		t.Errorf("%d bytes are charged when all is over", left)
	}
}

// What other compilers' libraries make of a folder, in a whole host: they ask for more of a call
// than the small modules above, and the engine hands their arguments over as it does.
func TestFolderOfOtherCompilers(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "a.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a.txt", filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	for language, want := range map[string]string{"zig": "./a.txt\n./link\n", "cargo-wasi": "./a.txt\n./link\n", "tinygo": "./a.txt\n./link\n"} {
		file, err := w.ProgramOf(language)
		if err != nil {
			t.Fatal(err)
		}
		h := hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
[tenant.acme]
[[listener]]
name = "files"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
shape = "stdio"
args = ["ls", "."]
folder = %q
`, hosttest.State(), file, folder), host.Options{})
		c := hosttest.Dial(t, h.Addr("files"))
		hosttest.Hear(t, c, want)
		hosttest.HearEnd(t, c)
		_ = c.Close()
		h.Close()
	}
}

func TestFolderThatCannotBeRead(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "large"), make([]byte, 300_000), 0o600); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	if err := os.Symlink("/etc/passwd", filepath.Join(out, "link")); err != nil {
		t.Fatal(err)
	}
	for want, text := range map[string]string{
		"more than 262144 bytes": folderConfig(t, "256KiB", folder),
		"link: path escapes":     folderConfig(t, "1MiB", out),
	} {
		cfg, err := config.Load(hosttest.WriteConfig(t, text))
		if err != nil {
			t.Fatal(err)
		}
		if err := host.Check(cfg, host.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("check says %v, want %q", err, want)
		}
	}
}
