package host

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Status is what a host serves and holds, for people and their programs. It marshals to JSON, whose
// names stay as they are: docs/OPERATING.md has them. What Stats counts stands in it by the name
// that it has as a metric.
type Status struct {
	// PID is the process. File is the name of the configuration in force.
	PID  int    `json:"pid"`
	File string `json:"file"`
	// Since is when the host began, and InForce when its configuration came into force: then, or by
	// a reload.
	Since   time.Time `json:"since"`
	InForce time.Time `json:"in_force_since"`
	// Draining says that no more connections are accepted, since the host stops.
	Draining bool `json:"draining"`
	// Limits are those of the whole host, by key of [host], and mappings.
	Limits    map[string]Use   `json:"limits"`
	Metrics   Metrics          `json:"metrics"`
	Tenants   []TenantStatus   `json:"tenants"`
	Listeners []ListenerStatus `json:"listeners"`
}

// Use is how much of a limit is in use. Used may be above Limit after a reload that has lowered it.
type Use struct {
	Used int64 `json:"used"`
	// Limit is what there may be. 0: the limit has no bound of its own.
	Limit int64 `json:"limit"`
}

// Metrics are figures by their name as a metric: those of Stats.
type Metrics map[string]json.Number

// TenantStatus is one tenant's.
type TenantStatus struct {
	Name string `json:"name"`
	// Removed says that the configuration does not have it any more, and that connections of it are
	// open yet.
	Removed bool `json:"removed"`
	// Limits are those of what it has, and Rates what it may have a second (cpu: seconds of CPU
	// time), both by key of [tenant.NAME].
	Limits  map[string]Use     `json:"limits"`
	Rates   map[string]float64 `json:"rates"`
	Metrics Metrics            `json:"metrics"`
	// Counts are what its handlers have counted.
	Counts map[string]int64 `json:"counts"`
}

// ListenerStatus is one listener's, or one route's.
type ListenerStatus struct {
	// Name is, of a route, "LISTENER/ROUTE".
	Name   string `json:"name"`
	Tenant string `json:"tenant"`
	// Address is where it listens, as Host.Addr has it, behind its network and "://". Empty: it is a
	// route, or removed.
	Address string `json:"address,omitempty"`
	// Removed says that the configuration does not have it any more, and that connections of it are
	// open yet. Then it has Generations alone.
	Removed bool    `json:"removed"`
	Metrics Metrics `json:"metrics,omitempty"`
	// Ended and DatagramsLost are ListenerStats'.
	Ended         map[string]int64 `json:"ended,omitempty"`
	DatagramsLost map[string]int64 `json:"datagrams_lost,omitempty"`
	// Quarantine is nil unless it is quarantined.
	Quarantine *QuarantineStatus `json:"quarantine,omitempty"`
	// Generations are a listener's, its routes included: the one that new connections come to, and
	// then those that end, the youngest first. A route has none.
	Generations []GenerationStatus `json:"generations,omitempty"`
}

// QuarantineStatus is a Quarantine.
type QuarantineStatus struct {
	Cause string `json:"cause"`
	Tries int    `json:"tries"`
	// Wait is the time from the last try to the next, in seconds.
	Wait float64 `json:"wait_seconds"`
}

// GenerationStatus is a listener as one configuration had it.
type GenerationStatus struct {
	Since time.Time `json:"since"`
	// Changed are the keys for which a reload has made it; none: its listener was new.
	Changed []string `json:"changed,omitempty"`
	// Retired says that no new connections come to it. Until is when those that it has are closed
	// (old_for), and nil where it is not retired.
	Retired bool       `json:"retired"`
	Until   *time.Time `json:"until,omitempty"`
	// Connections are its own, those that its handlers have dialled and those on their way to it
	// included. Instances are alive.
	Connections int64 `json:"connections"`
	Instances   int64 `json:"instances"`
}

