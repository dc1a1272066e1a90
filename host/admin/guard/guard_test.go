package guard

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// open serves what the rules let pass on a loopback address, which it gives. passed counts that.
func open(t *testing.T, r Rules, change func(*http.Server)) (at netip.AddrPort, passed *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at = l.Addr().(*net.TCPAddr).AddrPort()
	r.Hosts = append(r.Hosts, Of(at)...)
	passed = new(atomic.Int64)
	server := NewServer(r.Guard(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if _, err := io.ReadAll(q.Body); err != nil {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		passed.Add(1)
		fmt.Fprintf(w, "passed, token %v", HasToken(q.Context()))
	})), slog.New(slog.DiscardHandler))
	if change != nil {
		change(server)
	}
	over := make(chan struct{})
	go func() {
		_ = server.Serve(Bounded(l, 4))
		close(over)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-over
	})
	return at, passed
}

// send sends bytes and gives all of the answer. A server that closes before it has read them is no
// error.
func send(t *testing.T, at netip.AddrPort, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() { _, _ = io.WriteString(c, text) }()
	answer, _ := io.ReadAll(c)
	return string(answer)
}

// A table of requests as strangers, pages of others, and rebound names send them.
func TestHostileRequests(t *testing.T) {
	text, token := NewToken()
	var refused atomic.Int64
	var reasons sync.Map
	at, passed := open(t, Rules{Token: token, Refused: func(_ *http.Request, why *Refusal) {
		refused.Add(1)
		reasons.Store(why.What, true)
	}}, nil)
	port := at.Port()
	auth := "Authorization: Bearer " + text + "\r\n"
	get := func(headers string) string {
		return fmt.Sprintf("GET /v1/status HTTP/1.1\r\nHost: %v\r\nConnection: close\r\n%s\r\n", at, headers)
	}
	post := func(headers, body string) string {
		return fmt.Sprintf("POST /v1/kill HTTP/1.1\r\nHost: %v\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n%s", at, headers, len(body), body)
	}
	const typed = "Content-Type: application/json\r\n"
	line := func(first string) string { return first + fmt.Sprintf("\r\nHost: %v\r\nConnection: close\r\n\r\n", at) }
	host := func(h string) string { return "GET / HTTP/1.1\r\nHost: " + h + "\r\nConnection: close\r\n\r\n" }
	for _, c := range []struct {
		name, send string
		want       int // of the answer's status; 0: any but 2xx
	}{
		{"reading", get(""), 200},
		{"reading with the token", get(auth), 200},
		{"localhost", host(fmt.Sprintf("LocalHost:%d", port)), 200},
		{"its own page", get(fmt.Sprintf("Origin: http://%v\r\nSec-Fetch-Site: same-origin\r\n", at)), 200},
		{"typed into the browser", get("Sec-Fetch-Site: none\r\n"), 200},
		{"changing", post(auth+typed, "{}"), 200},
		{"changing, with a charset", post(auth+"Content-Type: application/json; charset=UTF-8\r\n", "{}"), 200},
		{"the scheme in lower case", post("authorization: bearer "+text+"\r\n"+typed, "{}"), 200},
		{"its own page changes", post(auth+typed+fmt.Sprintf("Origin: http://%v\r\nSec-Fetch-Site: same-origin\r\n", at), "{}"), 200},
		{"HEAD", line("HEAD / HTTP/1.1"), 200},

		{"a rebound name", host(fmt.Sprintf("evil.example:%d", port)), 421},
		{"a rebound name with its page", fmt.Sprintf("POST /v1/kill HTTP/1.1\r\nHost: evil.example:%d\r\nOrigin: http://evil.example:%[1]d\r\nSec-Fetch-Site: same-origin\r\n%sConnection: close\r\nContent-Length: 2\r\n\r\n{}", port, auth+typed), 421},
		{"a name that begins as ours", host(fmt.Sprintf("127.0.0.1.evil.example:%d", port)), 421},
		{"a name that ends as ours", host(fmt.Sprintf("evil.localhost:%d", port)), 421},
		{"another port", host(fmt.Sprintf("127.0.0.1:%d", port^1)), 421},
		{"no port", host("127.0.0.1"), 421},
		{"another loopback address", host(fmt.Sprintf("127.0.0.2:%d", port)), 421},
		{"another spelling", host(fmt.Sprintf("127.1:%d", port)), 421},
		{"a number", host(fmt.Sprintf("2130706433:%d", port)), 421},
		{"a mapped address", host(fmt.Sprintf("[::ffff:127.0.0.1]:%d", port)), 421},
		{"a dot at the end", host(fmt.Sprintf("localhost.:%d", port)), 421},
		{"somebody's name before it", host(fmt.Sprintf("evil@127.0.0.1:%d", port)), 0},
		{"an empty host", host(""), 421},
		{"no host", "GET / HTTP/1.0\r\n\r\n", 421},
		{"no host in HTTP/1.1", "GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 400},
		{"two hosts", fmt.Sprintf("GET / HTTP/1.1\r\nHost: %v\r\nHost: evil.example\r\nConnection: close\r\n\r\n", at), 400},
		{"for a proxy", fmt.Sprintf("GET http://%v/ HTTP/1.1\r\nHost: %[1]v\r\nConnection: close\r\n\r\n", at), 421},
		{"for a proxy, elsewhere", fmt.Sprintf("GET http://evil.example/ HTTP/1.1\r\nHost: %v\r\nConnection: close\r\n\r\n", at), 421},

		{"another origin", get("Origin: http://evil.example\r\n"), 403},
		{"another origin changes", post(auth+typed+"Origin: http://evil.example\r\n", "{}"), 403},
		{"an origin of another port", get(fmt.Sprintf("Origin: http://127.0.0.1:%d\r\n", port^1)), 403},
		{"an origin of our other name", get(fmt.Sprintf("Origin: http://localhost:%d\r\n", port)), 403},
		{"an origin by TLS", get(fmt.Sprintf("Origin: https://%v\r\n", at)), 403},
		{"an origin without a name", get("Origin: null\r\n"), 403},
		{"an empty origin", get("Origin: \r\n"), 403},
		{"two origins", get(fmt.Sprintf("Origin: http://%v\r\nOrigin: http://evil.example\r\n", at)), 403},
		{"a page of another site", get("Sec-Fetch-Site: cross-site\r\n"), 403},
		{"a page of the same site", get("Sec-Fetch-Site: same-site\r\n"), 403},
		{"two sites", get("Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site\r\n"), 403},

		{"OPTIONS", fmt.Sprintf("OPTIONS / HTTP/1.1\r\nHost: %v\r\nOrigin: http://%[1]v\r\nAccess-Control-Request-Method: POST\r\nConnection: close\r\n\r\n", at), 405},
		{"OPTIONS of all", line("OPTIONS * HTTP/1.1"), 405},
		{"PUT", line("PUT / HTTP/1.1"), 405},
		{"DELETE", line("DELETE / HTTP/1.1"), 405},
		{"TRACE", line("TRACE / HTTP/1.1"), 405},
		{"an unknown method", line("DANCE / HTTP/1.1"), 405},
		{"post in lower case", line("post / HTTP/1.1"), 405},
		{"CONNECT", line("CONNECT evil.example:443 HTTP/1.1"), 0},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0},
		{"no HTTP", "hello\r\n\r\n", 400},
		{"TLS", "\x16\x03\x01\x00\x05hello\r\n\r\n", 400},

		{"a form", post(auth+"Content-Type: application/x-www-form-urlencoded\r\n", "{}"), 415},
		{"plain text", post(auth+"Content-Type: text/plain\r\n", "{}"), 415},
		{"no type", post(auth, "{}"), 415},
		{"an empty type", post(auth+"Content-Type: \r\n", "{}"), 415},
		{"two types", post(auth+typed+"Content-Type: text/plain\r\n", "{}"), 415},
		{"two types in one", post(auth+"Content-Type: application/json, text/plain\r\n", "{}"), 415},
		{"another charset", post(auth+"Content-Type: application/json; charset=utf-7\r\n", "{}"), 415},
		{"something like JSON", post(auth+"Content-Type: application/jsonp\r\n", "{}"), 415},
		{"packed", post(auth+typed+"Content-Encoding: gzip\r\n", "{}"), 415},

		{"no token", post(typed, "{}"), 401},
		{"another token", post(strings.Replace(auth, text[:8], "00000000", 1)+typed, "{}"), 401},
		{"half of the token", post("Authorization: Bearer "+text[:32]+"\r\n"+typed, "{}"), 401},
		{"more than the token", post("Authorization: Bearer "+text+"0\r\n"+typed, "{}"), 401},
		{"an empty token", post("Authorization: Bearer \r\n"+typed, "{}"), 401},
		{"the token in another scheme", post("Authorization: Basic "+text+"\r\n"+typed, "{}"), 401},
		{"the token alone", post("Authorization: "+text+"\r\n"+typed, "{}"), 401},
		{"two tokens", post(auth+auth+typed, "{}"), 401},
		{"the token in a cookie", post("Cookie: token="+text+"\r\n"+typed, "{}"), 401},
		{"the token in the query", strings.Replace(post(typed, "{}"), "/v1/kill", "/v1/kill?token="+text, 1), 401},
		{"reading with another token", get("Authorization: Bearer " + strings.Repeat("0", 64) + "\r\n"), 401},

		{"upwards", line("GET /v1/../metrics HTTP/1.1"), 400},
		{"upwards in disguise", line("GET /v1/%2e%2e/metrics HTTP/1.1"), 400},
		{"a slash in disguise", line("GET /v1%2fstatus HTTP/1.1"), 400},
		{"twice a slash", line("GET //evil.example/ HTTP/1.1"), 400},
		{"twice a slash alone", line("GET // HTTP/1.1"), 400},
		{"a backslash", line(`GET /v1\status HTTP/1.1`), 400},
		{"a zero", line("GET /v1/status%00 HTTP/1.1"), 400},
		{"a line's end", line("GET /v1/status%0d%0aX HTTP/1.1"), 400},
		{"a long path", line("GET /" + strings.Repeat("a", MostPath) + " HTTP/1.1"), 400},
		{"no path", line("GET * HTTP/1.1"), 0},

		{"a large header", get("X: " + strings.Repeat("x", 64<<10) + "\r\n"), 431},
		{"many headers", get(strings.Repeat("X: y\r\n", 8<<10)), 431},
		{"a large query", line("GET /?" + strings.Repeat("x", 64<<10) + " HTTP/1.1"), 431},
		{"a large body", post(auth+typed, strings.Repeat(" ", MostBody+1)), 413},
		{"a large body in chunks", fmt.Sprintf("POST / HTTP/1.1\r\nHost: %v\r\nConnection: close\r\n%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", at, auth+typed, MostBody+1, strings.Repeat(" ", MostBody+1)), 413},
		{"a body that reads", fmt.Sprintf("GET / HTTP/1.1\r\nHost: %v\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", at), 400},
		{"two lengths", fmt.Sprintf("POST / HTTP/1.1\r\nHost: %v\r\n%sContent-Length: 2\r\nContent-Length: 3\r\nConnection: close\r\n\r\n{}", at, auth+typed), 400},
		{"an unknown length", fmt.Sprintf("POST / HTTP/1.1\r\nHost: %v\r\n%sTransfer-Encoding: gzip\r\nConnection: close\r\n\r\n{}", at, auth+typed), 501},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, out := passed.Load(), refused.Load()
			text := send(t, at, c.send)
			got, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
			if err != nil {
				if c.want == 0 {
					return // it was cut off
				}
				t.Fatalf("the answer is %q: %v", text, err)
			}
			if c.want != 0 && got.StatusCode != c.want || c.want == 0 && got.StatusCode < 300 {
				t.Errorf("the answer is %s, want %d", got.Status, c.want)
			}
			for name := range got.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("the answer has %s", name)
				}
			}
			if did := passed.Load() != before; did != (c.want == 200) {
				t.Errorf("it passed: %v", did)
			}
			if refused.Load() != out && !strings.Contains(text, `{"message":"`) {
				t.Errorf("it was refused without a message: %s", text)
			}
			if strings.Contains(text, strings.TrimSpace(auth)) {
				t.Error("the answer has the token in it")
			}
		})
	}
	var met []string
	reasons.Range(func(what, _ any) bool {
		met = append(met, what.(string))
		return true
	})
	slices.Sort(met)
	if !slices.Equal(met, Reasons()) {
		t.Errorf("requests were refused for %v; the reasons are %v", met, Reasons())
	}
}

