package host

import (
	"bytes"
	"fmt"
	"runtime/debug"

	"bulkhead/csa"
	"bulkhead/host/accept"
)

// fault is csa.Loop.OnFault's.
func (h *Host) fault(f *csa.Fault) bool {
	var of []any
	if s := serverAt(f); s != nil {
		of = []any{"listener", s.config.Name, "tenant", s.config.Tenant}
	}
	return h.bugs.Fault(f, of)
}

// serverAt is whose event ran.
func serverAt(f *csa.Fault) *server {
	if f.Conn != nil {
		if s := serverOf(f.Conn); s != nil {
			return s
		}
	}
	s, _ := accept.ServerOf(f.Notified).(*server)
	return s
}

// Guard is deferred on a goroutine beside the loops: it makes a panic an error.
func (s *server) Guard(doing string, err *error) {
	v := recover()
	if v == nil {
		return
	}
	*err = fmt.Errorf("%s: a bug in the host: %v", doing, v)
	s.host.bugs.Count(doing+" is given up", v, string(bytes.TrimSpace(debug.Stack())), "listener", s.config.Name, "tenant", s.config.Tenant)
}
