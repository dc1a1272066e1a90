package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"bulkhead/host"
	"bulkhead/host/admin"
	"bulkhead/host/config"
	"bulkhead/host/shares"
)

// reloader serves what a file says when it is asked to: it reads it again, and has the host
// reload it. It is what is behind the daemon's door.
type reloader struct {
	file  string // as it was given
	path  string // absolute
	log   *slog.Logger
	level *slog.LevelVar
	host  *host.Host
	stop  *stopper
	boss  *manager
	asked chan struct{} // holds one value while another reload is wanted
	busy  chan struct{} // holds one value while one is made
	last  atomic.Pointer[admin.LastReload]
}

var _ admin.Daemon = (*reloader)(nil)

func newReloader(file string, h *host.Host, level *slog.LevelVar, stop *stopper, boss *manager) *reloader {
	path, err := filepath.Abs(file)
	if err != nil {
		path = file
	}
	return &reloader{
		file: file, path: path, log: stop.log, level: level, host: h, stop: stop, boss: boss,
		asked: make(chan struct{}, 1), busy: make(chan struct{}, 1),
	}
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
			_, _ = r.reload(ctx, "SIGHUP")
		case <-ctx.Done():
			return
		}
	}
}

// Status is the host's, and what became of the last reload.
func (r *reloader) Status() admin.Status {
	st := admin.Status{Version: versionLine(), LastReload: r.last.Load(), Status: r.host.Status()}
	st.File = r.path
	return st
}

// Reload reads the file again, if it is the one that is meant.
func (r *reloader) Reload(ctx context.Context, file, by string) (admin.Reloaded, error) {
	if !r.serves(file) {
		return admin.Reloaded{}, fmt.Errorf("the daemon with this state folder serves %s, not %s; name that file, or give the other one a [host] state and a daemon of its own", r.path, file)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.stop.ctx, func() { cancel(errors.New("the daemon stops")) })()
	began := time.Now()
	cfg, err := r.reload(ctx, by)
	if err != nil {
		return admin.Reloaded{}, r.inFull(err)
	}
	done := admin.Reloaded{Took: time.Since(began).Seconds(), Warnings: []admin.ConfigError{}}
	for _, w := range cfg.Warnings {
		own := admin.ConfigError(*w)
		own.File = r.path
		done.Warnings = append(done.Warnings, own)
	}
	return done, nil
}

// serves reports whether a path leads to the file.
func (r *reloader) serves(path string) bool {
	if path == r.path {
		return true
	}
	that, err1 := os.Stat(path)
	this, err2 := os.Stat(r.path)
	return err1 == nil && err2 == nil && os.SameFile(that, this)
}

// inFull gives the errors of the configuration with its absolute path.
func (r *reloader) inFull(err error) error {
	var all config.Errors
	if !errors.As(err, &all) {
		return err
	}
	named := make(config.Errors, len(all))
	for i, e := range all {
		own := *e
		if own.File == r.file {
			own.File = r.path
		}
		named[i] = &own
	}
	return named
}

// reload makes one reload after another.
func (r *reloader) reload(ctx context.Context, by string) (*config.Config, error) {
	select {
	case r.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("reloading: %w", context.Cause(ctx))
	}
	defer func() { <-r.busy }()
	began := time.Now()
	r.log.Info("the configuration is read again", "file", r.file, "by", by)
	r.boss.reloading()
	cfg, err := r.readAndServe(ctx)
	last := &admin.LastReload{At: began, By: by, Took: time.Since(began).Seconds(), Result: "done"}
	if err != nil {
		last.Result, last.Errors = "failed", []string{err.Error()}
		var all config.Errors
		if errors.As(err, &all) {
			last.Errors = nil
			for _, e := range all {
				last.Errors = append(last.Errors, e.Error())
			}
		}
		for _, e := range last.Errors {
			r.log.Error("the configuration is not reloaded; the one before stays in force", "error", e)
		}
	}
	r.last.Store(last)
	r.boss.serves(r.host, last)
	return cfg, err
}

func (r *reloader) readAndServe(ctx context.Context) (*config.Config, error) {
	cfg, err := config.Load(r.file)
	if err != nil {
		return nil, err
	}
	for _, w := range cfg.Warnings {
		r.log.Warn("in the configuration", "warning", w.Error())
	}
	if err := r.host.Reload(ctx, cfg); err != nil {
		return nil, err
	}
	setLevel(r.level, cfg.Host.LogLevel)
	r.stop.setDrain(cfg.Host.Grace + cfg.Host.Drain)
	limitMemory(shares.PlanMemory(cfg), os.Getenv("GOMEMLIMIT"), r.log)
	return cfg, nil
}
