package host

import (
	"fmt"

	"bulkhead/csa"
	"bulkhead/host/config"
	"bulkhead/host/loops"
	"bulkhead/host/service"
	"bulkhead/host/tenant"
)

// SetLimits is setLimits with what a reload does around it: all tenants have others, or none.
func (h *Host) SetLimits(tenants ...config.Tenant) error {
	var all []tenant.Limits
	for _, c := range tenants {
		t := h.now.Load().tenants[c.Name]
		if t == nil {
			return fmt.Errorf("tenant %q is not there", c.Name)
		}
		l, err := t.Limits(c)
		if err != nil {
			return err
		}
		all = append(all, l)
	}
	h.tellLoops(h.setLimits(all), nil)
	return nil
}

// CloseTenant is what closing a tenant's account says.
func (h *Host) CloseTenant(name string) error { return h.now.Load().tenants[name].Close() }

// LoadedModules is how many modules of all tenants are loaded.
func (h *Host) LoadedModules() int {
	return h.plugins.Modules()
}

// CSASettings are what a connection goes by.
type CSASettings = csa.Settings

// Settings are what the connections of a listener go by, whatever their generation.
func (h *Host) Settings(listener string) (all []csa.Settings) {
	h.eachOf(listener, func(c *csa.CSA) { all = append(all, *c.Settings()) })
	return all
}

// Descriptors are those of a listener's sockets, and of its connections.
func (h *Host) Descriptors(listener string) (sockets, connections []int) {
	for _, g := range h.now.Load().generations {
		if g.Name() != listener {
			continue
		}
		sockets = append(sockets, g.Sockets().Descriptors()...)
	}
	h.eachOf(listener, func(c *csa.CSA) {
		if fd := c.Socket(); fd >= 0 {
			connections = append(connections, fd)
		}
	})
	return sockets, connections
}

func (h *Host) eachOf(listener string, f func(c *csa.CSA)) {
	for _, l := range h.machine.Loops {
		l.Call(func() {
			l.Each(func(c *csa.CSA) {
				if s, ok := c.Creator().(*service.Server); ok && s.Config().Name == listener {
					f(c)
				}
			})
		})
	}
}

// RefreshPatience is for how long Refresh waits.
const RefreshPatience = loops.ShowPatience

// BlockLoop has the first loop stand still until it is freed.
func BlockLoop(h *Host) (free func()) {
	wait := make(chan struct{})
	h.machine.Loops[0].Post(func() { <-wait })
	return func() { close(wait) }
}
