package metrics

import (
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"

	"bulkhead/csa"
	"bulkhead/host/limits"
	"bulkhead/host/openmetrics"
	"bulkhead/host/stats"
)

// Family is a line of the table.
type Family struct {
	openmetrics.Family
	// Labels are the names of its samples' labels. None has what a peer chooses.
	Labels []string
	// Key is that of docs/CONFIG.md which sets it, or the limit that it is about; "": none.
	Key string
}

type family struct {
	Family
	write func(s *scrape, f *family)
}

// Families is the table, in the order that it is written in.
func Families() []Family {
	all := make([]Family, len(table))
	for i := range table {
		all[i] = table[i].Family
	}
	return all
}

// newFamily makes one, whose kind and unit its name says.
func newFamily(name, key, help string, labels []string, write func(*scrape, *family)) family {
	f := openmetrics.Family{Name: name, Help: help}
	bare, counts := strings.CutSuffix(name, "_total")
	switch {
	case counts:
		f.Kind = openmetrics.Counter
	case strings.HasSuffix(name, "_info"):
		f.Kind = openmetrics.Info
	}
	for _, unit := range []string{"seconds", "bytes"} {
		if strings.HasSuffix(bare, "_"+unit) {
			f.Unit = unit
		}
	}
	return family{Family{f, labels, key}, write}
}

func ofHost(name, key, help string, of func(*stats.Host) int64) family {
	return newFamily(name, key, help, nil, func(s *scrape, f *family) { s.figure(f, nil, of(&s.stats)) })
}

var (
	tenantLabels     = []string{"tenant"}
	listenerLabels   = []string{"tenant", "listener"}
	generationLabels = []string{"tenant", "listener", "generation"}
)

func ofTenant(name, key, help string, of func(*stats.Tenant) int64) family {
	return newFamily(name, key, help, tenantLabels, func(s *scrape, f *family) {
		for i, labels := range s.tenants {
			if labels != nil {
				s.figure(f, labels, of(&s.stats.Tenants[i]))
			}
		}
	})
}

// eachListener calls write for those that are wanted.
func (s *scrape) eachListener(write func(labels openmetrics.Labels, l *stats.Listener)) {
	for i, labels := range s.listeners {
		if labels != nil {
			write(labels, &s.stats.Listeners[i])
		}
	}
}

func ofListener(name, key, help string, of func(*stats.Listener) int64) family {
	return newFamily(name, key, help, listenerLabels, func(s *scrape, f *family) {
		s.eachListener(func(labels openmetrics.Labels, l *stats.Listener) { s.figure(f, labels, of(l)) })
	})
}

// ofListenerBy has counts by the names of something, whose labels are made once.
func ofListenerBy(name, help string, more []string, by map[string]string, of func(*stats.Listener) map[string]int64) family {
	return newFamily(name, "", help, slices.Concat(listenerLabels, more), func(s *scrape, f *family) {
		s.eachListener(func(labels openmetrics.Labels, l *stats.Listener) {
			for what, n := range of(l) {
				if text := by[what]; text != "" {
					s.e.Int(s.with(labels, text), n)
				}
			}
		})
	})
}

var buckets = openmetrics.NewBuckets(csa.HistogramBounds[:])

func histogramOfListener(name, help string, of func(*stats.Listener) *csa.Histogram) family {
	f := newFamily(name, "", help, listenerLabels, func(s *scrape, f *family) {
		s.eachListener(func(labels openmetrics.Labels, l *stats.Listener) {
			h := of(l)
			if *h != (csa.Histogram{}) {
				s.e.Histogram(labels, buckets, h.Counts[:], h.Sum)
			}
		})
	})
	f.Kind = openmetrics.Histogram
	return f
}

func ofGeneration(name, key, help string, of func(*stats.Generation) int64) family {
	return newFamily(name, key, help, generationLabels, func(s *scrape, f *family) {
		for i, labels := range s.generations {
			if labels != nil {
				s.figure(f, labels, of(&s.stats.Generations[i]))
			}
		}
	})
}

func ofLoop(name, help string, of func(*stats.Loop) time.Duration) family {
	return newFamily(name, "", help, []string{"loop"}, func(s *scrape, f *family) {
		for i := range s.stats.Loops {
			s.figure(f, s.with(nil, loopLabel(i)), int64(of(&s.stats.Loops[i])))
		}
	})
}

func loopLabel(i int) string { return fmt.Sprintf(`loop="%d"`, i) }

