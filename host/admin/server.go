package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"bulkhead/host/admin/guard"
	"bulkhead/host/config"
	"bulkhead/host/page"

	"golang.org/x/sys/unix"
)

// mostCallers is how many come in at once by each of the sockets; others wait in the kernel's
// queue.
const mostCallers = 16

// responseTime is how long whoever asks has to take the answer, or the next part of a long one.
const responseTime = 10 * time.Second

// Door is where others come in to the daemon. It holds the state folder for one daemon until Close.
type Door struct {
	state   string
	version string
	log     *slog.Logger
	audit   *slog.Logger
	lock    *os.File
	daemon  atomic.Pointer[Daemon]
	calls   http.Handler // all that can be asked for, behind guards
	refused *refusals
	own     *entrance // for the daemon's user and root
	// followers are those who follow the log.
	followers atomic.Int32

	beside
}

// LockedError says that another process that runs uses the state folder.
type LockedError struct {
	State string
	// Holder is what that process has said of itself.
	Holder string
}

// Error says who has it, and what to do.
func (e *LockedError) Error() string {
	return fmt.Sprintf("another daemon uses the folder %s (%s); stop that one, or give this one a folder of its own", e.State, e.Holder)
}

// Options say what a door tells, and to whom.
type Options struct {
	// Version is the daemon's, for those who come in.
	Version string
	// PID is the daemon's process, for another daemon that wants the same folder. 0: this one.
	PID int
	// File is the configuration, for another daemon that wants the same folder.
	File string
	// Log is the daemon's log. Audit has a line for each change that is asked for, and what came of
	// it; it should not be one that leaves lines out by their level. nil: Log.
	Log, Audit *slog.Logger
}

// Listen opens the door in the folder state, which has to be there, and whose owner and mode the
// caller has looked at (statefolder.Make). Until Serve everybody is told that the daemon starts
// yet. Where another daemon has the folder, the error is a *LockedError. The socket of a daemon
// that has died is replaced.
func Listen(state string, o Options) (*Door, error) {
	if o.Audit == nil {
		o.Audit = o.Log
	}
	lock, err := lockState(state, cmp.Or(o.PID, os.Getpid()), o.File)
	if err != nil {
		return nil, err
	}
	d := &Door{state: state, version: o.Version, log: o.Log, audit: o.Audit, lock: lock, refused: newRefusals(o.Log)}
	d.ctx, d.end = context.WithCancel(context.Background())
	d.calls = d.routes()
	l, err := makeSocket(socketPath(state), 0o600, -1)
	if err != nil {
		d.end()
		lock.Close()
		return nil, err
	}
	d.own = d.enter(l, SocketName, d.local())
	return d, nil
}

// routes are all that can be asked for.
func (d *Door) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", d.status)
	mux.HandleFunc("POST /v1/reload", changes(d, "reload", func(r *ReloadRequest) []any {
		return []any{"file", clip(r.File), "dry_run", r.DryRun, "watch_seconds", r.Watch}
	}, Daemon.Reload))
	mux.HandleFunc("POST /v1/rollback", changes(d, "rollback", func(r *RollbackRequest) []any {
		return []any{"file", clip(r.File)}
	}, Daemon.Rollback))
	mux.HandleFunc("GET /v1/conns", d.connections)
	mux.HandleFunc("GET /metrics", d.metrics)
	mux.HandleFunc("GET /v1/events", d.trusts(d.events))
	page.ServeFiles(mux)
	mux.HandleFunc("POST /v1/kill", changes(d, "kill", (*KillRequest).words, Daemon.Kill))
	for _, drain := range []bool{true, false} {
		what := map[bool]string{true: "drain", false: "undrain"}[drain]
		mux.HandleFunc("POST /v1/"+what, changes(d, what, (*DrainRequest).words, func(daemon Daemon, ctx context.Context, r DrainRequest, by string) (DrainSet, error) {
			return daemon.SetDrain(ctx, r, drain, by)
		}))
	}
	mux.HandleFunc("POST /v1/level", changes(d, "level", (*LevelRequest).words, Daemon.SetLevel))
	mux.HandleFunc("POST /v1/profile", d.profile)
	mux.HandleFunc("GET /v1/errors", d.errors)
	mux.HandleFunc("GET /v1/logs", d.trusts(d.logs))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		d.fail(w, http.StatusNotFound, fmt.Errorf("this daemon, %s, does not know %s %s", d.version, r.Method, clip(r.URL.Path)))
	})
	return mux
}

// lockState locks the state folder for this process, or finds out which process has it. The system
// releases the lock when the process ends, however it ends. pid is whose it is for people.
func lockState(state string, pid int, file string) (*os.File, error) {
	path := filepath.Join(state, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	// The supervisor of a daemon that was killed ends before the worker, which has the lock.
	for late := time.Now().Add(lockTime); errors.Is(err, unix.EWOULDBLOCK) && holderIsGone(f) && time.Now().Before(late); {
		time.Sleep(10 * time.Millisecond)
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		said := holder(f)
		if said == "" {
			said = "it has just begun"
		}
		return nil, &LockedError{state, said}
	}
	// For people, and for holderIsGone.
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "process %d, which serves %s\n", pid, file)
	}
	return f, nil
}

