package loader

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"bulkhead/engines"
	"bulkhead/engines/bundle"
	"bulkhead/host/config"
	"bulkhead/host/statefolder"
	"bulkhead/plugins"
	"bulkhead/plugins/admit"
	"bulkhead/plugins/codestore"
	"bulkhead/plugins/compiler"
)

// scripts reads the files of plugins, and makes one of a script and what it imports.
type scripts struct {
	log    *slog.Logger
	maker  bundle.Maker
	making context.Context
	stop   func() // what is being made, and whatever would be

	refused, manyFiles, manyBytes atomic.Int64
}

func newScripts(o Options) *scripts {
	s := &scripts{log: o.Log, maker: bundle.Maker{Command: compiler.Command{Args: o.Compiler}}}
	s.making, s.stop = context.WithCancel(context.Background())
	return s
}

// keptIn has what was made be kept in the state folder. It is called before the first read of a
// script.
func (s *scripts) keptIn(store *codestore.Store) {
	s.maker.Dir = store.Dir()
	s.maker.Kept = func(sum [sha256.Size]byte) ([]byte, error) { return store.Module(codestore.Sum(sum)) }
	s.maker.Notes = notes{store, s.log}
}

// notes of what scripts were made of are in the state folder.
type notes struct {
	store *codestore.Store
	log   *slog.Logger
}

func (n notes) Note(name [sha256.Size]byte) ([]byte, error) {
	note, err := n.store.Note(name)
	if d, ok := errors.AsType[*codestore.Damaged](err); ok {
		n.log.Warn("a note of what a script was made of is of no use, so it is made again", "error", d)
	}
	return note, err
}

func (n notes) KeepNote(name [sha256.Size]byte, note []byte) {
	if err := n.store.KeepNote(name, note); err != nil {
		n.log.Warn("what a script was made of is not noted in the state folder, so the next start makes it again",
			"error", statefolder.WithMend(err))
	}
}

// RefusedScripts are scripts that could not be loaded, each time that it was tried.
type RefusedScripts struct {
	// All are those of whatever reason, Files and Bytes those of script_files and script_bytes.
	All, Files, Bytes int64
}

// RefusedScripts may be called by any goroutine.
func (p *Loader) RefusedScripts() RefusedScripts {
	s := p.scripts
	return RefusedScripts{All: s.refused.Load(), Files: s.manyFiles.Load(), Bytes: s.manyBytes.Load()}
}

// count counts a plugin that could not be loaded, if it is a script.
func (s *scripts) count(l *config.Listener, err error) {
	if err == nil || errors.Is(err, plugins.ErrClosed) || !engines.IsScript(l.Plugin) {
		return
	}
	s.refused.Add(1)
	var refused *bundle.Error
	if errors.As(err, &refused) {
		switch refused.Key {
		case "script_files":
			s.manyFiles.Add(1)
		case "script_bytes":
			s.manyBytes.Add(1)
		}
	}
}

// read reads a listener's plugin: the file, or what is made of a script.
func (s *scripts) read(l *config.Listener) ([]byte, error) {
	code, err := admit.ReadFile(l.Plugin)
	if err != nil || !engines.IsScript(l.Plugin) {
		return code, err
	}
	script, err := s.maker.Make(s.making, l.Plugin, code, bundle.Limits{Files: l.ScriptFiles, Bytes: l.ScriptBytes})
	if err != nil {
		if errors.Is(err, context.Canceled) {
			err = fmt.Errorf("%s: the host stops: %w", l.Plugin, plugins.ErrClosed)
		}
		return nil, err
	}
	for _, w := range script.Warnings {
		s.log.Warn("a script may have a mistake", "listener", l.Name, "tenant", l.Tenant, "why", w)
	}
	return script.Code, nil
}
