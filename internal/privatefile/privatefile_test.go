package privatefile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func open(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// What was created is read, by nobody else, and is not made anew.
func TestCreate(t *testing.T) {
	dir := t.TempDir()
	root := open(t, dir)
	for _, sync := range []bool{false, true} {
		if err := Create(root, "it", sync, []byte("ab"), nil, []byte("c")); err != nil {
			t.Fatal(err)
		}
		if b, err := Read(root, "it", 3); err != nil || !bytes.Equal(b, []byte("abc")) {
			t.Errorf("it holds %q, %v", b, err)
		}
		if err := Create(root, "it", sync, []byte("other")); !errors.Is(err, fs.ErrExist) {
			t.Errorf("a file that is there: %v", err)
		}
		if info, err := root.Lstat("it"); err != nil || info.Mode() != 0o600 || info.Size() != 3 {
			t.Errorf("the file is %v, %v", info, err)
		}
		if err := root.Remove("it"); err != nil {
			t.Fatal(err)
		}
	}
	if err := Create(root, "nowhere/it", true, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

func TestReadRefuses(t *testing.T) {
	if _, err := Read(open(t, t.TempDir()), "it", 3); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
	write := func(path string) error { return os.WriteFile(path, []byte("abc"), 0o600) }
	for _, c := range []struct {
		name, want string
		put        func(path string) error
	}{
		{"a folder", "it is no file", func(path string) error { return os.Mkdir(path, 0o700) }},
		{"a link", "it is no file", func(path string) error { return errors.Join(write(path+".real"), os.Symlink("it.real", path)) }},
		{"a link to nowhere", "it is no file", func(path string) error { return os.Symlink("nowhere", path) }},
		{"a pipe", "it is no file", func(path string) error { return syscall.Mkfifo(path, 0o600) }},
		{"others read it", "it is open to others (mode 0604)", func(path string) error { return errors.Join(write(path), os.Chmod(path, 0o604)) }},
		{"the group writes it", "it is open to others (mode 0620)", func(path string) error { return errors.Join(write(path), os.Chmod(path, 0o620)) }},
		{"another user's", "it belongs to another user", func(path string) error { return errors.Join(write(path), os.Chown(path, 12345, 12345)) }},
		{"large", "it has more than 3 bytes", func(path string) error { return os.WriteFile(path, []byte("abcd"), 0o600) }},
	} {
		if c.name == "another user's" && os.Geteuid() != 0 {
			continue // who cannot give a file away
		}
		dir := t.TempDir()
		if err := c.put(filepath.Join(dir, "it")); err != nil {
			t.Fatal(err)
		}
		if b, err := Read(open(t, dir), "it", 3); b != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q, %v; want %q", c.name, b, err, c.want)
		}
	}
}

// Open neither follows a link out of the folder nor waits for a pipe's writer, whoever has put them
// there.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	root := open(t, dir)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := errors.Join(os.WriteFile(outside, nil, 0o600), os.Symlink(outside, filepath.Join(dir, "link")), syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if f, err := Open(root, "link"); err == nil {
		f.Close()
		t.Error("it follows a link out of the folder")
	}
	f, err := Open(root, "pipe")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}
