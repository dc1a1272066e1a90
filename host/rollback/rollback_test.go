package rollback

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

func TestKeep(t *testing.T) {
	dir := t.TempDir()
	if r, err := Read(dir); r != nil || err != nil {
		t.Errorf("where nothing is kept: %v, %v", r, err)
	}
	if err := Keep(dir, nil); err != nil {
		t.Errorf("nothing is kept where nothing was: %v", err)
	}
	first := &Record{"/etc/a.toml", "/etc", []byte("a = 1\n\xff"), map[string][sha256.Size]byte{"it/route": {1, 2, 3}}}
	second := &Record{"/etc/a.toml", "/etc", []byte{}, map[string][sha256.Size]byte{}}
	if err := os.WriteFile(filepath.Join(dir, FileName+".new"), []byte("what a crash has left"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, want := range []*Record{first, second, first} {
		if err := Keep(dir, want); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(dir); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("it is %+v, %v; want %+v", got, err, want)
		}
	}
	info, err := os.Lstat(filepath.Join(dir, FileName))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	if err := Keep(dir, nil); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
}

// What others may have written, or is nothing that Keep writes, is refused, and says how to go on.
func TestReadRefuses(t *testing.T) {
	good := `{"file": "/a", "folder": "/", "text": "", "plugins": {}}`
	for name, put := range map[string]func(path string) error{
		"it is open to others": func(path string) error {
			return os.WriteFile(path, []byte(good), 0o644)
		},
		"no file": func(path string) error {
			if err := os.WriteFile(path+".real", []byte(good), 0o600); err != nil {
				return err
			}
			return os.Symlink(filepath.Base(path)+".real", path)
		},
		"it is no file":          func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"unexpected end of JSON": func(path string) error { return os.WriteFile(path, []byte(good[:20]), 0o600) },
		"is none": func(path string) error {
			return os.WriteFile(path, []byte(`{"file": "/a", "folder": "/", "plugins": {"it": "00"}}`), 0o600)
		},
		"does not say of which": func(path string) error { return os.WriteFile(path, []byte(`{}`), 0o600) },
		"it belongs to another user": func(path string) error {
			if os.Geteuid() != 0 {
				return nil // who cannot give a file away
			}
			if err := os.WriteFile(path, []byte(good), 0o600); err != nil {
				return err
			}
			return os.Chown(path, 12345, 12345)
		},
		"more than": func(path string) error { return os.WriteFile(path, []byte(strings.Repeat(" ", mostBytes+1)), 0o600) },
	} {
		dir := t.TempDir()
		if err := put(filepath.Join(dir, FileName)); err != nil {
			t.Fatal(err)
		}
		r, err := Read(dir)
		if os.Geteuid() != 0 && name == "it belongs to another user" {
			continue
		}
		if r != nil || err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"file": "/a", "folder": "/", "text": "YQ==", "plugins": {"it": "` + strings.Repeat("0f", sha256.Size) + `"}}`))
	f.Add([]byte(`{"file": "a"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parse(b); (r == nil) == (err == nil) {
			t.Errorf("%v, %v", r, err)
		}
	})
}
