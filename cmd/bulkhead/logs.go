package main

import (
	"bulkhead/host/config"
	"bulkhead/host/recent"
)

// keepLinesOf has the last lines be kept of a configuration's tenants.
func keepLinesOf(last *recent.Log, cfg *config.Config) {
	names := make([]string, len(cfg.Tenants))
	for i := range cfg.Tenants {
		names[i] = cfg.Tenants[i].Name
	}
	last.SetTenants(names)
}

// Recent has the last lines of the log.
func (r *reloader) Recent() *recent.Log { return r.recent }
