package page

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"bulkhead/host/limits"
	"bulkhead/host/stats"
)

const (
	// window is how many frames back rates and counts are taken.
	window = 5
	// mostGenerations is how many rows of generations a frame has at most.
	mostGenerations = 100
	// layoutAge is for how many frames addresses and the ends of generations are taken as they
	// were, where no generation came or went.
	layoutAge = 10
)

// looker makes frames of what a host tells. One goroutine uses it.
type looker struct {
	source Source
	number int64
	stats  stats.Host
	past   []totals // the oldest first
	spare  totals

	layout    map[string]layout
	layoutOf  [2]int64 // the generation in force and how many are retired, as the layout has it
	layoutAge int
	draining  bool
	pid       int

	tenants     *rows[tenantRow]
	listeners   *rows[listenerRow]
	generations *rows[generationRow]
	connections *rows[connRow]

	mostOf map[generationKey]int64 // connections, of those retired
	failed map[string]*failure     // by listener
	conns  connections

	holders map[tenantKey]holder
}

// layout is what a listener has besides figures.
type layout struct {
	address     string
	generations map[int64]stats.GenerationStatus
}

type generationKey struct {
	listener string
	number   int64
}

// totals are what had happened by a time.
type totals struct {
	at        time.Time
	tenants   map[string]tenantTotals
	listeners map[string]listenerTotals
	host      waits
	bugs      int64
}

type tenantTotals struct {
	cpu   time.Duration
	waits waits
}

// waits are how often somebody had to wait for the limits of a table, or was refused: a total for
// each of its first rows, of which there are not more.
type waits [32]int64

func waitsFor[T any](rows []limits.Limit[T], of *T) (w waits) {
	for i := range rows {
		w[i] = rows[i].Total(of)
	}
	return w
}

// since are those that have grown, by key. Nil: none has.
func since[T any](rows []limits.Limit[T], now, before *waits) (grown map[string]int64) {
	for i := range rows {
		if n := now[i] - before[i]; n > 0 {
			if grown == nil {
				grown = make(map[string]int64)
			}
			grown[rows[i].Key] += n
		}
	}
	return grown
}

type listenerTotals struct {
	accepted, in, out, failed, refused int64
	limits                             map[string]int64 // by key
	waits                              waits
}

// failure is what is known of failing handlers of a listener.
type failure struct {
	seen int64     // while somebody watches
	last time.Time // that one was seen
}

func newLooker(s Source) *looker {
	return &looker{
		source: s, mostOf: make(map[generationKey]int64), failed: make(map[string]*failure),
		holders: make(map[tenantKey]holder),
		tenants: newRows[tenantRow]("tenants"), listeners: newRows[listenerRow]("listeners"), generations: newRows[generationRow]("generations"), connections: newRows[connRow]("connections"),
	}
}

// look makes the next frame; nil: ctx is done.
func (l *looker) look(ctx context.Context, now time.Time) *frame {
	l.source.Host.Refresh(ctx)
	l.source.Host.FillStats(&l.stats)
	if ctx.Err() != nil {
		return nil
	}
	l.readLayout()
	t := l.newTotals(now)
	before := &t
	if len(l.past) > 0 {
		before = &l.past[0]
	}
	over := max(now.Sub(before.at).Seconds(), 0)
	v := view{looker: l, now: now, before: before, over: over, traffic: make(map[string]*tenantTraffic)}

	l.number++
	f := &frame{number: l.number}
	host := v.host(&t)
	listeners := v.listenerRows()
	tenants := v.tenantRows(&t)
	for i := range tenants {
		host.CPU += tenants[i].Uses["cpu"][0]
		host.AcceptRate += tenants[i].Uses["accept_rate"][0]
	}
	for _, t := range v.traffic {
		host.InRate, host.OutRate = host.InRate+t.in, host.OutRate+t.out
	}
	host.CPU, host.AcceptRate, host.InRate, host.OutRate = round(host.CPU), round(host.AcceptRate), round(host.InRate), round(host.OutRate)
	l.conns.look(ctx, l.source.Host, now)
	v.findHost(&host)
	v.findListeners(listeners)
	v.findHolders(tenants)
	v.findTenants(tenants)

	f.parts = append(f.parts, fill(l.tenants, tenants, func(r *tenantRow) string { return r.Name }))
	f.parts = append(f.parts, fill(l.listeners, listeners, func(r *listenerRow) string { return r.Name }))
	generations := v.generationRows()
	f.parts = append(f.parts, fill(l.generations, generations, func(r *generationRow) string {
		return r.Listener + " " + strconv.FormatInt(r.Number, 10)
	}))
	f.parts = append(f.parts, fill(l.connections, l.conns.rows(), func(r *connRow) string { return strconv.FormatUint(r.ID, 10) }))
	findings, more := v.sorted()
	head := struct {
		At       string    `json:"at"`
		Over     float64   `json:"over_seconds"`
		Host     hostRow   `json:"host"`
		Findings []finding `json:"findings"`
		// More findings are left out.
		More int `json:"more_findings,omitempty"`
		// Looked connections of Of were looked at.
		Looked int    `json:"looked"`
		Of     int    `json:"of"`
		Conns  string `json:"connections_problem,omitempty"`
	}{now.UTC().Format(time.RFC3339), round(over), host, findings, more, len(l.conns.last), l.conns.matched, l.conns.problem}
	text := marshal(head)
	f.head = text[:len(text)-1]
	l.remember(t)
	return f
}