// ofProcess has a figure that the system, or Go, may not know.
func ofProcess(name, key, help string, of func(*process) (int64, bool)) family {
	return newFamily(name, key, help, nil, func(s *scrape, f *family) {
		if v, known := of(&s.process); known {
			s.figure(f, nil, v)
		}
	})
}

// causeLabels are those of each cause, by its name.
var causeLabels = func() map[string]string {
	all := make(map[string]string)
	for c := range csa.Causes {
		all[c.Info().Name] = fmt.Sprintf(`cause="%s",by="%s",key="%s"`, c.Info().Name, c.Who(), c.Info().Key)
	}
	return all
}()

// dialLabels are those of each outcome of a dial, by its name.
var dialLabels = func() map[string]string {
	all := make(map[string]string)
	for o := range stats.DialOutcomes {
		all[o.String()] = fmt.Sprintf(`outcome="%s"`, o)
	}
	return all
}()

// lossLabels likewise.
var lossLabels = func() map[string]string {
	all := make(map[string]string)
	for l := range csa.Losses {
		all[l.Info().Name] = fmt.Sprintf(`reason="%s",key="%s"`, l.Info().Name, l.Info().Key)
	}
	return all
}()

// failedHandshakes are the causes that end a handshake.
var failedHandshakes = func() map[string]string {
	all := make(map[string]string)
	for _, c := range []csa.Cause{csa.HandshakeFailed, csa.HandshakeTimeout, csa.HandshakesFull} {
		all[c.Info().Name] = fmt.Sprintf(`cause="%s"`, c.Info().Name)
	}
	return all
}()

