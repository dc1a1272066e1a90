// Package dev is what `bulkhead dev` knows of the handlers of a configuration: what each is made
// of, which of them have to be built, and which conversations test them.
package dev

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bulkhead/engines"
	"bulkhead/host/config"
	"bulkhead/internal/toolchain"
	"bulkhead/internal/watch"
)

// Handler is a plugin of a configuration.
type Handler struct {
	// Plugin is its absolute path.
	Plugin string
	// Listeners are the names of those that it serves, and Instance and Shape what the first of
	// them says.
	Listeners       []string
	Instance, Shape string
	// Alone says that no other plugin of the configuration lies in its folder.
	Alone bool

	limits struct {
		files int
		bytes int64
	}
	source *toolchain.Source // nil: it is not built here
	script bool
	before watch.State // what it was built of, or failed to be; nil: that was not tried
	failed bool
	wrote  [sha256.Size]byte // the SHA-256 of the module that was built last
	looked []string          // what a script was made of, and what was looked for
}

// Source is the language that the handler is built from, by what its folder has; "": none, since it
// is a script or is built elsewhere.
func (h *Handler) Source() string {
	if h.source == nil {
		return ""
	}
	return h.source.Language()
}

// Name is what people call it: the name of its file.
func (h *Handler) Name() string { return filepath.Base(h.Plugin) }

func (h *Handler) folder() string { return filepath.Dir(h.Plugin) }

// stem is the file's name without its ending.
func (h *Handler) stem() string {
	return strings.TrimSuffix(h.Name(), filepath.Ext(h.Plugin))
}

// Talks are the files with conversations that test it, sorted: those in its folder that are called
// as it is, and, where no other plugin of the configuration lies there, all.
func (h *Handler) Talks() (paths []string) {
	entries, _ := os.ReadDir(h.folder()) // a folder that has gone has none
	for _, e := range entries {
		name := e.Name()
		if filepath.Ext(name) == ".talk" && !strings.HasPrefix(name, ".") && (h.Alone || name == h.stem()+".talk") {
			paths = append(paths, filepath.Join(h.folder(), name))
		}
	}
	return paths
}

// handlersOf are those of a configuration, in its order.
func handlersOf(cfg *config.Config) (all []*Handler) {
	by := make(map[string]*Handler)
	add := func(name string, l *config.Listener) {
		if l.Plugin == "" {
			return
		}
		h := by[l.Plugin]
		if h == nil {
			h = &Handler{Plugin: l.Plugin, Instance: l.Instance, Shape: l.Shape, script: engines.IsScript(l.Plugin)}
			h.limits.files, h.limits.bytes = l.ScriptFiles, l.ScriptBytes
			by[l.Plugin] = h
			all = append(all, h)
		}
		h.Listeners = append(h.Listeners, name)
	}
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		add(l.Name, l)
		for k := range l.Routes {
			add(l.Routes[k].Name, &l.Routes[k].Listener)
		}
	}
	folders := make(map[string]int)
	for _, h := range all {
		folders[h.folder()]++
	}
	for _, h := range all {
		h.Alone = folders[h.folder()] == 1
	}
	return all
}

// findSource finds what a module is built from: the project whose folder it lies in, if that is of
// this module alone, or the files that are called as it is.
func (h *Handler) findSource() *toolchain.Source {
	if h.script || filepath.Ext(h.Plugin) != ".wasm" {
		return nil
	}
	if s, err := toolchain.Find(h.folder()); err == nil && (s.InProject() && h.Alone || s.Name() == h.stem()) {
		return s
	}
	files, _ := filepath.Glob(filepath.Join(quoteGlob(h.folder()), quoteGlob(h.stem())+".*"))
	for _, path := range files {
		if slices.Contains(toolchain.Ends(), filepath.Ext(path)) {
			if s, err := toolchain.Find(path); err == nil && s.Name() == h.stem() {
				return s
			}
		}
	}
	return nil
}

// quoteGlob has a path stand for itself in a pattern.
func quoteGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
