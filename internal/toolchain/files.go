package toolchain

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// made are folders of a project that compilers and package managers fill, and that have no sources.
var made = []string{"target", "node_modules", "zig-cache", "zig-out"}

// headers are what sources in C and C++ include.
var headers = []string{".h", ".hh", ".hpp", ".hxx", ".inc"}

// mostDeep is how many folders deep sources are looked for.
const mostDeep = 12

// InProject reports whether the source is a folder that has a project's mark, such as go.mod.
func (s *Source) InProject() bool { return len(s.files) == 0 }

// Dir is the source's folder.
func (s *Source) Dir() string { return s.dir }

// Files are the files that a module of the source may be made of, by their paths, with the source's
// folder before them: of a project all that its folder has, but for what compilers make, hidden
// files, and what editors leave beside a file; else those with the endings of the language. Of what
// lies elsewhere, as what a project of another folder gives it, nothing is known. skip says what is
// no source besides, files and folders; nil: nothing. More than most files and folders are not
// looked at: then all is false. A folder that is not there has none.
func (s *Source) Files(most int, skip func(path string) bool) (files []string, all bool) {
	ends := s.language.ends
	if strings.HasPrefix(s.language.name, "C") {
		ends = slices.Concat([]string{".c", ".cc", ".cpp", ".cxx"}, headers)
	}
	var full = errors.New("enough")
	err := filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // it has gone meanwhile
		}
		if path == s.dir {
			return nil
		}
		name := e.Name()
		out := strings.HasPrefix(name, ".") && name != ".cargo" || skip != nil && skip(path)
		if e.IsDir() {
			if out || slices.Contains(made, name) || strings.Count(path[len(s.dir):], string(filepath.Separator)) > mostDeep {
				return filepath.SkipDir
			}
			if most--; most < 0 {
				return full
			}
			return nil
		}
		if out || leftByEditor(name) || filepath.Ext(name) == ".wasm" || !s.InProject() && !slices.Contains(ends, filepath.Ext(name)) {
			return nil
		}
		if most--; most < 0 {
			return full
		}
		if e.Type()&fs.ModeSymlink != 0 {
			if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
				return nil
			}
		} else if !e.Type().IsRegular() {
			return nil
		}
		files = append(files, path)
		return nil
	})
	return files, err == nil
}

// leftByEditor reports whether a name is one that editors give to what they keep beside a file:
// vim, Emacs, and those that write to another file first.
func leftByEditor(name string) bool {
	for _, end := range []string{"~", ".swp", ".swo", ".tmp", ".bak", ".orig"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return name == "4913" || strings.HasPrefix(name, "#") && strings.HasSuffix(name, "#")
}
