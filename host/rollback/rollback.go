// Package rollback keeps what a rollback goes back to in a file of the state folder, so that it is
// there after a restart. The plugins themselves are kept by package plugins/codestore.
package rollback

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"bulkhead/internal/privatefile"
)

// FileName is the file in the state folder.
const FileName = "rollback.json"

// mostBytes is more than a record has: a configuration is 1 MiB at most, and names no more
// listeners than have room in it.
const mostBytes = 16 << 20

// Record is a configuration, and the plugins that it was served with.
type Record struct {
	// File is the configuration's absolute path, and Folder that from which the relative paths in
	// it are taken. Text is what it said.
	File, Folder string
	Text         []byte
	// Plugins are the SHA-256 of plugins, by the names of their listeners and routes.
	Plugins map[string][sha256.Size]byte
}

// stored is a Record in the file.
type stored struct {
	File    string            `json:"file"`
	Folder  string            `json:"folder"`
	Text    []byte            `json:"text"`
	Plugins map[string]string `json:"plugins"`
}

// Keep has the record be what is kept in the folder, whole or not at all; nil: nothing is. It waits
// for the disk: a machine that loses its power has this record or the one before. The plugins are
// not waited for; what is left of one says by its SHA-256 whether it is whole. The file is this
// user's alone, since a configuration may hold secrets.
func Keep(folder string, r *Record) error {
	if err := keep(folder, r); err != nil {
		return fmt.Errorf("keeping %s: %w", filepath.Join(folder, FileName), err)
	}
	return nil
}

func keep(folder string, r *Record) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	if r == nil {
		if err := root.Remove(FileName); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	s := stored{r.File, r.Folder, r.Text, make(map[string]string, len(r.Plugins))}
	for name, sum := range r.Plugins {
		s.Plugins[name] = hex.EncodeToString(sum[:])
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if len(b) > mostBytes {
		return fmt.Errorf("it would have %d bytes, of at most %d", len(b), mostBytes)
	}
	const next = FileName + ".new"
	if err := root.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a crash
		return err
	}
	if err := privatefile.Create(root, next, true, b); err != nil {
		return err
	}
	if err = root.Rename(next, FileName); err != nil {
		_ = root.Remove(next)
	}
	return err
}

// Read reads what is kept in the folder; nil: nothing is. It refuses a file that another user owns,
// or that others may read or write, since what it says is served.
func Read(folder string) (*Record, error) {
	r, err := read(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w; remove it, there is no rollback then until the next reload", filepath.Join(folder, FileName), err)
	}
	return r, nil
}

func read(folder string) (*Record, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	b, err := privatefile.Read(root, FileName, mostBytes)
	if err != nil {
		return nil, err
	}
	return parse(b)
}

func parse(b []byte) (*Record, error) {
	var s stored
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, err
	}
	r := &Record{s.File, s.Folder, s.Text, make(map[string][sha256.Size]byte, len(s.Plugins))}
	for name, digits := range s.Plugins {
		sum, err := hex.DecodeString(digits)
		if err != nil || len(sum) != sha256.Size {
			return nil, fmt.Errorf("the SHA-256 of the plugin of %q is none", name)
		}
		r.Plugins[name] = [sha256.Size]byte(sum)
	}
	if !filepath.IsAbs(r.File) || !filepath.IsAbs(r.Folder) {
		return nil, errors.New("it does not say of which file it is")
	}
	return r, nil
}
