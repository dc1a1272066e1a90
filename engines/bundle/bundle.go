package bundle

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"

	"bulkhead/engines"
	"bulkhead/plugins/compiler"
)

// Script is a script that imports nothing.
type Script struct {
	// Code is JavaScript, with a source map as a comment at its end; of a script in Lua or Python,
	// its files behind each other, as the engines take them. Of a script in JavaScript, Lua or
	// Python that imports no file it is the script's, byte for byte.
	Code []byte
	// Files are what it was made of, by their paths in the script's folder, the script first.
	Files []string
	// Looked are the paths in the script's folder that were looked at to find them, with what is
	// not there: as long as nothing changes at these, the same script comes of it.
	Looked []string
	// Warnings are for the script's author, a line each.
	Warnings []string
}

// Limits are what one script may take. Zero: the default.
type Limits struct {
	Files int   // that are read
	Bytes int64 // of them together
}

// The limits where nothing else is said.
const (
	DefaultFiles = 2000
	DefaultBytes = 32 << 20
)

// childLimits are what the process may take that makes a bundle: 6 MB in 1000 files take 1.6 s and
// 420 MB.
var childLimits = compiler.Limits{Memory: 2 << 30, CPU: time.Minute, Wall: 10 * time.Minute}

// Maker makes bundles. Any goroutine may use it.
type Maker struct {
	// Command is the program that makes them, in a process of its own, and calls compiler.Main with
	// Task. Without arguments this process makes them.
	Command compiler.Command
	// Dir is where that process gets a folder to work in: one that nobody but us may enter.
	Dir string
	// Kept gives a bundle back by its SHA-256, so that it is not made again while its files are
	// the same. Nil: each is made again.
	Kept func(sum [sha256.Size]byte) ([]byte, error)
	// Notes has a bundle not be made again by the next process of the same program, either. Nil,
	// or without Kept: it is.
	Notes Notes

	mu   sync.Mutex
	made map[string]made // by the script's path

	looking    sync.Once
	programSum [sha256.Size]byte
	noProgram  error
}

// made is what became of a script when its files were as they are noted.
type made struct {
	limits Limits
	seen   []seen
	sum    [sha256.Size]byte
	script Script // without Code, which Kept has, and without warnings, which were given
	err    error  // it fails again
}

// mostMade bounds how many scripts are remembered.
const mostMade = 1 << 14

// Error is a script that cannot be made into one file.
type Error struct {
	// Lines say why: the file, the line and the column, then what is wrong and the mend.
	Lines []string
	// Key is that of the limit which the script's files go beyond: "script_files" or
	// "script_bytes". "": none.
	Key string
	// Looked is Script's: the error stays as long as nothing changes at these.
	Looked []string
}

// Error is the first line, and how many there are besides.
func (e *Error) Error() string {
	s := e.Lines[0]
	if more := len(e.Lines) - 1; more > 0 {
		s += fmt.Sprintf(" (and %d more)", more)
	}
	return s
}

// imports finds what may be an import. It also finds words in comments and texts, which esbuild
// sorts out.
var imports = regexp.MustCompile(`\bimport\b|\brequire\s*\(|\bfrom\s*["']`)

// requires is the same in Lua, and pythonWords in Python.
var (
	requires    = regexp.MustCompile(`\brequire\b`)
	pythonWords = regexp.MustCompile(`\bimport\b`)
)

// typed are the endings of TypeScript.
var typed = map[string]bool{".ts": true, ".mts": true}

// needed reports whether a script may have to be bundled.
func needed(path string, text []byte) bool {
	switch {
	case isLua(path):
		return requires.Match(text)
	case isPython(path):
		return pythonWords.Match(text)
	}
	return typed[filepath.Ext(path)] || imports.Match(text)
}

