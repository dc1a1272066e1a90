package dev

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bulkhead/engines/bundle"
	"bulkhead/host/config"
	"bulkhead/internal/toolchain"
	"bulkhead/internal/watch"
	"bulkhead/plugins/admit"
	"bulkhead/plugins/compiler"
)

// mostFiles is how many files and folders of one handler's source are looked at.
const mostFiles = 5000

// Workshop builds the handlers of a configuration when what they are made of has changed. One
// goroutine may use it at a time.
type Workshop struct {
	// File is the configuration's absolute path.
	File string
	// Compiler is host.Options.Compiler: scripts are put together by it.
	Compiler []string
	// Log is for what compilers print, as they print it.
	Log io.Writer

	handlers []*Handler
	state    string // the configuration's state folder
	beyond   []string
	outputs  outputs
}

// Result is what became of a handler in Build.
type Result struct {
	*Handler
	// Made says that there is another module than before, or the first, of so many bytes, which
	// took so long.
	Made bool
	Size int
	Took time.Duration
	// Files are those that a script is made of.
	Files []string
	// Err is why there is none: the module before stays where it was. A *bundle.Error has lines
	// with their places.
	Err error
}

// Set has the handlers be those of a configuration. It remembers those that it had already.
func (w *Workshop) Set(cfg *config.Config) {
	before := w.handlers
	w.handlers, w.state = handlersOf(cfg), cfg.Host.State
	for _, h := range w.handlers {
		if i := slices.IndexFunc(before, func(o *Handler) bool { return o.Plugin == h.Plugin }); i >= 0 {
			was := before[i]
			h.before, h.failed, h.wrote, h.looked = was.before, was.failed, was.wrote, was.looked
			h.source = was.source // if it has gone, the next build says so
		}
		if s := h.findSource(); s != nil {
			h.source = s
		}
	}
}

// Handlers are those of the configuration that was set last.
func (w *Workshop) Handlers() []*Handler { return w.handlers }

// Watched are the paths at which a change means that something is to be done: the configuration,
// what each handler is made of, the handlers themselves, and their conversations.
func (w *Workshop) Watched() []string {
	paths := []string{w.File}
	w.beyond = nil
	for _, h := range w.handlers {
		paths = append(append(append(paths, h.Plugin), w.made(h)...), h.Talks()...)
	}
	return paths
}

// Beyond are the folders in which there is more than is watched, as Watched has found it last.
func (w *Workshop) Beyond() []string { return w.beyond }

// made are the files that a handler is made of, or would be if they were there.
func (w *Workshop) made(h *Handler) (paths []string) {
	source := h.source
	if source == nil {
		source = h.findSource() // there may be one now
	}
	switch {
	case source != nil:
		files, all := source.Files(mostFiles, w.skip)
		if !all {
			w.beyond = append(w.beyond, source.Dir())
		}
		return files
	case !h.script:
		return nil
	}
	folder := h.folder()
	if real, err := filepath.EvalSymlinks(h.Plugin); err == nil {
		folder = filepath.Dir(real)
	}
	for _, path := range h.looked {
		paths = append(paths, filepath.Join(folder, filepath.FromSlash(path)))
	}
	return paths
}

// skip leaves out what is no handler's source: the state folder, the configuration, conversations.
func (w *Workshop) skip(path string) bool {
	return path == w.state || path == w.File || filepath.Ext(path) == ".talk"
}

// Build builds the handlers whose sources have changed since they were built, by state, which is of
// what is watched; with all it builds all. It returns what became of those with which it has done
// something. When ctx is done it returns, and kills the compilers.
func (w *Workshop) Build(ctx context.Context, state watch.State, all bool) (results []Result) {
	for _, h := range w.handlers {
		if ctx.Err() != nil {
			return results
		}
		if r, done := w.build(ctx, h, state, all); done {
			results = append(results, r)
		}
	}
	return results
}

// Broken are the handlers that could not be built as they are.
func (w *Workshop) Broken() (all []*Handler) {
	for _, h := range w.handlers {
		if h.failed {
			all = append(all, h)
		}
	}
	return all
}

func (w *Workshop) build(ctx context.Context, h *Handler, state watch.State, all bool) (r Result, done bool) {
	if h.source == nil && !h.script {
		h.failed = false
		return r, false
	}
	now := w.stateOf(h, state)
	if !all && !w.stale(h, now) {
		return r, false
	}
	began := time.Now()
	r = Result{Handler: h}
	if h.script {
		r.Files, r.Err = w.gather(ctx, h)
	} else {
		var module []byte
		if module, r.Err = h.source.Build(ctx, w.Log); r.Err == nil {
			r.Size, h.wrote = len(module), sha256.Sum256(module)
			r.Made, r.Err = toolchain.Replace(h.Plugin, module)
		}
	}
	if ctx.Err() != nil {
		return r, false // as if it had not begun
	}
	r.Took = time.Since(began)
	h.before, h.failed = now, r.Err != nil
	return r, true
}

// stateOf is the part of a state that is of what a handler is made of.
func (w *Workshop) stateOf(h *Handler, state watch.State) watch.State {
	own := make(watch.State)
	for _, path := range w.made(h) {
		if f, ok := state[path]; ok {
			own[path] = f
		}
	}
	return own
}

// stale reports whether a handler has to be built. Where it failed the last time, saving a file is
// enough: what was missing may be there now.
func (w *Workshop) stale(h *Handler, now watch.State) bool {
	if h.script {
		return true // it is quick
	}
	made, err := os.Stat(h.Plugin)
	switch {
	case err != nil && h.before == nil:
		return true
	case err != nil && !h.failed:
		return true // somebody has removed it
	case h.before != nil:
		return len(watch.Changed(h.before, now, !h.failed)) > 0
	}
	for path := range now {
		if info, err := os.Stat(path); err == nil && info.ModTime().After(made.ModTime()) {
			return true
		}
	}
	return false
}

// gather finds what a script is made of, and whether it can be made into one.
func (w *Workshop) gather(ctx context.Context, h *Handler) (files []string, err error) {
	h.looked = []string{h.Name()}
	text, err := admit.ReadFile(h.Plugin)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bulkhead-dev-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	m := bundle.Maker{Command: compiler.Command{Args: w.Compiler}, Dir: dir}
	script, err := m.Make(ctx, h.Plugin, text, bundle.Limits{Files: h.limits.files, Bytes: h.limits.bytes})
	if refused, ok := errors.AsType[*bundle.Error](err); ok {
		h.looked = refused.Looked
	} else if err == nil {
		h.looked = script.Looked
	}
	return script.Files, err
}

// Lines are an error's, each with its place first, as editors want it, where it has one: the paths
// in them are taken from the folder in which the handler lies, and written as shown writes them.
func Lines(err error, h *Handler, shown func(path string) string) []string {
	refused, ok := errors.AsType[*bundle.Error](err)
	if !ok {
		return []string{shown(h.Plugin) + ": " + err.Error()}
	}
	var lines []string
	for _, line := range refused.Lines {
		name, rest, ok := strings.Cut(line, ":")
		if ok && !filepath.IsAbs(name) {
			line = shown(filepath.Join(h.folder(), filepath.FromSlash(name))) + ":" + rest
		}
		lines = append(lines, line)
	}
	return lines
}
