package dev

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// place is a place in a source as engines, compilers and traces write it: a file, a line and
// perhaps a column, or, as Python does, words around them.
var place = regexp.MustCompile(`([\w./@+-]+\.(?:js|mjs|ts|mts|lua|py|c|cc|cpp|cxx|h|hpp|rs|zig|go)):(\d+)(?::(\d+))?|File "([^"]+)", line (\d+)`)

// FindPlace finds the first place in a text that is in a file below one of the folders, and gives
// it as editors take it, "PATH:LINE:COLUMN", or without the column where there is none, the path
// being written as shown writes it. "": there is none.
func FindPlace(text string, folders []string, shown func(path string) string) string {
	for _, m := range place.FindAllStringSubmatch(text, -1) {
		name, line, column := m[1], m[2], m[3]
		if name == "" {
			name, line = m[4], m[5]
		}
		for _, folder := range folders {
			path := filepath.FromSlash(name)
			if !filepath.IsAbs(path) {
				path = filepath.Join(folder, path)
			}
			if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
				continue
			}
			at := fmt.Sprintf("%s:%s", shown(path), line)
			if column != "" {
				at += ":" + column
			}
			return at
		}
	}
	return ""
}

// Folders are those in which the sources of a handler lie, as traces name them.
func (h *Handler) Folders() []string {
	if h.source != nil && h.source.Dir() != h.folder() {
		return []string{h.folder(), h.source.Dir()}
	}
	return []string{h.folder()}
}