// Without a token nothing can be changed, whatever is sent as one; where reading needs the token
// too, only what is public can be read without it; and who has come in by a door of his own needs
// none.
func TestWhoMayReadAndChange(t *testing.T) {
	text, token := NewToken()
	page := func(p string) bool { return p == "/" }
	for _, c := range []struct {
		name                      string
		rules                     Rules
		read, page, change, token bool // the last: changing with the token
	}{
		{"no token is given", Rules{}, true, true, false, false},
		{"nothing without a token that is not given", Rules{ReadByToken: true}, false, false, false, false},
		{"reading is free", Rules{Token: token}, true, true, false, true},
		{"reading needs it", Rules{Token: token, ReadByToken: true, Public: page}, false, true, false, true},
		{"local", Rules{Local: true}, true, true, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			at, _ := open(t, c.rules, nil)
			do := func(method, path, token string) bool {
				r, err := http.NewRequest(method, "http://"+at.String()+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				if method == http.MethodPost {
					r.Body = io.NopCloser(strings.NewReader("{}"))
					r.Header.Set("Content-Type", "application/json")
				}
				if token != "" {
					r.Header.Set("Authorization", "Bearer "+token)
				}
				got, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer got.Body.Close()
				answer, _ := io.ReadAll(got.Body)
				if has := bytes.Contains(answer, []byte("token true")); has != (got.StatusCode == 200 && token != "" && !c.rules.Local) {
					t.Errorf("%s %s: %s", method, path, answer)
				}
				return got.StatusCode == 200
			}
			if got := do("GET", "/v1/status", ""); got != c.read {
				t.Errorf("reading: %v", got)
			}
			if got := do("GET", "/", ""); got != c.page {
				t.Errorf("reading the page: %v", got)
			}
			if do("POST", "/", "") != c.change || do("POST", "/v1/kill", "") != c.change {
				t.Errorf("changing is not %v", c.change)
			}
			if got := do("POST", "/v1/kill", text); got != c.token {
				t.Errorf("changing with the token: %v", got)
			}
			if got := do("GET", "/v1/status", text); got != c.token {
				t.Errorf("reading with the token: %v", got)
			}
		})
	}
}

