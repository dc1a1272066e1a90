package host

import (
	"log/slog"

	"bulkhead/host/config"
	"bulkhead/host/handlers"
	"bulkhead/host/listen"
	"bulkhead/host/loader"
	"bulkhead/host/loops"
	"bulkhead/plugins"
	"bulkhead/plugins/codestore"
	"bulkhead/plugins/wasi"
)

// A server is the loader.Site of its plugin, and the handlers.Site of its provider of handlers.
var _ loader.Site = (*server)(nil)

// Config is how the listener is configured.
func (s *server) Config() *config.Listener { return &s.config }

// Loops are the host's.
func (s *server) Loops() []*loops.Loop { return s.host.loops }

// Home is the loop that it accepts on.
func (s *server) Home() *loops.Loop { return s.home }

// InstanceLoop is the loop of the only instance where instance = "listener".
func (s *server) InstanceLoop() *loops.Loop { return s.lives }

// Counters are those of its provider.
func (s *server) Counters() *handlers.Counters { return &s.counters.Counters }

// CountInstances counts its instances: the listener's, and its generation's.
func (s *server) CountInstances(n int) {
	s.counters.Instances.Add(int64(n))
	s.gen.instances.Add(int64(n))
}

// Draining reports whether handlers have been told to stop, or are being told.
func (s *server) Draining() bool { return s.host.draining.Load() || s.gen.retired.Load() }

// ReadFolder reads the folder of its programs.
func (s *server) ReadFolder() (*wasi.Folder, error) { return s.tenant.ReadFolder(&s.config) }

// ReleaseFolder gives it back.
func (s *server) ReleaseFolder(f *wasi.Folder) { s.tenant.ReleaseFolder(f) }

// Log is its log.
func (s *server) Log() *slog.Logger { return s.log }

// LogLimited logs what clients and handlers can cause at will, some lines a second.
func (s *server) LogLimited(level slog.Level, what string, args ...any) {
	s.noisy.Event(level, what, args...)
}

// Pinned is what its plugin has to be; nil: what its file holds.
func (s *server) Pinned() *codestore.Sum { return s.pinned }

// Loaded notes of which plugin its handlers are.
func (s *server) Loaded(m *plugins.Module, sum codestore.Sum) {
	s.module.Store(m)
	s.loaded.Store(&sum)
}

// Settled has those go on who have waited for the plugin.
func (s *server) Settled() {
	s.Unpark()
	s.readLate()
}

// Refuse resets a connection that gets no handler.
func (s *server) Refuse(a handlers.Arrival, why string) {
	listen.ResetOnClose(a.FD)
	s.noisy.Event(slog.LevelInfo, why, "peer", a.Peer)
	s.drop(a)
}

// Guests is what the guests of the server are told and held to.
func (s *server) Guests(onTrap func(*plugins.Instance, *plugins.Trap)) *plugins.Listener {
	l := loader.Guests(&s.config, s.tenant.Config().Stack, onTrap)
	l.Dialer, l.MakeSSL = s.dialer, s.makeSSL
	l.Certificate = s.config.TLS != nil // they are loaded later, or the host does not start
	s.changing.Lock()
	defer s.changing.Unlock()
	t := s.terms.Load()
	l.EventTimeout, l.LogBadData = t.eventTimeout, t.logBadData
	s.guests = l
	return l
}
