// Native is the measure of the sandbox: the host that the daemon runs, with the
// daemon's configuration, and the echo in Go where the daemon has a plugin.
//
//	native FILE
//
// FILE has a listener called echo. Its plugin has to be there and is not used.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"bulkhead/host"
	"bulkhead/host/config"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "native:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("%d arguments: want one, a configuration file", len(os.Args)-1)
	}
	cfg, err := config.Load(os.Args[1])
	if err != nil {
		return err
	}
	h, err := host.New(cfg, host.Options{Native: map[string]host.Native{"echo": newEcho}})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return h.Run(ctx)
}
