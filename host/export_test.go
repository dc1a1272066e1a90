package host

import "bulkhead/host/config"

// SetLimits is setLimits.
func (h *Host) SetLimits(tenants ...config.Tenant) error { return h.setLimits(tenants) }

// CloseTenant is what closing a tenant's account says.
func (h *Host) CloseTenant(name string) error { return h.now.Load().tenants[name].close() }

// LoadedModules is how many modules of all tenants are loaded.
func (h *Host) LoadedModules() int {
	h.plugins.mu.Lock()
	defer h.plugins.mu.Unlock()
	return len(h.plugins.modules)
}