// fill makes a part of rows.
func fill[R figures[R]](r *rows[R], all []R, key func(*R) string) part {
	r.begin()
	for i := range all {
		r.add(key(&all[i]), &all[i])
	}
	return r.end()
}

// remember keeps what had happened by now, and forgets the oldest.
func (l *looker) remember(t totals) {
	if len(l.past) == window {
		l.spare = l.past[0]
		l.past = append(l.past[:0], l.past[1:]...)
	}
	l.past = append(l.past, t)
}

// newTotals are what has happened by now.
func (l *looker) newTotals(now time.Time) totals {
	t := l.spare
	l.spare = totals{}
	if t.tenants == nil {
		t.tenants, t.listeners = make(map[string]tenantTotals), make(map[string]listenerTotals)
	}
	clear(t.tenants)
	clear(t.listeners)
	t.at, t.bugs, t.host = now, l.stats.HostBugs, waitsFor(limits.Host, &l.stats)
	for i := range l.stats.Tenants {
		s := &l.stats.Tenants[i]
		t.tenants[s.Name] = tenantTotals{s.CPU, waitsFor(limits.Tenants, s)}
	}
	for i := range l.stats.Listeners {
		s := &l.stats.Listeners[i]
		t.listeners[s.Name] = listenerTotals{s.Accepted, s.Received, s.Sent, s.Failures(), s.Refused, s.ByKey(), waitsFor(limits.Listeners, s)}
	}
	return t
}

// readLayout asks for what has no figure, if it may be another than before.
func (l *looker) readLayout() {
	of := [2]int64{l.stats.Generation, int64(l.stats.RetiredGenerations)}
	if l.layoutAge++; l.layout != nil && of == l.layoutOf && l.layoutAge < layoutAge {
		return
	}
	l.layoutOf, l.layoutAge = of, 0
	st := l.source.Host.Status()
	l.draining, l.pid = st.Draining, st.PID
	l.layout = make(map[string]layout, len(st.Listeners))
	for i := range st.Listeners {
		one := layout{address: st.Listeners[i].Address}
		if g := st.Listeners[i].Generations; len(g) > 1 || st.Listeners[i].Removed {
			one.generations = make(map[int64]stats.GenerationStatus, len(g))
			for _, s := range g {
				one.generations[s.Number] = s
			}
		}
		l.layout[st.Listeners[i].Name] = one
	}
}

// view is what is seen at one time.
type view struct {
	*looker
	now      time.Time
	before   *totals
	over     float64 // seconds since before
	traffic  map[string]*tenantTraffic
	findings []finding
	users    map[tenantKey]*users
	held     map[tenantKey]bool // limits that one connection uses up
}

// tenantTraffic is what a tenant's listeners have done in the time of the frame.
type tenantTraffic struct{ accepts, in, out, failed, failures float64 }

// rate is a difference a second. A total that is less than before is that of somebody else.
func (v *view) rate(now, before int64) float64 {
	if v.over == 0 {
		return 0
	}
	return round(float64(max(now-before, 0)) / v.over)
}

func (v *view) host(now *totals) hostRow {
	s := &v.stats
	h := hostRow{
		Version: v.source.Version, File: v.source.File, PID: v.pid, Since: s.Began.UTC().Format(time.RFC3339),
		InForce: s.InForce.UTC().Format(time.RFC3339), Generation: s.Generation, Draining: v.draining,
		Tenants: len(s.Tenants), Listeners: len(s.Listeners), Generations: s.RetiredGenerations,
		Uses: usesOf(limits.Host, s), Waits: since(limits.Host, &now.host, &v.before.host),
	}
	for i := range s.Loops {
		h.Lag = max(h.Lag, s.Loops[i].Lag.Seconds())
	}
	h.Lag = round(h.Lag)
	if v.source.LastReload != nil {
		h.LastReload = v.source.LastReload()
	}
	return h
}

