package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"bulkhead/host/admin"
	"bulkhead/host/conns"

	"github.com/spf13/cobra"
)

// Connections lists connections.
func (r *reloader) Connections(ctx context.Context, q conns.Query) (conns.List, error) {
	return r.host.Connections(ctx, q)
}

// Kill closes connections, if the file is the one that is meant.
func (r *reloader) Kill(ctx context.Context, k admin.KillRequest, by string) (done admin.Killed, err error) {
	if err := r.mustServe(k.File); err != nil {
		return done, err
	}
	if k.Filter.All() {
		return done, errors.New("the request does not say which connections are to be closed; add ids, listener, tenant or generation")
	}
	killed, err := r.host.Kill(ctx, k.Filter)
	done = admin.Killed{Closed: len(killed), Missing: admin.NotKilled(k.IDs, killed)}
	if err == nil {
		r.log.Info("connections were closed by the operator", "closed", done.Closed, "by", by)
	}
	return done, err
}

// SetLevel sets the level of the log, if the file is the one that is meant.
func (r *reloader) SetLevel(_ context.Context, l admin.LevelRequest, by string) (done admin.LevelSet, err error) {
	if err := r.mustServe(l.File); err != nil {
		return done, err
	}
	var to slog.Level
	if !slices.Contains(levels, l.Level) || to.UnmarshalText([]byte(l.Level)) != nil {
		return done, fmt.Errorf("%q is no level of the log; the levels are %s", l.Level, strings.Join(levels, ", "))
	}
	before := r.level.Level()
	// The one that logs more is in force for the line about it.
	r.level.Set(min(before, to, slog.LevelInfo))
	r.log.Info("the log has another level until the next reload", "level", l.Level, "before", strings.ToLower(before.String()), "by", by)
	r.level.Set(to)
	return admin.LevelSet{Level: l.Level, Before: strings.ToLower(before.String())}, nil
}

// levels are those of the log, as [host] log_level has them.
var levels = []string{"debug", "info", "warn", "error"}

func levelCommand() *cobra.Command {
	c := askCommand("level FILE LEVEL", "Set the level of the log of the daemon that serves the file",
		`Level has the log of the daemon that serves FILE have lines of LEVEL (debug, info, warn or
error) and above, until the next reload sets what [host] log_level says. The daemon's
log says who has asked for it.

The daemon is found by the state folder that FILE names. To use this command, be the
user that the daemon is of, or root.`,
		func(a *asking) error {
			done, err := a.to.SetLevel(a.ctx, admin.LevelRequest{File: a.path, Level: a.more[0]})
			if err != nil {
				return err
			}
			if a.json {
				return a.print(done)
			}
			_, err = fmt.Fprintf(a.out, "the log is at %s, where it was at %s, until the next reload\n", done.Level, done.Before)
			return err
		})
	c.Args = func(_ *cobra.Command, args []string) error {
		if len(args) != 2 || !slices.Contains(levels, args[1]) {
			return fmt.Errorf("level takes one FILE, and then one of %s", strings.Join(levels, ", "))
		}
		return nil
	}
	return c
}

// mustServe says so where a path does not lead to the file.
func (r *reloader) mustServe(file string) error {
	if r.serves(file) {
		return nil
	}
	return fmt.Errorf("the daemon with this state folder serves %s, not %s; name that file, or give the other one a [host] state and a daemon of its own", r.path, file)
}