func oneIf(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

// since1970 is a time as a figure of the unit seconds; false: it is none.
func since1970(t time.Time) (int64, bool) { return t.UnixNano(), !t.IsZero() }

// limitFamilies are those of a table of limits: of makes a family of a figure, and rate one of what
// there may be a second.
func limitFamilies[T any](rows []limits.Limit[T], of func(name, key, help string, figure func(*T) int64) family,
	rate func(f limits.Figure[T], key string, rate func(*T) float64) family,
) (all []family) {
	for _, l := range rows {
		for _, f := range slices.Concat([]limits.Figure[T]{l.Used, l.Most}, l.Beside, l.Over) {
			switch {
			case f.Metric == "":
			case f.Metric == l.Most.Metric && l.Rate != nil:
				all = append(all, rate(f, l.Key, l.Rate))
			default:
				all = append(all, of(f.Metric, l.Key, f.Help, f.Of))
			}
		}
	}
	return all
}

// ofTenantRate has what a tenant may have a second, which need not be a whole number.
func ofTenantRate(of limits.Figure[stats.Tenant], key string, rate func(*stats.Tenant) float64) family {
	return newFamily(of.Metric, key, of.Help, tenantLabels, func(s *scrape, f *family) {
		for i, labels := range s.tenants {
			if labels == nil {
				continue
			}
			t := &s.stats.Tenants[i]
			if v := rate(t); v != math.Trunc(v) && f.Unit != "seconds" {
				s.e.Float(labels, v)
			} else {
				s.figure(f, labels, of.Of(t))
			}
		}
	})
}

var table = slices.Concat(hostFamilies, limitFamilies(limits.Host, ofHost, nil), limitFamilies(limits.Tenants, ofTenant, ofTenantRate), tenantFamilies, limitFamilies(limits.Listeners, ofListener, nil), listenerFamilies, generationFamilies)

var hostFamilies = []family{
	newFamily("bulkhead_build_info", "", "The program that runs.", []string{"version", "go"}, func(s *scrape, _ *family) {
		s.labels = openmetrics.AppendLabel(openmetrics.AppendLabel(s.labels[:0], "version", s.source.Version), "go", runtime.Version())
		s.e.Int(s.labels, 1)
	}),
	ofHost("bulkhead_config_generation", "", "The number of the configuration in force: 1, and one more with each that comes into force.", func(h *stats.Host) int64 { return h.Generation }),
	newFamily("bulkhead_config_in_force_timestamp_seconds", "", "When the configuration in force came into force: at the start, or by the last reload that has not failed.", nil, func(s *scrape, f *family) {
		if at, is := since1970(s.stats.InForce); is {
			s.figure(f, nil, at)
		}
	}),
	newFamily("bulkhead_config_last_reload_successful", "", "1 if the last reload or rollback is in force, 0 if it has failed or was rolled back. It is missing as long as there was none.", nil, func(s *scrape, f *family) {
		if s.source.LastReload == nil {
			return
		}
		if at, good := s.source.LastReload(); !at.IsZero() {
			s.figure(f, nil, oneIf(good))
		}
	}),
	newFamily("bulkhead_config_last_reload_timestamp_seconds", "", "When the last reload or rollback was begun, whatever became of it.", nil, func(s *scrape, f *family) {
		if s.source.LastReload == nil {
			return
		}
		at, _ := s.source.LastReload()
		if at, is := since1970(at); is {
			s.figure(f, nil, at)
		}
	}),
	newFamily("bulkhead_worker_restarts_total", "", "Workers that have died, and that the supervisor has replaced, since it began. Where it grows, all other counters begin again.", nil, func(s *scrape, f *family) {
		s.figure(f, nil, s.source.WorkerRestarts)
	}),
	newFamily("bulkhead_admin_refused_total", "", "Requests to the daemon itself, as for these metrics, that were refused, by what was wrong with them.", []string{"reason"}, func(s *scrape, f *family) {
		if s.source.Refused == nil {
			return
		}
		all := s.source.Refused()
		for _, reason := range slices.Sorted(maps.Keys(all)) {
			s.figure(f, s.with(nil, `reason="`+reason+`"`), all[reason])
		}
	}),
	ofHost("bulkhead_retired_generations", "", "Listeners as they were before a reload has changed or removed them, that have connections yet.", func(h *stats.Host) int64 { return int64(h.RetiredGenerations) }),
	ofHost("bulkhead_scripts_refused_total", "", "How often a script could not be loaded, at the start, by a reload or by a new try; the last errors say why.", func(h *stats.Host) int64 { return h.ScriptsRefused }),
	ofHost("bulkhead_scripts_over_files_total", "script_files", "Those of them that import more files than script_files allows.", func(h *stats.Host) int64 { return h.ScriptsOverFiles }),
	ofHost("bulkhead_scripts_over_bytes_total", "script_bytes", "Those of them whose files have more bytes than script_bytes allows.", func(h *stats.Host) int64 { return h.ScriptsOverBytes }),
	ofHost("bulkhead_host_bugs_total", "", "Panics of the host's own that were caught; the log has their stacks.", func(h *stats.Host) int64 { return h.HostBugs }),
	ofHost("bulkhead_access_log_lines_lost_total", "", "Lines of the access log that could not be written, or not as fast as they came.", func(h *stats.Host) int64 { return h.AccessLost }),
	ofHost("bulkhead_access_log_open_lines_total", "access_interval", "Lines of connections that were open for long, by access_interval.", func(h *stats.Host) int64 { return h.AccessOpen }),
	ofHost("bulkhead_access_log_sampled_out_total", "", "Connections with an orderly end that the access log leaves out, by access_sample.", func(h *stats.Host) int64 { return h.AccessSampled }),
	ofHost("bulkhead_usage_records_total", "usage_interval", "Records of what tenants have used that were written to the state folder.", func(h *stats.Host) int64 { return h.UsageRecords }),
	ofHost("bulkhead_usage_write_failures_total", "usage_interval", "How often records could not be written, as on a full disk. The same ones are written later.", func(h *stats.Host) int64 { return h.UsageFailures }),
	ofHost("bulkhead_usage_records_lost_total", "usage_interval", "Records that were given up, since too many waited to be written.", func(h *stats.Host) int64 { return h.UsageLost }),
	ofHost("bulkhead_longest_event_seconds", "", "How long a loop has worked at one go at most since the start.", func(h *stats.Host) int64 { return int64(h.LongestEvent) }),
	ofHost("bulkhead_lost_events_total", "", "Events that may have been longer, and of which nobody knows. It is for tests of the host.", func(h *stats.Host) int64 { return h.LostEvents }),
	ofLoop("bulkhead_loop_lag_seconds", "How long this scrape, or one before that waits yet, has waited for the loop's turn.", func(l *stats.Loop) time.Duration { return l.Lag }),
	ofLoop("bulkhead_loop_longest_event_seconds", "How long the loop has worked at one go at most since the start.", func(l *stats.Loop) time.Duration { return l.LongestEvent }),
	ofProcess("bulkhead_gc_stops_total", "", "Garbage collections, each of which stops everything twice for a moment.", func(p *process) (int64, bool) { return p.stops() }),
	ofProcess("bulkhead_gc_stop_seconds_total", "", "How long they have stopped everything, in all.", func(p *process) (int64, bool) { return int64(p.gc.PauseTotal), true }),
	ofProcess("bulkhead_heap_bytes", "", "What Go's heap holds, garbage included that is not collected yet.", func(p *process) (int64, bool) { return p.runtime(heapBytes) }),
	ofProcess("bulkhead_goroutines", "", "Goroutines.", func(p *process) (int64, bool) { return p.runtime(goroutines) }),
	ofProcess("bulkhead_system_mappings_limit", "", "How many memory mappings the system gives the process: vm.max_map_count. Linux alone says so.", func(*process) (int64, bool) { return mostMappings() }),
	ofProcess("process_open_fds", "", "Descriptors that the process has open. Linux alone says so, from version 6.2 on.", func(*process) (int64, bool) { return openDescriptors() }),
	ofProcess("process_max_fds", "", "How many it may have open.", func(*process) (int64, bool) { return mostDescriptors() }),
	ofProcess("process_cpu_seconds_total", "", "Processor time that the process has used.", func(*process) (int64, bool) { return usedCPU() }),
	ofProcess("process_resident_memory_bytes", "", "Memory that the process has in the machine's. Linux alone says so.", func(*process) (int64, bool) { return residentMemory() }),
	newFamily("process_start_time_seconds", "", "When the host began.", nil, func(s *scrape, f *family) {
		if at, is := since1970(s.stats.Began); is {
			s.figure(f, nil, at)
		}
	}),
}

var tenantFamilies = []family{
	ofTenant("bulkhead_tenant_fuel_total", "", "Units of fuel used: docs/METER.md.", func(t *stats.Tenant) int64 { return t.Fuel }),
	ofTenant("bulkhead_tenant_executors_refused_total", "", "How often what calls run on could not be made.", func(t *stats.Tenant) int64 { return t.ExecutorsRefused }),
	newFamily("bulkhead_tenant_counted", "", "What its handlers count, by names of theirs, of which there are few. It may go down, as they may count down.", []string{"tenant", "name"}, func(s *scrape, f *family) {
		for i, labels := range s.tenants {
			if labels == nil {
				continue
			}
			for name, n := range s.stats.Tenants[i].Counts {
				s.labels = openmetrics.AppendLabel(append(s.labels[:0], labels...), "name", name)
				s.e.Int(s.labels, n)
			}
		}
	}),
}

var listenerFamilies = []family{
	ofListener("bulkhead_listener_connections", "", "Open connections of a listener, or of a route, which is called LISTENER/ROUTE.", func(l *stats.Listener) int64 { return l.Active }),
	ofListener("bulkhead_listener_upstreams", "", "Open connections that its handlers have dialled.", func(l *stats.Listener) int64 { return l.Upstreams }),
	ofListener("bulkhead_listener_connections_total", "", "Connections accepted; of a route, those that took it, which are its listener's, too.", func(l *stats.Listener) int64 { return l.Accepted }),
	ofListenerBy("bulkhead_listener_dials_total", "Connections that its handlers have asked for, by what has become of them: connected, given_up, and otherwise why there is none.", []string{"outcome"}, dialLabels, func(l *stats.Listener) map[string]int64 { return l.Dials }),
	ofListener("bulkhead_listener_refused_total", "", "Connections accepted, and closed because no handler, or no room, could be had.", func(l *stats.Listener) int64 { return l.Refused }),
	ofListener("bulkhead_listener_closed_before_route_total", "", "Connections of a listener with routes that have ended before one was known.", func(l *stats.Listener) int64 { return l.ClosedBeforeRoute }),
	ofListenerBy("bulkhead_listener_ended_total", "Connections that have ended, those refused and dialled included, by cause, by who has ended them, and by the key of the limit.", []string{"cause", "by", "key"}, causeLabels, func(l *stats.Listener) map[string]int64 { return l.Ended }),
	ofListener("bulkhead_listener_received_bytes_total", "", "Bytes from peers, those of open connections included.", func(l *stats.Listener) int64 { return l.Received }),
	ofListener("bulkhead_listener_sent_bytes_total", "", "Bytes to peers, those of open connections included.", func(l *stats.Listener) int64 { return l.Sent }),
	ofListener("bulkhead_listener_upstream_received_bytes_total", "", "Bytes from those whom its handlers have dialled.", func(l *stats.Listener) int64 { return l.UpstreamReceived }),
	ofListener("bulkhead_listener_upstream_sent_bytes_total", "", "Bytes to those whom its handlers have dialled.", func(l *stats.Listener) int64 { return l.UpstreamSent }),
	histogramOfListener("bulkhead_listener_event_seconds", "How long a loop has worked at one go for one of its connections. It is missing as long as there was none.", func(l *stats.Listener) *csa.Histogram { return &l.Events }),
	histogramOfListener("bulkhead_listener_first_byte_seconds", "How long it took from when a connection was accepted until its handler's first byte was taken, TLS included. It is missing as long as there was none.", func(l *stats.Listener) *csa.Histogram { return &l.FirstByte }),
	ofListener("bulkhead_listener_handshakes_total", "", "TLS handshakes that were done.", func(l *stats.Listener) int64 { return l.Handshakes }),
	ofListener("bulkhead_listener_handshakes_resumed_total", "", "Of these, those that went on with an earlier session.", func(l *stats.Listener) int64 { return l.Resumed }),
	ofListenerBy("bulkhead_listener_handshakes_failed_total", "TLS handshakes that were not done, by cause.", []string{"cause"}, failedHandshakes, func(l *stats.Listener) map[string]int64 { return l.Ended }),
	newFamily("bulkhead_listener_certificate_expiry_timestamp_seconds", "tls", "When the first of its certificates expires.", listenerLabels, func(s *scrape, f *family) {
		s.eachListener(func(labels openmetrics.Labels, l *stats.Listener) {
			if at, is := since1970(l.CertificateEnds); is {
				s.figure(f, labels, at)
			}
		})
	}),
	ofListenerBy("bulkhead_listener_datagrams_lost_total", "Datagrams that were lost, by reason.", []string{"reason", "key"}, lossLabels, func(l *stats.Listener) map[string]int64 { return l.DatagramsLost }),
	ofListener("bulkhead_listener_instances", "", "Instances that are alive.", func(l *stats.Listener) int64 { return l.Instances }),
	ofListener("bulkhead_listener_start_failures_total", "", "Instances that did not start.", func(l *stats.Listener) int64 { return l.StartFailures }),
	ofListener("bulkhead_listener_traps_total", "", "Instances that have trapped.", func(l *stats.Listener) int64 { return l.Traps }),
	ofListener("bulkhead_listener_limit_stops_total", "event_timeout, stack", "Instances that a limit has stopped.", func(l *stats.Listener) int64 { return l.LimitStops }),
	ofListener("bulkhead_listener_handler_errors_total", "", "Errors that handlers did not deal with, such as one that a script does not catch.", func(l *stats.Listener) int64 { return l.HandlerErrors }),
	ofListener("bulkhead_listener_drained", "", "1 while it takes no new connections, as bulkhead drain has it.", func(l *stats.Listener) int64 { return oneIf(l.Drained) }),
	ofListener("bulkhead_listener_quarantined", "", "1 while its plugin cannot be loaded, or does not start.", func(l *stats.Listener) int64 { return oneIf(l.Quarantine != nil) }),
}

var generationFamilies = []family{
	ofGeneration("bulkhead_generation_connections", "", "Connections of a listener, its routes and what their handlers have dialled included, by the configuration that they came under.", func(g *stats.Generation) int64 { return g.Connections }),
	ofGeneration("bulkhead_generation_instances", "", "Instances that are alive, likewise.", func(g *stats.Generation) int64 { return g.Instances }),
	ofGeneration("bulkhead_generation_memory_bytes", "memory", "What its instances hold of its tenant's memory: linear memory, stacks, what they run on, and snapshots.", func(g *stats.Generation) int64 { return g.Memory }),
	ofGeneration("bulkhead_generation_code_bytes", "memory", "What the code of its plugins holds of its tenant's memory. Generations of a tenant that have the same plugin share that, and each has it here.", func(g *stats.Generation) int64 { return g.Code }),
	ofGeneration("bulkhead_generation_mappings", "mappings", "Memory mappings of its instances, and of the code of its plugins.", func(g *stats.Generation) int64 { return g.Mappings }),
	ofGeneration("bulkhead_generation_retired", "", "1 if a reload has replaced or removed it, so that no new connections come to it.", func(g *stats.Generation) int64 { return oneIf(g.Retired) }),
}
