package main

import (
	"context"
	"log/slog"
	"os"
	"sync"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/host/listen"
	"bulkhead/host/logqueue"
	"bulkhead/internal/sdnotify"
	"bulkhead/internal/supervisor"

	"github.com/spf13/cobra"
)

// supervise is the supervisor of the daemon that the command line asks for. notifier is for its
// service manager, if there is one; notifying is what was wrong with its variables.
func supervise(c *cobra.Command, notifier *sdnotify.Notifier, notifying error) error {
	var queue *logqueue.Queue
	var now [2]string // the form and the level
	o := supervisor.Options{
		Args: os.Args,
		Log: func(form, level string) *slog.Logger {
			if queue != nil && now == [2]string{form, level} {
				return queue.Logger()
			}
			if queue != nil {
				queue.Close(lastLines)
			}
			now = [2]string{form, level}
			queue, _ = newLog(c.ErrOrStderr(), form, level, nil)
			return queue.Logger()
		},
	}
	if notifier != nil {
		o.Watchdog = notifier.WatchdogTime()
		o.Notify = notifier.Pass
		o.Store, o.Unstore = notifier.Store, notifier.Unstore
	}
	if notifying != nil {
		o.Log("auto", "info").Warn("the service manager is not told how this process is", "error", notifying)
	}
	code := supervisor.Run(o)
	if queue != nil {
		queue.Close(lastLines)
	}
	if code != 0 {
		return exitError(code)
	}
	return nil
}

// beginWork has a worker do what concerns its supervisor before it opens anything. It gives the
// notifier that the process is to use. link is nil where there is no supervisor.
func beginWork(link *supervisor.Link, notifier *sdnotify.Notifier, cfg *config.Config) *sdnotify.Notifier {
	if link == nil {
		return notifier
	}
	link.Log(cfg.Host.Log, cfg.Host.LogLevel)
	kept := make([]listen.Kept, len(link.Sockets))
	for i, s := range link.Sockets {
		kept[i] = listen.Kept(s)
	}
	listen.KeepWith(link, kept)
	if !link.Begin.Managed {
		return nil
	}
	return sdnotify.Through(link.Notify, link.Begin.Watchdog)
}

// daemonPID is the process that is the daemon to everybody else: the supervisor's, if there is one.
func daemonPID(link *supervisor.Link) int {
	if link == nil {
		return os.Getpid()
	}
	return link.Begin.PID
}

// saysServing tells the supervisor, if there is one, when the host serves. The result ends that.
func saysServing(link *supervisor.Link, h *host.Host) (over func()) {
	if link == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var said sync.WaitGroup
	said.Go(func() {
		select {
		case <-h.Serving():
			link.Serving()
		case <-ctx.Done():
		}
	})
	return func() {
		cancel()
		said.Wait()
	}
}
