package codestore

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const testEngine = "an engine"

var (
	module = sha256.Sum256([]byte("a module"))
	other  = sha256.Sum256([]byte("another module"))
	named  = sha256.Sum256([]byte("what the engine calls it"))
)

func opened(t testing.TB, dir, engine string) *Store {
	t.Helper()
	s, err := Open(dir, engine)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// folder is the path of a store that is yet to be made.
func folder(t testing.TB) string { return filepath.Join(t.TempDir(), "store") }

func put(t testing.TB, s *Store, module Sum, code []byte) {
	t.Helper()
	if err := s.Put(module, named, code); err != nil {
		t.Fatal(err)
	}
}

// has wants the code of a module to be there.
func has(t testing.TB, s *Store, module Sum, want []byte) {
	t.Helper()
	c, err := s.Get(module)
	if err != nil {
		t.Fatal(err)
	}
	if c.Engine != named || !bytes.Equal(c.Bytes, want) {
		t.Errorf("%d bytes for %x, want %d for %x", len(c.Bytes), c.Engine, len(want), named)
	}
	c.Release()
}

// damaged wants the code of a module to be damaged, and then to be gone.
func damaged(t testing.TB, s *Store, module Sum, why string) {
	t.Helper()
	_, err := s.Get(module)
	var d *Damaged
	if !errors.As(err, &d) || d.Path != s.Path(module) || !strings.Contains(d.Why, why) {
		t.Errorf("Get says %v, want damage: %s", err, why)
	}
	if _, err := s.Get(module); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is damaged is not removed: %v", err)
	}
}

func TestStore(t *testing.T) {
	dir := folder(t)
	s := opened(t, dir, testEngine)
	if _, err := s.Get(module); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("getting what is not there: %v", err)
	}
	code := bytes.Repeat([]byte("code "), piece/3) // more than a piece
	put(t, s, module, code)
	put(t, s, other, nil)
	has(t, s, module, code)
	has(t, s, other, nil)
	put(t, s, module, []byte("new"))
	has(t, opened(t, dir, testEngine), module, []byte("new"))
	if _, err := opened(t, dir, "another engine").Get(module); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("another engine's code: %v", err)
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		info, _ := d.Info()
		if want := map[bool]fs.FileMode{true: 0o700, false: 0o600}[d.IsDir()]; info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		if strings.HasPrefix(d.Name(), writePrefix) {
			t.Errorf("%s is left", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Whatever bit is another one, and wherever the file is cut, the code is not
// given out.
func TestEveryBit(t *testing.T) {
	s := opened(t, folder(t), testEngine)
	code := []byte("some code")
	put(t, s, module, code)
	file := s.Path(module)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	try := func(b []byte, what string, at int) {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		var d *Damaged
		if _, err := s.Get(module); !errors.As(err, &d) {
			t.Errorf("%s %d: %v", what, at, err)
		}
	}
	for at := range good {
		for bit := range 8 {
			b := bytes.Clone(good)
			b[at] ^= 1 << bit
			try(b, "a bit flipped of byte", at)
		}
		try(good[:at], "cut at byte", at)
	}
	try(append(bytes.Clone(good), 0), "a byte more than", len(good))
	try(append(bytes.Clone(good), good...), "twice", len(good))
	try(bytes.Repeat([]byte{0}, len(good)), "zeroes", len(good))
	put(t, s, module, code)
	has(t, s, module, code)
}

// No file but the one that was put is taken for code.
func FuzzGet(f *testing.F) {
	s := opened(f, folder(f), testEngine)
	put(f, s, module, []byte("some code"))
	file := s.Path(module)
	good, err := os.ReadFile(file)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{})
	f.Add(good[:headerSize])
	f.Add(bytes.Repeat([]byte(magic), 20))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := s.Get(module); err == nil && !bytes.Equal(b, good) {
			t.Errorf("%q is taken for code: %q", b, c.Bytes)
		}
	})
}

