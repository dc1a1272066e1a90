package page

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"bulkhead/host/conns"
	"bulkhead/host/limits"
	"bulkhead/internal/bytesize"
)

const (
	// mostFindings is how many a frame has.
	mostFindings = 30
	// nearly is the part of a limit from which on it is said to be nearly used up.
	nearly = 0.9
	// late is how long a loop may wait for its turn before that is said.
	late = 100 * time.Millisecond
	// failedFor is how long failing handlers are said to fail after the last one was seen.
	failedFor = 5 * time.Minute
	// expiresWithin is how early the end of a certificate is said.
	expiresWithin = 7 * 24 * time.Hour
	// heldBack is the part of what a tenant's connections use from which on one of them holds
	// others back.
	heldBack = 0.5
)

// Levels of findings: what turns clients away or makes them wait now, what is worth a look, and
// what is good to know.
const (
	act  = "act"
	look = "look"
	note = "note"
)

var levels = map[string]int{act: 0, look: 1, note: 2}

// finding is what an operator would want to be told of.
type finding struct {
	Level string `json:"level"`
	// Kind is a word for what it is: it and the rest but Text and Mend stay the same while it
	// lasts.
	Kind string `json:"kind"`
	Text string `json:"text"`
	// Mend says what can be done about it.
	Mend       string `json:"mend"`
	Key        string `json:"key,omitempty"` // of the limit that it is about
	Tenant     string `json:"tenant,omitempty"`
	Listener   string `json:"listener,omitempty"`
	Connection uint64 `json:"connection,omitempty"`

	weight float64 // the larger, the earlier among those of its level
}

func (v *view) found(f finding) { v.findings = append(v.findings, f) }

// sorted are the findings that a frame has, and how many there are besides.
func (v *view) sorted() (first []finding, more int) {
	slices.SortStableFunc(v.findings, func(a, b finding) int {
		return cmp.Or(cmp.Compare(levels[a.Level], levels[b.Level]), cmp.Compare(b.weight, a.weight), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Listener, b.Listener))
	})
	n := min(len(v.findings), mostFindings)
	return append([]finding{}, v.findings[:n]...), len(v.findings) - n
}

// findHost looks at the host as a whole.
func (v *view) findHost(h *hostRow) {
	if v.stats.HostBugs > 0 {
		level := note
		if v.stats.HostBugs > v.before.bugs {
			level = act
		}
		v.found(finding{Level: level, Kind: "bug", weight: 9, Text: fmt.Sprintf("The host has caught %s of its own.", many(v.stats.HostBugs, "panic", "panics")),
			Mend: "The log has their stacks: report them."})
	}
	if lag := time.Duration(h.Lag * float64(time.Second)); lag >= late {
		v.found(finding{Level: act, Kind: "lag", weight: 8, Text: fmt.Sprintf("A loop took %v to come to its turn. All connections on it wait.", lag.Round(time.Millisecond)),
			Mend: "The machine is busy with something else, or stands still. See what else runs on it."})
	}
	for i := range limits.Host {
		l := &limits.Host[i]
		u, n := h.Uses[l.Key], h.Waits[l.Key]
		f := finding{Level: look, Kind: "host", Key: l.Key, weight: 7, Mend: "Raise " + l.Key + " of [host], or see which tenant has the most."}
		switch {
		case u.share() >= nearly:
			f.Text = fmt.Sprintf("The host has %s.", ofLimit(l.Key, u))
		case n > 0:
			f.Kind, f.Text = "host_wait", fmt.Sprintf("The host comes up against %s.", l.Key)
		default:
			continue
		}
		if u.share() >= 1 {
			f.Level = act
		}
		if l.Mend != "" {
			f.Mend = l.Mend
		}
		if l.Mild {
			f.Level = note
		}
		if n > 0 {
			f.Text += fmt.Sprintf(" In the last %.0f s, %s: %d.", max(v.over, 1), l.What, n)
		}
		v.found(f)
	}
	if r := h.LastReload; r != nil && len(r.Errors) > 0 {
		text := fmt.Sprintf("The last %s %s: %s", r.What, r.Result, r.Errors[0])
		if n := len(r.Errors) - 1; n > 0 {
			text += fmt.Sprintf(" (and %s)", many(int64(n), "other error", "other errors"))
		}
		v.found(finding{Level: look, Kind: "reload", weight: 6, Text: text, Mend: "The configuration before is in force. Correct the file, try it with bulkhead check, and reload."})
	}
	if h.Draining {
		v.found(finding{Level: note, Kind: "draining", Text: "The host stops: it accepts no more connections.", Mend: "Those that are open have until [host] drain."})
	}
}

