package loader

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"unicode"

	"bulkhead/host/config"
	"bulkhead/host/handlers"
	"bulkhead/plugins"
	"bulkhead/plugins/codestore"
)

// Site is a listener, or a route, as the loader of its plugin sees it. Any goroutine may call its
// methods.
type Site interface {
	handlers.Site
	// Pinned is the SHA-256 that its plugin has to have; nil: that of its file.
	Pinned() *codestore.Sum
	// Loaded notes the plugin that its handlers are of, and its SHA-256, before they start. It is
	// called each time that the plugin is loaded.
	Loaded(m *plugins.Module, sum codestore.Sum)
	// Settled says that it is known what becomes of its connections and datagrams, which have
	// waited for the plugin: it is loaded, or the listener is quarantined.
	Settled()
	// Refuse resets a connection that gets no handler, and logs why.
	Refuse(a handlers.Arrival, why string)
	// Guard is deferred, and makes a panic an error: *err says what was done.
	Guard(doing string, err *error)
}

// provider lets go of its module when it is closed.
type provider struct {
	handlers.Provider
	release func()
}

// Close lets go of every instance, and then of the module.
func (p *provider) Close() {
	p.Provider.Close()
	p.release()
}

// Provider loads a listener's plugin, and starts what has to be there before the first connection.
func (p *Loader) Provider(s Site) (c handlers.Provider, err error) {
	defer s.Guard("loading a plugin", &err)
	m, err := p.load(s.Config(), s.Pinned())
	if err != nil {
		return nil, err
	}
	s.Loaded(m.Module, m.key.sum)
	return p.start(s, m)
}

// start starts what has to be there of a listener's plugin, and lets go of that when it is closed,
// or when it does not start.
func (p *Loader) start(s Site, m *module) (c handlers.Provider, err error) {
	switch err = mayShare(s.Config(), m); {
	case err != nil:
	case s.Config().Shape == "stdio":
		c, err = handlers.NewStdio(s, m.Module)
	case s.Config().Instance == "connection":
		c, err = handlers.NewEach(s, m.Module)
	default:
		c, err = handlers.NewShared(s, m.Module)
	}
	if err != nil {
		err = explained(err)
		p.scripts.count(s.Config(), err)
		p.release(m)
		return nil, err
	}
	return &provider{c, sync.OnceFunc(func() { p.release(m) })}, nil
}

// Try loads a listener's plugin and, if it is of shape events, starts and ends
// an instance of it.
func (p *Loader) Try(l *config.Listener) error {
	m, err := p.load(l, nil)
	if err != nil {
		return err
	}
	defer p.release(m)
	if err := mayShare(l, m); err != nil {
		return err
	}
	if l.Shape == "stdio" {
		folder, err := p.tenants[l.Tenant].ReadFolder(l)
		p.tenants[l.Tenant].ReleaseFolder(folder)
		return err
	}
	guests := Guests(l, p.tenants[l.Tenant].Config().Stack, nil)
	if l.Instance == "connection" && l.Snapshot {
		s, err := m.Snapshot(guests)
		var cannot *plugins.SnapshotError
		switch {
		case err == nil:
			s.Close()
			return nil
		case !errors.As(err, &cannot):
			return explained(err)
		}
		p.o.Log.Warn(handlers.NoSnapshot, "listener", l.Name, "tenant", l.Tenant, "why", cannot)
		return nil
	}
	i, err := m.Instantiate(guests)
	if err != nil {
		return explained(err)
	}
	i.Close()
	return nil
}

// instanceError is that of mayShare.
type instanceError struct{ plugin, instance string }

func (e *instanceError) Error() string {
	return fmt.Sprintf("%s keeps one connection's state where all of an instance would find it, as it says by its export csa_one_connection, and with instance = %q connections share an instance; say instance = \"connection\", or have it keep state by the handle and leave the export out", e.plugin, e.instance)
}

// KeyOf is the key of a listener that an error of its plugin is to be shown at.
func KeyOf(err error) string {
	if _, ok := errors.AsType[*instanceError](err); ok {
		return "instance"
	}
	return "plugin"
}

// mayShare is the error of a listener whose connections share instances of a module that is for
// one.
func mayShare(l *config.Listener, m *module) error {
	if l.Shape == "stdio" || l.Instance == "connection" || !m.OneConnection() {
		return nil
	}
	return &instanceError{filepath.Base(l.Plugin), l.Instance}
}

// explained is an error with where the guest has trapped, if it has. It waits for that.
func explained(err error) error {
	trap, ok := errors.AsType[*plugins.Trap](err)
	if !ok {
		return err
	}
	in := make(chan string, 1)
	trap.Explain(func(s string) { in <- s })
	if s := strings.Map(printable, <-in); s != "" {
		return fmt.Errorf("%w, in %s", err, s)
	}
	return err
}

// printable is a character as it may stand in an error.
func printable(r rune) rune {
	if !unicode.IsPrint(r) {
		return '?'
	}
	return r
}

// Guests is what the guests of a listener are told and held to, as it is configured. stack is their
// tenant's key, and onTrap is called when one traps; nil: nobody is.
func Guests(l *config.Listener, stack int, onTrap func(*plugins.Instance, *plugins.Trap)) *plugins.Listener {
	return &plugins.Listener{
		Name: l.Name, Tenant: l.Tenant, Config: l.Config,
		Args: l.Args, Env: l.Env,
		EventTimeout: l.EventTimeout, Stack: stack,
		LogBadData:    l.OnBadData == "log",
		OneConnection: l.Instance == "connection",
		OnTrap:        onTrap,
	}
}
