package watch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Whatever becomes of a file is a change, and what was written again as it was is one of no
// content.
func TestChanged(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	old := time.Now().Add(-time.Hour)
	age := func() {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	write(t, path, "one")
	age()
	var f Files
	for _, c := range []struct {
		what             string
		do               func()
		written, content bool
	}{
		{"nothing", func() {}, false, false},
		{"another content of the same length", func() { write(t, path, "two") }, true, true},
		{"and at the same time once more", func() {
			at, _ := os.Stat(path)
			write(t, path, "six")
			if err := os.Chtimes(path, at.ModTime(), at.ModTime()); err != nil {
				t.Fatal(err)
			}
		}, true, true},
		{"an older time", age, true, false},
		{"saved as it was", func() { write(t, path, "six") }, true, false},
		{"another file renamed to it, with its time", func() {
			age()
			f.Look([]string{path})
			at, _ := os.Stat(path)
			write(t, path+".new", "ten")
			if err := os.Chtimes(path+".new", at.ModTime(), at.ModTime()); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		}, true, true},
		{"removed", func() { os.Remove(path) }, true, true},
		{"a folder", func() { os.Mkdir(path, 0o700) }, true, true},
		{"a file in its folder", func() { write(t, filepath.Join(path, "b"), "") }, false, false},
		{"back", func() { os.RemoveAll(path); write(t, path, "six") }, true, true},
	} {
		before := f.Look([]string{path})
		c.do()
		after := f.Look([]string{path, path})
		if got := Changed(before, after, false); (len(got) > 0) != c.written {
			t.Errorf("%s: %v changed, want %v", c.what, got, c.written)
		}
		if got := Changed(before, after, true); (len(got) > 0) != c.content {
			t.Errorf("%s: the content of %v changed, want %v", c.what, got, c.content)
		}
	}
	// A path that comes or goes is a change where there is something.
	other := filepath.Join(dir, "none")
	if got := Changed(State{}, f.Look([]string{path, other}), true); !slices.Equal(got, []string{path}) {
		t.Errorf("%v is new, want %s", got, path)
	}
	if got := Changed(f.Look([]string{path, other}), State{}, true); !slices.Equal(got, []string{path}) {
		t.Errorf("%v has gone, want %s", got, path)
	}
}

// steps is a watcher whose time goes on by itself, and that calls do before each look but the
// first.
func steps(do func(n int)) *Watcher {
	at := time.Unix(1000, 0)
	n := 0
	w := &Watcher{}
	w.now = func() time.Time { return at }
	w.after = func(d time.Duration) <-chan time.Time {
		n++
		at = at.Add(d)
		do(n)
		c := make(chan time.Time, 1)
		c <- at
		return c
	}
	return w
}

// A file that is being written counts when it is left alone, and one that never is, after a while.
func TestWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	paths := func() []string { return []string{path} }
	looks := 0
	w := steps(func(n int) {
		looks = n
		if n >= 3 && n <= 6 {
			write(t, path, "half"[:n-2])
		}
	})
	now, changed, err := w.Wait(t.Context(), w.Look(paths()), paths, nil)
	if err != nil || !slices.Equal(changed, []string{path}) || looks < 10 {
		t.Errorf("%v changed after %d looks (%v), want %s after the tenth", changed, looks, err, path)
	}
	if again := w.Look(paths()); len(Changed(now, again, false)) > 0 {
		t.Errorf("the state that Wait returns is not that of its last look")
	}

	w = steps(func(n int) { looks = n; write(t, path, string(rune('a'+n%20))) })
	if _, changed, err = w.Wait(t.Context(), w.Look(paths()), paths, nil); err != nil || len(changed) != 1 || looks < 30 || looks > 50 {
		t.Errorf("%v changed after %d looks (%v), want some 40", changed, looks, err)
	}

	// What is again as it was is no change.
	before := w.Look(paths())
	wake := make(chan struct{}, 1)
	w = steps(func(n int) {
		switch n {
		case 1:
			os.Rename(path, path+".away")
		case 2:
			os.Rename(path+".away", path)
		case 20:
			wake <- struct{}{}
		}
		looks = n
	})
	w.after = orWake(w.after, wake)
	if _, changed, err = w.Wait(t.Context(), before, paths, wake); err != nil || changed != nil || looks != 20 {
		t.Errorf("%v changed after %d looks (%v), want nothing until it is woken", changed, looks, err)
	}

	ctx, cancel := context.WithCancelCause(t.Context())
	over := errors.New("over")
	cancel(over)
	w = steps(func(int) {})
	w.after = func(time.Duration) <-chan time.Time { return nil }
	if _, _, err = w.Wait(ctx, before, paths, nil); err != over {
		t.Errorf("%v, want the end of the context", err)
	}
}

// orWake has nothing come where somebody is to be woken.
func orWake(after func(time.Duration) <-chan time.Time, wake chan struct{}) func(time.Duration) <-chan time.Time {
	return func(d time.Duration) <-chan time.Time {
		c := after(d)
		if len(wake) > 0 {
			return nil
		}
		return c
	}
}

func BenchmarkLook(b *testing.B) {
	dir := b.TempDir()
	var paths []string
	for i := range 1000 {
		path := filepath.Join(dir, string(rune('a'+i%26))+time.Duration(i).String())
		if err := os.WriteFile(path, make([]byte, 4000), 0o600); err != nil {
			b.Fatal(err)
		}
		if err := os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
			b.Fatal(err)
		}
		paths = append(paths, path)
	}
	var f Files
	f.Look(paths)
	for b.Loop() {
		f.Look(paths)
	}
}
