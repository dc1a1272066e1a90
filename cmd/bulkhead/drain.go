package main

import (
	"context"
	"fmt"
	"strings"

	"bulkhead/host/admin"

	"github.com/spf13/cobra"
)

// SetDrain has listeners take no new connections, or take them again, if the file is the one that
// is meant.
func (r *reloader) SetDrain(_ context.Context, d admin.DrainRequest, drain bool, _ string) (done admin.DrainSet, err error) {
	if err := r.mustServe(d.File); err != nil {
		return done, err
	}
	changed, err := r.host.SetDrain(d.Listener, drain)
	if err != nil {
		return done, err
	}
	r.boss.serves(r.host, r.last.Load())
	return admin.DrainSet{Changed: append([]string{}, changed...)}, nil
}

func drainCommand() *cobra.Command {
	return drainOrNot(true, "drain FILE", "Have listeners of the daemon that serves the file take no new connections",
		`Drain has the listeners of the daemon that serves FILE, or one of them, take no new
connections, so that clients go elsewhere before the daemon is stopped or its machine is
worked on. Those that are open go on, and their handlers are not told. One that comes is
accepted and reset at once, with the cause drained; a datagram of a new peer is lost,
and counted. A load balancer's check that only connects takes the listener for healthy:
have it wait for an answer.

It holds over reloads, also for listeners that a reload adds where all are meant, until undrain,
or until the daemon ends. Its log says who has asked for it.

The daemon is found by the state folder that FILE names. To use this command, be the
user that the daemon is of, or root.`, "takes no new connections", "all of them take no new connections already")
}

func undrainCommand() *cobra.Command {
	return drainOrNot(false, "undrain FILE", "Have listeners of the daemon that serves the file take connections again",
		`Undrain has the listeners of the daemon that serves FILE, or one of them, take new
connections again, after drain. Its log says who has asked for it.

The daemon is found by the state folder that FILE names. To use this command, be the
user that the daemon is of, or root.`, "takes connections again", "all of them take connections already")
}

func drainOrNot(drain bool, use, short, long, done, already string) *cobra.Command {
	var listener string
	c := askCommand(use, short, long, func(a *asking) error {
		set, err := a.to.SetDrain(a.ctx, admin.DrainRequest{File: a.path, Listener: listener}, drain)
		if err != nil {
			return err
		}
		if a.json {
			return a.print(set)
		}
		if len(set.Changed) == 0 {
			if listener != "" {
				already = strings.Replace(already, "all of them take", "it takes", 1)
			}
			_, err = fmt.Fprintln(a.out, already)
			return err
		}
		for _, name := range set.Changed {
			if _, err := fmt.Fprintf(a.out, "%s %s\n", name, done); err != nil {
				return err
			}
		}
		return nil
	})
	c.Flags().StringVar(&listener, "listener", "", "this one, with its routes; without: all")
	return c
}
