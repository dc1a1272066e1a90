package service

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

// A Server is the loader.Site of its plugin, and the handlers.Site of its provider of handlers.
var _ loader.Site = (*Server)(nil)

// Config is how the listener is configured.
func (s *Server) Config() *config.Listener { return &s.config }

// Loops are the host's.
func (s *Server) Loops() []*loops.Loop { return s.machine.Loops }

// Home is the loop that it accepts on.
func (s *Server) Home() *loops.Loop { return s.home }

// InstanceLoop is the loop of the only instance where instance = "listener".
func (s *Server) InstanceLoop() *loops.Loop { return s.instances }

// Counters are those of its provider.
func (s *Server) Counters() *handlers.Counters { return &s.totals.Counters }

// CountInstances counts its instances: the listener's, and its generation's.
func (s *Server) CountInstances(n int) {
	s.totals.Instances.Add(int64(n))
	s.generation.instances.Add(int64(n))
}

// Draining reports whether handlers have been told to stop, or are being told.
func (s *Server) Draining() bool { return s.machine.Draining.Load() || s.generation.retired.Load() }

// ReadFolder reads the folder of its programs.
func (s *Server) ReadFolder() (*wasi.Folder, error) { return s.tenant.ReadFolder(&s.config) }

// ReleaseFolder gives it back.
func (s *Server) ReleaseFolder(f *wasi.Folder) { s.tenant.ReleaseFolder(f) }

// Log is its log.
func (s *Server) Log() *slog.Logger { return s.log }

// LogLimited logs what clients and handlers can cause at will, some lines a second.
func (s *Server) LogLimited(level slog.Level, what string, args ...any) {
	s.limited.Event(level, what, args...)
}

// Pin has its plugin be the one of that SHA-256, whatever its file holds. It is for before it is
// loaded.
func (s *Server) Pin(sum codestore.Sum) { s.pinned = &sum }

// Pinned is what its plugin has to be; nil: what its file holds.
func (s *Server) Pinned() *codestore.Sum { return s.pinned }

// Loaded notes of which plugin its handlers are.
func (s *Server) Loaded(m *plugins.Module, sum codestore.Sum) {
	s.module.Store(m)
	s.loaded.Store(&sum)
}

// Module is the plugin that its handlers are of; nil: none is loaded yet. Any goroutine may call
// it.
func (s *Server) Module() *plugins.Module { return s.module.Load() }

// LoadedSum is the SHA-256 of the plugin that its handlers are of, if it is loaded. Any goroutine
// may call it.
func (s *Server) LoadedSum() (sum codestore.Sum, loaded bool) {
	if known := s.loaded.Load(); known != nil {
		return *known, true
	}
	return sum, false
}

// Settled has those go on who have waited for the plugin.
func (s *Server) Settled() {
	s.Unpark()
	s.readLate()
}

// Refuse resets a connection that gets no handler.
func (s *Server) Refuse(a handlers.Arrival, why string) {
	listen.ResetOnClose(a.FD)
	s.drop(a)
	s.limited.Event(slog.LevelInfo, why, "connection", a.Number, "peer", a.Peer)
}

// Guests is what the guests of the server are told and held to.
func (s *Server) Guests(onTrap func(*plugins.Instance, *plugins.Trap)) *plugins.Listener {
	l := loader.Guests(&s.config, s.tenant.Config().Stack, onTrap)
	l.Dialer, l.MakeSSL = s.dialer, s.makeSSL
	l.OnFailed = s.failed
	l.Held = &s.held
	l.Certificate = s.config.TLS != nil // they are loaded later, or the host does not start
	s.changing.Lock()
	defer s.changing.Unlock()
	t := s.terms.Load()
	l.EventTimeout, l.LogBadData = t.eventTimeout, t.logBadData
	s.guests = l
	return l
}