// findListeners looks at each listener.
func (v *view) findListeners(all []listenerRow) {
	seen := make(map[string]bool)
	for i := range all {
		r, s := &all[i], &v.stats.Listeners[i]
		if q := s.Quarantine; q != nil {
			v.found(finding{Level: act, Kind: "quarantine", Tenant: r.Tenant, Listener: r.Name, weight: 5,
				Text: fmt.Sprintf("%s of %s serves nobody: %s", r.Name, r.Tenant, q.Cause),
				Mend: fmt.Sprintf("Correct the plugin and reload. It was tried %s, and is tried again every %v.", many(int64(q.Tries), "time", "times"), q.Wait.Round(time.Second))})
		}
		v.findFailures(r)
		v.findLimits(r)
		v.findWaits(r)
		if r.Failures > 0 {
			seen[r.Name] = true
		}
		if end := s.CertificateEnds; !end.IsZero() && end.Sub(v.now) < expiresWithin {
			f := finding{Level: look, Kind: "certificate", Tenant: r.Tenant, Listener: r.Name, Key: "tls", Mend: "Put the new one in its place; the file is read again by itself.",
				Text: fmt.Sprintf("The certificate of %s expires at %s.", r.Name, end.UTC().Format(time.DateTime+" MST"))}
			if end.Before(v.now) {
				f.Level, f.Text = act, fmt.Sprintf("The certificate of %s has expired, at %s.", r.Name, end.UTC().Format(time.DateTime+" MST"))
			}
			v.found(f)
		}
	}
	for name := range v.failed {
		if !seen[name] {
			delete(v.failed, name)
		}
	}
}

// causesOfHandlers are those that count as a failing handler's, by the names of causes.
var causesOfHandlers = map[string]string{
	"trap": "trapped", "handler_failed": "with an error that was not caught", "event_timeout": "stopped by event_timeout", "stack": "stopped by stack",
	"bad_result": "with a wrong result", "bad_data": "with bad data (on_bad_data)", "not_started": "not started",
}

// findFailures looks for handlers that fail.
func (v *view) findFailures(r *listenerRow) {
	if r.Failures == 0 {
		return
	}
	f := v.failed[r.Name]
	if f == nil {
		f = new(failure)
		v.failed[r.Name] = f
	}
	if r.Failed > 0 {
		f.seen, f.last = f.seen+1, v.now
	}
	var how []string
	for _, cause := range slices.Sorted(maps.Keys(causesOfHandlers)) {
		if n := r.Ended[cause]; n > 0 {
			how = append(how, fmt.Sprintf("%d %s", n, causesOfHandlers[cause]))
		}
	}
	what := ""
	if len(how) > 0 {
		what = " Connections since the start: " + strings.Join(how, ", ") + "."
	}
	one := finding{Kind: "handler", Tenant: r.Tenant, Listener: r.Name, weight: float64(r.Failed),
		Mend: "The log has each: bulkhead logs --tenant " + r.Tenant + ". bulkhead rollback goes back to the plugin before, if a reload has brought this one."}
	switch since := v.now.Sub(f.last); {
	case r.Failed > 0:
		one.Level = act
		one.Text = fmt.Sprintf("Handlers of %s (tenant %s) fail: %d in the last %.0f s.%s", r.Name, r.Tenant, r.Failed, max(v.over, 1), what)
	case !f.last.IsZero() && since < failedFor:
		one.Level = look
		one.Text = fmt.Sprintf("Handlers of %s (tenant %s) have failed, the last one %s ago.%s", r.Name, r.Tenant, since.Round(time.Second), what)
	default:
		one.Level = note
		one.Text = fmt.Sprintf("Handlers of %s (tenant %s) have failed %s since the start.%s", r.Name, r.Tenant, many(r.Failures, "time", "times"), what)
	}
	v.found(one)
}

// otherwise are keys of causes that are no limit's, or that a finding of another kind is about.
var otherwise = map[string]bool{"tls": true, "route": true, "proxy_from": true, "on_bad_data": true, "event_timeout": true, "stack": true}

