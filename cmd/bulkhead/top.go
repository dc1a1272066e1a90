package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"bulkhead/host/admin"
	"bulkhead/host/limits"
	"bulkhead/host/shares"
	"bulkhead/host/stats"

	"github.com/spf13/cobra"
)

// topFrame is what top shows at one time, as JSON.
type topFrame struct {
	At time.Time `json:"at"`
	// Over is the time that figures a second, and what Waits and Failed count, are of.
	Over    float64     `json:"over_seconds"`
	Tenants []topTenant `json:"tenants"`
}

// topTenant is a tenant beside its limits. CPU is cores used.
type topTenant struct {
	Name        string    `json:"name"`
	Removed     bool      `json:"removed,omitempty"`
	CPU         float64   `json:"cpu"`
	CPULimit    float64   `json:"cpu_limit"`
	Memory      stats.Use `json:"memory"`
	Connections stats.Use `json:"connections"`
	Instances   int64     `json:"instances"`
	Asleep      int64     `json:"asleep"`
	// Waits is how often it had to wait for a limit, or was refused by it, by key.
	Waits map[string]int64 `json:"waits,omitempty"`
	// Failed is how often its handlers have failed, as stats.Listener.Failures counts it.
	Failed int64 `json:"failed"`
}

// topOrders are by what top can sort: the largest first, and by name those that are the same.
var topOrders = map[string]func(t *topTenant) float64{
	"cpu":         func(t *topTenant) float64 { return t.CPU },
	"memory":      func(t *topTenant) float64 { return float64(t.Memory.Used) },
	"connections": func(t *topTenant) float64 { return float64(t.Connections.Used) },
	"waits": func(t *topTenant) (n float64) {
		for _, w := range t.Waits {
			n += float64(w)
		}
		return n
	},
	"failed": func(t *topTenant) float64 { return float64(t.Failed) },
	"name":   func(*topTenant) float64 { return 0 },
}

func topCommand() *cobra.Command {
	var interval time.Duration
	var count, limit int
	var order string
	orders := strings.Join(slices.Sorted(maps.Keys(topOrders)), ", ")
	c := askCommand("top FILE", "Watch the tenants of the daemon that serves the file beside their limits",
		`Top shows the tenants of the daemon that serves FILE beside their limits, again and again:
the cores that each has used since the time before, its memory, connections and
instances, for which limits it had to wait, or was refused by them, and how often, and how
often its handlers have failed: trapped, were stopped, met an error that they do not catch,
or did not start. Ctrl-C ends it.

--sort takes `+orders+`. With --json it prints an object a line.

The daemon is found by the state folder that FILE names. To use this command, be the
user that the daemon is of, root, or of the group of [admin] view.`,
		func(a *asking) error {
			err := a.top(interval, count, limit, order)
			if a.ctx.Err() != nil {
				return nil // it was told to end
			}
			return err
		})
	c.Flags().DurationVar(&interval, "interval", 2*time.Second, "the time from one look to the next")
	c.Flags().IntVar(&count, "count", 0, "how many times; 0: until it is told to end")
	c.Flags().IntVar(&limit, "limit", 30, "how many tenants at most, the first in the order; 0: all")
	c.Flags().StringVar(&order, "sort", "cpu", "the order: the largest of a figure first, or name")
	c.Args = func(c *cobra.Command, args []string) error {
		switch {
		case interval < 100*time.Millisecond:
			return fmt.Errorf("top takes an --interval of 100ms or more; it was given %v", interval)
		case count < 0 || limit < 0:
			return fmt.Errorf("top takes a --count and a --limit of 0 or more")
		case topOrders[order] == nil:
			return fmt.Errorf("top sorts by %s; it was given %q", orders, order)
		}
		return one("FILE")(c, args)
	}
	return c
}

// top writes a frame for each interval.
func (a *asking) top(interval time.Duration, count, limit int, order string) error {
	before, err := a.to.Status(a.ctx)
	if err != nil {
		return err
	}
	at := time.Now()
	next := time.NewTicker(interval)
	defer next.Stop()
	for n := 1; count == 0 || n <= count; n++ {
		select {
		case <-next.C:
		case <-a.ctx.Done():
			return nil
		}
		st, err := a.to.Status(a.ctx)
		if err != nil {
			return err
		}
		now := time.Now()
		f := newTopFrame(before, st, now, now.Sub(at), order)
		all := len(f.Tenants)
		if limit > 0 {
			f.Tenants = f.Tenants[:min(limit, all)]
		}
		if a.json {
			err = json.NewEncoder(a.out).Encode(f)
		} else {
			err = writeTop(a.out, st, f, all, isTerminal(a.out))
		}
		if err != nil {
			return err
		}
		before, at = st, now
	}
	return nil
}

