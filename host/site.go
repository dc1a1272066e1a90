package host

import (
	"log/slog"

	"bulkhead/host/config"
	"bulkhead/host/handlers"
	"bulkhead/host/loops"
	"bulkhead/plugins/wasi"
)

// A server is the handlers.Site of its provider of handlers.
var _ handlers.Site = (*server)(nil)

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
func (s *server) ReadFolder() (*wasi.Folder, error) { return s.tenant.readFolder(&s.config) }

// ReleaseFolder gives it back.
func (s *server) ReleaseFolder(f *wasi.Folder) { s.tenant.releaseFolder(f) }

// Log is its log.
func (s *server) Log() *slog.Logger { return s.log }

// LogLimited logs what clients and handlers can cause at will, some lines a second.
func (s *server) LogLimited(level slog.Level, what string, args ...any) {
	s.noisy.Event(level, what, args...)
}
