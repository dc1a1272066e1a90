package codestore

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"testing"
)

// A note is there for another process, is no module's code, is replaced as a whole, and is gone
// when it was damaged.
func TestNotes(t *testing.T) {
	dir := folder(t)
	s := opened(t, dir, testEngine)
	if _, err := s.Note(module); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a note that was not kept: %v", err)
	}
	put(t, s, module, []byte("code"))
	for _, note := range []string{"a note", "", "another note"} {
		if err := s.KeepNote(module, []byte(note)); err != nil {
			t.Fatal(err)
		}
		got, err := opened(t, dir, testEngine).Note(module)
		if err != nil || string(got) != note {
			t.Errorf("it is %q, %v; want %q", got, err, note)
		}
	}
	has(t, s, module, []byte("code"))
	if _, err := s.Note(other); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the note of something else: %v", err)
	}
	path := s.Path(noteSum(module))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for what, spoiled := range map[string][]byte{"one bit": bytes.Replace(b, []byte("another"), []byte("anotheR"), 1), "cut short": b[:len(b)-1], "empty": nil} {
		if err := os.WriteFile(path, spoiled, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Note(module); !isDamaged(err) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := s.Note(module); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s, it is still there: %v", what, err)
		}
	}
}

func isDamaged(err error) bool {
	_, is := errors.AsType[*Damaged](err)
	return is
}

// Notes go as code goes, when there is more than code_cache.
func TestNotesAreBounded(t *testing.T) {
	s := opened(t, folder(t), testEngine)
	if err := s.BoundCode(1000); err != nil {
		t.Fatal(err)
	}
	for k := range 20 {
		if err := s.KeepNote(Sum{byte(k)}, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	left := 0
	for k := range 20 {
		if _, err := s.Note(Sum{byte(k)}); err == nil {
			left++
		}
	}
	if _, err := s.Note(Sum{19}); err != nil || left == 0 || left > 10 {
		t.Errorf("%d notes of 100 bytes are left, and the newest: %v", left, err)
	}
}