// Who does not send a request to its end, and who does not take the answer, is cut off, and
// others get his place.
func TestSlowClients(t *testing.T) {
	quick := func(s *http.Server) {
		s.ReadTimeout, s.ReadHeaderTimeout, s.WriteTimeout, s.IdleTimeout = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	}
	_, token := NewToken()
	at, passed := open(t, Rules{Token: token}, quick)
	for name, begin := range map[string]string{
		"nothing":              "",
		"half a line":          "GET / HT",
		"half a header":        fmt.Sprintf("GET / HTTP/1.1\r\nHost: %v\r\nX: ", at),
		"half a body":          fmt.Sprintf("POST / HTTP/1.1\r\nHost: %v\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{", at),
		"nothing after it all": fmt.Sprintf("GET / HTTP/1.1\r\nHost: %v\r\n\r\n", at),
	} {
		t.Run(name, func(t *testing.T) {
			var all []net.Conn
			for range 4 { // as many as there are places
				c, err := net.Dial("tcp", at.String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if _, err := io.WriteString(c, begin); err != nil {
					t.Fatal(err)
				}
				all = append(all, c)
			}
			for _, c := range all {
				_, _ = io.Copy(io.Discard, c) // until it is closed
			}
			before := passed.Load()
			for passed.Load() == before { // a busy machine may be slow to send it
				send(t, at, fmt.Sprintf("GET / HTTP/1.1\r\nHost: %v\r\nConnection: close\r\n\r\n", at))
			}
		})
	}

	t.Run("takes nothing", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		wrote := make(chan error, 1)
		server := NewServer(Rules{Hosts: Of(l.Addr().(*net.TCPAddr).AddrPort())}.Guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			var err error
			for piece := make([]byte, 1<<20); err == nil; {
				_, err = w.Write(piece)
			}
			wrote <- err
		})), slog.New(slog.DiscardHandler))
		quick(server)
		go func() { _ = server.Serve(l) }()
		defer server.Close()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %v\r\n\r\n", l.Addr()); err != nil {
			t.Fatal(err)
		}
		if err := <-wrote; err == nil {
			t.Error("there is no end")
		}
	})
}

