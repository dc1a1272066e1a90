package canary

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bulkhead/host"
	"bulkhead/host/config"
)

// The test binary is also a daemon, for which the kernel can be told to refuse some
// system calls: there is no way back from that.
const (
	daemonConfig  = "BULKHEAD_CANARY_DAEMON"
	daemonRefuses = "BULKHEAD_CANARY_REFUSES"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(daemonConfig); path != "" {
		if err := beDaemon(path, os.Getenv(daemonRefuses)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// beDaemon serves a configuration, without the system calls that have the name, until
// it is told to stop. It says that it is ready by a file beside the first socket.
func beDaemon(path, refused string) error {
	cfg, err := config.Load(path)
	if err != nil {
		return err
	}
	log := &bugs{}
	h, err := host.New(cfg, host.Options{Log: slog.New(log)})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := refuseNamed(refused); err != nil {
		return err
	}
	ready := filepath.Join(filepath.Dir(cfg.Listeners[0].Address.Host), "ready")
	if err := os.WriteFile(ready, nil, 0o600); err != nil {
		return err
	}
	if err := h.Run(ctx); err != nil {
		return err
	}
	has, busy := held(h)
	if busy || has.memory[0] != 0 || has.copies != 0 {
		return fmt.Errorf("in the end it holds %+v, %+v", has, h.Stats())
	}
	if len(log.lines) > 0 {
		return fmt.Errorf("its log says %s", strings.Join(log.lines, "\n"))
	}
	return nil
}
