package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// mostPath is how long the path of a socket may be, on every system, with the zero at its end.
const mostPath = 104

// mostAnswer is the largest answer that is read, in bytes.
const mostAnswer = 256 << 20

// statusTime is how long an answer may take that changes nothing.
const statusTime = 30 * time.Second

// dialAgain is how long a caller waits before it asks again for room at a full socket.
const dialAgain = 10 * time.Millisecond

// Client asks a daemon. Any goroutine may use it.
type Client struct {
	state   string
	version string
	http    http.Client
	connect func(ctx context.Context, path string) (net.Conn, error) // to a socket
}

// NewClient is for the daemon whose state folder that is. version is the caller's own, as
// `bulkhead version` prints it, for errors that say that the daemon's is another.
func NewClient(state, version string) *Client {
	c := &Client{state: state, version: version, connect: dialSocket}
	c.http.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
	}
	return c
}

// Transport sends requests to the daemon, whatever host they name. Those that read (GET) go to the
// socket of the group of [admin] view where this process may use only that; the error of others has
// fs.ErrPermission inside then.
func (c *Client) Transport() http.RoundTripper { return transport{c} }

// transport is Client.Transport.
type transport struct{ c *Client }

// RoundTrip is http.RoundTripper's.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet {
		r = r.WithContext(reads(r.Context()))
	}
	return t.c.http.Transport.RoundTrip(r)
}

// readsKey is where a request's context says that it only reads.
type readsKey struct{}

// reads says of a request that it only reads.
func reads(ctx context.Context) context.Context { return context.WithValue(ctx, readsKey{}, true) }

// dial comes in by the socket of the daemon's user, or, to read, by that of the group, where only
// that is for this process.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	own, err := c.connect(ctx, socketPath(c.state))
	if err != nil && errors.Is(err, fs.ErrPermission) && ctx.Value(readsKey{}) != nil {
		if view, err := c.connect(ctx, filepath.Join(c.state, ViewName)); err == nil {
			return view, nil
		}
	}
	return own, err
}

// dialSocket connects to a Unix socket. Where more wait to be accepted than the socket has room
// for, the system refuses at once (EAGAIN): then it tries again, for as long as an answer may take,
// or until ctx is done.
func dialSocket(ctx context.Context, path string) (net.Conn, error) {
	address, done, err := reach(path)
	if err != nil {
		return nil, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "unix", address)
		if !errors.Is(err, unix.EAGAIN) {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(dialAgain):
		}
	}
}

// Status asks how the daemon is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, statusTime, fmt.Errorf("there is no answer within %v", statusTime))
	defer cancel()
	var st Status
	err := c.ask(ctx, http.MethodGet, "status", nil, &st)
	return st, err
}

// Reload has the daemon read its configuration again. When ctx is done before the new one is in
// force, nothing is changed. The error is config.Errors where a line is to blame. Report is there
// also with an error, if there is one.
func (c *Client) Reload(ctx context.Context, r ReloadRequest) (Reloaded, error) {
	var done Reloaded
	err := c.ask(ctx, http.MethodPost, "reload", r, &done)
	return done, err
}

// Rollback has the daemon go back to the configuration before, as Reload.
func (c *Client) Rollback(ctx context.Context, r RollbackRequest) (Reloaded, error) {
	var done Reloaded
	err := c.ask(ctx, http.MethodPost, "rollback", r, &done)
	return done, err
}

func (c *Client) ask(ctx context.Context, method, what string, request, answer any) error {
	var body io.Reader
	if request != nil {
		text, err := json.Marshal(request)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	if method == http.MethodGet {
		ctx = reads(ctx)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+socketHost+"/v1/"+what, body)
	if err != nil {
		return err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	c.sign(r)
	got, err := c.http.Do(r)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(io.LimitReader(got.Body, mostAnswer))
	if err != nil {
		return c.unreachable(ctx, err)
	}
	into := answer
	var problem Problem
	if got.StatusCode != http.StatusOK {
		into = &problem
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("the daemon's answer is not understood (%w)%s", err, c.skew(got))
	}
	if into == any(&problem) {
		if done, ok := answer.(*Reloaded); ok {
			done.Report = problem.Report
		}
		if got.StatusCode == http.StatusNotFound || got.StatusCode == http.StatusBadRequest {
			return fmt.Errorf("%w%s", problem.Err(), c.skew(got))
		}
		return problem.Err()
	}
	return nil
}

// sign says whose a request is.
func (c *Client) sign(r *http.Request) { r.Header.Set("User-Agent", c.version) }

// skew says so where the daemon is of another version.
func (c *Client) skew(got *http.Response) string {
	if other := got.Header.Get(versionHeader); other != c.version {
		if other == "" {
			other = "something else"
		}
		return fmt.Sprintf("; the daemon is %s, and this command %s: restart the daemon, or use its command", other, c.version)
	}
	return ""
}

// unreachable says why there is no answer, and the mend.
func (c *Client) unreachable(ctx context.Context, err error) error {
	path := socketPath(c.state)
	var sys unix.Errno
	errors.As(err, &sys)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("asking the daemon at %s: %w", path, context.Cause(ctx))
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no daemon runs whose state folder is %s (there is no %s in it); start one with bulkhead run, or, if [host] state was changed since it began, put that back", c.state, SocketName)
	case sys == unix.ECONNREFUSED:
		return fmt.Errorf("no daemon runs whose state folder is %s (nobody listens at its %s: the one that did has died); start one with bulkhead run", c.state, SocketName)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("this process, of user %d, may not use %s; be the user that the daemon is of, or root, or, to read, of the group of [admin] view", os.Geteuid(), path)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || sys == unix.ECONNRESET || sys == unix.EPIPE:
		return fmt.Errorf("the daemon at %s ended before it answered: %w", path, err)
	}
	return fmt.Errorf("asking the daemon at %s: %w", path, err)
}
