// Package dash lets a browser see the page of a daemon that is reached by its socket alone: it
// serves the page on a loopback address, to whoever has the token that it gives out, and passes on
// what the page asks for.
package dash

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"sync/atomic"
	"time"

	"bulkhead/host/admin/guard"
	"bulkhead/host/page"
)

const (
	// mostCallers is how many connections there may be at once.
	mostCallers = 32
	// patience is how long a browser may take for what is written to it at one go.
	patience = 10 * time.Second
)

// Dash serves the page. Close ends it.
type Dash struct {
	server   *http.Server
	listener net.Listener
	once     string
	done     chan struct{}
	err      error // why it has ended; it is read after done
}

// Start serves on l, a TCP listener on a loopback address, which is the Dash's from now on. to
// reaches the daemon; its error has fs.ErrPermission inside where it may not. log has what the HTTP
// server complains of, at slog.LevelDebug.
func Start(l net.Listener, to http.RoundTripper, log *slog.Logger) *Dash {
	once, first := guard.NewToken()
	d := &Dash{listener: l, once: once, done: make(chan struct{})}
	hosts := guard.Of(d.at())
	text, session := guard.NewToken()

	// The token of the address is good for one exchange: who sees the address later, in the history
	// of a shell or of a browser, gets nothing by it.
	var used atomic.Bool
	exchange := guard.Rules{Hosts: hosts, Token: first}.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method != http.MethodPost || !used.CompareAndSwap(false, true) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"message":"this address was used already; run bulkhead dash again"}` + "\n"))
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"token": text})
	}))
	public := make(map[string]bool)
	for _, path := range page.Paths() {
		public[path] = true
	}
	inside := http.NewServeMux()
	page.ServeFiles(inside)
	pass := passOn(to)
	inside.Handle("GET /v1/events", pass)
	inside.Handle("GET /v1/conns", pass)
	inside.Handle("GET /v1/errors", pass)
	inside.Handle("POST /v1/kill", pass)
	guarded := guard.Rules{Hosts: hosts, Token: session, ReadByToken: true, Public: func(path string) bool { return public[path] }}.Guard(inside)

	d.server = guard.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/session" {
			exchange.ServeHTTP(w, r)
		} else {
			guarded.ServeHTTP(w, r)
		}
	}), log)
	go func() {
		defer close(d.done)
		d.err = d.server.Serve(guard.Bounded(l, mostCallers))
	}()
	return d
}

func (d *Dash) at() netip.AddrPort { return d.listener.Addr().(*net.TCPAddr).AddrPort() }

// Address is what a browser opens. It lets in the first one that does.
func (d *Dash) Address() string {
	return (&url.URL{Scheme: "http", Host: d.at().String(), Path: "/", Fragment: "once=" + d.once}).String()
}

// Done is closed when nothing is served any more, and then Err says why.
func (d *Dash) Done() <-chan struct{} { return d.done }

// Err is called after Done; http.ErrServerClosed: it was closed.
func (d *Dash) Err() error { return d.err }

// Close ends the serving, and cuts off who looks.
func (d *Dash) Close() {
	_ = d.server.Close()
	<-d.done
}

// passOn hands a request to the daemon, without what the browser says of itself.
func passOn(to http.RoundTripper) http.Handler {
	proxy := &httputil.ReverseProxy{
		Transport: to,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", "bulkhead", "bulkhead"
			given := r.In.Header.Get("Content-Type")
			r.Out.Header = make(http.Header)
			if given != "" {
				r.Out.Header.Set("Content-Type", given)
			}
		},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			status, message := http.StatusBadGateway, "the daemon does not answer: "+err.Error()
			if errors.Is(err, fs.ErrPermission) {
				status, message = http.StatusForbidden, "this dash may not do that: only the user that the daemon is of, and root, may; the group of [admin] view reads"
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(map[string]string{"message": message})
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxy.ServeHTTP(&patient{w, http.NewResponseController(w)}, r)
	})
}

// patient gives each write its time, however long the whole answer takes.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
}

// Write writes.
func (w *patient) Write(p []byte) (int, error) {
	_ = w.control.SetWriteDeadline(time.Now().Add(patience))
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *patient) Unwrap() http.ResponseWriter { return w.ResponseWriter }