// findLimits looks for limits that end connections of a listener, or lose its datagrams.
func (v *view) findLimits(r *listenerRow) {
	for _, key := range slices.Sorted(maps.Keys(r.Limits)) {
		before, known := v.before.listeners[r.Name]
		n := r.Limits[key] - before.limits[key]
		if n <= 0 || !known || otherwise[key] {
			continue
		}
		v.found(finding{Level: note, Kind: "limit", Key: key, Tenant: r.Tenant, Listener: r.Name, weight: -1,
			Text: fmt.Sprintf("%s of %s (tenant %s) ended or were lost by %s in the last %.0f s.", many(n, "connection or datagram", "connections or datagrams"), r.Name, r.Tenant, key, max(v.over, 1)),
			Mend: fmt.Sprintf("The access log has each connection, with the key. bulkhead logs --tenant %s says more.", r.Tenant)})
	}
}

// findWaits looks for limits of a listener's own that it comes up against.
func (v *view) findWaits(r *listenerRow) {
	for i := range limits.Listeners {
		if l := &limits.Listeners[i]; r.Waits[l.Key] > 0 {
			v.found(finding{Level: act, Kind: "wait", Key: l.Key, Tenant: r.Tenant, Listener: r.Name,
				Text: fmt.Sprintf("%s of %s waits for %s. In the last %.0f s, %s: %d.", r.Name, r.Tenant, l.Key, max(v.over, 1), l.What, r.Waits[l.Key]), Mend: l.Mend})
		}
	}
}

// findTenants looks at each tenant beside its limits.
func (v *view) findTenants(all []tenantRow) {
	for i := range all {
		r := &all[i]
		for l := range limits.Tenants {
			limit := &limits.Tenants[l]
			key := limit.Key
			n, of := r.Waits[key], tenantKey{r.Name, key}
			if n == 0 || v.held[of] {
				continue
			}
			f := finding{Level: act, Kind: "wait", Key: key, Tenant: r.Name, weight: min(r.Uses[key].share(), 4),
				Text: fmt.Sprintf("Tenant %s waits for %s. In the last %.0f s, %s: %d.", r.Name, key, max(v.over, 1), limit.What, n)}
			if u, ok := r.Uses[key]; ok {
				f.Text = fmt.Sprintf("Tenant %s uses %s. In the last %.0f s, %s: %d.", r.Name, ofLimit(key, u), max(v.over, 1), limit.What, n)
				if u.share() < 0.5 {
					f.Level = look // it came and went
				}
			}
			if most, uses := v.greatest(of); most != nil && v.users[of].use > heldBack*v.users[of].sum {
				f.Text += fmt.Sprintf(" Connection %d of %s (peer %s) uses the most: %s.", most.ID, ownerOf(most), peerOf(most), uses)
				f.Connection, f.Listener = most.ID, ownerOf(most)
			}
			f.Mend = fmt.Sprintf("Raise %s of [tenant.%s], or see which of its connections uses the most.", key, r.Name)
			if limit.Mend != "" {
				f.Mend = limit.Mend
			}
			if limit.Mild {
				f.Level = note
			}
			v.found(f)
		}
		for _, key := range slices.Sorted(maps.Keys(r.Uses)) {
			if u := r.Uses[key]; u.share() >= nearly && r.Waits[key] == 0 && u[1] > 1 {
				v.found(finding{Level: note, Kind: "nearly", Key: key, Tenant: r.Name, weight: u.share(), Text: fmt.Sprintf("Tenant %s uses %s.", r.Name, ofLimit(key, u)),
					Mend: fmt.Sprintf("Nobody waits yet. %s of [tenant.%s] sets it.", key, r.Name)})
			}
		}
	}
}

// ofLimit writes how much of a limit is in use.
func ofLimit(key string, u use) string {
	switch key {
	case "cpu":
		return fmt.Sprintf("%.2f of %.2f cores (cpu)", u[0], u[1])
	case "memory", "socket_memory":
		return fmt.Sprintf("%s of %s of %s", size(u[0]), bytesize.String(int64(u[1])), key)
	case "bandwidth":
		return fmt.Sprintf("%s of %s a second of bandwidth", size(u[0]), bytesize.String(int64(u[1])))
	case "accept_rate":
		return fmt.Sprintf("%.0f of %.0f connections a second (accept_rate)", u[0], u[1])
	}
	return fmt.Sprintf("%.0f of %.0f %s", u[0], u[1], key)
}

// tenantKey is a limit of a tenant.
type tenantKey struct{ tenant, key string }

// holder is a connection that holds others back.
type holder struct {
	finding finding
	words   string    // for its row
	at      time.Time // that this was so last
}

// users are the connections of a tenant, as far as they use what a limit bounds.
type users struct {
	most   int // index of the one that uses the most, of those looked at
	use    float64
	sum    float64
	others []uint64 // that wait
}