// A file belongs to one module, one engine and one folder.
func TestSwapped(t *testing.T) {
	dir := folder(t)
	s := opened(t, dir, testEngine)
	move := func(from, to string) {
		t.Helper()
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(to), 0o700)
		}
		if err == nil {
			err = os.WriteFile(to, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, other, []byte("other"))
	move(s.Path(other), s.Path(module))
	damaged(t, s, module, "of another module, or of another engine")
	has(t, s, other, []byte("other"))

	put(t, s, module, []byte("ours"))
	new := opened(t, dir, "another engine")
	move(s.Path(module), new.Path(module))
	damaged(t, new, module, "of another module, or of another engine")

	elsewhere := opened(t, folder(t), testEngine)
	move(s.Path(module), elsewhere.Path(module))
	damaged(t, elsewhere, module, "its digest is another one")
	has(t, s, module, []byte("ours"))
}

// What stands in the place of a file is removed, and what stands in the place of
// the folder of files as well.
func TestInPlace(t *testing.T) {
	s := opened(t, folder(t), testEngine)
	put(t, s, module, []byte("code"))
	file := s.Path(module)
	for name, f := range map[string]func() error{
		"folder": func() error { return os.MkdirAll(filepath.Join(file, "full"), 0o700) },
		"link":   func() error { return os.Symlink("/etc/passwd", file) },
		"loop":   func() error { return os.Symlink(file, file) },
	} {
		if err := errors.Join(os.RemoveAll(file), f()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(module); err == nil {
			t.Errorf("%s: it is read", name)
		}
		if err := errors.Join(os.RemoveAll(file), f()); err != nil {
			t.Fatal(err)
		}
		put(t, s, module, []byte("code"))
		has(t, s, module, []byte("code"))
	}
	for name, f := range map[string]func(string) error{
		"file": func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"link": func(p string) error { return os.Symlink(t.TempDir(), p) },
	} {
		if err := errors.Join(os.RemoveAll(filepath.Dir(file)), f(filepath.Dir(file))); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(module); err == nil {
			t.Errorf("%s for a folder: it is read", name)
		}
		put(t, s, module, []byte("code"))
		has(t, s, module, []byte("code"))
	}
}

// A key that is of no use is replaced; what was written with it is not read.
func TestKey(t *testing.T) {
	for why, hurt := range map[string]func(key string) error{
		"":                        func(key string) error { return os.Remove(key) },
		"has 0 bytes":             func(key string) error { return os.Truncate(key, 0) },
		"has 31 bytes":            func(key string) error { return os.Truncate(key, 31) },
		"it is open to others":    func(key string) error { return os.Chmod(key, 0o640) },
		"it is no file":           func(key string) error { return errors.Join(os.Remove(key), os.Mkdir(key, 0o700)) },
		"it is no file ":          func(key string) error { return errors.Join(os.Remove(key), os.Symlink("nowhere", key)) },
		"belongs to another user": func(key string) error { return os.Chown(key, 12345, 12345) },
	} {
		if why == "belongs to another user" && os.Geteuid() != 0 {
			continue
		}
		dir := folder(t)
		s := opened(t, dir, testEngine)
		if s.Remade != "" {
			t.Errorf("the first key: %s", s.Remade)
		}
		put(t, s, module, []byte("code"))
		if err := hurt(filepath.Join(dir, keyName)); err != nil {
			t.Fatal(err)
		}
		s = opened(t, dir, testEngine)
		if (s.Remade == "") != (why == "") || !strings.Contains(s.Remade, strings.TrimSpace(why)) {
			t.Errorf("%s: it says %q", why, s.Remade)
		}
		damaged(t, s, module, "its digest is another one")
		put(t, s, module, []byte("code"))
		if s = opened(t, dir, testEngine); s.Remade != "" {
			t.Errorf("%s: afterwards it says %q", why, s.Remade)
		}
		has(t, s, module, []byte("code"))
	}
}

// A folder that others can write to is refused, when it is opened and later.
func TestFolder(t *testing.T) {
	refused := func(dir, want string) {
		t.Helper()
		if _, err := Open(dir, testEngine); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v does not say %q", dir, err, want)
		}
	}
	dir := t.TempDir()
	s := opened(t, filepath.Join(dir, "store"), testEngine)
	put(t, s, module, nil)
	for _, mode := range []os.FileMode{0o710, 0o701, 0o770, 0o777} {
		if err := os.Chmod(s.Dir(), mode); err != nil {
			t.Fatal(err)
		}
		refused(s.Dir(), "say chmod 700")
		if _, err := s.Get(module); err == nil || !strings.Contains(err.Error(), "say chmod 700") {
			t.Errorf("Get from a folder of mode %o: %v", mode, err)
		}
		if err := s.Put(module, named, nil); err == nil || !strings.Contains(err.Error(), "say chmod 700") {
			t.Errorf("Put into a folder of mode %o: %v", mode, err)
		}
	}
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Symlink(t.TempDir(), link)); err != nil {
		t.Fatal(err)
	}
	refused(file, "is not a directory")
	refused(link, "is not a directory")
	refused(filepath.Join(dir, "no", "such"), "making the folder of compiled code")
	if os.Geteuid() == 0 {
		foreign := filepath.Join(dir, "foreign")
		if err := errors.Join(os.Mkdir(foreign, 0o700), os.Chown(foreign, 12345, 12345)); err != nil {
			t.Fatal(err)
		}
		refused(foreign, "belongs to another user (12345)")
	}
}

