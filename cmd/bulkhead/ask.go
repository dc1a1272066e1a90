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
	"syscall"
	"time"

	"bulkhead/host/admin"
	"bulkhead/host/config"

	"github.com/spf13/cobra"
)

// asking is a command that asks the daemon of a configuration file.
type asking struct {
	file string // as it was given
	path string // absolute
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
			a := &asking{file: args[0], json: inJSON, out: c.OutOrStdout(), errs: c.ErrOrStderr()}
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
	return askCommand("reload FILE", "Have the daemon that serves the file read it again",
		`Reload has the daemon that serves FILE read it again, and waits until what it says
is in force. The daemon loads, starts and opens everything first, beside what runs. If
any of that fails, nothing changes, the errors are printed as check prints them, and
the exit status is 1.

The daemon is found by the state folder that FILE names. To use this command, be the
user that the daemon is of, or root. A signal that ends the command before the new
configuration is in force ends the reload, too.`,
		func(a *asking) error {
			done, err := a.to.Reload(a.ctx, admin.ReloadRequest{File: a.path})
			if err != nil {
				return err
			}
			if a.json {
				return a.print(done)
			}
			a.warn(done.Warnings)
			took := time.Duration(done.Took * float64(time.Second)).Round(time.Millisecond)
			_, err = fmt.Fprintf(a.out, "%s is in force; that took %v\n", a.file, took)
			return err
		})
}

func statusCommand() *cobra.Command {
	return askCommand("status FILE", "Say what the daemon that serves the file does and holds",
		`Status prints what the daemon that serves FILE does and holds: since when, what became of
the last reload, the tenants against their limits, and the listeners with what
they have counted, why connections ended, and the generations that reloads have left.

The daemon is found by the state folder that FILE names. To use this command, be the
user that the daemon is of, or root.`,
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
