package stats

import (
	"encoding/json"
	"reflect"
	"strconv"
	"time"
)

// Status is what a host serves and holds, for people and their programs. It marshals to JSON, whose
// names stay as they are: docs/OPERATING.md has them. What Host counts stands in it by the name
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
	Limits  map[string]Use `json:"limits"`
	Metrics Metrics        `json:"metrics"`
	// Loops are the host's.
	Loops     []LoopStatus     `json:"loops"`
	Tenants   []TenantStatus   `json:"tenants"`
	Listeners []ListenerStatus `json:"listeners"`
}

// LoopStatus is one of the host's loops.
type LoopStatus struct {
	// Lag is how long the last Host.Refresh has waited for its turn, or waits yet, and LongestEvent
	// how long the loop has worked at one go at most. Both are in seconds.
	Lag          float64 `json:"lag_seconds"`
	LongestEvent float64 `json:"longest_event_seconds"`
}

// Use is how much of a limit is in use. Used may be above Limit after a reload that has lowered it.
type Use struct {
	Used int64 `json:"used"`
	// Limit is what there may be. 0: the limit has no bound of its own.
	Limit int64 `json:"limit"`
}

// Metrics are figures by their name as a metric: those of Host.
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
	// Address is where it listens, as Host.Addr has it, behind its network and "://". Empty: it is
	// a route, or removed.
	Address string `json:"address,omitempty"`
	// Removed says that the configuration does not have it any more, and that connections of it are
	// open yet. Then it has Generations alone.
	Removed bool    `json:"removed"`
	Metrics Metrics `json:"metrics,omitempty"`
	// Ended and DatagramsLost are Listener's.
	Ended         map[string]int64 `json:"ended,omitempty"`
	DatagramsLost map[string]int64 `json:"datagrams_lost,omitempty"`
	// Dials is Listener's.
	Dials map[string]int64 `json:"dials,omitempty"`
	// ByKey has both by the key of the limit, as Listener.ByKey says.
	ByKey map[string]int64 `json:"by_key,omitempty"`
	// Drained says that it takes no new connections, as an operator wants it.
	Drained bool `json:"drained,omitempty"`
	// PluginSHA256 is the SHA-256, in hex, of the plugin that new connections come to: of a script,
	// with what it imports. Empty: none is loaded, or the handlers are written in Go.
	PluginSHA256 string `json:"plugin_sha256,omitempty"`
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
	// Number is that of the configuration that has made it: 1 is the first that was served, and
	// each reload's is the next.
	Number int64     `json:"number"`
	Since  time.Time `json:"since"`
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
	// Memory is what its instances hold of their tenants' memory, in bytes: linear memory, stacks,
	// what they run on, and snapshots. Code is what its plugins' code does; generations of one
	// tenant that have the same plugin share that, and each has it here. Mappings are the memory
	// mappings of both.
	Memory   int64 `json:"memory_bytes"`
	Code     int64 `json:"code_bytes"`
	Mappings int64 `json:"mappings"`
}

// Status is the part of the listener's status that its figures say: all but Tenant, Address,
// Removed and Generations.
func (l Listener) Status() ListenerStatus {
	st := ListenerStatus{Name: l.Name, Metrics: MetricsOf(l), Ended: l.Ended, DatagramsLost: l.DatagramsLost, Dials: l.Dials, ByKey: l.ByKey(), Drained: l.Drained}
	if q := l.Quarantine; q != nil {
		st.Quarantine = &QuarantineStatus{q.Cause, q.Tries, q.Wait.Seconds()}
	}
	return st
}

// MetricsOf gives the figures of a Host, Tenant or Listener by their names as metrics. What has
// no name, or is no number, is left out.
func MetricsOf(figures any) Metrics {
	v := reflect.ValueOf(figures)
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