// A stream of events lasts longer than a request may take to be sent.
func TestALongAnswer(t *testing.T) {
	const readTime = 50 * time.Millisecond
	ended := make(chan error, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(Rules{Hosts: Of(l.Addr().(*net.TCPAddr).AddrPort())}.Guard(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		select {
		case <-q.Context().Done():
		case <-time.After(2 * readTime):
		}
		ended <- q.Context().Err()
		_, _ = io.WriteString(w, "all")
	})), slog.New(slog.DiscardHandler))
	server.ReadTimeout, server.ReadHeaderTimeout = readTime, time.Minute
	server.SetKeepAlivesEnabled(false)
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	for range 50 { // a busy machine may be slow to read the request, too
		var got *http.Response
		if got, err = http.Get("http://" + l.Addr().String() + "/"); err != nil {
			continue
		}
		text, _ := io.ReadAll(got.Body)
		got.Body.Close()
		if err = <-ended; err == nil {
			if string(text) != "all" {
				t.Errorf("the answer is %q", text)
			}
			return
		}
	}
	t.Errorf("no long answer came to its end: %v", err)
}

func TestParseHost(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:9101": "127.0.0.1:9101", "localhost": "localhost:80", "LOCALHOST:1": "localhost:1", "[::1]:7": "[::1]:7", "[0:0::1]": "[::1]:80",
		"a-b.example:65535": "a-b.example:65535", "1a.b2": "1a.b2:80", "xn--nxasmq6b": "xn--nxasmq6b:80",
		"": "", ":80": "", "a:": "", "a:0": "", "a:080": "", "a:+80": "", "a:65536": "", "a:-1": "", "::1": "", "[::1": "", "[::1]x": "", "[fe80::1%lo]:1": "", "[127.0.0.1]:1": "",
		"127.1": "", "0x7f.1": "", "2130706433": "", "127.0.0.01": "", "127.0.0.1.": "", "a.": "", ".a": "", "a..b": "", "-a": "", "a-": "", "a_b": "", "a b": "", "a@b": "", "ä": "", "a\x00": "", "*": "",
		strings.Repeat("a", 64): "", strings.Repeat("a.", 127): "", "http://a": "", "a/b": "",
	} {
		h, err := ParseHost(text)
		switch {
		case want == "" && err == nil:
			t.Errorf("%q is taken for %v", text, h)
		case want != "" && (err != nil || h.String() != want):
			t.Errorf("%q is %v, %v; want %s", text, h, err, want)
		}
	}
}

