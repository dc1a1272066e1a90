package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"bulkhead/host/config"

	"golang.org/x/sys/unix"
)

// What one who comes in may take.
const (
	mostCallers  = 16               // at once; others wait in the kernel's queue
	mostBody     = 64 << 10         // bytes of a request
	mostHeader   = 8 << 10          // and of its header
	requestTime  = 10 * time.Second // to send it
	responseTime = 10 * time.Second // to take the answer
)

// Door is the daemon's end of the socket. It holds the state folder for one daemon until Close.
type Door struct {
	path    string
	version string
	log     *slog.Logger
	lock    *os.File
	server  *http.Server
	daemon  atomic.Pointer[Daemon]
	inode   os.FileInfo // of the socket, which Close removes if it is that one yet
	served  sync.WaitGroup
	// followers are those who follow the log.
	followers atomic.Int32
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

// Listen opens the door in the folder state, which has to be there, and whose owner and mode the
// caller has looked at (statefolder.Make). Until Serve everybody is told that the daemon starts yet. version is told to those
// who come in, and file, the configuration, to another daemon that wants the same folder: that
// one's error is a *LockedError. The socket of a daemon that has died is replaced.
func Listen(state, file, version string, log *slog.Logger) (*Door, error) {
	lock, err := lockState(state, file)
	if err != nil {
		return nil, err
	}
	d := &Door{path: socketPath(state), version: version, log: log, lock: lock}
	l, err := d.open()
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("opening %s: %w", d.path, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", d.status)
	mux.HandleFunc("POST /v1/reload", changes(d, "a reload was asked for", func(r *ReloadRequest) []any {
		return []any{"file", r.File, "dry_run", r.DryRun, "watch_seconds", r.Watch}
	}, Daemon.Reload))
	mux.HandleFunc("POST /v1/rollback", changes(d, "a rollback was asked for", func(r *RollbackRequest) []any {
		return []any{"file", r.File}
	}, Daemon.Rollback))
	mux.HandleFunc("GET /v1/conns", d.connections)
	mux.HandleFunc("GET /metrics", d.metrics)
	mux.HandleFunc("POST /v1/kill", changes(d, "connections are to be closed", (*KillRequest).words, Daemon.Kill))
	mux.HandleFunc("POST /v1/level", changes(d, "another level of the log was asked for", (*LevelRequest).words, Daemon.SetLevel))
	mux.HandleFunc("GET /v1/errors", d.errors)
	mux.HandleFunc("GET /v1/logs", d.logs)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		d.fail(w, http.StatusNotFound, fmt.Errorf("this daemon, %s, does not know %s %s", d.version, r.Method, clip(r.URL.Path)))
	})
	d.server = &http.Server{
		Handler: d.bounded(mux), ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		MaxHeaderBytes: mostHeader, ReadTimeout: requestTime, ReadHeaderTimeout: requestTime,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, peerOf(c))
		},
	}
	d.server.SetKeepAlivesEnabled(false) // who has had an answer makes room
	d.served.Go(func() {
		_ = d.server.Serve(&few{Listener: l, places: make(chan struct{}, mostCallers), closed: make(chan struct{})})
	})
	return d, nil
}

// lockState locks the state folder for this process, or finds out which process has it. The system
// releases the lock when the process ends, however it ends.
func lockState(state, file string) (*os.File, error) {
	path := filepath.Join(state, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		said, _ := io.ReadAll(io.LimitReader(f, 4096))
		if len(said) == 0 {
			said = []byte("it has just begun")
		}
		return nil, &LockedError{state, strings.TrimSpace(string(said))}
	}
	// For people: nothing depends on it.
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "process %d, which serves %s\n", os.Getpid(), file)
	}
	return f, nil
}

// open makes the socket. Nobody can connect before it is for its owner alone: it listens last.
func (d *Door) open() (net.Listener, error) {
	if info, err := os.Lstat(d.path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, errors.New("there is something in its place that is no socket; move that away")
		}
		if err := os.Remove(d.path); err != nil { // of a daemon that has died: who lives holds the lock
			return nil, err
		}
	}
	address, done, err := reach(d.path)
	if err != nil {
		return nil, err
	}
	defer done()
	syscall.ForkLock.RLock() // no child gets it
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), d.path)
	defer f.Close() // the listener has a copy
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: address}); err != nil {
		return nil, err
	}
	if err := os.Chmod(d.path, 0o600); err != nil {
		return nil, err
	}
	if d.inode, err = os.Lstat(d.path); err != nil {
		return nil, err
	}
	if err := unix.Listen(fd, 64); err != nil {
		return nil, err
	}
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // Close does
	return l, nil
}

// Serve has those who come in be served by the daemon from now on.
func (d *Door) Serve(daemon Daemon) { d.daemon.Store(&daemon) }

// Close shuts the door, and lets go of the folder. Who is inside is cut off.
func (d *Door) Close() {
	_ = d.server.Close()
	d.served.Wait()
	if now, err := os.Lstat(d.path); err == nil && os.SameFile(now, d.inode) {
		_ = os.Remove(d.path)
	}
	_ = d.lock.Close()
}

// bounded keeps a request within its size and the answer within its time.
func (d *Door) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, mostBody)
		next.ServeHTTP(w, r)
	})
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

// changes serves requests for what changes something. Who has asked for it, and with which words, is
// logged.
func changes[R, A any](d *Door, said string, words func(*R) []any, do func(Daemon, context.Context, R, string) (A, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		daemon := d.inside(w)
		if daemon == nil {
			return
		}
		var request R
		if !d.read(w, r, &request) {
			return
		}
		by := r.Context().Value(peerKey{}).(string)
		d.log.Info(said, append(words(&request), "by", by)...)
		done, err := do(daemon, r.Context(), request, by)
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
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // a reload takes as long as it takes
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

// few accepts as many as there are places.
type few struct {
	net.Listener
	places chan struct{}
	over   sync.Once
	closed chan struct{}
}

// Accept waits for a place, and then for a connection.
func (l *few) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &placed{Conn: c, leave: func() { <-l.places }}, nil
}

// Close ends the waiting.
func (l *few) Close() error {
	l.over.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// placed gives its place back when it is closed.
type placed struct {
	net.Conn
	once  sync.Once
	leave func()
}

// Close closes the connection.
func (c *placed) Close() error {
	c.once.Do(c.leave)
	return c.Conn.Close()
}

// peerKey is where a request's context has who asks.
type peerKey struct{}

// peerOf says who is at the other end.
func peerOf(c net.Conn) string {
	if p, ok := c.(*placed); ok {
		c = p.Conn
	}
	raw, err := c.(*net.UnixConn).SyscallConn()
	who := "somebody"
	if err == nil {
		_ = raw.Control(func(fd uintptr) {
			if said, err := credentials(int(fd)); err == nil {
				who = said
			}
		})
	}
	return who
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
