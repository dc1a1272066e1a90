// Package sdk has the sources of the guest libraries, for those who start a project with them:
// authors need no clone of this repository.
package sdk

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed c/csa.h go/*.go go/guesttest/*.go go/internal
var files embed.FS

// CHeader is csa.h, the guest header for C and C++.
func CHeader() []byte {
	text, err := files.ReadFile("c/csa.h")
	if err != nil {
		panic(err) // it is in the program
	}
	return text
}

// Go has the guest library for Go, below the folder sdk/go of a module bulkhead, without its tests.
// The calls are in no order.
func Go(each func(path string, text []byte) error) error {
	return fs.WalkDir(files, "go", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := files.ReadFile(path)
		if err != nil {
			return err
		}
		return each("sdk/"+path, text)
	})
}
