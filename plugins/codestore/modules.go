package codestore

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bulkhead/internal/privatefile"
)

// Modules are kept as they are, beside the code that was made of them, by their own SHA-256. So one
// that was overwritten or removed where it came from is still there to go back to.

const (
	moduleFolder = "wasm"
	moduleSuffix = ".wasm"
	// largestModule is more than any module has that is loaded.
	largestModule = 1 << 30
)

// modulePath is the file of a module in the folder.
func modulePath(module Sum) string {
	return filepath.Join(moduleFolder, hex.EncodeToString(module[:])+moduleSuffix)
}

// KeepModule keeps a module, whose SHA-256 module is, whole or not at all. One that is there
// already is noted to have been used just now; added reports whether it was not.
func (s *Store) KeepModule(module Sum, b []byte) (added bool, err error) {
	root, err := openFolder(s.dir)
	if err != nil {
		return false, fmt.Errorf("keeping a module: %w", err)
	}
	defer root.Close()
	name, now := modulePath(module), time.Now()
	if holds(root, name, b) && root.Chtimes(name, now, now) == nil {
		return false, nil
	}
	if err = subfolder(root, moduleFolder); err == nil {
		err = place(root, false, name, b) // see holds
	}
	if err != nil {
		return false, fmt.Errorf("keeping a module in %s: %w", s.dir, err)
	}
	return true, nil
}

// holds reports whether a file has these bytes. They are compared since nothing waits for them to
// be on the disk when they are written: a thousand modules would take seconds.
func holds(root *os.Root, name string, b []byte) bool {
	if info, err := root.Lstat(name); err != nil || !info.Mode().IsRegular() || info.Size() != int64(len(b)) {
		return false
	}
	f, err := privatefile.Open(root, name)
	if err != nil {
		return false
	}
	defer f.Close()
	buffer := make([]byte, min(len(b), piece))
	for len(b) > 0 {
		n := min(len(b), len(buffer))
		if _, err := io.ReadFull(f, buffer[:n]); err != nil || !bytes.Equal(buffer[:n], b[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}

// Module reads a module that was kept. The error is fs.ErrNotExist when there is none, and a
// *Damaged, which is removed, when its SHA-256 is another one.
func (s *Store) Module(module Sum) ([]byte, error) {
	root, err := openFolder(s.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	name := modulePath(module)
	f, err := privatefile.Open(root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	why := ""
	var b []byte
	if err != nil {
		why = err.Error()
	} else {
		defer f.Close()
		if b, err = io.ReadAll(io.LimitReader(f, largestModule)); err != nil {
			why = err.Error()
		} else if sha256.Sum256(b) != module {
			why = "its SHA-256 is another one"
		}
	}
	if why != "" {
		_ = root.RemoveAll(name)
		return nil, &Damaged{filepath.Join(s.dir, name), why}
	}
	return b, nil
}

// TrimModules removes modules that were kept, those first whose use is longest ago, until the
// others have most bytes together. Those for which used answers true stay, whatever they have. It
// answers how many bytes are left, and how many modules it has removed.
func (s *Store) TrimModules(most int64, used func(module Sum) bool) (left int64, removed int, err error) {
	root, err := openFolder(s.dir)
	if err != nil {
		return 0, 0, err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), moduleFolder)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("looking at the modules in %s: %w", s.dir, err)
	}
	left, removed = trim(root, moduleFolder, entries, most, func(file string) bool {
		name, isModule := strings.CutSuffix(file, moduleSuffix)
		sum, err := hex.DecodeString(name)
		return isModule && err == nil && len(sum) == sha256.Size && used(Sum(sum))
	})
	return left, removed, nil
}

// trim removes files of a folder, those first whose use is longest ago, until the others have most
// bytes together. Those stay for which stays answers true. It answers how many bytes are left, and
// how many files it has removed.
func trim(root *os.Root, folder string, entries []fs.DirEntry, most int64, stays func(file string) bool) (left int64, removed int) {
	var infos []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			infos = append(infos, info)
			left += info.Size()
		}
	}
	slices.SortFunc(infos, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, info := range infos {
		if left <= most {
			break
		}
		if !stays(info.Name()) && root.RemoveAll(filepath.Join(folder, info.Name())) == nil {
			left -= info.Size()
			removed++
		}
	}
	return left, removed
}
