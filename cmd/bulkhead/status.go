package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"bulkhead/host/admin"
	"bulkhead/host/recent"
	"bulkhead/host/shares"
	"bulkhead/host/stats"
)

// writeStatus writes a status for people, who look at it now.
func writeStatus(to io.Writer, st admin.Status, now time.Time) error {
	w := bufio.NewWriter(to)
	fmt.Fprintf(w, "%s\nprocess %d serves %s since %s\n", st.Version, st.PID, st.File, moment(st.Since, now))
	if p := st.Worker; p != nil {
		fmt.Fprintf(w, "its worker is process %d", p.PID)
		if p.Restarts > 0 {
			fmt.Fprintf(w, ", started again %d times; the one before it ended: %s", p.Restarts, p.Why)
		}
		fmt.Fprintln(w)
	}
	if st.Draining {
		fmt.Fprintln(w, "it stops: no more connections are accepted")
	}
	if l := st.LastReload; l != nil {
		fmt.Fprintf(w, "last %s: %s, at %s, by %s\n", l.What, l.Result, moment(l.At, now), l.By)
		for _, e := range l.Errors {
			fmt.Fprintf(w, "  %s\n", e)
		}
	}
	fmt.Fprintf(w, "in force since %s\n", moment(st.InForce, now))
	writeHealth(w, st)
	for _, line := range st.Confinement.Lines() {
		fmt.Fprintln(w, line)
	}
	writeLimits(w, "", st.Limits)

	for _, t := range st.Tenants {
		fmt.Fprintf(w, "\ntenant %s%s\n", t.Name, removed(t.Removed))
		writeLimits(w, "  ", t.Limits)
		writeFigures(w, "  ", "bulkhead_tenant_", t.Metrics)
		for _, name := range slices.Sorted(maps.Keys(t.Counts)) {
			fmt.Fprintf(w, "  counted %s: %d\n", name, t.Counts[name])
		}
	}
	for _, l := range st.Listeners {
		fmt.Fprintf(w, "\nlistener %s%s: tenant %s", l.Name, removed(l.Removed), l.Tenant)
		if l.Address != "" {
			fmt.Fprintf(w, ", %s", l.Address)
		}
		fmt.Fprintln(w)
		if l.Drained {
			fmt.Fprintln(w, "  drained: it takes no new connections")
		}
		if l.PluginSHA256 != "" {
			fmt.Fprintf(w, "  plugin: sha256 %s\n", l.PluginSHA256)
		}
		if q := l.Quarantine; q != nil {
			fmt.Fprintf(w, "  quarantined after %d tries: %s\n", q.Tries, q.Cause)
		}
		writeFigures(w, "  ", "bulkhead_listener_", l.Metrics)
		writeCounts(w, "connections ended", l.Ended)
		writeCounts(w, "datagrams lost", l.DatagramsLost)
		for _, g := range l.Generations {
			fmt.Fprintf(w, "  generation %d of %s: %d connections, %d instances", g.Number, moment(g.Since, now), g.Connections, g.Instances)
			if len(g.Changed) > 0 {
				fmt.Fprintf(w, "; changed: %s", strings.Join(g.Changed, ", "))
			}
			if g.Until != nil {
				fmt.Fprintf(w, "; replaced, until %s", g.Until.Format(time.DateTime))
			}
			fmt.Fprintf(w, "\n    holds %s of memory, %s of code, %d mappings\n", shares.Size(g.Memory), shares.Size(g.Code), g.Mappings)
		}
	}
	writeErrors(w, st.Errors, now)
	return w.Flush()
}

// writeHealth writes how the daemon itself is.
func writeHealth(w io.Writer, st admin.Status) {
	var lag, longest float64
	for _, l := range st.Loops {
		lag, longest = max(lag, l.Lag), max(longest, l.LongestEvent)
	}
	bugs := st.Metrics["bulkhead_host_bugs_total"].String()
	if bugs == "0" {
		bugs = "no"
	}
	fmt.Fprintf(w, "%d loops: the slowest has answered in %.1f ms, and the longest event has taken %.1f ms; %s bugs of the daemon's own were caught\n",
		len(st.Loops), 1000*lag, 1000*longest, bugs)
}

// writeErrors writes the last errors. What others have said in them is quoted where it has to be.
func writeErrors(w io.Writer, all []recent.Error, now time.Time) {
	if len(all) > 0 {
		fmt.Fprintln(w, "\nthe last errors")
	}
	for _, e := range all {
		fmt.Fprintf(w, "  %s", moment(e.Time, now))
		if e.Times > 1 {
			fmt.Fprintf(w, ", %d times", e.Times)
		}
		for _, of := range [][2]string{{"tenant", e.Tenant}, {"listener", e.Listener}, {"peer", e.Peer}} {
			if of[1] != "" {
				fmt.Fprintf(w, ", %s %s", of[0], plain(of[1]))
			}
		}
		if e.Connection != 0 {
			fmt.Fprintf(w, ", connection %d", e.Connection)
		}
		fmt.Fprintf(w, "\n    %s", lineText(e.What))
		if e.Why != "" {
			fmt.Fprintf(w, ": %s", lineText(e.Why))
		}
		fmt.Fprintln(w)
		if e.In != "" {
			fmt.Fprintf(w, "    in %s\n", lineText(e.In))
		}
		if e.Mend != "" {
			fmt.Fprintf(w, "    %s\n", lineText(e.Mend))
		}
	}
}

// lineText is text as it is where it is one printable line, and else in quotes.
func lineText(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) || strings.Contains(s, "\ufffd") {
		return strconv.QuoteToASCII(s)
	}
	return s
}

// moment writes a time, and how long ago it was.
func moment(t, now time.Time) string {
	return fmt.Sprintf("%s (%v ago)", t.Local().Format(time.DateTime), max(0, now.Sub(t)).Round(time.Second))
}

func removed(is bool) string {
	if is {
		return " (removed)"
	}
	return ""
}

// writeLimits writes what is in use beside what may be.
func writeLimits(w io.Writer, indent string, limits map[string]stats.Use) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, key := range slices.Sorted(maps.Keys(limits)) {
		u := limits[key]
		used, limit := fmt.Sprint(u.Used), fmt.Sprint(u.Limit)
		if key == "memory" {
			used, limit = shares.Size(u.Used), shares.Size(u.Limit)
		}
		if u.Limit == 0 {
			limit = "no bound of its own"
		}
		fmt.Fprintf(t, "%s%s\t%s\tof %s\n", indent, key, used, limit)
	}
	_ = t.Flush()
}

// writeFigures writes the figures that are not zero and stand beside no limit.
func writeFigures(w io.Writer, indent, prefix string, m stats.Metrics) {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		short := strings.TrimPrefix(name, prefix)
		if m[name] != "0" && (strings.HasSuffix(short, "_total") || short == "background_running") {
			all = append(all, strings.TrimSuffix(short, "_total")+" "+m[name].String())
		}
	}
	if len(all) > 0 {
		fmt.Fprintf(w, "%s%s\n", indent, strings.Join(all, ", "))
	}
}

// writeCounts writes counts by cause.
func writeCounts(w io.Writer, what string, by map[string]int64) {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(by)) {
		all = append(all, fmt.Sprintf("%s %d", name, by[name]))
	}
	if len(all) > 0 {
		fmt.Fprintf(w, "  %s: %s\n", what, strings.Join(all, ", "))
	}
}
