package main

import (
	"fmt"
	"log/slog"
	"strings"

	"bulkhead/host"
	"bulkhead/host/admin"
	"bulkhead/host/config"
	"bulkhead/host/confine"
	"bulkhead/host/shares"

	"github.com/spf13/cobra"
)

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Say what is wrong with the file, or the limits it sets",
		Long: `Check reads FILE, compiles every plugin and starts an instance of each within
its limits, and prints the limits in force, and how what the system has is shared
out. It opens no socket. The exit status
is 1 when anything is wrong; every error found is printed as FILE:LINE: what,
and the mend.`,
		Args: one("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := load(c, args[0], config.Load)
			if err != nil {
				return err
			}
			// What is made in the state folder is [host] user's.
			if err := confine.Begin(cfg); err != nil {
				return err
			}
			// What a handler logs while it starts is for its author to see.
			log := slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
			if err := host.Check(cfg, host.Options{Log: log, Compiler: compileWith}); err != nil {
				return err
			}
			if err := checkAccess(cfg); err != nil {
				return err
			}
			if err := admin.Check(cfg); err != nil {
				return err
			}
			if err := cfg.WriteLimits(c.OutOrStdout()); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "\n# %s\n", strings.Join(append(shares.Lines(cfg), confine.Plan(cfg).Lines()...), "\n# "))
			return err
		},
	}
}
