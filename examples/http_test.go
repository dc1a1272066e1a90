package examples_test

import (
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
)

func serveHTTP(t *testing.T) *host.Host {
	t.Helper()
	h, _ := serveOne(t, "http", "http/http.wasm", `instance = "loop"`,
		`[listener.config.pages]`, `"/" = "<h1>Hello</h1>"`, fmt.Sprintf(`"/large.txt" = %q`, large))
	return h
}

// large is most of what the inbox holds.
var large = strings.Repeat("0123456789abcde\n", 3<<10)

// A client that asks much at once, and reads nothing before it has asked, gets all answers, each
// whole; the inbox holds none of them.
func TestHTTPPipelined(t *testing.T) {
	h := serveHTTP(t)
	c := hosttest.Dial(t, h.Addr("http"))
	const requests = 8
	hosttest.Say(t, c, strings.Repeat("HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET /large.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", requests)+"GET /no HTTP/1.0\r\n\r\n")
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if n := strings.Count(text, "HTTP/1.1 200 OK\r\n"); n != 2*requests {
		t.Errorf("%d answers are 200", n)
	}
	if n := strings.Count(text, large); n != requests {
		t.Errorf("%d pages are whole", n)
	}
	if !strings.HasSuffix(text, "Connection: close\r\n\r\n404 Not Found\n") {
		t.Errorf("it ends with %q", text[max(0, len(text)-200):])
	}
}

// Clients that others have written understand the server: Go's, and curl.
func TestHTTPClients(t *testing.T) {
	h := serveHTTP(t)
	url := "http://" + h.Addr("http")
	r, err := http.Get(url + "/?x")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != 200 || r.ContentLength != 14 || r.Header.Get("Date") == "" || r.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("%+v", r)
	}
	http.DefaultClient.CloseIdleConnections()
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("there is no curl; CI installs it")
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-w", "%{num_connects} ", url + "/", url + "/"}, "<h1>Hello</h1>1 <h1>Hello</h1>0 "},
		{[]string{"-I", "-o", "-", "-w", "%{http_code}", url + "/no"}, "\r\n\r\n404"},
		{[]string{"-d", "a=b", url + "/"}, "405 Method Not Allowed\n"},
		{[]string{"-T", "-", "-H", "Expect:", url + "/"}, "501 Not Implemented\n"},
		{[]string{"-H", "X: " + strings.Repeat("x", 9000), url + "/"}, "431 Request Header Fields Too Large\n"},
	} {
		command := exec.CommandContext(t.Context(), curl, append([]string{"-sS", "--noproxy", "*"}, c.args...)...)
		command.Stdin = strings.NewReader("some text")
		out, err := command.CombinedOutput()
		if err != nil || !strings.HasSuffix(string(out), c.want) {
			t.Errorf("curl %.100q: %v, %q; want %q", c.args, err, out, c.want)
		}
	}
}
