package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// shelf is a state folder for a test.
type shelf struct {
	t     *testing.T
	notes map[[sha256.Size]byte][]byte
	code  map[[sha256.Size]byte][]byte
	kept  int // notes
}

func newShelf(t *testing.T) *shelf {
	return &shelf{t: t, notes: make(map[[sha256.Size]byte][]byte), code: make(map[[sha256.Size]byte][]byte)}
}

func (s *shelf) Note(name [sha256.Size]byte) ([]byte, error) {
	if b, ok := s.notes[name]; ok {
		return b, nil
	}
	return nil, os.ErrNotExist
}

func (s *shelf) KeepNote(name [sha256.Size]byte, note []byte) {
	s.notes[name] = bytes.Clone(note)
	s.kept++
}

// process is a Maker as a new process has it.
func (s *shelf) process() *Maker {
	return &Maker{Notes: s, Kept: func(sum [sha256.Size]byte) ([]byte, error) {
		if b, ok := s.code[sum]; ok {
			return b, nil
		}
		return nil, os.ErrNotExist
	}}
}

// make has a process make a script, keeps it, and wants it to be made just then, or not.
func (s *shelf) make(what string, m *Maker, path string, limits Limits, isMade bool, want string) (made Script) {
	s.t.Helper()
	before := s.kept
	made, err := m.of(s.t, path, limits)
	if err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
	if !strings.Contains(string(made.Code), want) || !slices.Contains(made.Files, filepath.Base(path)) || len(made.Looked) == 0 {
		s.t.Errorf("%s: the files %v, with %v looked at, and the code %s", what, made.Files, made.Looked, made.Code)
	}
	if (s.kept > before) != isMade {
		s.t.Errorf("%s: it was made is %v", what, s.kept > before)
	}
	s.code[sha256.Sum256(made.Code)] = made.Code
	return made
}

// The next process does not make a bundle again, unless a file of it is another one, or the limits
// or the program are, or nobody has it any more. Its author is warned once in each process.
func TestMadeByAnEarlierProcess(t *testing.T) {
	dir := files(t, map[string]string{"h.ts": `import { a } from "./a.js"; export default a; if (a === NaN) log("never")`, "a.js": `export const a = 1`})
	path := filepath.Join(dir, "h.ts")
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := newShelf(t)
	first := s.make("at first", s.process(), path, Limits{}, true, "a = 1")
	if len(first.Warnings) != 1 {
		t.Fatalf("its warnings are %q", first.Warnings)
	}
	next := s.process()
	again := s.make("in the next process", next, path, Limits{}, false, "a = 1")
	if !bytes.Equal(again.Code, first.Code) || !slices.Equal(again.Files, first.Files) || !slices.Equal(again.Looked, first.Looked) || !slices.Equal(again.Warnings, first.Warnings) {
		t.Errorf("it is %+v, and was %+v", again, first)
	}
	if more := s.make("there again", next, path, Limits{}, false, "a = 1"); len(more.Warnings) != 0 {
		t.Errorf("its author is warned again: %q", more.Warnings)
	}
	t.Chdir(dir)
	s.make("by another path", s.process(), "h.ts", Limits{}, false, "a = 1")
	s.make("within other limits", s.process(), path, Limits{Files: 2, Bytes: 1 << 20}, true, "a = 1")
	s.make("within the same", s.process(), path, Limits{Files: 2, Bytes: 1 << 20}, false, "a = 1")
	s.make("within the first", s.process(), path, Limits{}, true, "a = 1")
	write("a.js", "export const a = 2")
	s.make("an import has changed", s.process(), path, Limits{}, true, "a = 2")
	write("a.ts", "export const a: number = 3")
	s.make("a file that does not come before", s.process(), path, Limits{}, false, "a = 2")
	if err := os.Remove(filepath.Join(dir, "a.js")); err != nil {
		t.Fatal(err)
	}
	s.make("an import has gone", s.process(), path, Limits{}, true, "a = 3")
	clear(s.code)
	s.make("nobody has it", s.process(), path, Limits{}, true, "a = 3")
	for name, b := range s.notes {
		var n note
		if err := json.Unmarshal(b, &n); err != nil {
			t.Fatal(err)
		}
		n.Program[0]++
		b, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		s.notes[name] = b
	}
	s.make("another program has made it", s.process(), path, Limits{}, true, "a = 3")
	for name := range s.notes {
		s.notes[name] = []byte("{nonsense")
	}
	s.make("the note is none", s.process(), path, Limits{}, true, "a = 3")
}

// What cannot be made, and what takes less than a note, has none. Without a place for notes or for
// code nothing is noted.
func TestNoNotes(t *testing.T) {
	dir := files(t, map[string]string{
		"wrong.ts": "export default {", "h.lua": "require 'a' return {}", "h.py": "import a", "a.lua": "", "a.py": "", "h.ts": "export default {}",
	})
	s := newShelf(t)
	m := s.process()
	if _, err := m.of(t, filepath.Join(dir, "wrong.ts"), Limits{}); err == nil {
		t.Error("it is made")
	}
	for _, name := range []string{"h.lua", "h.py"} {
		s.make(name, m, filepath.Join(dir, name), Limits{}, false, "")
	}
	m = s.process()
	m.Kept = nil
	s.make("nobody keeps the code", m, filepath.Join(dir, "h.ts"), Limits{}, false, "")
	m = s.process()
	m.Command.Args = []string{filepath.Join(dir, "none")}
	if _, err := m.program(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the sum of a program that is not there: %v", err)
	}
}

// A program is known by what Go has written into it, or else by all of its bytes.
func TestSumOfProgram(t *testing.T) {
	dir, sums := t.TempDir(), make(map[[sha256.Size]byte]string)
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{own}
	for i, b := range [][]byte{nil, []byte("a program"), []byte("\x7fELF and no more"), bytes.Repeat([]byte("x"), 1<<20)} {
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	for _, path := range paths {
		sum, err := sumOfProgram([]string{path, "argument"})
		if other, known := sums[sum]; err != nil || known {
			t.Errorf("%s has the sum %x, as %q has: %v", path, sum, other, err)
		}
		sums[sum] = path
	}
	if sum, err := sumOfProgram(nil); err != nil || sums[sum] != own {
		t.Errorf("of this process it is that of %q: %v", sums[sum], err)
	}
}
