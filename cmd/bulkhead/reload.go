package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/host"
	"bulkhead/host/access"
	"bulkhead/host/admin"
	"bulkhead/host/billing"
	"bulkhead/host/config"
	"bulkhead/host/confine"
	"bulkhead/host/metrics"
	"bulkhead/host/page"
	"bulkhead/host/recent"
	"bulkhead/host/shares"
	"bulkhead/internal/supervisor"
)

// reloader serves what a file says when it is asked to: it reads it again, and has the host
// reload it. It is what is behind the daemon's door.
type reloader struct {
	file  string // as it was given
	path  string // absolute
	log   *slog.Logger
	level *slog.LevelVar
	host  *host.Host
	// read reads the file.
	read func() (*config.Config, error)
	// metrics are the host's.
	metrics *metrics.Handler
	// confined is what confines the process.
	confined confine.Report
	// page feeds the page of those who watch it.
	page *page.Feed
	// access is the access log; nil: there is none.
	access *access.Log
	// recent has the last lines of the log.
	recent *recent.Log
	door   *admin.Door
	audit  *slog.Logger // of who has asked for what, at every level
	// usage has what tenants have used.
	usage *billing.Recorder
	stop  *stopper
	link  *supervisor.Link // to the supervisor; nil: there is none
	boss  *manager
	asked chan struct{} // holds one value while another reload is wanted
	busy  chan struct{} // holds one value while one is made
	last  atomic.Pointer[admin.LastReload]
	// watched ends the turn of a reload that is to be watched, when it is in force.
	watched atomic.Pointer[func()]
}

var _ admin.Daemon = (*reloader)(nil)

