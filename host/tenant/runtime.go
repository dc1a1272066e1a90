package tenant

import (
	"log/slog"

	"bulkhead/host/logs"
	"bulkhead/plugins"
)

// NewRuntime makes the runtime of the tenant's plugins, which is the tenant's from now on. What
// goes by its limits and accounts (Memory, MemoryLimit, Mappings, Instances, Timers, CPU, Log and
// Counter) is filled in. log is the host's, and o.Clock must not be nil. The caller closes the
// runtime; a tenant has one at a time.
func (t *Tenant) NewRuntime(o plugins.RuntimeOptions, log *slog.Logger) *plugins.Runtime {
	c := t.Config()
	lines := logs.NewHandlers(log.With("tenant", t.name), c.LogLines, float64(c.LogBytes), o.Clock)
	o.Memory, o.MemoryLimit = t.memory, c.Memory
	o.Mappings, o.Instances = mappings{t.mappings}, c.Instances
	o.Timers, o.CPU = t, t.cpu
	o.Log, o.Counter = lines, &t.counts
	r := plugins.NewRuntime(o)
	t.log.Store(lines)
	t.runtime.Store(r)
	t.setRuntime(o.Clock.Now()) // they may have been set while it was made
	return r
}

// setRuntime has the runtime and the log of its handlers, where they are there, go by its limits.
func (t *Tenant) setRuntime(now int64) {
	t.setting.Lock()
	defer t.setting.Unlock()
	c := t.Config()
	if r := t.runtime.Load(); r != nil {
		r.SetInstances(c.Instances)
	}
	if l := t.log.Load(); l != nil {
		l.SetRates(c.LogLines, float64(c.LogBytes), now)
	}
}

// AskAgain has those of its instances that wait for room ask for it again.
func (t *Tenant) AskAgain() {
	if r := t.runtime.Load(); r != nil {
		r.AskAgain()
	}
}

// EndLog says which lines of its handlers were left out and not told of yet.
func (t *Tenant) EndLog() {
	if l := t.log.Load(); l != nil {
		l.End()
	}
}