// topWaits are the totals of a tenant's that say it had to wait for a limit, or was refused, by
// their names as metrics, with the limit's key.
var topWaits = func() map[string]string {
	all := make(map[string]string)
	for _, l := range limits.Tenants {
		for _, f := range l.Over {
			all[f.Metric] = l.Key
		}
	}
	return all
}()

// newTopFrame compares two looks. A total that is less than before is that of another daemon.
func newTopFrame(before, st admin.Status, now time.Time, over time.Duration, order string) topFrame {
	f := topFrame{At: now, Over: over.Seconds(), Tenants: []topTenant{}}
	failed := func(st admin.Status) map[string]float64 {
		by := make(map[string]float64)
		for _, l := range st.Listeners {
			for _, name := range stats.FailureMetrics {
				by[l.Tenant] += figure(l.Metrics, name)
			}
		}
		return by
	}
	was := make(map[string]stats.TenantStatus)
	for _, t := range before.Tenants {
		was[t.Name] = t
	}
	failedBefore, failedNow := failed(before), failed(st)
	for _, t := range st.Tenants {
		one := topTenant{
			Name: t.Name, Removed: t.Removed, CPULimit: t.Rates["cpu"], Memory: t.Limits["memory"], Connections: t.Limits["connections"],
			Instances: t.Limits["instances"].Used, Asleep: int64(figure(t.Metrics, "bulkhead_tenant_instances_asleep")),
			Failed: int64(max(0, failedNow[t.Name]-failedBefore[t.Name])),
		}
		if old, known := was[t.Name]; known {
			more := func(name string) float64 { return max(0, figure(t.Metrics, name)-figure(old.Metrics, name)) }
			one.CPU = more("bulkhead_tenant_cpu_seconds_total") / f.Over
			for name, key := range topWaits {
				if n := int64(more(name)); n > 0 {
					if one.Waits == nil {
						one.Waits = make(map[string]int64)
					}
					one.Waits[key] += n
				}
			}
		}
		f.Tenants = append(f.Tenants, one)
	}
	by := topOrders[order]
	slices.SortFunc(f.Tenants, func(a, b topTenant) int {
		return cmp.Or(cmp.Compare(by(&b), by(&a)), cmp.Compare(a.Name, b.Name))
	})
	return f
}

// figure is one of some metrics; 0: there is none.
func figure(m stats.Metrics, name string) float64 {
	n, _ := m[name].Float64()
	return n
}

// writeTop writes a frame for people, of all tenants those that are in it. On a terminal it takes
// the place of the one before.
func writeTop(to io.Writer, st admin.Status, f topFrame, all int, terminal bool) error {
	w := bufio.NewWriter(to)
	if terminal {
		fmt.Fprint(w, "\x1b[H\x1b[J")
	}
	fmt.Fprintf(w, "%s  %s  connections %s  generation %s\n", f.At.Format(time.DateTime), st.File, useOf(st.Limits["connections"], count), st.Metrics["bulkhead_config_generation"])
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TENANT\tCPU\tMEMORY\tCONNECTIONS\tINSTANCES\tASLEEP\tFAILED\tWAITS")
	for _, n := range f.Tenants {
		var waits []string
		for _, key := range slices.Sorted(maps.Keys(n.Waits)) {
			waits = append(waits, fmt.Sprintf("%s %d", key, n.Waits[key]))
		}
		fmt.Fprintf(t, "%s%s\t%.2f of %.2f\t%s\t%s\t%d\t%d\t%d\t%s\n", n.Name, removed(n.Removed), n.CPU, n.CPULimit,
			useOf(n.Memory, shares.Size), useOf(n.Connections, count), n.Instances, n.Asleep, n.Failed, cmp.Or(strings.Join(waits, ", "), "-"))
	}
	_ = t.Flush()
	if more := all - len(f.Tenants); more > 0 {
		fmt.Fprintf(w, "%d other tenants; --limit 0 shows all\n", more)
	}
	if !terminal {
		fmt.Fprintln(w)
	}
	return w.Flush()
}

func count(n int64) string { return fmt.Sprint(n) }

// useOf writes what is in use of a limit.
func useOf(u stats.Use, number func(int64) string) string {
	if u.Limit == 0 {
		return number(u.Used)
	}
	return number(u.Used) + " of " + number(u.Limit)
}