// Status may be called from any goroutine, while the host runs and after. It takes no lock that a
// loop waits for, and has no loop do anything.
func (h *Host) Status() Status {
	now := h.now.Load()
	stats := h.statsOf(now)
	st := Status{
		PID: os.Getpid(), File: now.config.File, Since: h.began, InForce: now.since, Draining: h.draining.Load(),
		Limits: map[string]Use{
			"connections": {int64(h.connections.Used()), int64(h.connections.Limit())},
			"handshakes":  {h.handshakes.Used(), h.handshakes.Limit()},
			"pipes":       {h.pipes.Used(), h.pipes.Limit()},
			"mappings":    {h.mappings.Used(), h.mappings.Limit()},
		},
		Metrics: metricsOf(stats),
	}
	known := make(map[string]bool, len(stats.Tenants))
	for _, t := range stats.Tenants {
		known[t.Name] = true
		st.Tenants = append(st.Tenants, now.tenants[t.Name].status(t))
	}
	for name, t := range now.tenants {
		if !known[name] {
			one := t.status(t.stats())
			one.Removed = true
			st.Tenants = append(st.Tenants, one)
		}
	}
	slices.SortStableFunc(st.Tenants[len(stats.Tenants):], func(a, b TenantStatus) int { return strings.Compare(a.Name, b.Name) })
	old := make(map[string][]GenerationStatus)
	for _, g := range slices.Backward(now.retired) { // the last is the youngest
		old[g.name()] = append(old[g.name()], g.status())
	}
	next := 0
	for _, g := range now.generations {
		for i, s := range g.servers {
			one := listenerStatus(stats.Listeners[next])
			next++
			one.Tenant = s.tenant.name
			if i == 0 {
				if g.socket != nil {
					one.Address = g.socket.by.network + "://" + g.socket.addr
				}
				one.Generations = append([]GenerationStatus{g.status()}, old[one.Name]...)
				delete(old, one.Name)
			}
			st.Listeners = append(st.Listeners, one)
		}
	}
	for _, g := range slices.Backward(now.retired) {
		if name := g.name(); old[name] != nil {
			st.Listeners = append(st.Listeners, ListenerStatus{Name: name, Tenant: g.servers[0].config.Tenant, Removed: true, Generations: old[name]})
			delete(old, name)
		}
	}
	return st
}

func (g *generation) status() GenerationStatus {
	st := GenerationStatus{Since: g.since, Changed: g.changed, Retired: g.retired.Load(), Connections: g.open.Load(), Instances: g.instances.Load()}
	if at := g.until.Load(); at != 0 {
		until := time.Unix(0, at)
		st.Until = &until
	}
	return st
}

func (t *tenant) status(stats TenantStats) TenantStatus {
	c := t.config()
	return TenantStatus{
		Name: t.name,
		Limits: map[string]Use{
			"memory":      {stats.Memory, t.memory.Limit()},
			"connections": {int64(stats.Connections), int64(t.connections.Limit())},
			"instances":   {int64(stats.Instances), int64(c.Instances)},
			"mappings":    {stats.Mappings, stats.MappingLimit},
			"timers":      {stats.Timers, t.timers.Limit()},
			"dials":       {int64(t.dials.Used()), int64(t.dials.Limit())},
			"upstreams":   {int64(t.upstreams.Used()), int64(t.upstreams.Limit())},
			"handshakes":  {int64(stats.Handshakes), int64(c.Handshakes)},
		},
		Rates: map[string]float64{
			"cpu": c.CPU, "accept_rate": c.AcceptRate, "bandwidth": float64(c.Bandwidth), "log_lines": c.LogLines, "log_bytes": float64(c.LogBytes),
		},
		Metrics: metricsOf(stats),
		Counts:  stats.Counts,
	}
}

func listenerStatus(stats ListenerStats) ListenerStatus {
	st := ListenerStatus{Name: stats.Name, Metrics: metricsOf(stats), Ended: stats.Ended, DatagramsLost: stats.DatagramsLost}
	if q := stats.Quarantine; q != nil {
		st.Quarantine = &QuarantineStatus{q.Cause, q.Tries, q.Wait.Seconds()}
	}
	return st
}

// metricsOf gives the figures of a struct of Stats by their names.
func metricsOf(stats any) Metrics {
	v := reflect.ValueOf(stats)
	all := make(Metrics, v.NumField())
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("metric")
		if f := v.Field(i); name != "" && f.CanInt() {
			n := strconv.FormatInt(f.Int(), 10)
			if d, is := f.Interface().(time.Duration); is {
				n = strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
			}
			all[name] = json.Number(n)
		}
	}
	return all
}