func TestParseToken(t *testing.T) {
	text, made := NewToken()
	if read, err := ParseToken(text); err != nil || read != made || !read.Is(text) || read.IsZero() {
		t.Errorf("a token that was made is %v, %v", read, err)
	}
	if (Token{}).Is("") || !(Token{}).IsZero() {
		t.Error("the zero token is somebody's")
	}
	if other, _ := NewToken(); other == text {
		t.Error("two tokens are equal")
	}
	for _, bad := range []string{"", "short", strings.Repeat("a", 31), strings.Repeat("a", 513), strings.Repeat("a", 31) + " ", strings.Repeat("a", 31) + "\n", strings.Repeat("é", 20)} {
		if _, err := ParseToken(bad); err == nil {
			t.Errorf("%q is a token", bad)
		} else if bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("the error has the token in it: %v", err)
		}
	}
}

// What is read as a host is written so that it is read as the same one, and holds nothing that has
// a meaning elsewhere in a URL.
func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"127.0.0.1:9101", "localhost", "[::1]:7", "a-b.example:65535", "[::ffff:1.2.3.4]", "1.2.3.4.:1", "a:b:c", "]["} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHost(s)
		if err != nil {
			return
		}
		if again, err := ParseHost(h.String()); err != nil || again != h {
			t.Errorf("%q is %v, and that is %v, %v", s, h, again, err)
		}
		if strings.ContainsAny(s, "/\\@?#%* \t\r\n\x00,;'\"<>") {
			t.Errorf("%q is taken for a host", s)
		}
	})
}

