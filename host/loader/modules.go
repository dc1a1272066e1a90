package loader

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"

	"bulkhead/engines"
	"bulkhead/host/config"
	"bulkhead/plugins"
	"bulkhead/plugins/admit"
	"bulkhead/plugins/codestore"
	"bulkhead/plugins/compiler"
	"bulkhead/plugins/trace"
)

type moduleKey struct {
	tenant string
	sum    [sha256.Size]byte
	shape  string
	memory int64 // of an instance, at most
	shared bool  // it runs on code that other tenants may have, too
}

// module is a plugin's code in the runtime of its tenant.
type module struct {
	*plugins.Module
	key   moduleKey
	users int // what load has given out and release not taken back; under the loader's lock
}

// load compiles a listener's plugin, unless its tenant has it already: a plugin is known by the
// SHA-256 of its bytes, and not by its path. What is compiled is what was hashed: the file is read
// once. The module is the caller's until release, which closes it when nobody else has it.
//
// A script is known by its own SHA-256, and so is what is kept of it: another engine does not make
// it another plugin. Where it is made of several files, that is the SHA-256 of what was made.
//
// With pinned, it is what has that SHA-256: of those that are loaded, in its file, or kept.
func (p *Loader) load(l *config.Listener, pinned *codestore.Sum) (*module, error) {
	p.mu.Lock()
	stopped, t := p.stopped, p.tenants[l.Tenant]
	p.mu.Unlock()
	if stopped {
		return nil, fmt.Errorf("%s: the host stops: %w", l.Plugin, plugins.ErrClosed)
	}
	memory, shared := t.InstanceMemory(), t.Config().ShareCode
	var code []byte
	var sum codestore.Sum
	var err error
	if pinned == nil {
		code, sum, err = p.Read(l)
	} else if m := p.use(moduleKey{l.Tenant, *pinned, l.Shape, memory, shared}, nil); m != nil {
		return m, nil
	} else {
		sum = *pinned
		code, err = p.readPinned(l, sum)
	}
	if err != nil {
		return nil, err
	}
	key := moduleKey{l.Tenant, sum, l.Shape, memory, shared}
	if m := p.use(key, nil); m != nil {
		return m, nil
	}
	made, err := p.compile(l, key, code)
	if err != nil {
		return nil, err
	}
	p.keep(l, sum, code)
	if trace.HasLines(code) || trace.ThereIs(l.Plugin) {
		made.SetSource(func() (module, lines []byte, err error) { return p.source(l, sum) })
	}
	return p.use(key, made), nil
}

// compile makes the module of a listener's plugin, in the runtime of its tenant. A script, and a
// module that is one with an engine of this program, takes its engine's code, which is compiled
// once for all tenants; and so is a module's code where they share it.
func (p *Loader) compile(l *config.Listener, key moduleKey, code []byte) (*plugins.Module, error) {
	r, name, shape := p.runtime(l.Tenant), filepath.Base(l.Plugin), plugins.Shape(l.Shape)
	parts, ok, err := engines.Apart(l.Plugin, code)
	if err != nil {
		return nil, err
	}
	if !ok {
		var shared *plugins.SharedCode
		if key.shared {
			shared = &p.shared
		}
		return r.LoadWithin(key.memory, shared, name, code, shape)
	}
	return r.LoadScript(key.memory, name, p.interpreter(parts.Engine), plugins.Script{At: parts.At, Bytes: parts.Script}, shape)
}

// interpreter is that of an engine, which all tenants have together.
func (p *Loader) interpreter(e *engines.Engine) *plugins.Interpreter {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.interpreters[e]
	if i == nil {
		name := "the engine for " + e.Language
		i = plugins.NewInterpreter(plugins.InterpreterOptions{
			Name:      name,
			Module:    e.Module,
			Code:      p.store,
			Compiler:  compiler.Command{Args: p.o.Compiler},
			Compiling: func(string) func() { return p.compiling.Begin("", name) },
			Note:      func(text string) { p.o.Log.Warn(text) },
			Shared:    p.o.Engines,
		})
		p.interpreters[e] = i
		if p.stopped {
			i.Close()
		}
	}
	return i
}

