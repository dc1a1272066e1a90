package dash

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// daemon answers as one would, and keeps what it was asked.
type daemon struct{ asked []string }

func (d *daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	d.asked = append(d.asked, fmt.Sprintf("%s %s %s %s %q%q%q", r.Method, r.Host, r.URL, body, r.Header.Get("Authorization"), r.Header.Get("Cookie"), r.Header.Get("Origin")))
	if r.URL.Path == "/v1/events" {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "event: full\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

// toward reaches a server whatever host a request names.
type toward string

func (to toward) RoundTrip(r *http.Request) (*http.Response, error) {
	r.URL.Host = string(to)
	return http.DefaultTransport.RoundTrip(r)
}

// open gives a Dash in front of a daemon, its address, and the token in it.
func open(t *testing.T) (d *Dash, behind *daemon, at, once string) {
	t.Helper()
	behind = new(daemon)
	server := httptest.NewServer(behind)
	t.Cleanup(server.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d = Start(l, toward(strings.TrimPrefix(server.URL, "http://")), slog.New(slog.DiscardHandler))
	t.Cleanup(d.Close)
	u, err := url.Parse(d.Address())
	if err != nil {
		t.Fatal(err)
	}
	once, ok := strings.CutPrefix(u.Fragment, "once=")
	if !ok || len(once) < 32 {
		t.Errorf("the address is %s", d.Address())
	}
	return d, behind, "http://" + u.Host, once
}

func ask(t *testing.T, method, url, token, body string, more ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(more); i += 2 {
		r.Header.Set(more[i], more[i+1])
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return got.StatusCode, string(text)
}

// The token of the address lets one browser in, and no second one.
func TestOnce(t *testing.T) {
	_, behind, at, once := open(t)
	if status, text := ask(t, "POST", at+"/v1/kill", once, "{}"); status != http.StatusUnauthorized {
		t.Errorf("the first token kills: %d %s", status, text)
	}
	if status, text := ask(t, "GET", at+"/v1/session", once, ""); status != http.StatusUnauthorized {
		t.Errorf("it is exchanged by GET: %d %s", status, text)
	}
	if status, text := ask(t, "POST", at+"/v1/session", strings.Repeat("0", 64), "{}"); status != http.StatusUnauthorized {
		t.Errorf("another is exchanged: %d %s", status, text)
	}
	status, text := ask(t, "POST", at+"/v1/session", once, "{}")
	var session struct{ Token string }
	if err := json.Unmarshal([]byte(text), &session); err != nil || status != http.StatusOK || session.Token == "" || session.Token == once {
		t.Fatalf("the exchange is %d %s, %v", status, text, err)
	}
	if status, text := ask(t, "POST", at+"/v1/session", once, "{}"); status != http.StatusUnauthorized || !strings.Contains(text, "used already") {
		t.Errorf("the second exchange is %d %s", status, text)
	}
	if status, text := ask(t, "POST", at+"/v1/session", session.Token, "{}"); status != http.StatusUnauthorized {
		t.Errorf("a session is exchanged: %d %s", status, text)
	}
	if len(behind.asked) != 0 {
		t.Errorf("the daemon was asked %q", behind.asked)
	}
	if status, text := ask(t, "POST", at+"/v1/kill", session.Token, `{"ids":[1]}`, "Cookie", "a=b", "Origin", at); status != http.StatusOK {
		t.Errorf("it does not kill: %d %s", status, text)
	}
	if want := `POST bulkhead /v1/kill {"ids":[1]} """"""`; len(behind.asked) != 1 || behind.asked[0] != want {
		t.Errorf("the daemon was asked %q, want %s", behind.asked, want)
	}
}

// Without the token there are the files of the page and nothing else; with it, what the page asks
// for, from the page.
func TestRefused(t *testing.T) {
	_, behind, at, once := open(t)
	_, text := ask(t, "POST", at+"/v1/session", once, "{}")
	var session struct{ Token string }
	if err := json.Unmarshal([]byte(text), &session); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path, token string
		more                []string
		want                int
	}{
		{"GET", "/", "", nil, 200},
		{"GET", "/page.js", "", nil, 200},
		{"GET", "/v1/events", "", nil, 401},
		{"GET", "/v1/conns", "", nil, 401},
		{"GET", "/v1/conns", strings.Repeat("a", 64), nil, 401},
		{"POST", "/v1/kill", "", nil, 401},
		{"GET", "/v1/conns", session.Token, []string{"Host", "evil.example"}, 421},
		{"GET", "/", "", []string{"Host", "evil.example"}, 421},
		{"GET", "/v1/conns", session.Token, []string{"Origin", "http://evil.example"}, 403},
		{"POST", "/v1/session", once, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"POST", "/v1/kill", session.Token, []string{"Content-Type", "text/plain"}, 415},
		{"POST", "/v1/reload", session.Token, nil, 404},
		{"GET", "/v1/status", session.Token, nil, 404},
		{"GET", "/metrics", session.Token, nil, 404},
		{"DELETE", "/v1/kill", session.Token, nil, 405},
	} {
		body := ""
		if c.method == "POST" {
			body = "{}"
		}
		if status, text := ask(t, c.method, at+c.path, c.token, body, c.more...); status != c.want {
			t.Errorf("%s %s %q is %d, want %d: %.100s", c.method, c.path, c.more, status, c.want, text)
		}
	}
	if len(behind.asked) != 0 {
		t.Errorf("the daemon was asked %q", behind.asked)
	}
	if status, _ := ask(t, "GET", at+"/v1/conns?tenant=a", session.Token, ""); status != 200 {
		t.Errorf("conns is %d", status)
	}
}

// Events come through as they are sent, and end when the Dash does.
func TestEvents(t *testing.T) {
	d, _, at, once := open(t)
	_, text := ask(t, "POST", at+"/v1/session", once, "{}")
	var session struct{ Token string }
	if err := json.Unmarshal([]byte(text), &session); err != nil {
		t.Fatal(err)
	}
	r, _ := http.NewRequestWithContext(t.Context(), "GET", at+"/v1/events", nil)
	r.Header.Set("Authorization", "Bearer "+session.Token)
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	lines := bufio.NewReader(got.Body)
	if line, err := lines.ReadString('\n'); err != nil || line != "event: full\n" {
		t.Errorf("the event is %q, %v", line, err)
	}
	d.Close()
	if _, err := io.ReadAll(lines); err == nil {
		t.Log("it ended in order")
	}
	if d.Err() != http.ErrServerClosed {
		t.Errorf("it has ended with %v", d.Err())
	}
}

// Without a daemon, whoever asks is told so.
func TestNoDaemon(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := Start(l, toward("127.0.0.1:1"), slog.New(slog.DiscardHandler))
	defer d.Close()
	at, fragment, _ := strings.Cut(d.Address(), "/#once=")
	_, text := ask(t, "POST", at+"/v1/session", fragment, "{}")
	var session struct{ Token string }
	_ = json.Unmarshal([]byte(text), &session)
	if status, text := ask(t, "GET", at+"/v1/conns", session.Token, ""); status != http.StatusBadGateway || !strings.Contains(text, `{"message":"the daemon does not answer: `) {
		t.Errorf("it is told %d %s", status, text)
	}
}

// forbidden is a way to the daemon for whoever may not.
type forbidden struct{}

func (forbidden) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, fmt.Errorf("dial unix: %w", fs.ErrPermission)
}

// Who may only read is told so when the page is to close a connection.
func TestReaderMayNotKill(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := Start(l, forbidden{}, slog.New(slog.DiscardHandler))
	defer d.Close()
	u, err := url.Parse(d.Address())
	if err != nil {
		t.Fatal(err)
	}
	at := "http://" + u.Host
	_, text := ask(t, "POST", at+"/v1/session", strings.TrimPrefix(u.Fragment, "once="), "{}")
	var session struct{ Token string }
	if err := json.Unmarshal([]byte(text), &session); err != nil {
		t.Fatal(err)
	}
	if status, text := ask(t, "POST", at+"/v1/kill", session.Token, "{}"); status != http.StatusForbidden || !strings.Contains(text, "the group of [admin] view reads") {
		t.Errorf("it is told %d %s", status, text)
	}
}
