package statetest

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// What has become too much goes, the oldest first, and the key stays.
func TestStateIsBounded(t *testing.T) {
	dir := t.TempDir()
	code := filepath.Join(dir, "modules", "code")
	if err := os.MkdirAll(code, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(path string, size int, age time.Duration) {
		t.Helper()
		then := time.Now().Add(-age)
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "modules", "key"), 32, 100*time.Hour)
	for n, name := range []string{"a", "b", "c", "d"} { // a is the youngest
		write(filepath.Join(code, name), 10_000, time.Duration(n+1)*time.Hour)
	}
	left := func() (names []string) {
		entries, err := os.ReadDir(code)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	bound(dir, 40_000)
	if got := left(); len(got) != 4 {
		t.Errorf("%v are left of what is within bounds", got)
	}
	bound(dir, 25_000)
	if got := left(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%v are left, and a and b are the youngest", got)
	}
	bound(dir, 0)
	if _, err := os.Stat(filepath.Join(dir, "modules", "key")); err != nil || len(left()) != 0 {
		t.Errorf("%v are left, and the key: %v", left(), err)
	}
}
