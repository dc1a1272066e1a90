// Package admin is the door to a running daemon: HTTP over a Unix socket in its state folder, for
// the user that the daemon is of, and root. Listen opens it; a Client comes in by it. Where [admin]
// says so there are two more: a socket for a group, which may read, and an address of TCP, where
// everybody may read, and who has the token may do everything. Package guard says what passes at
// each.
//
//	GET  /metrics     what package host/metrics writes
//	GET  /v1/status   Status
//	POST /v1/reload   ReloadRequest; answers Reloaded
//	POST /v1/rollback RollbackRequest; answers Reloaded
//	GET  /v1/conns    conns.List; the query is listener, tenant, generation, sort, limit, over
//	GET  /v1/events   server-sent events, which page.Feed makes
//	GET  /            the page that shows them, with its files
//	POST /v1/kill     KillRequest; answers Killed
//	POST /v1/drain    DrainRequest; answers DrainSet; likewise POST /v1/undrain
//	POST /v1/level    LevelRequest; answers LevelSet
//	POST /v1/profile  ProfileRequest; answers a profile, as go tool pprof or trace reads it
//	GET  /v1/errors   Errors; the query is tenant, limit
//	GET  /v1/logs     lines of the log, each of JSON; the query is tenant, host, last, follow
//
// What is posted is JSON, and its Content-Type has to say so. Every answer but the metrics, the
// log, a profile, the events and the page is JSON, and its header Bulkhead-Version has the daemon's
// version. An answer whose status is not 200 is a Problem. What is v1 stays as it is: fields are
// added, none is changed.
package admin

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/host/confine"
	"bulkhead/host/conns"
	"bulkhead/host/recent"
)

// SocketName is the socket's name in the state folder, and lockName that of the file which the
// daemon that has the folder holds locked.
const (
	SocketName = "admin.sock"
	lockName   = "admin.lock"
)

// versionHeader has the daemon's version.
const versionHeader = "Bulkhead-Version"

// Status is what GET /v1/status answers.
type Status struct {
	// Version is the daemon's, as `bulkhead version` prints it.
	Version string `json:"version"`
	// LastReload is nil as long as none was asked for.
	LastReload *LastReload `json:"last_reload"`
	// Errors are the last ones, the latest first: a few of what GET /v1/errors answers.
	Errors []recent.Error `json:"errors"`
	// Confinement is what confines the process.
	Confinement confine.Report `json:"confinement"`
	// Worker is the process that serves, where PID is its supervisor's. Nil: there is one process.
	Worker *Worker `json:"worker,omitempty"`
	host.Status
}

// Worker is the process that serves for a supervisor.
type Worker struct {
	PID int `json:"pid"`
	// Restarts is how many before it have died since the supervisor began, and Why how the last of
	// these did.
	Restarts int64  `json:"restarts"`
	Why      string `json:"why,omitempty"`
}

// LastReload is what became of the reload, or the rollback, that was over last.
type LastReload struct {
	// What is "reload" or "rollback".
	What string    `json:"what"`
	At   time.Time `json:"at"`
	// By is who has asked: a signal, a process and its user, or an address.
	By string `json:"by"`
	// Took is how long it took, in seconds.
	Took float64 `json:"took_seconds"`
	// Result is "done", "failed", or "rolled back" where a reload was watched, and was worse.
	// Errors say why, each as `bulkhead check` prints it.
	Result string   `json:"result"`
	Errors []string `json:"errors,omitempty"`
}

// ReloadRequest is what POST /v1/reload takes.
type ReloadRequest struct {
	// File is the absolute path of the configuration. It has to be the daemon's own.
	File string `json:"file"`
	// DryRun has nothing be done: the answer is what would be.
	DryRun bool `json:"dry_run,omitempty"`
	// Watch is for how many seconds the new handlers are watched: host.ReloadGuarded. 0: they are
	// not.
	Watch float64 `json:"watch_seconds,omitempty"`
}

// RollbackRequest is what POST /v1/rollback takes.
type RollbackRequest struct {
	// File is as in ReloadRequest.
	File string `json:"file"`
}

// Reloaded is what POST /v1/reload and rollback answer when what was asked for is done.
type Reloaded struct {
	// Took is how long it took, in seconds.
	Took float64 `json:"took_seconds"`
	// Warnings are of the configuration.
	Warnings []ConfigError `json:"warnings"`
	// Plan is what a reload would do, where that alone was asked for.
	Plan []host.Change `json:"plan,omitempty"`
	// Report is of a reload that was watched, which failed if it was worse.
	Report *host.Report `json:"report,omitempty"`
}

// Problem is the answer where something could not be done.
type Problem struct {
	// Message is one line, or several.
	Message string `json:"message"`
	// Errors are those of the configuration, where these are the problem.
	Errors []ConfigError `json:"errors,omitempty"`
	// Report is Reloaded's.
	Report *host.Report `json:"report,omitempty"`
}

// ConfigError is a config.Error. File is an absolute path where it is the configuration's.
type ConfigError struct {
	File string `json:"file"`
	Line int    `json:"line"`
	What string `json:"what"`
	Mend string `json:"mend,omitempty"`
}

// problemOf is an error as it is sent.
func problemOf(err error) Problem {
	p := Problem{Message: err.Error()}
	for _, e := range configErrors(err) {
		p.Errors = append(p.Errors, ConfigError(*e))
	}
	return p
}

// Error is the config.Error that it is.
func (e ConfigError) Error() string {
	own := config.Error(e)
	return own.Error()
}

// Err is the problem as an error: config.Errors where it has such.
func (p Problem) Err() error {
	if len(p.Errors) == 0 {
		return fmt.Errorf("%s", p.Message)
	}
	all := make(config.Errors, len(p.Errors))
	for i := range p.Errors {
		e := config.Error(p.Errors[i])
		all[i] = &e
	}
	return all
}

// Daemon is what is behind the door. Any goroutine calls its methods, several at once.
type Daemon interface {
	// Status is called for whoever may come in.
	Status() Status
	// ServeMetrics answers GET /metrics.
	ServeMetrics(w http.ResponseWriter, r *http.Request)
	// ServeEvents answers GET /v1/events.
	ServeEvents(w http.ResponseWriter, r *http.Request)
	// Reload reads the daemon's configuration again and serves it, or says what it would do. by
	// says who asks. It gives up when ctx is done. With an error, only Report is of use.
	Reload(ctx context.Context, r ReloadRequest, by string) (Reloaded, error)
	// Rollback goes back to the configuration before. It gives up when ctx is done.
	Rollback(ctx context.Context, r RollbackRequest, by string) (Reloaded, error)
	// Connections lists connections. It gives up when ctx is done.
	Connections(ctx context.Context, q conns.Query) (conns.List, error)
	// Kill closes connections. It gives up when ctx is done.
	Kill(ctx context.Context, r KillRequest, by string) (Killed, error)
	// SetDrain has listeners take no new connections, or take them again.
	SetDrain(ctx context.Context, r DrainRequest, drain bool, by string) (DrainSet, error)
	// SetLevel sets the level of the log until the next reload.
	SetLevel(ctx context.Context, r LevelRequest, by string) (LevelSet, error)
	// Profile takes a profile of the process. It gives up when ctx is done. The error is
	// profile.ErrBusy where another one is being taken.
	Profile(ctx context.Context, r ProfileRequest) (ProfileTaken, error)
	// Recent has the last lines of the log.
	Recent() *recent.Log
}

// socketPath is where the door of a state folder is.
func socketPath(state string) string { return filepath.Join(state, SocketName) }