// Read reads a listener's plugin, and its SHA-256: the file, with what it imports, or, where that
// has not the sum that plugin_sha256 asks for, what was kept of an earlier start.
func (p *Loader) Read(l *config.Listener) (code []byte, sum [sha256.Size]byte, err error) {
	code, err = p.scripts.read(l)
	p.scripts.count(l, err)
	if err == nil {
		sum = sha256.Sum256(code)
		if want := l.PluginSHA256; want != "" && hex.EncodeToString(sum[:]) != want {
			err = fmt.Errorf("%s has the SHA-256 %x, and plugin_sha256 asks for %s; put the right file there, or the new sum into the configuration", l.Plugin, sum, want)
		}
	}
	if err == nil || l.PluginSHA256 == "" {
		return code, sum, err
	}
	if n, bad := hex.Decode(sum[:], []byte(l.PluginSHA256)); bad != nil || n != len(sum) {
		return nil, sum, err
	}
	if p.store == nil {
		return nil, sum, err
	}
	kept, none := p.store.Module(sum)
	if none != nil {
		return nil, sum, err
	}
	p.o.Log.Warn("a plugin's file is not the one that plugin_sha256 asks for; the copy of it that the state folder has is used",
		"listener", l.Name, "tenant", l.Tenant, "error", err)
	return kept, sum, nil
}

// readPinned reads the plugin that a listener has had: its file, or, where that holds another one
// now, what was kept.
func (p *Loader) readPinned(l *config.Listener, sum codestore.Sum) ([]byte, error) {
	return p.readSum(l, sum)
}

// source reads a plugin again, and what names its lines, if that is in a file of its own.
func (p *Loader) source(l *config.Listener, sum codestore.Sum) (module, lines []byte, err error) {
	code, err := p.readSum(l, sum)
	if err != nil {
		return nil, nil, err
	}
	if module, err = engines.Module(l.Plugin, code); err != nil || trace.HasLines(module) {
		return module, nil, err
	}
	lines, err = admit.ReadFile(trace.FileOf(l.Plugin))
	return module, lines, err
}

// readSum is readPinned of a file.
func (p *Loader) readSum(l *config.Listener, sum codestore.Sum) ([]byte, error) {
	code, err := p.scripts.read(l)
	if err == nil && sha256.Sum256(code) == sum {
		return code, nil
	}
	if p.store != nil {
		if code, err = p.store.Module(sum); err == nil {
			return code, nil
		}
	}
	return nil, fmt.Errorf("what %s held before, of the SHA-256 %x, is neither there any more nor kept in the state folder; put it there again, and reload", l.Plugin, sum)
}

// use is a module that is there, for one user more; made, which may be nil, is what is to be there
// if none is, and else closed.
func (p *Loader) use(key moduleKey, made *plugins.Module) *module {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.modules[key]
	switch {
	case m == nil && made == nil:
		return nil
	case m == nil:
		m = &module{Module: made, key: key}
		p.modules[key] = m
	case made != nil:
		defer made.Close()
	}
	m.users++
	return m
}

// release takes a module back from one that load has given it to. When that was the last, its code
// is given back as soon as no instance of it is left.
func (p *Loader) release(m *module) {
	p.mu.Lock()
	m.users--
	last := m.users == 0
	if last {
		delete(p.modules, m.key)
	}
	p.mu.Unlock()
	if last {
		m.Close()
	}
}

// Keep has the state folder keep the plugins of these SHA-256 from now on, and no others that
// nothing uses.
func (p *Loader) Keep(sums []codestore.Sum) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = make(map[codestore.Sum]bool, len(sums))
	for _, sum := range sums {
		p.wanted[sum] = true
	}
}

// Modules is how many modules of all tenants are loaded.
func (p *Loader) Modules() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.modules)
}
