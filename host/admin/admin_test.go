package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/host/admin/guard"
	"bulkhead/host/config"
	"bulkhead/host/conns"
	"bulkhead/host/profile"
	"bulkhead/host/recent"
	"bulkhead/internal/awaittest"
)

// fake is a daemon whose reload does what the test says.
type fake struct {
	reload func(ctx context.Context, file, by string) (Reloaded, error)
}

func (fake) Status() Status { return Status{Version: "one"} }

func (f fake) Reload(ctx context.Context, r ReloadRequest, by string) (Reloaded, error) {
	return f.reload(ctx, r.File, by)
}

func (f fake) Rollback(ctx context.Context, r RollbackRequest, by string) (Reloaded, error) {
	return f.reload(ctx, "back "+r.File, by)
}

func (fake) Connections(context.Context, conns.Query) (conns.List, error) { return conns.List{}, nil }

func (fake) ServeMetrics(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "a_metric 1\n")
}

func (fake) ServeEvents(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "event: full\n\n")
}

func (fake) Kill(context.Context, KillRequest, string) (Killed, error) { return Killed{}, nil }

func (fake) Recent() *recent.Log { return recent.New() }

func (fake) SetDrain(context.Context, DrainRequest, bool, string) (DrainSet, error) {
	return DrainSet{}, nil
}

func (fake) Profile(ctx context.Context, r ProfileRequest) (p ProfileTaken, err error) {
	p.Data, p.Took, err = profile.Take(ctx, r.Kind, r.Over())
	return p, err
}

func (fake) SetLevel(context.Context, LevelRequest, string) (LevelSet, error) { return LevelSet{}, nil }

