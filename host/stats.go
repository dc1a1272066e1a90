package host

import (
	"encoding/hex"
	"maps"
	"os"
	"slices"

	"bulkhead/host/limits"
	"bulkhead/host/stats"
	"bulkhead/host/tenant"
)

// What a host tells of itself: package host/stats has what each figure means.
type (
	Stats         = stats.Host
	TenantStats   = stats.Tenant
	ListenerStats = stats.Listener
	Quarantine    = stats.Quarantine
	Status        = stats.Status
)

// Stats may be called from any goroutine, while the host runs and after. It waits for no loop: of
// connections that are open it knows what the last Refresh has found.
func (h *Host) Stats() (st Stats) {
	h.FillStats(&st)
	return st
}

// FillStats is Stats, in the memory that st has from before, of which nobody else may use anything
// meanwhile. The zero value has none.
func (h *Host) FillStats(st *Stats) { h.fillStats(st, h.now.Load()) }

// fillStats are those with a state's tenants and listeners.
func (h *Host) fillStats(st *Stats, now *state) {
	tenants, listeners, generations, all := st.Tenants[:0], st.Listeners[:0], st.Generations[:0], st.Loops[:0]
	*st = Stats{
		Began: h.began, InForce: now.since, Generation: now.number, Connections: h.machine.Connections.Used(), ConnectionLimit: h.machine.Connections.Limit(),
		Handshakes: h.handshakes.Used(), HandshakeLimit: h.handshakes.Limit(), HostBugs: h.machine.Bugs.Caught(),
		MachineMemory: h.machineMemory, Mappings: h.mappings.Used(), MappingLimit: h.mappings.Limit(), Pipes: h.pipes.Used(), PipeLimit: h.pipes.Limit(),
	}
	if h.machine.Access != nil {
		of := h.machine.Access.Stats()
		st.AccessSampled, st.AccessLost, st.AccessOpen = of.Sampled, of.Lost, of.Open
	}
	if h.usage != nil {
		of := h.usage.Stats()
		st.UsageRecords, st.UsageFailures, st.UsageLost, st.UsageRemoved = of.Records, of.Failures, of.Lost, of.Removed
	}
	if h.logLost != nil {
		st.LogLost = h.logLost()
	}
	if h.plugins != nil {
		st.ModuleCache, st.ModulesRemoved = h.plugins.KeptBytes(), h.plugins.RemovedModules()
		st.CodeCache, st.CodeRemoved = h.plugins.Code()
		of := h.plugins.RefusedScripts()
		st.ScriptsRefused, st.ScriptsOverFiles, st.ScriptsOverBytes = of.All, of.Files, of.Bytes
	}
	for i, l := range h.machine.Loops {
		st.LongestEvent = max(st.LongestEvent, l.LongestEvent())
		st.LostEvents += l.LostEvents()
		all = append(all, stats.Loop{Lag: h.refresher.Lag(i), LongestEvent: l.LongestEvent()})
	}
	st.Loops = all
	st.RetiredGenerations = len(now.retired)
	for _, c := range now.config.Tenants {
		tenants = more(tenants)
		now.tenants[c.Name].FillStats(&tenants[len(tenants)-1], false)
	}
	if len(now.tenants) > len(tenants) {
		known := make(map[string]bool)
		for i := range tenants {
			known[tenants[i].Name] = true
		}
		for _, name := range slices.Sorted(maps.Keys(now.tenants)) {
			if !known[name] {
				tenants = more(tenants)
				now.tenants[name].FillStats(&tenants[len(tenants)-1], true)
			}
		}
	}
	for i := range tenants {
		st.Memory += tenants[i].Memory
	}
	st.Tenants = tenants
	for _, g := range now.generations {
		generations = append(generations, g.Stats())
		for _, s := range g.Servers() {
			listeners = more(listeners)
			s.FillStats(&listeners[len(listeners)-1], false)
		}
	}
	known := make(map[counted]bool)
	if len(now.retired) > 0 {
		for i := range listeners {
			known[counted{listeners[i].Tenant, listeners[i].Name}] = true
		}
	}
	for _, g := range slices.Backward(now.retired) { // the last is the youngest
		generations = append(generations, g.Stats())
		for _, s := range g.Servers() {
			if which := countedAs(s.Config()); !known[which] {
				known[which] = true
				listeners = more(listeners)
				s.FillStats(&listeners[len(listeners)-1], true)
			}
		}
	}
	st.Listeners, st.Generations = listeners, generations
}

// more has one more, with the memory that it had if there was one before.
func more[T any](all []T) []T {
	if len(all) < cap(all) {
		return all[:len(all)+1]
	}
	var zero T
	return append(all, zero)
}

// Status may be called from any goroutine, while the host runs and after. It takes no lock that a
// loop waits for, and has no loop do anything: what it says of loops is what the last Refresh has
// found.
func (h *Host) Status() Status {
	now := h.now.Load()
	var figures Stats
	h.fillStats(&figures, now)
	st := Status{
		PID: os.Getpid(), File: now.config.File, Since: h.began, InForce: now.since, Draining: h.machine.Draining.Load(),
		Limits:  limits.Uses(limits.Host, &figures),
		Metrics: stats.MetricsOf(figures),
	}
	for _, l := range figures.Loops {
		st.Loops = append(st.Loops, stats.LoopStatus{Lag: l.Lag.Seconds(), LongestEvent: l.LongestEvent.Seconds()})
	}
	for i := range figures.Tenants {
		f := &figures.Tenants[i]
		one := tenant.Status(f)
		one.Removed = f.Removed
		st.Tenants = append(st.Tenants, one)
	}
	old := make(map[string][]stats.GenerationStatus)
	for _, g := range slices.Backward(now.retired) { // the last is the youngest
		old[g.Name()] = append(old[g.Name()], g.Status())
	}
	next := 0
	for _, g := range now.generations {
		for i, s := range g.Servers() {
			one := figures.Listeners[next].Status()
			next++
			one.Tenant = s.Tenant().Name()
			if sum, loaded := s.LoadedSum(); loaded {
				one.PluginSHA256 = hex.EncodeToString(sum[:])
			}
			if i == 0 {
				if g.Sockets() != nil {
					at := s.Config().Address
					at.Host = g.Sockets().Listening()[0]
					one.Address = at.String()
				}
				one.Generations = append([]stats.GenerationStatus{g.Status()}, old[one.Name]...)
				delete(old, one.Name)
			}
			st.Listeners = append(st.Listeners, one)
		}
	}
	for _, g := range slices.Backward(now.retired) {
		if name := g.Name(); old[name] != nil {
			st.Listeners = append(st.Listeners, stats.ListenerStatus{Name: name, Tenant: g.Servers()[0].Config().Tenant, Removed: true, Generations: old[name]})
			delete(old, name)
		}
	}
	return st
}
