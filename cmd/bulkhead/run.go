package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"bulkhead/host"

	"github.com/spf13/cobra"
)

func runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run FILE",
		Short: "Serve what the file says until a signal stops it",
		Long: `Run serves the listeners of FILE.

SIGTERM and SIGINT stop it: no more connections are accepted, the handlers are
told, and what is open has until [host] drain to come to its end. A second
signal closes everything now. Either way the exit status is 0.`,
		Args: one("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := load(c, args[0])
			if err != nil {
				return err
			}
			log := newLog(c.ErrOrStderr(), cfg.Host.Log, cfg.Host.LogLevel)
			h, err := host.New(cfg, host.Options{Log: log, Compiler: compileWith, LoadLate: true})
			if err != nil {
				return err
			}
			debug.FreeOSMemory() // loading modules takes more than serving them
			signals := make(chan os.Signal, 2)
			signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
			defer signal.Stop(signals)
			ctx, drain := context.WithCancel(c.Context())
			defer drain()
			done := make(chan struct{})
			defer close(done)
			go func() {
				for _, then := range []func(){drain, h.Close} {
					select {
					case sig := <-signals:
						log.Info("signal", "signal", sig.String())
						then()
					case <-done:
						return
					}
				}
			}()
			return h.Run(ctx)
		},
	}
}
