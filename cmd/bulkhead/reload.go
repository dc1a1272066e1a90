package main

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"bulkhead/host"
	"bulkhead/host/config"
)

// reloader serves what a file says when it is asked to: it reads it again, and has the host
// reload it.
type reloader struct {
	file  string
	log   *slog.Logger
	level *slog.LevelVar
	host  *host.Host
	stop  *stopper
	asked chan struct{} // holds one value while another reload is wanted
}

func newReloader(file string, h *host.Host, level *slog.LevelVar, stop *stopper) *reloader {
	return &reloader{file: file, log: stop.log, level: level, host: h, stop: stop, asked: make(chan struct{}, 1)}
}

// ask has the file be read again, after a reload that is being made. It does not wait.
func (r *reloader) ask() {
	select {
	case r.asked <- struct{}{}:
	default: // one that has not begun yet will see what the file says now
	}
}

// run makes the reloads that are asked for until ctx is done.
func (r *reloader) run(ctx context.Context) {
	for {
		select {
		case <-r.asked:
			r.reload(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (r *reloader) reload(ctx context.Context) {
	r.log.Info("the configuration is read again", "file", r.file)
	cfg, err := config.Load(r.file)
	if err == nil {
		for _, w := range cfg.Warnings {
			r.log.Warn("in the configuration", "warning", w.Error())
		}
		err = r.host.Reload(ctx, cfg)
	}
	if err != nil {
		var all config.Errors
		if !errors.As(err, &all) {
			r.log.Error("the configuration is not reloaded; the one before stays in force", "error", err)
		}
		for _, e := range all {
			r.log.Error("the configuration is not reloaded; the one before stays in force", "error", e.Error())
		}
		return
	}
	setLevel(r.level, cfg.Host.LogLevel)
	r.stop.setDrain(cfg.Host.Grace + cfg.Host.Drain)
	limitMemory(host.PlanMemory(cfg), os.Getenv("GOMEMLIMIT"), r.log)
}
