package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"text/tabwriter"
	"time"

	"bulkhead/host"
	"bulkhead/host/billing"
	"bulkhead/host/config"
	"bulkhead/host/stats"

	"github.com/spf13/cobra"
)

// setUsage has what tenants use be written down as a configuration says.
func setUsage(r *billing.Recorder, cfg *config.Config) {
	r.Set(billing.Settings{Interval: cfg.Admin.UsageInterval, Size: cfg.Admin.UsageSize, Keep: cfg.Admin.UsageKeep})
}

// keepUsage writes down what a host's tenants use, until the result is called, when the host has
// stopped, which writes the rest.
func keepUsage(r *billing.Recorder, h *host.Host) (over func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var kept sync.WaitGroup
	kept.Go(func() { r.Run(ctx, h) })
	return func() {
		cancel()
		kept.Wait()
		r.Record(context.Background(), h)
	}
}

// usageQuery is what the command line wants.
type usageQuery struct {
	billing.Query
	csv bool
}

func usageCommand() *cobra.Command {
	var q usageQuery
	var since string
	c := askCommand("usage FILE", "Say what the tenants of the daemon that serves the file have used",
		`Usage prints what each tenant has used, summed up, by the records in the folder usage of the
state folder that FILE names: fuel, CPU time, connections, bytes and datagrams. What is
used since the last record is not in it yet ([admin] usage_interval).

With --json or --csv it prints the records themselves instead, a line for each tenant
and interval. It works without a daemon, too. The exit status is 1 where records
are damaged or missing; the others are printed.

--since takes a time such as 2026-11-30T08:00:00Z, a day such as 2026-11-30, which
begins at midnight UTC, or how long ago, such as 24h. An interval counts as a whole.

To use this command, be the user that the daemon is of, or root.`,
		func(a *asking) error {
			state, err := config.StateFolder(a.file)
			if err != nil {
				return err
			}
			return writeUsage(a.out, filepath.Join(state, billing.Folder), q, a.json)
		})
	c.Flags().StringVar(&q.Tenant, "tenant", "", "what this tenant has used")
	c.Flags().StringVar(&since, "since", "", "leave out what was used before")
	c.Flags().BoolVar(&q.csv, "csv", false, "print the records as CSV, with a heading")
	c.Args = func(c *cobra.Command, args []string) (err error) {
		if asJSON, _ := c.Flags().GetBool("json"); asJSON && q.csv {
			return errors.New("usage prints --json or --csv, not both")
		}
		if q.Since, err = parseSince(since, time.Now()); err != nil {
			return err
		}
		return one("FILE")(c, args)
	}
	return c
}

// parseSince reads a time, a day, or how long before now that was. "" is the zero time.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(form, text); err == nil {
			return t, nil
		}
	}
	if ago, err := time.ParseDuration(text); err == nil && ago > 0 {
		return now.Add(-ago), nil
	}
	return time.Time{}, fmt.Errorf("--since %s is not understood; it takes a time such as 2026-11-30T08:00:00Z, a day such as 2026-11-30, or how long ago, such as 24h", clipped(text))
}

func clipped(s string) string {
	if len(s) > 100 {
		s = s[:100] + "..."
	}
	return strconv.Quote(s)
}

// writeUsage writes the records of a folder, or sums of them. The error also says what is wrong
// with the records.
func writeUsage(to io.Writer, folder string, q usageQuery, asJSON bool) error {
	w := bufio.NewWriter(to)
	var each func(*billing.Record) error
	over := func() error { return nil }
	switch {
	case asJSON:
		lines := json.NewEncoder(w)
		each = func(r *billing.Record) error { return lines.Encode(r) }
	case q.csv:
		rows := csv.NewWriter(w)
		if err := rows.Write(usageColumns); err != nil {
			return err
		}
		each = func(r *billing.Record) error { return rows.Write(usageRow(r)) }
		over = func() error {
			rows.Flush()
			return rows.Error()
		}
	default:
		var sums usageSums
		each = sums.add
		over = func() error { return sums.write(w) }
	}
	found, err := billing.Read(folder, q.Query, each)
	if err := errors.Join(err, over(), w.Flush()); err != nil {
		return err
	}
	if found.Damaged == 0 && found.Missing == 0 {
		return nil
	}
	wrong := fmt.Errorf("%d lines are damaged, and %d records missing; the others are printed", found.Damaged, found.Missing)
	for _, where := range found.Where {
		wrong = fmt.Errorf("%w\n%s", wrong, where)
	}
	return wrong
}

// usageColumns are named as the records' fields are.
var usageColumns = []string{
	"boot", "seq", "tenant", "from", "to", "fuel", "cpu_seconds", "in", "out", "upstream_in", "upstream_out",
	"connections", "upstreams", "datagrams_in", "datagrams_out", "open",
}

func usageRow(r *billing.Record) []string {
	row := []string{r.Boot, strconv.FormatInt(r.Seq, 10), r.Tenant, r.From.Format(time.RFC3339Nano), r.To.Format(time.RFC3339Nano), strconv.FormatInt(r.Fuel, 10), r.CPU.String()}
	for _, n := range []int64{r.In, r.Out, r.UpstreamIn, r.UpstreamOut, r.Connections, r.Upstreams, r.DatagramsIn, r.DatagramsOut, r.Open} {
		row = append(row, strconv.FormatInt(n, 10))
	}
	return row
}

// usageSums are of records, by tenant.
type usageSums struct {
	by       map[string]*stats.Used
	from, to time.Time
}

func (s *usageSums) add(r *billing.Record) error {
	if s.by == nil {
		s.by = make(map[string]*stats.Used)
		s.from, s.to = r.From, r.To
	}
	if r.From.Before(s.from) {
		s.from = r.From
	}
	if r.To.After(s.to) {
		s.to = r.To
	}
	sum := s.by[r.Tenant]
	if sum == nil {
		sum = new(stats.Used)
		s.by[r.Tenant] = sum
	}
	sum.Add(r.Used())
	return nil
}

func (s *usageSums) write(w io.Writer) error {
	if s.by == nil {
		_, err := fmt.Fprintln(w, "there are no records")
		return err
	}
	fmt.Fprintf(w, "from %s to %s\n", s.from.UTC().Format(time.RFC3339), s.to.UTC().Format(time.RFC3339))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TENANT\tFUEL\tCPU\tCONNECTIONS\tIN\tOUT\tUPSTREAMS\tUPSTREAM IN\tUPSTREAM OUT\tDATAGRAMS IN\tDATAGRAMS OUT")
	for _, name := range slices.Sorted(maps.Keys(s.by)) {
		u := s.by[name]
		fmt.Fprintf(t, "%s\t%d\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", plain(name), u.Fuel, seconds(u.CPU.Seconds()), u.Connections, u.In, u.Out,
			u.Upstreams, u.UpstreamIn, u.UpstreamOut, u.DatagramsIn, u.DatagramsOut)
	}
	return t.Flush()
}