// newReloader makes one whose host is to be set before it is asked for anything.
func newReloader(file string, level *slog.LevelVar, stop *stopper, boss *manager) *reloader {
	path, err := filepath.Abs(file)
	if err != nil {
		path = file
	}
	return &reloader{
		file: file, path: path, log: stop.log, level: level, stop: stop, boss: boss,
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
			r.hangup(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// hangup makes the reload that a signal has asked for.
func (r *reloader) hangup(ctx context.Context) {
	const by = "SIGHUP"
	who := []any{"what", "reload", "file", r.path, "by", by}
	r.audit.Info("a change is asked for", who...)
	if _, _, err := r.reload(ctx, by, 0); err != nil {
		r.audit.Info("a change that was asked for is over", append(who, "result", "failed", "error", err.Error())...)
		return
	}
	r.audit.Info("a change that was asked for is over", append(who, "result", "done")...)
}

// Status is the host's, and what became of the last reload. It waits for the loops, for a second at
// most, to say how long they take to answer.
func (r *reloader) Status() admin.Status {
	r.host.Refresh(context.Background())
	st := admin.Status{Version: versionLine(), LastReload: r.last.Load(), Confinement: r.confined, Status: r.host.Status()}
	st.File, st.PID = r.path, daemonPID(r.link)
	if r.link != nil {
		st.Worker = &admin.Worker{PID: os.Getpid(), Restarts: r.link.Begin.Restarts, Why: r.link.Begin.Why}
	}
	return st
}

// Reload reads the file again, if it is the one that is meant.
func (r *reloader) Reload(ctx context.Context, a admin.ReloadRequest, by string) (admin.Reloaded, error) {
	return r.asFor(ctx, a.File, func(ctx context.Context, done *admin.Reloaded) (cfg *config.Config, err error) {
		if a.DryRun {
			if cfg, err = r.load(); err != nil {
				return cfg, err
			}
			defer r.door.Discard()
			if err = r.door.Prepare(cfg); err == nil {
				done.Plan, err = r.host.Plan(ctx, cfg)
			}
			return cfg, err
		}
		cfg, done.Report, err = r.reload(ctx, by, time.Duration(a.Watch*float64(time.Second)))
		return cfg, err
	})
}

// Rollback goes back to the configuration before, if the file is the one that is meant.
func (r *reloader) Rollback(ctx context.Context, a admin.RollbackRequest, by string) (admin.Reloaded, error) {
	return r.asFor(ctx, a.File, func(ctx context.Context, _ *admin.Reloaded) (*config.Config, error) {
		return nil, r.rollback(ctx, by)
	})
}

// asFor does what somebody asks for, with a configuration if there is one, unless another file is
// meant. It gives up when the daemon stops.
func (r *reloader) asFor(ctx context.Context, file string, do func(context.Context, *admin.Reloaded) (*config.Config, error)) (admin.Reloaded, error) {
	if err := r.mustServe(file); err != nil {
		return admin.Reloaded{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.stop.ctx, func() { cancel(errors.New("the daemon stops")) })()
	began := time.Now()
	done := admin.Reloaded{Warnings: []admin.ConfigError{}}
	cfg, err := do(ctx, &done)
	done.Took = time.Since(began).Seconds()
	if err != nil {
		return done, r.inFull(err)
	}
	if cfg != nil {
		for _, w := range cfg.Warnings {
			own := admin.ConfigError(*w)
			own.File = r.path
			done.Warnings = append(done.Warnings, own)
		}
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

// turn waits until no other reload is made, of which the file was read before. done may be called
// more than once.
func (r *reloader) turn(ctx context.Context) (done func(), err error) {
	select {
	case r.busy <- struct{}{}:
		return sync.OnceFunc(func() { <-r.busy }), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("reloading: %w", context.Cause(ctx))
	}
}

// reload makes one reload after another, and watches it for a time; 0: it does not.
func (r *reloader) reload(ctx context.Context, by string, watch time.Duration) (cfg *config.Config, report *host.Report, err error) {
	done, err := r.turn(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	last := &admin.LastReload{What: "reload", At: time.Now(), By: by}
	r.log.Info("the configuration is read again", "file", r.file, "by", by)
	r.boss.reloading()
	defer r.door.Discard()
	if cfg, err = r.load(); err == nil {
		err = r.door.Prepare(cfg)
	}
	if err == nil {
		for _, w := range cfg.Warnings {
			r.log.Warn("in the configuration", "warning", w.Error())
		}
		if watch > 0 {
			r.watched.Store(&done) // another may be made while this one is watched
			var found host.Report
			found, err = r.host.ReloadGuarded(ctx, cfg, watch)
			report = &found
		} else {
			err = r.host.Reload(ctx, cfg)
		}
	}
	failed := "the configuration is not reloaded; the one before stays in force"
	if report != nil {
		failed = "a reload that was to be watched has failed" // the error says what is in force
	}
	r.over(last, err, failed)
	return cfg, report, err
}

// load reads the file, and looks at what is not the host's.
func (r *reloader) load() (*config.Config, error) {
	cfg, err := r.read()
	if err == nil {
		err = checkAccess(cfg)
	}
	return cfg, err
}

// rollback goes back to the configuration before.
func (r *reloader) rollback(ctx context.Context, by string) error {
	done, err := r.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	last := &admin.LastReload{What: "rollback", At: time.Now(), By: by}
	r.log.Info("the configuration before is to be served again", "by", by)
	r.boss.reloading()
	err = r.host.Rollback(ctx)
	r.over(last, err, "nothing is rolled back; the configuration stays in force")
	return err
}

// over writes down what became of a reload. failed is for the log.
func (r *reloader) over(last *admin.LastReload, err error, failed string) {
	last.Took, last.Result = time.Since(last.At).Seconds(), "done"
	var worse *host.WorseError
	if errors.As(err, &worse) && worse.NotBack == nil {
		last.Result, last.Errors = "rolled back", []string{err.Error()} // the host has logged it
	} else if err != nil {
		last.Result, last.Errors = "failed", []string{err.Error()}
		var all config.Errors
		if errors.As(err, &all) {
			last.Errors = nil
			for _, e := range all {
				last.Errors = append(last.Errors, e.Error())
			}
		}
		for _, e := range last.Errors {
			r.log.Error(failed, "error", e)
		}
	}
	r.last.Store(last)
	r.boss.serves(r.host, last)
}

// inForce has what is the process's own be as a configuration says that has come into force.
func (r *reloader) inForce(cfg *config.Config) {
	setLevel(r.level, cfg.Host.LogLevel)
	keepLinesOf(r.recent, cfg)
	if r.access != nil {
		if err := setAccess(r.access, cfg); err != nil {
			r.log.Error("the access log stays where it was", "error", err)
		}
	}
	if err := r.door.Set(cfg); err != nil {
		r.log.Error("not all doors are as the configuration says", "error", err)
	}
	if r.usage != nil {
		setUsage(r.usage, cfg)
	}
	r.stop.setDrain(cfg.Host.Grace + cfg.Host.Drain)
	limitMemory(shares.PlanMemory(cfg), os.Getenv("GOMEMLIMIT"), r.log)
	if done := r.watched.Swap(nil); done != nil {
		(*done)()
	}
}
