package project_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/internal/capture"
	"bulkhead/internal/playtest"
	"bulkhead/internal/project"
)

// Each project is complete: it builds with nothing fetched, and its handler passes its own
// conversation. A compiler that this machine has not is skipped; CI installs them.
//
// It also answers as another handler has answered to a client that tcpdump has seen.
func TestProjects(t *testing.T) {
	file, err := os.Open("testdata/greeter.pcap")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	traffic, err := capture.Read(file, 5000)
	if err != nil || len(traffic.Connections) != 1 {
		t.Fatalf("capture.Read: %v, %v", traffic, err)
	}
	captured := traffic.Conversations("greeter.pcap")
	for _, lang := range project.Languages() {
		t.Run(lang, func(t *testing.T) {
			t.Parallel()
			made, err := project.Write(t.TempDir(), lang, "my-handler")
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range made.Files {
				text, err := os.ReadFile(filepath.Join(made.Folder, name))
				if err != nil {
					t.Fatal(err)
				}
				if !strings.HasPrefix(name, "bulkhead") && !strings.HasPrefix(name, "csa") && (bytes.Contains(text, []byte("PLUGIN")) || bytes.Contains(text, []byte("MEMORY"))) || strings.Contains(name, "NAME") {
					t.Errorf("%s has a place that was not filled in:\n%s", name, text)
				}
			}
			plugin := filepath.Join(made.Folder, made.Handler)
			if !made.Script {
				plugin = filepath.Join(made.Folder, "my-handler.wasm")
				if name := playtest.Build(t, made.Folder, plugin); name != "my-handler" {
					t.Errorf("the module would be called %s", name)
				}
			}
			text, err := os.ReadFile(filepath.Join(made.Folder, "my-handler.talk"))
			if err != nil {
				t.Fatal(err)
			}
			playtest.Plays(t, plugin, "my-handler.talk", text)
			playtest.Plays(t, plugin, "greeter.pcap", captured)
		})
	}
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"", "A", "a/b", "..", "-a", "1a", "a_b", "a b", strings.Repeat("a", 33)} {
		if _, err := project.Write(dir, "js", name); err == nil || !strings.Contains(err.Error(), "cannot be the name") {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := project.Write(dir, "go", "bulkhead"); err == nil {
		t.Error("a Go project has the name of its library's module")
	}
	for alias, handler := range map[string]string{"JavaScript": "a.js", "C++": "a.cc", "py": "a.py", "golang": "a.go", "as": "assembly/index.ts", "ASC": "assembly/index.ts"} {
		made, err := project.Write(t.TempDir(), alias, "a")
		if err != nil || made.Handler != handler {
			t.Errorf("%s: %v, %v", alias, made, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("what was refused has left %v (%v)", entries, err)
	}
}

// An empty folder is as good as none.
func TestEmptyFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "a"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := project.Write(dir, "lua", "a"); err != nil {
		t.Error(err)
	}
	if _, err := project.Write(dir, "lua", "a"); err == nil {
		t.Error("a project was written over another")
	}
}