// lockTime is how long a daemon waits for one that was killed, and is not gone altogether yet.
const lockTime = 5 * time.Second

// holder is what the file of a lock says of who has it.
func holder(f *os.File) string {
	said, _ := io.ReadAll(io.NewSectionReader(f, 0, 4096))
	return strings.TrimSpace(string(said))
}

// holderIsGone reports whether the file of a lock that is held names a process that there is not.
func holderIsGone(f *os.File) bool {
	var pid int
	_, err := fmt.Sscanf(holder(f), "process %d,", &pid)
	return err == nil && pid > 0 && unix.Kill(pid, 0) == unix.ESRCH
}

// trusts serves those alone who have come in by a Unix socket, or with the token: what handlers log
// is their tenants', and who follows it, or watches the page, holds a place.
func (d *Door) trusts(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if by := callerOf(r); by.peer != "" && !by.token {
			why := &guard.Refusal{Status: http.StatusUnauthorized, What: "token", Message: "this needs the token: Authorization: Bearer TOKEN"}
			d.refused.add(r, why)
			d.fail(w, why.Status, why)
			return
		}
		next(w, r)
	}
}

// Serve has those who come in be served by the daemon from now on.
func (d *Door) Serve(daemon Daemon) { d.daemon.Store(&daemon) }

// Close shuts the door, and lets go of the folder. Who is inside is cut off.
func (d *Door) Close() {
	d.shut()
	d.own.close()
	_ = d.lock.Close()
}

// inside gives the daemon, or tells the caller that there is none yet.
func (d *Door) inside(w http.ResponseWriter) Daemon {
	if p := d.daemon.Load(); p != nil {
		return *p
	}
	d.fail(w, http.StatusServiceUnavailable, errors.New("the daemon starts yet: it compiles and starts its plugins; ask again"))
	return nil
}

func (d *Door) status(w http.ResponseWriter, r *http.Request) {
	if daemon := d.inside(w); daemon != nil {
		st := daemon.Status()
		st.Errors = daemon.Recent().Errors("", statusErrors)
		d.answer(w, http.StatusOK, st)
	}
}

// metrics is plain text, as who asks for it reads no JSON.
func (d *Door) metrics(w http.ResponseWriter, r *http.Request) {
	if daemon := d.inside(w); daemon != nil {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(responseTime))
		w.Header().Set(versionHeader, d.version)
		daemon.ServeMetrics(w, r)
	}
}

// events are sent as long as whoever asks for them takes them.
func (d *Door) events(w http.ResponseWriter, r *http.Request) {
	if daemon := d.inside(w); daemon != nil {
		w.Header().Set(versionHeader, d.version)
		daemon.ServeEvents(w, r)
	}
}

// changes serves requests for what changes something. Who has asked for what, with which words, and
// what came of it is in the audit log.
func changes[R, A any](d *Door, what string, words func(*R) []any, do func(Daemon, context.Context, R, string) (A, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		daemon := d.inside(w)
		if daemon == nil {
			return
		}
		var request R
		if !d.read(w, r, &request) {
			return
		}
		by := callerOf(r)
		over := d.audited(what, by, words(&request))
		done, err := do(daemon, r.Context(), request, by.String())
		over(done, err)
		if err != nil {
			p := problemOf(err)
			if of, ok := any(done).(Reloaded); ok {
				p.Report = of.Report
			}
			d.answer(w, http.StatusUnprocessableEntity, p)
			return
		}
		d.answer(w, http.StatusOK, done)
	}
}

// read takes a request, or answers what is wrong with it.
func (d *Door) read(w http.ResponseWriter, r *http.Request, into any) bool {
	from := json.NewDecoder(r.Body)
	from.DisallowUnknownFields() // what this daemon does not know it must not leave out
	if err := from.Decode(into); err != nil {
		d.fail(w, http.StatusBadRequest, fmt.Errorf("this daemon, %s, does not understand the request: %w", d.version, err))
		return false
	}
	// The body is read to its end, from where on the server notices when the caller goes.
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		d.fail(w, http.StatusBadRequest, fmt.Errorf("reading the request: %w", err))
		return false
	}
	// A reload takes as long as it takes.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return true
}

func (d *Door) fail(w http.ResponseWriter, status int, err error) {
	d.answer(w, status, problemOf(err))
}

func (d *Door) answer(w http.ResponseWriter, status int, what any) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(responseTime))
	text, err := json.Marshal(what)
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"message":"the answer cannot be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(versionHeader, d.version)
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n'))
}

func configErrors(err error) (all config.Errors) {
	errors.As(err, &all)
	return all
}

// clip keeps what others have written short.
func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}
