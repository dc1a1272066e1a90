// Package sdk has the sources of the guest libraries, for those who start a project with them:
// authors need no clone of this repository.
package sdk

import (
	"embed"
	"io/fs"
	"slices"
	"strings"
)

//go:embed c/*.h c/csa.hpp go/*.go go/guesttest/*.go go/internal rust/Cargo.toml rust/src assemblyscript/*.ts zig/*.zig
var sources embed.FS

// C has the guest headers for C, which lie beside the handler.
func C() []File {
	return slices.DeleteFunc(CPlusPlus(), func(f File) bool { return strings.HasSuffix(f.Path, ".hpp") })
}

// CPlusPlus has the guest headers for C and C++, which lie beside the handler.
func CPlusPlus() []File {
	return slices.DeleteFunc(files("c", ""), func(f File) bool { return strings.Contains(f.Path, "/") })
}

// Go has the guest library for Go, without its tests: its files by their paths below a module
// called bulkhead.
func Go() []File { return files("go", "sdk/go/") }

// Rust has the crate bulkhead: its files by their paths in the crate's folder.
func Rust() []File { return files("rust", "") }

// AssemblyScript has the files of the guest library for AssemblyScript, which are a folder called
// bulkhead beside that of the handler.
func AssemblyScript() []File { return files("assemblyscript", "") }

// Zig has the files of the guest library for Zig, which are a folder called bulkhead beside the
// handler.
func Zig() []File { return files("zig", "") }

// File is a source of a guest library.
type File struct {
	Path string // with slashes
	Text []byte
}

// files are those below a folder, with prefix in place of the folder's name and a slash.
func files(folder, prefix string) (list []File) {
	err := fs.WalkDir(sources, folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := sources.ReadFile(path)
		list = append(list, File{prefix + strings.TrimPrefix(path, folder+"/"), text})
		return err
	})
	if err != nil {
		panic(err) // they are in the program
	}
	return list
}
