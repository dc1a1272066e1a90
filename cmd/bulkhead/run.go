package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"

	"bulkhead/host"
	"bulkhead/host/access"
	"bulkhead/host/admin"
	"bulkhead/host/billing"
	"bulkhead/host/config"
	"bulkhead/host/confine"
	"bulkhead/host/recent"
	"bulkhead/host/shares"
	"bulkhead/host/statefolder"
	"bulkhead/internal/sdnotify"

	"github.com/spf13/cobra"
)

func runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run FILE",
		Short: "Serve what the file says until a signal stops it",
		Long: `Run serves the listeners of FILE.

A listener whose plugin cannot be loaded, or does not start, is quarantined: the
others are served, and it is tried again and again. With nothing to serve, run
ends with the errors.

SIGTERM and SIGINT stop it: after [host] grace no more connections are accepted,
the handlers are told, and what is open has until [host] drain to come to its end. A second
signal closes everything now. Either way the exit status is 0.

Should something hang, the process ends all the same, with the exit status 1:
3 s after a second signal, at once at a third, and 30 s after the drain.

The log says at start whether the tenants' memory fits the machine, or the
process's cgroup. Go's heap is limited to what they leave, and to a quarter of it
all at least; the environment variable GOMEMLIMIT, when it is set, holds instead.

SIGHUP reloads FILE, as bulkhead reload does. Everything that it says is loaded and opened first, beside
what runs; if any of it fails, nothing changes, and the log has the errors. New
connections get what is new; those that are open go on with the handlers that
they have, for as long as old_for says. What has not changed is not touched.

SIGUSR1 opens the file of [admin] access_log again, after it was moved away.

Started by systemd with Type=notify it says when it serves, reloads and stops, and, with
WatchdogSec, that its loops are alive.

Nothing that becomes of standard error stops it: where the log's lines go nowhere,
or not fast enough, they are left out and counted.`,
		Args: one("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := load(c, args[0], config.LoadToRun)
			if err != nil {
				return err
			}
			// Before there is a child that could inherit what is meant for this process.
			notifier, notifying := sdnotify.FromEnvironment()
			last := recent.New()
			keepLinesOf(last, cfg)
			if err := confine.Begin(cfg); err != nil {
				return err
			}
			queue, level := newLog(c.ErrOrStderr(), cfg.Host.Log, cfg.Host.LogLevel, last)
			stop := newStopper(c.Context(), queue, cfg.Host.Grace+cfg.Host.Drain)
			defer stop.over()
			manager := newManager(notifier, stop.log)
			if notifying != nil {
				stop.log.Warn("the service manager is not told how this process is", "error", notifying)
			}
			manager.tell(notifier.Status("loads its plugins"))
			log := access.New(c.OutOrStdout())
			defer log.Close()
			if err := setAccess(log, cfg); err != nil {
				return err
			}
			records := billing.New(filepath.Join(cfg.Host.State, billing.Folder), stop.log)
			setUsage(records, cfg)
			door, err := openDoor(cfg, stop.log, auditLog(queue))
			if err != nil {
				return err
			}
			defer door.Close()
			reloads := newReloader(args[0], level, stop, manager)
			reloads.access, reloads.recent, reloads.door, reloads.audit, reloads.usage = log, last, door, auditLog(queue), records
			h, err := host.New(cfg, host.Options{
				Confine: func() (err error) {
					reloads.confined, err = confine.Enforce(cfg)
					return err
				},
				InForce: reloads.inForce, Access: log, Usage: records, Log: queue.Logger(), LogLost: func() int64 { return queue.Stats().LeftOut }, Loading: stop.ctx, Compiler: compileWith, LoadLate: true,
			})
			if err != nil {
				if stop.ctx.Err() != nil {
					stop.log.Info("stopped before anything was served")
					return nil
				}
				return err
			}
			reloads.host = h
			reloads.confined.Log(stop.log)
			reloads.metrics = reloads.newMetrics()
			reloads.page = reloads.newPage()
			stop.serves(h, reloads.ask)
			stop.reopens(reloads.reopen)
			go reloads.run(stop.ctx)
			door.Serve(reloads)
			defer keepUsage(records, h)()
			defer manager.watch(stop, h)()
			limitMemory(shares.PlanMemory(cfg), os.Getenv("GOMEMLIMIT"), stop.log)
			debug.FreeOSMemory() // loading modules takes more than serving them
			return h.Run(stop.ctx)
		},
	}
}

// openDoor makes the state folder, and opens the door in it by which the other commands come in.
// The error is of the configuration.
func openDoor(cfg *config.Config, log, audit *slog.Logger) (*admin.Door, error) {
	if err := statefolder.Make(cfg); err != nil {
		return nil, err
	}
	file, err := filepath.Abs(cfg.File)
	if err != nil {
		file = cfg.File
	}
	door, err := admin.Listen(cfg.Host.State, admin.Options{Version: versionLine(), File: file, Log: log, Audit: audit})
	if err != nil {
		return nil, statefolder.Blame(cfg, err)
	}
	if err := door.Set(cfg); err != nil {
		door.Close()
		return nil, err
	}
	return door, nil
}
