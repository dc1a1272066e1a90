package codestore

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// keep keeps a module of so many bytes, last used so long ago.
func keep(t *testing.T, s *Store, k, size int, ago time.Duration) Sum {
	t.Helper()
	b := bytes.Repeat([]byte{byte(k)}, size)
	sum := sha256.Sum256(b)
	if _, err := s.KeepModule(sum, b); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-ago)
	if err := os.Chtimes(filepath.Join(s.Dir(), modulePath(sum)), at, at); err != nil {
		t.Fatal(err)
	}
	return sum
}

func TestModules(t *testing.T) {
	s := opened(t, folder(t), testEngine)
	b := []byte("a module")
	if _, err := s.Module(module); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a module that was not kept: %v", err)
	}
	for k := range 2 {
		if added, err := s.KeepModule(module, b); err != nil || added != (k == 0) {
			t.Fatal(added, err)
		}
		if got, err := s.Module(module); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("it is %q, %v", got, err)
		}
	}
	path := filepath.Join(s.Dir(), modulePath(module))
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its file is %v, %v", info, err)
	}
	// Another process finds it, with code of another engine.
	if got, err := opened(t, s.Dir(), "another engine").Module(module); err != nil || !bytes.Equal(got, b) {
		t.Errorf("afterwards it is %q, %v", got, err)
	}
	for what, spoil := range map[string]func() error{
		"changed":   func() error { return os.WriteFile(path, []byte("a nodule"), 0o600) },
		"cut short": func() error { return os.Truncate(path, 3) },
		"a folder":  func() error { return errors.Join(os.Remove(path), os.MkdirAll(filepath.Join(path, "x"), 0o700)) },
		"a link":    func() error { return errors.Join(os.Remove(path), os.Symlink("/dev/zero", path)) },
	} {
		if _, err := s.KeepModule(module, b); err != nil {
			t.Fatal(err)
		}
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		_, err := s.Module(module)
		if d, ok := errors.AsType[*Damaged](err); !ok || d.Path != path {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := s.Module(module); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s, it is still there: %v", what, err)
		}
	}
	// One of which a crash has left as many bytes, but others, is replaced when it is kept again.
	if err := os.WriteFile(path, make([]byte, len(b)), 0o600); err != nil {
		t.Fatal(err)
	}
	if added, err := s.KeepModule(module, b); !added || err != nil {
		t.Errorf("of other bytes it is thought that they are there: %v", err)
	}
	if got, err := s.Module(module); err != nil || !bytes.Equal(got, b) {
		t.Errorf("it is %q, %v", got, err)
	}
	// What has the folder's name and is none goes.
	if err := errors.Join(os.RemoveAll(filepath.Join(s.Dir(), moduleFolder)), os.WriteFile(filepath.Join(s.Dir(), moduleFolder), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.KeepModule(module, b); err != nil {
		t.Error(err)
	}
}

// What is used stays; of the others those that were used last, as far as there is room.
func TestTrimModules(t *testing.T) {
	s := opened(t, folder(t), testEngine)
	if left, removed, err := s.TrimModules(0, nil); left != 0 || removed != 0 || err != nil {
		t.Errorf("of nothing %d bytes are left, %v", left, err)
	}
	var sums []Sum
	for k := range 5 {
		sums = append(sums, keep(t, s, k, 100, time.Duration(5-k)*time.Hour))
	}
	if err := os.WriteFile(filepath.Join(s.Dir(), moduleFolder, "something.else"), make([]byte, 50), 0o600); err != nil {
		t.Fatal(err)
	}
	there := func() (which []int) {
		for k, sum := range sums {
			if _, err := s.Module(sum); err == nil {
				which = append(which, k)
			}
		}
		return which
	}
	used := func(sum Sum) bool { return sum == sums[0] }
	for _, c := range []struct {
		most, left int64
		removed    int
		there      []int
	}{{1000, 550, 0, []int{0, 1, 2, 3, 4}}, {450, 450, 1, []int{0, 2, 3, 4}}, {299, 250, 2, []int{0, 4}}, {0, 100, 2, []int{0}}} {
		left, removed, err := s.TrimModules(c.most, used)
		if err != nil || left != c.left || removed != c.removed || !slices.Equal(there(), c.there) {
			t.Errorf("%d bytes at most: %d are left, %d were removed, and there are %v, %v", c.most, left, removed, there(), err)
		}
	}
	// One that is kept again was used now.
	a, b := keep(t, s, 7, 100, time.Hour), keep(t, s, 8, 100, 2*time.Hour)
	if _, err := s.KeepModule(b, bytes.Repeat([]byte{8}, 100)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.TrimModules(200, used); err != nil {
		t.Error(err)
	}
	if _, err := s.Module(a); err == nil {
		t.Error("the one that was not used for longest stays")
	}
	if _, err := s.Module(b); err != nil {
		t.Errorf("the one that was just used is gone: %v", err)
	}
}

// Folders of earlier versions go, and nothing else.
func TestOldFoldersGo(t *testing.T) {
	dir := folder(t)
	s := opened(t, dir, testEngine)
	kept := keep(t, s, 1, 100, time.Hour)
	for k, name := range []string{"wazero-1.8.0-amd64-linux", "wazero-dev-arm64-darwin", "wazerox"} {
		if err := errors.Join(os.Mkdir(filepath.Join(dir, name), 0o700), os.WriteFile(filepath.Join(dir, name, fmt.Sprint(k)), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	s = opened(t, dir, testEngine)
	names, err := filepath.Glob(filepath.Join(dir, "wazero*"))
	if err != nil || len(names) != 1 || filepath.Base(names[0]) != "wazerox" {
		t.Errorf("of the old folders there are %v, %v", names, err)
	}
	if _, err := s.Module(kept); err != nil {
		t.Error(err)
	}
}
