package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"bulkhead/host"
	"bulkhead/host/admin"
	"bulkhead/host/config"

	"github.com/spf13/cobra"
)

// asking is a command that asks the daemon of a configuration file.
type asking struct {
	file string   // as it was given
	path string   // absolute
	more []string // what is behind it
	json bool
	out  io.Writer
	errs io.Writer
	to   *admin.Client
	ctx  context.Context // ends with SIGINT and SIGTERM
}

// askCommand makes a command of which do is what it asks.
func askCommand(use, short, long string, do func(a *asking) error) *cobra.Command {
	var inJSON bool
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Args: one("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			a := &asking{file: args[0], more: args[1:], json: inJSON, out: c.OutOrStdout(), errs: c.ErrOrStderr()}
			var err error
			if a.path, err = filepath.Abs(a.file); err != nil {
				return err
			}
			state, err := config.StateFolder(a.file)
			if err != nil {
				return err
			}
			a.to = admin.NewClient(state, versionLine())
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			a.ctx = ctx
			return a.named(do(a))
		},
	}
	c.Flags().BoolVar(&inJSON, "json", false, "print the answer as JSON")
	return c
}

// named gives the errors of the configuration the name that it was given by.
func (a *asking) named(err error) error {
	var all config.Errors
	if errors.As(err, &all) {
		for _, e := range all {
			if e.File == a.path {
				e.File = a.file
			}
		}
	}
	return err
}

// warn writes the configuration's warnings as check does.
func (a *asking) warn(all []admin.ConfigError) {
	for _, w := range all {
		if w.File == a.path {
			w.File = a.file
		}
		fmt.Fprintf(a.errs, "warning: %v\n", w)
	}
}

// print writes an answer as JSON.
func (a *asking) print(answer any) error {
	to := json.NewEncoder(a.out)
	to.SetIndent("", "  ")
	return to.Encode(answer)
}

func reloadCommand() *cobra.Command {
	var watch time.Duration
	var dryRun bool
	c := askCommand("reload FILE", "Have the daemon that serves the file read it again",
		`Reload has the daemon that serves FILE read it again, and waits until what it says
is in force. The daemon loads, starts and opens everything first, beside what runs. If
any of that fails, nothing changes, the errors are printed as check prints them, and
the exit status is 1.

With --dry-run nothing is done: it prints what a reload would do, a line for each
listener, and for each tenant that has changed.

With --watch 30s it goes on to watch the new handlers for so long. When they trap, are
stopped by a limit or refuse more often a connection than those before did, the
configuration before is served again, and the exit status is 1.

The daemon is found by the state folder that FILE names. To use this command, be the
user that the daemon is of, or root. A signal that ends the command before the new
configuration is in force ends the reload, too.`,
		func(a *asking) error {
			done, err := a.to.Reload(a.ctx, admin.ReloadRequest{File: a.path, DryRun: dryRun, Watch: watch.Seconds()})
			if a.json && (err == nil || done.Report != nil) {
				return errors.Join(a.print(done), err)
			}
			if err != nil {
				return err
			}
			a.warn(done.Warnings)
			if dryRun {
				return writePlan(a.out, done.Plan, time.Now())
			}
			if done.Report != nil {
				for _, c := range done.Report.Listeners {
					fmt.Fprintln(a.out, c)
				}
			}
			return a.inForce(a.file, done)
		})
	c.Flags().DurationVar(&watch, "watch", 0, "watch the new handlers for so long, and go back if they are worse")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "say what a reload would do, and do nothing")
	c.Args = func(c *cobra.Command, args []string) error {
		switch {
		case watch < 0 || watch == 0 && c.Flags().Changed("watch"):
			return fmt.Errorf("reload --watch takes a time above 0, such as 30s; it was given %v", watch)
		case watch > 0 && dryRun:
			return errors.New("reload takes --watch or --dry-run: where nothing is done, there is nothing to watch")
		}
		return one("FILE")(c, args)
	}
	return c
}

// inForce says that what was asked for is done.
func (a *asking) inForce(what string, done admin.Reloaded) error {
	took := time.Duration(done.Took * float64(time.Second)).Round(time.Millisecond)
	_, err := fmt.Fprintf(a.out, "%s is in force; that took %v\n", what, took)
	return err
}

// writePlan writes what a reload would do now, for people.
func writePlan(w io.Writer, plan []host.Change, now time.Time) error {
	for _, c := range plan {
		line := strings.TrimSpace(c.Of+" "+c.Name) + ": " + string(c.What)
		if len(c.Keys) > 0 {
			line += " (" + strings.Join(c.Keys, ", ") + ")"
		}
		switch {
		case c.Draining > 0 && c.OldFor > 0:
			line += fmt.Sprintf("; %d connections go on, until %s at most", c.Draining, now.Add(c.OldFor).Format(time.DateTime))
		case c.Draining > 0 && c.Of == "listener":
			line += fmt.Sprintf("; %d connections are closed at once (old_for)", c.Draining)
		case c.Draining > 0:
			line += fmt.Sprintf("; it has %d connections", c.Draining)
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

func rollbackCommand() *cobra.Command {
	return askCommand("rollback FILE", "Have the daemon that serves the file go back to what it served before",
		`Rollback has the daemon that serves FILE serve the configuration again that the last
reload has replaced, with the plugins that it had, whatever their files hold now.
FILE stays as it is: the next reload reads it. There is one step back.

The daemon is found by the state folder that FILE names. To use this command, be the
user that the daemon is of, or root.`,
		func(a *asking) error {
			done, err := a.to.Rollback(a.ctx, admin.RollbackRequest{File: a.path})
			if err != nil {
				return err
			}
			if a.json {
				return a.print(done)
			}
			return a.inForce("the configuration before", done)
		})
}

func statusCommand() *cobra.Command {
	return askCommand("status FILE", "Say what the daemon that serves the file does and holds",
		`Status prints what the daemon that serves FILE does and holds: since when, what became of
the last reload, the tenants against their limits, and the listeners with what
they have counted, why connections ended, and the generations that reloads have left.

The daemon is found by the state folder that FILE names. To use this command, be the
user that the daemon is of, root, or of the group of [admin] view.`,
		func(a *asking) error {
			st, err := a.to.Status(a.ctx)
			if err != nil {
				return err
			}
			if a.json {
				return a.print(st)
			}
			return writeStatus(a.out, st, time.Now())
		})
}