// Whatever a request says, it passes only with a host of the list, from no other origin, and to
// change something only with JSON and the token; and nothing panics.
func FuzzJudge(f *testing.F) {
	text := strings.Repeat("t", LeastToken)
	token, err := ParseToken(text)
	if err != nil {
		f.Fatal(err)
	}
	hosts := Of(netip.MustParseAddrPort("127.0.0.1:9101"))
	r := Rules{Hosts: hosts, Token: token}
	own := http.NewCrossOriginProtection()
	for _, s := range []string{
		"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9101\r\n\r\n",
		"POST /v1/kill HTTP/1.1\r\nHost: localhost:9101\r\nOrigin: http://localhost:9101\r\nSec-Fetch-Site: same-origin\r\nContent-Type: application/json;charset=utf-8\r\nAuthorization: Bearer " + text + "\r\nContent-Length: 2\r\n\r\n{}",
		"POST http://a/ HTTP/1.1\r\nHost: 127.0.0.1:9101\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"CONNECT 127.0.0.1:9101 HTTP/1.1\r\nHost: 127.0.0.1:9101\r\n\r\n",
		"OPTIONS * HTTP/1.0\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		q, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(text)))
		if err != nil {
			return
		}
		holder, why := r.judge(own, q)
		if why != nil {
			if why.Status < 400 || why.Status > 499 || why.Message == "" || !slices.Contains(Reasons(), why.What) || holder {
				t.Errorf("the refusal is %+v, %v", why, holder)
			}
			return
		}
		if h := strings.ToLower(q.Host); h != "127.0.0.1:9101" && h != "localhost:9101" {
			t.Errorf("the host %q passes", q.Host)
		}
		if o, is := q.Header["Origin"]; is && strings.ToLower(o[0]) != "http://"+strings.ToLower(q.Host) {
			t.Errorf("the origin %q passes", o)
		}
		if site := q.Header.Get("Sec-Fetch-Site"); site != "" && site != "none" && site != "same-origin" {
			t.Errorf("a page of %q passes", site)
		}
		switch q.Method {
		case http.MethodGet, http.MethodHead:
		case http.MethodPost:
			if !holder || !strings.HasPrefix(strings.ToLower(q.Header.Get("Content-Type")), "application/json") {
				t.Errorf("a change passes with %v", q.Header)
			}
		default:
			t.Errorf("the method %q passes", q.Method)
		}
	})
}

// No header but the token's own passes.
func FuzzBearer(f *testing.F) {
	text := strings.Repeat("t", LeastToken)
	token, err := ParseToken(text)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"Bearer " + text, "bearer " + text, "Basic " + text, "Bearer  " + text, "Bearer", "Bearer " + text + ",", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		given, ok := bearer([]string{s})
		if passes := ok && token.Is(given); passes != (len(s) == len("Bearer ")+len(text) && strings.EqualFold(s[:7], "Bearer ") && s[7:] == text) {
			t.Errorf("%q passes: %v", s, passes)
		}
	})
}

// A token's file is the user's alone, or nothing is read from it; and the error has nothing of it.
func TestReadToken(t *testing.T) {
	dir := t.TempDir()
	text, token := NewToken()
	n := 0
	file := func(content string, mode os.FileMode) string {
		n++
		path := filepath.Join(dir, strconv.Itoa(n))
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file(text, 0o600)
	link := filepath.Join(dir, "link")
	pipe := filepath.Join(dir, "pipe")
	if err := errors.Join(os.Symlink(good, link), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"without a line's end": good, "a line": file(text+"\n", 0o400), "a line of Windows": file(text+"\r\n", 0o600), "a link": link} {
		if read, err := ReadToken(path); err != nil || read != token {
			t.Errorf("%s: %v, %v", name, read, err)
		}
	}
	bad := map[string][2]string{
		"none":           {filepath.Join(dir, "none"), "make it, for the user that the daemon runs as alone: (umask 077; openssl rand -hex 32 > "},
		"a folder":       {dir, "is no file"},
		"a pipe":         {pipe, "is no file"},
		"the group":      {file(text, 0o640), "can be used by others (mode 0640); say chmod go= "},
		"everybody":      {file(text, 0o604), "can be used by others (mode 0604)"},
		"to be written":  {file(text, 0o620), "can be used by others (mode 0620)"},
		"empty":          {file("", 0o600), "the token has 0 characters, and needs 32 to 512"},
		"two lines":      {file(text+"\n"+text+"\n", 0o600), "character 65 of the token is none"},
		"a space before": {file(" "+text, 0o600), "character 1 of the token is none"},
		"long":           {file(strings.Repeat(text, 100), 0o600), "needs 32 to 512"},
	}
	if os.Geteuid() == 0 {
		other := file(text, 0o600)
		if err := os.Chown(other, 65534, -1); err != nil {
			t.Fatal(err)
		}
		bad["another user's"] = [2]string{other, "belongs to another user, who could read it; say chown 0 "}
	}
	for name, c := range bad {
		read, err := ReadToken(c[0])
		if err == nil || !read.IsZero() || !strings.Contains(err.Error(), c[1]) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v, %v; want %s", name, read, err, c[1])
		} else if strings.Contains(err.Error(), text) {
			t.Errorf("%s: the error has the token in it: %v", name, err)
		}
	}
}
