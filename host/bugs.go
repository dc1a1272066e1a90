package host

import (
	"bulkhead/host/service"

	"bulkhead/csa"
)

// fault is csa.Loop.OnFault's.
func (h *Host) fault(f *csa.Fault) bool {
	var of []any
	if s := service.At(f); s != nil {
		of = []any{"listener", s.Config().Name, "tenant", s.Config().Tenant}
	}
	return h.machine.Bugs.Fault(f, of)
}
