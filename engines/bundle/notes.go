package bundle

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
)

// Notes keep what a Maker knows of bundles, so that the next process need not make them again
// either. Any goroutine calls them.
type Notes interface {
	// Note is what KeepNote was given last by this name. The error says why there is none.
	Note(name [sha256.Size]byte) ([]byte, error)
	// KeepNote keeps a note, or does not. It may not change it, nor have it later.
	KeepNote(name [sha256.Size]byte, note []byte)
}

// note is a bundle that was made without an error, as Notes have it.
type note struct {
	Program  [sha256.Size]byte // that made it: another one may make another bundle
	Limits   Limits
	Seen     []noted
	Sum      [sha256.Size]byte // of the code, which Kept has
	Files    []string
	Looked   []string
	Warnings []string
}

type noted struct {
	Path string
	Sum  [sha256.Size]byte
}

// noteName is what the note of a script is kept by.
func noteName(path string) ([sha256.Size]byte, error) {
	path, err := filepath.Abs(path)
	return sha256.Sum256([]byte("bundle\n" + path)), err
}

// noted is what an earlier process has made of a script, with its warnings, if the same program
// has.
func (m *Maker) noted(path string) (was made, ok bool) {
	if !m.notes(path) {
		return was, false
	}
	name, err := noteName(path)
	if err != nil {
		return was, false
	}
	text, err := m.Notes.Note(name)
	var n note
	if err != nil || json.Unmarshal(text, &n) != nil {
		return was, false
	}
	if program, err := m.program(); err != nil || program != n.Program {
		return was, false
	}
	was = made{limits: n.Limits, sum: n.Sum, script: Script{Files: n.Files, Looked: n.Looked, Warnings: n.Warnings}}
	for _, s := range n.Seen {
		was.seen = append(was.seen, seen{s.Path, s.Sum})
	}
	return was, true
}

// keepNote notes what was made of a script, for later processes.
func (m *Maker) keepNote(path string, of made, warnings []string) {
	if !m.notes(path) || of.err != nil {
		return
	}
	name, err := noteName(path)
	if err != nil {
		return
	}
	n := note{Limits: of.limits, Sum: of.sum, Files: of.script.Files, Looked: of.script.Looked, Warnings: warnings}
	if n.Program, err = m.program(); err != nil {
		return
	}
	for _, s := range of.seen {
		n.Seen = append(n.Seen, noted{s.path, s.sum})
	}
	if text, err := json.Marshal(n); err == nil {
		m.Notes.KeepNote(name, text)
	}
}

// notes reports whether a script is worth a note: to put files of Lua or Python behind each other
// takes less than to look whether it was done.
func (m *Maker) notes(path string) bool {
	return m.Notes != nil && m.Kept != nil && !isLua(path) && !isPython(path)
}

// program is a sum of the program that makes bundles, which is looked at once. The error says why
// it cannot be read.
func (m *Maker) program() ([sha256.Size]byte, error) {
	m.looking.Do(func() { m.programSum, m.noProgram = sumOfProgram(m.Command.Args) })
	return m.programSum, m.noProgram
}

func sumOfProgram(command []string) (sum [sha256.Size]byte, err error) {
	path := ""
	if len(command) > 0 {
		path = command[0]
	} else if path, err = os.Executable(); err != nil {
		return sum, err
	}
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	if id := buildID(f); len(id) > 0 {
		return sha256.Sum256(id), nil
	}
	h := sha256.New()
	if _, err = io.Copy(h, f); err != nil {
		return sum, err
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// buildID is what Go writes into a program, which differs if anything of it does: to read the whole
// program takes longer than to make a bundle. Empty: it is not there, or this is no ELF file.
func buildID(f *os.File) []byte {
	program, err := elf.NewFile(f)
	if err != nil {
		return nil
	}
	section := program.Section(".note.go.buildid")
	if section == nil {
		return nil
	}
	note, err := io.ReadAll(io.LimitReader(section.Open(), 1<<10))
	const head = 16 // three lengths, and "Go"
	if err != nil || len(note) <= head || len(bytes.Trim(note[head:], "\x00")) == 0 {
		return nil
	}
	return note
}