func (v *view) listenerRows() []listenerRow {
	all := make([]listenerRow, len(v.stats.Listeners))
	for i := range v.stats.Listeners {
		s, before := &v.stats.Listeners[i], listenerTotals{}
		failures := s.Failures()
		if was, known := v.before.listeners[s.Name]; known {
			before = was
		} else { // it is new: nothing is known of how fast it came to what it has
			before = listenerTotals{s.Accepted, s.Received, s.Sent, failures, s.Refused, nil, waitsFor(limits.Listeners, s)}
		}
		now := waitsFor(limits.Listeners, s)
		r := listenerRow{
			Name: s.Name, Tenant: s.Tenant, Address: v.layout[s.Name].address, Removed: s.Removed, Active: s.Active, Accepted: s.Accepted,
			AcceptRate: v.rate(s.Accepted, before.accepted), InRate: v.rate(s.Received, before.in), OutRate: v.rate(s.Sent, before.out),
			Ended: maps.Clone(s.Ended), Lost: maps.Clone(s.DatagramsLost), Limits: s.ByKey(), Waits: since(limits.Listeners, &now, &before.waits), Failures: failures, Failed: max(failures-before.failed, 0),
		}
		if s.Quarantine != nil {
			r.Quarantine = s.Quarantine.Cause
		}
		t := v.traffic[s.Tenant]
		if t == nil {
			t = new(tenantTraffic)
			v.traffic[s.Tenant] = t
		}
		t.in, t.out, t.failed, t.failures = t.in+r.InRate, t.out+r.OutRate, t.failed+float64(r.Failed), t.failures+float64(r.Failures)
		if !isRoute(s.Name) {
			t.accepts += r.AcceptRate
		}
		all[i] = r
	}
	return all
}

func isRoute(name string) bool { return strings.Contains(name, "/") }

// usesOf are how much is in use of limits, by key, where anything is or there is a bound.
func usesOf[T any](rows []limits.Limit[T], of *T) map[string]use {
	all := make(map[string]use, len(rows))
	for i := range rows {
		if u, is := rows[i].Use(of); is && (u.Used > 0 || u.Limit > 0) {
			all[rows[i].Key] = use{float64(u.Used), float64(u.Limit)}
		}
	}
	return all
}

func (v *view) tenantRows(now *totals) []tenantRow {
	all := make([]tenantRow, len(v.stats.Tenants))
	for i := range v.stats.Tenants {
		s := &v.stats.Tenants[i]
		r := tenantRow{Name: s.Name, Removed: s.Removed, Asleep: int64(s.Asleep), Uses: usesOf(limits.Tenants, s)}
		traffic := v.traffic[s.Name]
		if traffic == nil {
			traffic = new(tenantTraffic)
		}
		then, known := v.before.tenants[s.Name]
		if !known {
			then = now.tenants[s.Name]
		}
		cores := 0.0
		if v.over > 0 {
			cores = max((s.CPU-then.cpu).Seconds()/v.over, 0)
		}
		r.Uses["cpu"] = use{round(cores), s.CPULimit.Seconds()}
		r.Uses["bandwidth"] = use{round(max(traffic.in, traffic.out)), float64(s.Bandwidth)}
		r.Uses["accept_rate"] = use{round(traffic.accepts), s.AcceptRate}
		r.Failed, r.Failures = int64(traffic.failed), int64(traffic.failures)
		for key, u := range r.Uses {
			if share := u.share(); share > r.Share || share == r.Share && share > 0 && key < r.Worst {
				r.Worst, r.Share = key, share
			}
		}
		if r.Share = round(r.Share); r.Share < 0.01 {
			r.Worst = ""
		}
		was := now.tenants[s.Name].waits
		r.Waits = since(limits.Tenants, &was, &then.waits)
		all[i] = r
	}
	return all
}

// generationRows are the generations of listeners that have retired ones, those with the most
// connections left first.
func (v *view) generationRows() []generationRow {
	drains := make(map[string]bool)
	for i := range v.stats.Generations {
		if v.stats.Generations[i].Retired {
			drains[v.stats.Generations[i].Listener] = true
		}
	}
	var all []generationRow
	most := make(map[generationKey]int64)
	for i := range v.stats.Generations {
		g := &v.stats.Generations[i]
		if !drains[g.Listener] {
			continue
		}
		r := generationRow{Listener: g.Listener, Tenant: g.Tenant, Number: g.Number, Retired: g.Retired, Connections: g.Connections}
		key := generationKey{g.Listener, g.Number}
		r.Most = max(v.mostOf[key], g.Connections)
		most[key] = r.Most
		if st, ok := v.layout[g.Listener].generations[g.Number]; ok {
			r.Changed = st.Changed
			if st.Until != nil {
				r.Until = st.Until.UTC().Format(time.RFC3339)
			}
		}
		all = append(all, r)
	}
	v.mostOf = most
	left := make(map[string]int64)
	for i := range all {
		if all[i].Retired {
			left[all[i].Listener] += all[i].Connections
		}
	}
	slices.SortStableFunc(all, func(a, b generationRow) int {
		return cmp.Or(cmp.Compare(left[b.Listener], left[a.Listener]), cmp.Compare(a.Listener, b.Listener), cmp.Compare(b.Number, a.Number))
	})
	return all[:min(len(all), mostGenerations)]
}

// round keeps three digits behind the point, and none of a large figure, so that a row that says
// the same is the same.
func round(n float64) float64 {
	switch {
	case math.IsNaN(n) || math.IsInf(n, 0):
		return 0
	case n >= 1000:
		return math.Round(n)
	}
	return math.Round(n*1000) / 1000
}