// Make makes one script of the script at path, whose text is given, and of what it imports. It
// blocks. The error is an *Error where the script is to blame, a *compiler.Failure where the
// process was ended, or that of ctx.
func (m *Maker) Make(ctx context.Context, path string, text []byte, limits Limits) (Script, error) {
	name := filepath.Base(path)
	if project, ok := engines.AssemblyScript(path); ok {
		return Script{}, &Error{
			Lines:  []string{fmt.Sprintf("%s:1:1: it is AssemblyScript, as %s says, and no script: bulkhead build %s makes a module of it, which a listener can name: plugin = \"X.wasm\"", name, project, path)},
			Looked: []string{name},
		}
	}
	if !needed(path, text) {
		return Script{Code: text, Files: []string{name}, Looked: []string{name}}, nil
	}
	if limits.Files <= 0 {
		limits.Files = DefaultFiles
	}
	if limits.Bytes <= 0 {
		limits.Bytes = DefaultBytes
	}
	if s, err, ok := m.again(path, limits); ok {
		return s, err
	}
	f, err := openFolder(path, limits)
	if err != nil {
		return Script{}, err
	}
	defer f.Close()
	r, err := m.run(ctx, f)
	s := Script{Code: r.Code, Files: f.files, Looked: f.looked(), Warnings: clean(r.Warnings)}
	certain := err == nil
	switch failure, failed := errors.AsType[*compiler.Failure](err); {
	case failed:
		certain = failure.Certain
		err = fmt.Errorf("%s cannot be made into one script: %w", path, err)
	case err != nil:
	case len(r.Errors) > 0:
		err = &Error{Lines: clean(r.Errors), Key: f.beyond, Looked: s.Looked}
	case r.Plain:
		s.Code = f.script
	case len(r.Code) == 0:
		err = fmt.Errorf("%s cannot be made into one script: the compiler said nothing", path)
		certain = false
	}
	if certain {
		n := made{limits: limits, seen: f.seen, sum: sha256.Sum256(s.Code), script: Script{Files: s.Files, Looked: s.Looked}, err: err}
		m.remember(path, n)
		m.keepNote(path, n, s.Warnings)
	}
	if err != nil {
		return Script{}, err
	}
	return s, nil
}

// run makes the bundle. esbuild does, in a child if there is a command for that; for Lua and Python
// there is not enough to do to harm anybody.
func (m *Maker) run(ctx context.Context, f *folder) (r result, err error) {
	switch {
	case isLua(f.name):
		return buildLua(f.name, f.read), nil
	case isPython(f.name):
		return buildPython(f.name, f.read), nil
	}
	if len(m.Command.Args) == 0 {
		defer func() {
			if p := recover(); p != nil {
				err = &Error{Lines: []string{fmt.Sprintf("%s: the bundler gave up on it: %v", f.name, p)}}
			}
		}()
		return build(f.name, f.read), nil
	}
	c := m.Command
	c.Limits = childLimits
	done := false
	err = c.Converse(ctx, m.Dir, taskName, func(line []byte, answer io.Writer) error {
		var s said
		if done || s.parse(line) != nil {
			return errStrange
		}
		if s.Result != nil {
			r, done = *s.Result, true
			return nil
		}
		if s.Script {
			s.Read = f.name
		}
		return send(answer, f.read(s.Read))
	})
	if err == nil && !done {
		err = errStrange
	}
	return r, err
}

var errStrange = errors.New("the compiler said something that cannot be understood; start this process again")

// again is what became of a script before, here or in an earlier process, if its files are the
// same.
func (m *Maker) again(path string, limits Limits) (s Script, err error, ok bool) {
	m.mu.Lock()
	was, known := m.made[path]
	m.mu.Unlock()
	fromNote := false
	if !known {
		was, known = m.noted(path)
		fromNote = known
	}
	if !known || was.limits != limits || m.Kept == nil && was.err == nil {
		return s, nil, false
	}
	f, err := openFolder(path, limits)
	if err != nil {
		return s, nil, false
	}
	defer f.Close()
	for _, q := range was.seen {
		if f.read(q.path); f.seen[len(f.seen)-1] != q {
			return s, nil, false
		}
	}
	if was.err != nil {
		return s, was.err, true
	}
	s = was.script
	if s.Code, err = m.Kept(was.sum); err != nil || sha256.Sum256(s.Code) != was.sum {
		return s, nil, false
	}
	if fromNote {
		was.script.Warnings = nil // they are given now
		m.remember(path, was)
	}
	return s, nil, true
}

func (m *Maker) remember(path string, n made) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.made == nil || len(m.made) >= mostMade {
		m.made = make(map[string]made)
	}
	m.made[path] = n
}

const (
	maxLines = 20
	maxLine  = 500
)

// clean are lines that come from a child, as they may be shown.
func clean(lines []string) []string {
	lines = lines[:min(len(lines), maxLines)]
	for i, s := range lines {
		s = strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) {
				return '?'
			}
			return r
		}, s)
		if len(s) > maxLine {
			s = strings.ToValidUTF8(s[:maxLine], "") + "..."
		}
		lines[i] = s
	}
	return lines
}
