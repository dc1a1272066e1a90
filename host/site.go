package host

import (
	"log/slog"

	"bulkhead/host/config"
	"bulkhead/host/crew"
	"bulkhead/host/loops"
	"bulkhead/plugins/wasi"
)

// A server is the crew.Site of its provider of handlers.
var _ crew.Site = (*server)(nil)

// Config is how the listener is configured.
func (s *server) Config() *config.Listener { return &s.config }

// Loops are the host's.
func (s *server) Loops() []*loops.Loop { return s.host.loops }

// Home is the loop that it accepts on.
func (s *server) Home() *loops.Loop { return s.home }

// Lives is where the instance of instance = "listener" lives.
func (s *server) Lives() *loops.Loop { return s.lives }

// Counters are those of its provider.
func (s *server) Counters() *crew.Counters { return &s.counters.Counters }

// Living counts its instances: the listener's, and its generation's.
func (s *server) Living(n int) {
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

// Noisy logs what clients and handlers can cause at will.
func (s *server) Noisy(level slog.Level, what string, args ...any) {
	s.noisy.Event(level, what, args...)
}