// Many use one folder, and make it, at the same time.
func TestAtOnce(t *testing.T) {
	dir := folder(t)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			s := opened(t, dir, testEngine)
			for i := range 20 {
				m := sha256.Sum256([]byte{byte(i % 4)})
				code := bytes.Repeat([]byte{byte(i % 4)}, 100)
				put(t, s, m, code)
				has(t, s, m, code)
			}
		})
	}
	all.Wait()
}

// What a crash has left half written is removed, and nothing else.
func TestLeftovers(t *testing.T) {
	dir := folder(t)
	put(t, opened(t, dir, testEngine), module, []byte("code"))
	old, young := filepath.Join(dir, writePrefix+"old"), filepath.Join(dir, writePrefix+"young")
	then := time.Now().Add(-2 * writeTime)
	if err := errors.Join(os.WriteFile(old, nil, 0o600), os.WriteFile(young, nil, 0o600), os.Chtimes(old, then, then)); err != nil {
		t.Fatal(err)
	}
	has(t, opened(t, dir, testEngine), module, []byte("code"))
	if _, err := os.Lstat(old); err == nil {
		t.Error("what was left is there")
	}
	if _, err := os.Lstat(young); err != nil {
		t.Error("what is being written is gone")
	}
}

// Reading and verifying code, of the size of a small guest's and of a Go guest's.
func BenchmarkGet(b *testing.B) {
	for name, size := range map[string]int{"16KiB": 16 << 10, "8MiB": 8 << 20} {
		b.Run(name, func(b *testing.B) {
			s := opened(b, folder(b), testEngine)
			put(b, s, module, make([]byte, size))
			b.SetBytes(int64(size))
			for b.Loop() {
				c, err := s.Get(module)
				if err != nil {
					b.Fatal(err)
				}
				c.Release()
			}
		})
	}
}

// Code that was not used for longest goes when there is more than may be, and what was just put
// never.
func TestBoundCode(t *testing.T) {
	s := opened(t, folder(t), testEngine)
	if err := s.BoundCode(1 << 20); err != nil {
		t.Error("of an empty folder: ", err)
	}
	of := func(k int) Sum { return Sum{byte(k)} }
	code := make([]byte, 1000)
	for k := range 5 {
		put(t, s, of(k), code)
		long := time.Now().Add(time.Duration(k-10) * time.Hour)
		if err := os.Chtimes(s.Path(of(k)), long, long); err != nil {
			t.Fatal(err)
		}
	}
	has(t, s, of(0), code) // it is used now
	there := func() (which []int) {
		for k := range 10 {
			if _, err := os.Stat(s.Path(of(k))); err == nil {
				which = append(which, k)
			}
		}
		return which
	}
	each := int64(len(code) + overhead)
	for _, c := range []struct {
		most  int64
		there []int
	}{{0, []int{0, 1, 2, 3, 4}}, {5 * each, []int{0, 1, 2, 3, 4}}, {3*each + 1, []int{0, 3, 4}}} {
		if err := s.BoundCode(c.most); err != nil || !slices.Equal(there(), c.there) {
			t.Errorf("%d bytes at most: there are %v, %v", c.most, there(), err)
		}
	}
	put(t, s, of(5), code)
	if got := there(); !slices.Equal(got, []int{0, 4, 5}) {
		t.Errorf("with one more there are %v", got)
	}
	put(t, s, of(6), make([]byte, 10*each))
	if got := there(); !slices.Equal(got, []int{6}) {
		t.Errorf("with one that is larger than all may be there are %v", got)
	}
	has(t, s, of(6), make([]byte, 10*each))
}
