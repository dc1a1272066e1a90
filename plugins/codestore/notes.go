package codestore

import (
	"bytes"
	"crypto/sha256"
	"fmt"
)

// A note is what somebody knows of something that is not a module, and wants to know after a
// restart, too. It lies beside the code, in the same form, is verified as code is, and goes as code
// goes: BoundCode counts it.

// noteSum is what a note is kept by in the place of a module's sum, so that no module has it.
func noteSum(of Sum) Sum { return sha256.Sum256(append([]byte("note\n"), of[:]...)) }

// KeepNote keeps a note by a name, whole or not at all, in place of the one that is there. A crash
// of the machine may leave one that Note finds to be damaged.
func (s *Store) KeepNote(of Sum, note []byte) error {
	if err := s.put(noteSum(of), Sum{}, note, false); err != nil {
		return fmt.Errorf("keeping a note: %w", err)
	}
	return nil
}

// Note reads a note. The error is fs.ErrNotExist when there is none, and a *Damaged, which is
// removed, when it is not what KeepNote was given. The bytes are the caller's.
func (s *Store) Note(of Sum) ([]byte, error) {
	c, err := s.Get(noteSum(of))
	if err != nil {
		return nil, err
	}
	defer c.Release()
	return bytes.Clone(c.Bytes), nil
}