// findUsers looks which connections use the most of what others may wait for.
func (v *view) findUsers() {
	c := &v.conns
	v.users = make(map[tenantKey]*users)
	for i := range c.last {
		for _, key := range []string{"cpu", "bandwidth"} {
			used := c.rates[i].cpu
			if key == "bandwidth" {
				used = max(c.rates[i].in, c.rates[i].out) // the limit is one each way
			}
			at := tenantKey{c.last[i].Tenant, key}
			u := v.users[at]
			if u == nil {
				u = &users{most: i}
				v.users[at] = u
			}
			u.sum += used
			if used > u.use {
				u.most, u.use = i, used
			}
			if slices.Contains(c.last[i].ThrottledBy, key) {
				u.others = append(u.others, c.last[i].ID)
			}
		}
	}
}

// greatest is the connection that uses the most, and how much; nil: none uses anything.
func (v *view) greatest(of tenantKey) (most *conns.Conn, uses string) {
	u := v.users[of]
	if u == nil || u.use == 0 {
		return nil, ""
	}
	if of.key == "bandwidth" {
		return &v.conns.last[u.most], size(u.use) + " a second"
	}
	return &v.conns.last[u.most], fmt.Sprintf("%.2f cores", u.use)
}

// findHolders looks for connections that use most of what others of their tenant wait for.
func (v *view) findHolders(all []tenantRow) {
	v.findUsers()
	c := &v.conns
	c.holds, v.held = make(map[uint64]string), make(map[tenantKey]bool)
	for i := range all {
		for key := range all[i].Waits {
			at := tenantKey{all[i].Name, key}
			u := v.users[at]
			one, uses := v.greatest(at)
			if one == nil || u.use < heldBack*u.sum {
				continue
			}
			others := slices.DeleteFunc(u.others, func(id uint64) bool { return id == one.ID })
			if len(others) == 0 {
				continue
			}
			f := finding{Level: act, Kind: "holds", Key: key, Tenant: at.tenant, Listener: ownerOf(one), Connection: one.ID, weight: 5,
				Text: fmt.Sprintf("Connection %d of %s (tenant %s, peer %s) holds back %s. It uses %s of the tenant's %s, and connections %s wait for that. The tenant uses %s.",
					one.ID, ownerOf(one), at.tenant, peerOf(one), many(int64(len(others)), "other", "others"), uses, key, numbers(others), ofLimit(key, all[i].Uses[key])),
				Mend: fmt.Sprintf("Close it, or raise %s of [tenant.%s].", key, at.tenant)}
			v.holders[at] = holder{f, fmt.Sprintf("%s, by %s", many(int64(len(others)), "other", "others"), key), v.now}
		}
	}
	// Others wait now and then: who was found holding them back is said to for a while.
	for at, h := range v.holders {
		if v.now.Sub(h.at) > window*every || !slices.ContainsFunc(c.last, func(one conns.Conn) bool { return one.ID == h.finding.Connection }) {
			delete(v.holders, at)
			continue
		}
		v.held[at] = true
		c.holds[h.finding.Connection] = h.words
		v.found(h.finding)
	}
	v.findBlocked()
}

// findBlocked looks for the peer that takes the least of what waits for it.
func (v *view) findBlocked() {
	var most *conns.Conn
	n := int64(0)
	for i := range v.conns.last {
		one := &v.conns.last[i]
		if slices.Contains(one.State, "blocked") && len(one.ThrottledBy) == 0 {
			if n++; most == nil || one.Unsent > most.Unsent {
				most = one
			}
		}
	}
	if most != nil {
		v.found(finding{Level: note, Kind: "blocked", Tenant: most.Tenant, Listener: ownerOf(most), Connection: most.ID,
			Text: fmt.Sprintf("%s not take what is sent to them. For connection %d of %s (tenant %s, peer %s) %s wait.", many(n, "peer does", "peers do"), most.ID, ownerOf(most), most.Tenant, peerOf(most), size(float64(most.Unsent))),
			Mend: "write_timeout and min_rate of the listener end such connections."})
	}
}

// size writes about so many bytes.
func size(n float64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", n/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", n/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.0f KiB", n/(1<<10))
	}
	return fmt.Sprintf("%.0f bytes", n)
}

// many writes a number with its word.
func many(n int64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// numbers writes the first few.
func numbers(all []uint64) string {
	const most = 5
	slices.Sort(all)
	var s []string
	for _, n := range all[:min(len(all), most)] {
		s = append(s, fmt.Sprint(n))
	}
	if len(all) > most {
		s = append(s, fmt.Sprintf("and %d more", len(all)-most))
	}
	return strings.Join(s, ", ")
}
