package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"bulkhead/host/admin"
	"bulkhead/host/conns"

	"github.com/spf13/cobra"
)

// filterFlags gives a command flags that say which connections are meant.
func filterFlags(c *cobra.Command, f *conns.Filter) {
	c.Flags().StringVar(&f.Listener, "listener", "", "those of a listener with its routes, or of LISTENER/ROUTE")
	c.Flags().StringVar(&f.Tenant, "tenant", "", "those of a tenant")
	c.Flags().Int64Var(&f.Generation, "generation", 0, "those of the generation with this number, as status prints it")
}

func connsCommand() *cobra.Command {
	var q conns.Query
	c := askCommand("conns FILE", "List the connections of the daemon that serves the file",
		`Conns lists the connections of the daemon that serves FILE: a line for each, with what it
has moved, what waits, what it does, and what its handler has used for it. STATE has
what a connection does, such as asleep, paused or background, and throttled with the
keys of the limits that it waits for. IN and OUT are bytes, and behind them bytes a
second, taken over the time of --over. Those that wait for
their route, or for a place there, say in STATE what they await.

--sort takes `+strings.Join(conns.Keys(), ", ")+`.

The daemon is found by the state folder that FILE names. To use this command, be the
user that the daemon is of, root, or of the group of [admin] view.`,
		func(a *asking) error {
			list, err := a.to.Connections(a.ctx, q)
			if err != nil {
				return err
			}
			if a.json {
				return a.print(list)
			}
			return writeConns(a.out, list)
		})
	filterFlags(c, &q.Filter)
	c.Flags().StringVar(&q.Sort, "sort", "id", "the order: id, age, or the largest of a figure first")
	c.Flags().IntVar(&q.Limit, "limit", conns.DefaultLimit, "how many at most, the first in that order")
	c.Flags().DurationVar(&q.Over, "over", time.Second, "count bytes for so long, for those a second; 0: do not")
	c.Args = func(c *cobra.Command, args []string) error {
		if q.Limit <= 0 || q.Over < 0 || q.Generation < 0 {
			return errors.New("conns takes a --limit of 1 or more, an --over of 0 or more, and a --generation of 1 or more")
		}
		if err := q.Check(); err != nil {
			return err
		}
		return one("FILE")(c, args)
	}
	return c
}

// writeConns writes a list for people.
func writeConns(to io.Writer, list conns.List) error {
	w := bufio.NewWriter(to)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tLISTENER\tTENANT\tGEN\tPEER\tAGE\tIDLE\tIN\tOUT\tIN/s\tOUT/s\tUNSENT\tUNCONSUMED\tSTATE\tFUEL\tCPU\tTLS")
	for i := range list.Connections {
		c := &list.Connections[i]
		peer := c.Peer
		if peer == "" {
			peer = c.Transport
		}
		if c.Dialled {
			peer = "-> " + peer
		}
		of := c.Listener
		if c.Route != "" {
			of += "/" + c.Route
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%d\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%d\t%d\t%s\t%d\t%s\t%s\n",
			c.ID, of, c.Tenant, c.Generation, peer, seconds(c.Age), seconds(c.Idle), c.In, c.Out, rate(c.InRate), rate(c.OutRate),
			c.Unsent, c.Unconsumed, stateOf(c), c.Fuel, seconds(c.CPU), tlsOf(c.TLS))
	}
	_ = t.Flush()
	if more := list.Matched - len(list.Connections); more > 0 {
		fmt.Fprintf(w, "%d of %d connections; --limit lists more\n", len(list.Connections), list.Matched)
	}
	return w.Flush()
}

// seconds writes a time shortly.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(100 * time.Microsecond).String()
}

func rate(r *float64) string {
	if r == nil {
		return "-"
	}
	return strconv.FormatFloat(*r, 'f', 0, 64)
}

// stateOf writes what a connection does, and the keys of what it waits for.
func stateOf(c *conns.Conn) string {
	s := strings.Join(c.State, ",")
	if len(c.ThrottledBy) > 0 {
		s += " (" + strings.Join(c.ThrottledBy, ", ") + ")"
	}
	return s
}

// tlsOf writes the TLS of a connection. Text of the peer's is quoted where a terminal could obey
// it.
func tlsOf(t *conns.TLS) string {
	if t == nil {
		return "-"
	}
	s := t.Version
	if t.ServerName != "" {
		s += " " + plain(t.ServerName)
	}
	if t.ALPN != "" {
		s += " " + plain(t.ALPN)
	}
	return s
}

// plain is text as it is where it is one printable word, and else in quotes.
func plain(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '"' || !strconv.IsPrint(r) }) {
		return strconv.QuoteToASCII(s)
	}
	return s
}

func killCommand() *cobra.Command {
	var f conns.Filter
	c := askCommand("kill FILE [ID...]", "Close connections of the daemon that serves the file",
		`Kill closes connections of the daemon that serves FILE at once, without waiting for bytes on
their way: those with the IDs that conns and the log have, or those of a listener, a
tenant, or a generation. Where several are given, a connection has to fit all of
them. Their cause is operator_closed. It prints how many were closed. The exit status is 1 where
an ID is no open connection's, or nothing was to be closed.

The daemon's log says who has asked for it.

The daemon is found by the state folder that FILE names. To use this command, be the
user that the daemon is of, or root.`,
		func(a *asking) error {
			for _, text := range a.more {
				id, err := strconv.ParseUint(text, 10, 64)
				if err != nil || id == 0 {
					return fmt.Errorf("%q is no connection's ID, which is a number; bulkhead conns %s lists them", text, a.file)
				}
				if !slices.Contains(f.IDs, id) {
					f.IDs = append(f.IDs, id)
				}
			}
			done, err := a.to.Kill(a.ctx, admin.KillRequest{File: a.path, Filter: f})
			if err != nil {
				return err
			}
			if a.json {
				err = a.print(done)
			} else {
				_, err = fmt.Fprintf(a.out, "%d connections closed\n", done.Closed)
			}
			switch {
			case err != nil:
				return err
			case len(done.Missing) > 0:
				return fmt.Errorf("no open connection that fits has the ID %s; bulkhead conns %s lists those that are open", numbers(done.Missing), a.file)
			case done.Closed == 0:
				return fmt.Errorf("no connection fits; bulkhead conns %s lists those that are open", a.file)
			}
			return nil
		})
	filterFlags(c, &f)
	c.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return errors.New("kill takes one FILE, and then IDs, --listener, --tenant or --generation")
		case f.Generation < 0:
			return fmt.Errorf("kill takes a --generation of 1 or more; it was given %d", f.Generation)
		case len(args) == 1 && f.All():
			return errors.New("kill wants to know which connections: add IDs, --listener, --tenant or --generation")
		}
		return nil
	}
	return c
}

// numbers writes some of them.
func numbers(all []uint64) string {
	const most = 10
	var s []string
	for _, n := range all[:min(len(all), most)] {
		s = append(s, strconv.FormatUint(n, 10))
	}
	if len(all) > most {
		s = append(s, fmt.Sprintf("and %d others", len(all)-most))
	}
	return strings.Join(s, ", ")
}
