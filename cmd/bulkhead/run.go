package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"bulkhead/host"
	"bulkhead/host/access"
	"bulkhead/host/admin"
	"bulkhead/host/billing"
	"bulkhead/host/config"
	"bulkhead/host/confine"
	"bulkhead/host/listen"
	"bulkhead/host/logqueue"
	"bulkhead/host/recent"
	"bulkhead/host/shares"
	"bulkhead/host/statefolder"
	"bulkhead/internal/sdnotify"
	"bulkhead/internal/supervisor"

	"github.com/spf13/cobra"
)

func runCommand() *cobra.Command {
	single := false
	c := &cobra.Command{
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

The process is a supervisor: it holds the listening sockets, and a worker that it
starts serves. Should the worker die, another is started at once, and new
connections wait for it in the sockets' queues; those that were open are lost. Signals
go to the supervisor, whose end is the worker's, too. With --single there is one process,
which does all of that but start again.

Started by systemd with Type=notify it says when it serves, reloads and stops, and, with
WatchdogSec, that its loops are alive.

Nothing that becomes of standard error stops it: where the log's lines go nowhere,
or not fast enough, they are left out and counted.`,
		Args: one("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			link, err := supervisor.FromEnvironment()
			if err != nil {
				return err
			}
			// Before there is a child that could inherit what is meant for this process.
			notifier, notifying := sdnotify.FromEnvironment()
			if link == nil && !single {
				return supervise(c, notifier, notifying)
			}
			cfg, err := load(c, args[0], config.LoadToRun)
			if err != nil {
				return err
			}
			notifier = beginWork(link, notifier, cfg)
			last := recent.New()
			keepLinesOf(last, cfg)
			if err := confine.Begin(cfg); err != nil {
				return err
			}
			queue, level := newLog(c.ErrOrStderr(), cfg.Host.Log, cfg.Host.LogLevel, last)
			s := newService(c, args[0], queue, level, last, cfg.Host.Grace+cfg.Host.Drain, link)
			defer s.stop.over()
			s.manager = newManager(notifier, s.stop.log)
			if notifying != nil {
				s.stop.log.Warn("the service manager is not told how this process is", "error", notifying)
			}
			s.manager.tell(notifier.Status("loads its plugins"))
			s.confine = confine.Enforce
			return s.serve(cfg)
		},
	}
	c.Flags().BoolVar(&single, "single", false, "serve in this process, without a supervisor")
	return c
}

// service is what a process has that serves a file, besides what the file says.
type service struct {
	file    string
	queue   *logqueue.Queue
	level   *slog.LevelVar
	recent  *recent.Log
	stop    *stopper
	manager *manager
	// access is where the access log goes that is written to standard output.
	access io.Writer
	// read reads the file again, for a reload.
	read func() (*config.Config, error)
	// confine takes rights from the process when the sockets are open; nil: nothing does.
	confine func(*config.Config) (confine.Report, error)
	// hangup is what SIGHUP does when it serves; nil: it has the file be read again.
	hangup func()
	// quiet says that reloads are not logged, since whoever asks for them says what has become of
	// them.
	quiet bool
	// link is the way to the supervisor; nil: there is none.
	link *supervisor.Link
	// begun is called before the host runs, and over when it has stopped; nil: nothing is.
	begun func(*reloader) (over func())
}

// newService makes one that listens to signals from now on, and that its caller ends by stop.over.
func newService(c *cobra.Command, file string, queue *logqueue.Queue, level *slog.LevelVar, last *recent.Log, drain time.Duration, link *supervisor.Link) *service {
	return &service{
		file: file, queue: queue, level: level, recent: last, access: c.OutOrStdout(), stop: newStopper(c.Context(), queue, drain, link), link: link,
		read: func() (*config.Config, error) { return config.Load(file) },
	}
}

// serve serves what a configuration says until the process is told to stop. The error is why that
// has not begun.
func (s *service) serve(cfg *config.Config) error {
	log := access.New(s.access)
	defer log.Close()
	if err := setAccess(log, cfg); err != nil {
		return err
	}
	records := billing.New(filepath.Join(cfg.Host.State, billing.Folder), s.stop.log)
	setUsage(records, cfg)
	door, err := openDoor(cfg, daemonPID(s.link), s.stop.log, auditLog(s.queue))
	if err != nil {
		return err
	}
	defer door.Close()
	reloads := newReloader(s.file, s.level, s.stop, s.manager)
	reloads.read = s.read
	if s.quiet {
		reloads.log = slog.New(slog.DiscardHandler)
	}
	reloads.access, reloads.recent, reloads.door, reloads.audit, reloads.usage = log, s.recent, door, auditLog(s.queue), records
	reloads.link = s.link
	o := host.Options{
		InForce: reloads.inForce, Access: log, Usage: records, Log: s.queue.Logger(), LogLost: func() int64 { return s.queue.Stats().LeftOut },
		Loading: s.stop.ctx, Compiler: compileWith, LoadLate: true,
	}
	if s.confine != nil {
		o.Confine = func() (err error) {
			reloads.confined, err = s.confine(cfg)
			return err
		}
	}
	h, err := host.New(cfg, o)
	if err != nil {
		if s.stop.ctx.Err() != nil {
			s.stop.log.Info("stopped before anything was served")
			return nil
		}
		return err
	}
	listen.ReleaseRest()
	reloads.host = h
	reloads.confined.Log(s.stop.log)
	reloads.metrics = reloads.newMetrics()
	reloads.page = reloads.newPage()
	hangup := reloads.ask
	if s.hangup != nil {
		hangup = s.hangup
	}
	s.stop.serves(h, hangup)
	s.stop.reopens(reloads.reopen)
	go reloads.run(s.stop.ctx)
	door.Serve(reloads)
	defer keepUsage(records, h)()
	defer s.manager.watch(s.stop, h)()
	defer saysServing(s.link, h)()
	limitMemory(shares.PlanMemory(cfg), os.Getenv("GOMEMLIMIT"), s.stop.log)
	debug.FreeOSMemory() // loading modules takes more than serving them
	if s.begun != nil {
		defer s.begun(reloads)()
	}
	return h.Run(s.stop.ctx)
}

// openDoor makes the state folder, and opens the door in it by which the other commands come in.
// pid is the daemon's.
// The error is of the configuration.
func openDoor(cfg *config.Config, pid int, log, audit *slog.Logger) (*admin.Door, error) {
	if err := statefolder.Make(cfg); err != nil {
		return nil, err
	}
	file, err := filepath.Abs(cfg.File)
	if err != nil {
		file = cfg.File
	}
	door, err := admin.Listen(cfg.Host.State, admin.Options{Version: versionLine(), PID: pid, File: file, Log: log, Audit: audit})
	if err != nil {
		return nil, statefolder.Blame(cfg, err)
	}
	if err := door.Set(cfg); err != nil {
		door.Close()
		return nil, err
	}
	return door, nil
}