func open(t *testing.T, state string) (*Door, *awaittest.Text) {
	t.Helper()
	log := new(awaittest.Text)
	d, err := Listen(state, Options{File: "/etc/a.toml", Version: "one", Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d, log
}

func TestDoor(t *testing.T) {
	state := t.TempDir()
	d, log := open(t, state)
	c := NewClient(state, "two")
	if _, err := c.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "the daemon starts yet") {
		t.Errorf("before it serves: %v", err)
	}
	wrong := config.Errors{{File: "/etc/a.toml", Line: 3, What: "it is wrong", Mend: "mend it"}, {File: "/etc/a.toml", What: "unreadable"}}
	asked := make(chan string, 3)
	answers := []error{nil, errors.New("not now"), fmt.Errorf("all of it: %w", wrong)}
	next := 0
	d.Serve(fake{func(_ context.Context, file, by string) (Reloaded, error) {
		asked <- file + " " + by
		next++
		return Reloaded{Took: 2, Report: &host.Report{RolledBack: true}}, answers[next-1]
	}})
	if st, err := c.Status(t.Context()); err != nil || st.Version != "one" {
		t.Errorf("the status is %+v, %v", st, err)
	}
	if got, err := c.http.Get("http://bulkhead/metrics"); err != nil {
		t.Error(err)
	} else if text, _ := io.ReadAll(got.Body); string(text) != "a_metric 1\n" || got.Header.Get(versionHeader) != "one" {
		t.Errorf("the metrics are %q of %s", text, got.Header.Get(versionHeader))
	}
	if done, err := c.Reload(t.Context(), ReloadRequest{File: "/etc/a.toml"}); err != nil || done.Took != 2 {
		t.Errorf("the reload is %+v, %v", done, err)
	}
	if said := <-asked; !strings.HasPrefix(said, "/etc/a.toml ") || !strings.Contains(said, fmt.Sprintf("user %d", os.Geteuid())) {
		t.Errorf("the daemon was asked for %q", said)
	}
	who := fmt.Sprintf(`what=reload asked.file=/etc/a.toml asked.dry_run=false asked.watch_seconds=0 by="process %d of user %d" via=admin.sock uid=%[2]d pid=%[1]d agent=two`, os.Getpid(), os.Geteuid())
	if runtime.GOOS != "linux" {
		who = "what=reload asked.file=/etc/a.toml"
	}
	if said := log.String(); strings.Count(said, who) != 2 || strings.Count(said, "a change is asked for") != 1 || strings.Count(said, `result=done`) != 1 {
		t.Errorf("the log says %q, and not %s", said, who)
	}
	done, err := c.Rollback(t.Context(), RollbackRequest{File: "/etc/a.toml"})
	if err == nil || err.Error() != "not now" || done.Report == nil || !done.Report.RolledBack {
		t.Errorf("the error is %v, of %+v", err, done)
	}
	if said := <-asked; !strings.HasPrefix(said, "back /etc/a.toml ") {
		t.Errorf("the daemon was asked for %q", said)
	}
	if said := log.String(); strings.Count(said, "what=rollback ") != 2 || !strings.Contains(said, `result=failed`) || !strings.Contains(said, `error="not now"`) {
		t.Errorf("the log says %q", said)
	}
	_, err = c.Reload(t.Context(), ReloadRequest{})
	var all config.Errors
	if !errors.As(err, &all) || all.Error() != wrong.Error() {
		t.Errorf("the errors are %v", err)
	}
}

// A request that this daemon does not know, and one that is too large, or no JSON, is answered, and
// nothing is done.
func TestWrongRequests(t *testing.T) {
	state := t.TempDir()
	d, _ := open(t, state)
	d.Serve(fake{func(context.Context, string, string) (Reloaded, error) {
		t.Error("it was reloaded")
		return Reloaded{}, nil
	}})
	c := NewClient(state, "two")
	err := c.ask(t.Context(), http.MethodPost, "dance", struct{}{}, nil)
	if err == nil || !strings.Contains(err.Error(), "does not know POST /v1/dance; the daemon is one, and this command two") {
		t.Errorf("an unknown request: %v", err)
	}
	err = c.ask(t.Context(), http.MethodPost, "reload", map[string]string{"file": "/a", "slowly": "1"}, nil)
	if err == nil || !strings.Contains(err.Error(), "slowly") || !strings.Contains(err.Error(), "the daemon is one") {
		t.Errorf("an unknown field: %v", err)
	}
	for name, body := range map[string]string{"empty": "", "no JSON": "{", "large": `{"file": "` + strings.Repeat("x", guard.MostBody) + `"}`, "large behind it": `{}` + strings.Repeat(" ", guard.MostBody)} {
		r, err := http.NewRequest(http.MethodPost, "http://bulkhead/v1/reload", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		got, err := c.http.Do(r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text, _ := io.ReadAll(got.Body)
		got.Body.Close()
		if got.StatusCode/100 != 4 || got.StatusCode == http.StatusUnsupportedMediaType || !strings.Contains(string(text), `"message":`) {
			t.Errorf("%s: %s %s", name, got.Status, text)
		}
	}
	if err := c.ask(t.Context(), http.MethodGet, "reload", nil, nil); err == nil {
		t.Error("a GET reloads")
	}
}

// Who goes away while a reload is made has it given up, and so does the door's end.
func TestTheCallerGoes(t *testing.T) {
	for _, who := range []string{"caller", "door"} {
		t.Run(who, func(t *testing.T) {
			state := t.TempDir()
			d, _ := open(t, state)
			began, ended := make(chan struct{}), make(chan struct{})
			d.Serve(fake{func(ctx context.Context, _, _ string) (Reloaded, error) {
				close(began)
				<-ctx.Done()
				close(ended)
				return Reloaded{}, ctx.Err()
			}})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			answer := make(chan error, 1)
			go func() {
				_, err := NewClient(state, "one").Reload(ctx, ReloadRequest{})
				answer <- err
			}()
			<-began
			if who == "caller" {
				cancel()
			} else {
				d.Close()
			}
			<-ended
			if err := <-answer; err == nil {
				t.Error("the caller has no error")
			}
		})
	}
}

// Those above the bound wait, and hold up nothing but themselves.
func TestMostCallers(t *testing.T) {
	state := t.TempDir()
	d, _ := open(t, state)
	d.Serve(fake{})
	var idle []net.Conn
	for range mostCallers + 4 {
		c, err := net.Dial("unix", socketPath(state))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		idle = append(idle, c)
	}
	answer := make(chan error, 1)
	go func() {
		_, err := NewClient(state, "one").Status(context.Background())
		answer <- err
	}()
	for _, c := range idle {
		c.Close()
	}
	if err := <-answer; err != nil {
		t.Error(err)
	}
}

// A folder is one daemon's; what a dead one has left is replaced, and nothing else.
func TestOneDaemonAFolder(t *testing.T) {
	state := t.TempDir()
	d, _ := open(t, state)
	var held *LockedError
	if _, err := Listen(state, Options{File: "/etc/b.toml", Version: "one", Log: slog.Default()}); !errors.As(err, &held) || !strings.Contains(err.Error(), fmt.Sprintf("process %d, which serves /etc/a.toml", os.Getpid())) {
		t.Errorf("a second one: %v", err)
	}
	info, err := os.Lstat(socketPath(state))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v", info, err)
	}
	d.Close()
	if _, err := os.Lstat(socketPath(state)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is there yet: %v", err)
	}
	if _, err := NewClient(state, "one").Status(t.Context()); err == nil || !strings.Contains(err.Error(), "no daemon runs") {
		t.Errorf("without a daemon: %v", err)
	}

	// A socket without a listener, as a daemon leaves it that was killed.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socketPath(state), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := NewClient(state, "one").Status(t.Context()); err == nil || !strings.Contains(err.Error(), "has died") {
		t.Errorf("with what a dead one has left: %v", err)
	}
	d, _ = open(t, state)
	d.Serve(fake{})
	if _, err := NewClient(state, "one").Status(t.Context()); err != nil {
		t.Error(err)
	}
	d.Close()

	if err := os.WriteFile(socketPath(state), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(state, Options{File: "/etc/a.toml", Version: "one", Log: slog.Default()}); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("with a file in its place: %v", err)
	}
	if b, err := os.ReadFile(socketPath(state)); err != nil || string(b) != "precious" {
		t.Errorf("the file has %q, %v", b, err)
	}
}

// A path longer than the system takes for a socket works on Linux, and is an error elsewhere.
func TestLongPath(t *testing.T) {
	state := filepath.Join(t.TempDir(), strings.Repeat("long/", 40))
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, done, err := reach(socketPath(state)); err != nil {
		if !strings.Contains(err.Error(), "give [host] state a shorter path") {
			t.Error(err)
		}
		return
	} else {
		done()
	}
	d, _ := open(t, state)
	d.Serve(fake{})
	if _, err := NewClient(state, "one").Status(t.Context()); err != nil {
		t.Error(err)
	}
	d.Close()
	if _, err := NewClient(state, "one").Status(t.Context()); err == nil || !strings.Contains(err.Error(), "no daemon runs") {
		t.Errorf("when it is over: %v", err)
	}
}

// Who may not use the socket is told whom it takes.
func TestNoPermission(t *testing.T) {
	if os.Geteuid() == 0 {
		err := (&Client{state: "/state"}).unreachable(t.Context(), &net.OpError{Op: "dial", Err: os.ErrPermission})
		if !strings.Contains(err.Error(), "be the user that the daemon is of, or root") {
			t.Error(err)
		}
		return // root may
	}
	state := t.TempDir()
	d, _ := open(t, state)
	d.Serve(fake{})
	if err := os.Chmod(socketPath(state), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := NewClient(state, "one").Status(t.Context()); err == nil || !strings.Contains(err.Error(), "be the user that the daemon is of, or root") {
		t.Error(err)
	}
}

// A daemon that does not answer is waited for as long as the caller wants.
func TestNoAnswer(t *testing.T) {
	state := t.TempDir()
	l, err := net.Listen("unix", socketPath(state))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		c, err := l.Accept()
		if err == nil {
			defer c.Close()
		}
		cancel(errors.New("patience is over"))
		<-t.Context().Done()
	}()
	if _, err := NewClient(state, "one").Status(ctx); err == nil || !strings.Contains(err.Error(), "patience is over") {
		t.Error(err)
	}
}
