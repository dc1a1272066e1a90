package local

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/store"
	"bulkhead/store/storetest"

	"go.etcd.io/bbolt"
)

// opened is a file of a test.
type opened struct {
	*File
	path     string
	budget   *storetest.Budget
	mu       sync.Mutex
	failures []error
}

func open(t testing.TB, fs *Files, path string, now func() int64, b *storetest.Budget) *opened {
	o := &opened{path: path, budget: b}
	o.File = fs.File(FileOptions{Path: path, Now: now, Budget: b, Most: func() int64 { return b.Limit }, Failed: func(err error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.failures = append(o.failures, err)
	}})
	t.Cleanup(func() {
		o.Close()
		if n := b.Used(); n != 0 {
			t.Errorf("%d bytes are charged when it is closed", n)
		}
	})
	return o
}

func (o *opened) failed() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return fmt.Sprint(errors.Join(o.failures...))
}

func wall() int64 { return time.Now().UnixNano() }

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, o storetest.Options) store.Store {
		own := &storetest.Budget{}
		f := open(t, NewFiles(1), filepath.Join(t.TempDir(), "stores", "acme"), o.Clock.Now, o.Budget)
		t.Cleanup(func() {
			if own.Used() != o.Budget.Used() {
				t.Errorf("%d bytes are charged to the store, and %d in all", own.Used(), o.Budget.Used())
			}
		})
		return f.Store("x", StoreOptions{TTL: o.TTL, Budget: own})
	})
}

// What was done is there when the file is opened again, with its revisions and sizes; stores do not
// see each other.
func TestReopened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "acme")
	var used int
	var last int64
	for round := range 3 {
		b := &storetest.Budget{}
		f := open(t, NewFiles(1), path, wall, b)
		x, y := f.Store("x", StoreOptions{}), f.Store("y", StoreOptions{})
		if round > 0 {
			if got := storetest.Get(x, "k"); got != fmt.Sprintf("value %d at %d", round-1, last) {
				t.Errorf("round %d: %s", round, got)
			}
			if b.Used() != used || x.Size() == 0 || x.Size()+y.Size() != used {
				t.Errorf("round %d: %d bytes are charged, %d and %d to the stores; it were %d", round, b.Used(), x.Size(), y.Size(), used)
			}
		}
		if got := storetest.Get(y, "k"); got != "NOT_FOUND" {
			t.Errorf("the other store has it, too: %s", got)
		}
		storetest.Set(t, y, fmt.Sprint("other ", round), "")
		r := storetest.Set(t, x, "k", fmt.Sprint("value ", round))
		if r <= last {
			t.Errorf("revision %d after %d", r, last)
		}
		last, used = r, b.Used()
		f.Close()
		if got := storetest.Get(x, "k"); got != "UNREACHABLE" {
			t.Errorf("when it is closed, it answers %s", got)
		}
	}
}

// A few files may be open; others wait, and get their turn.
func TestManyFiles(t *testing.T) {
	fs := NewFiles(2)
	dir := t.TempDir()
	var all sync.WaitGroup
	for i := range 10 {
		f := open(t, fs, filepath.Join(dir, fmt.Sprint(i)), wall, &storetest.Budget{})
		s := f.Store("x", StoreOptions{})
		all.Go(func() {
			for k := range 5 {
				storetest.Set(t, s, "k", fmt.Sprint(i, k))
				if got := storetest.Get(s, "k"); got != fmt.Sprintf("%d%d at %d", i, k, k+1) && got != fmt.Sprintf("%d %d at %d", i, k, k+1) {
					t.Errorf("file %d: %s", i, got)
				}
				if n := fs.Open(); n > 2 {
					t.Errorf("%d files are open", n)
				}
			}
		})
	}
	all.Wait()
}

// A file that is damaged is its own stores' trouble, is named, and is used again when it is mended.
func TestDamage(t *testing.T) {
	good := func(t *testing.T, path string) {
		f := open(t, NewFiles(1), path, wall, &storetest.Budget{})
		s := f.Store("x", StoreOptions{})
		for i := range 2000 {
			if res := storetest.Do(s, store.Request{Op: store.Set, Key: fmt.Appendf(nil, "key %04d", i), Value: bytes.Repeat([]byte("v"), 100), Expect: store.Any}); i == 0 && res.Code != abi.OK {
				t.Fatal(res.Code)
			}
			if i == 20 {
				break
			}
		}
		f.Close()
	}
	damages := map[string]func([]byte) []byte{
		"torn":  func(b []byte) []byte { return b[:len(b)/2] },
		"empty": func(b []byte) []byte { return b[:10] },
		"both metas": func(b []byte) []byte {
			clear(b[:2*os.Getpagesize()])
			return b
		},
		"all pages": func(b []byte) []byte {
			for i := 2 * os.Getpagesize(); i < len(b); i++ {
				b[i] ^= 0xff
			}
			return b
		},
		"a value": func(b []byte) []byte {
			return bytes.ReplaceAll(b, []byte("vvvvvvvv"), []byte("vvvvwvvv"))
		},
		"a key": func(b []byte) []byte {
			return bytes.ReplaceAll(b, []byte("key 0003"), []byte("key 0004"))
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "acme")
			good(t, path)
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(bytes.Clone(whole)), 0o600); err != nil {
				t.Fatal(err)
			}
			f := open(t, NewFiles(1), path, wall, &storetest.Budget{})
			s := f.Store("x", StoreOptions{})
			bad := 0
			for _, r := range []store.Request{{Op: store.Get, Key: []byte("key 0003")}, {Op: store.Scan, Key: []byte("k")}, {Op: store.Set, Key: []byte("key 0003"), Expect: store.Any}, {Op: store.Get, Key: []byte("key 0004")}} {
				switch res := storetest.Do(s, r); res.Code {
				case abi.OK, abi.NotFound:
				case abi.Unreachable:
					bad++
				default:
					t.Errorf("%v answers %v", r.Op, res.Code)
				}
			}
			if bad == 0 || !strings.Contains(f.failed(), path+": ") {
				t.Errorf("%d operations failed: %s", bad, f.failed())
			}
			f.Close()
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			again := open(t, NewFiles(1), path, wall, &storetest.Budget{})
			if got := storetest.Get(again.Store("x", StoreOptions{}), "key 0003"); !strings.HasPrefix(got, "vvv") {
				t.Errorf("when it is mended: %s", got)
			}
		})
	}
}

// A file that becomes shorter while it is open is read where there is nothing: that is an error,
// and does not end the process.
func TestTornWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "acme")
	f := open(t, NewFiles(1), path, wall, &storetest.Budget{})
	s := f.Store("x", StoreOptions{})
	storetest.Set(t, s, "k", strings.Repeat("v", 60000))
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if got := storetest.Get(s, "k"); got != "UNREACHABLE" || !strings.Contains(f.failed(), path) {
		t.Errorf("it answers %.100s: %s", got, f.failed())
	}
}

// A file that somebody else has open, and a folder that is none, are errors that pass.
func TestCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file", "acme")
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := open(t, NewFiles(1), path, wall, &storetest.Budget{})
	s := f.Store("x", StoreOptions{})
	for range 3 {
		if got := storetest.Get(s, "k"); got != "UNREACHABLE" {
			t.Errorf("it answers %s", got)
		}
	}
	if n := strings.Count(f.failed(), path); n != 1 {
		t.Errorf("it was tried %d times at once", n)
	}
	f.Close()
	db, err := bbolt.Open(filepath.Join(dir, "taken"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	f = open(t, NewFiles(1), filepath.Join(dir, "taken"), wall, &storetest.Budget{})
	if got := storetest.Get(f.Store("x", StoreOptions{}), "k"); got != "UNREACHABLE" {
		t.Errorf("it answers %s", got)
	}
}

// A disk without room, here a file that may not grow, is QUOTA, and what deletes still works.
func TestFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "acme")
	b := &storetest.Budget{}
	f := NewFiles(1).File(FileOptions{Path: path, Now: wall, Budget: b, Most: func() int64 { return 1 << 18 }})
	f.slack = 1 << 20
	defer f.Close()
	s := f.Store("x", StoreOptions{})
	var kept []string
	value := strings.Repeat("v", 60000)
	for i := 0; ; i++ {
		key := fmt.Sprint(i)
		res := storetest.Do(s, store.Request{Op: store.Set, Key: []byte(key), Value: []byte(value), Expect: store.Any})
		if res.Code == abi.Quota {
			break
		}
		if kept = append(kept, key); res.Code != abi.OK || i == 100 {
			t.Fatalf("write %d: %v", i, res.Code)
		}
	}
	if len(kept) == 0 {
		t.Fatal("there is no room for anything")
	}
	for _, key := range kept {
		if got := storetest.Get(s, key); !strings.HasPrefix(got, value) {
			t.Errorf("%s is %.100s", key, got)
		}
	}
	if used := len(kept)*(60000+store.Overhead) + len(strings.Join(kept, "")); b.Used() != used {
		t.Errorf("%d bytes are charged, not %d", b.Used(), used)
	}
}
