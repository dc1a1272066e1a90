package websocket

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// A request is answered as RFC 6455 has it, or refused with the status that says why; and so it is
// however it is cut.
func TestUpgrade(t *testing.T) {
	head := "Host: a.test:7080\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	plain := "Host: a.test\r\nUser-Agent: curl\r\nAccept: */*\r\n"
	without := func(header string) string {
		var all strings.Builder
		for line := range strings.Lines(head) {
			if !strings.HasPrefix(line, header) {
				all.WriteString(line)
			}
		}
		return all.String()
	}
	for _, x := range []struct {
		name, request string
		status        int
		want          Request
	}{
		{"a client", "GET /chat HTTP/1.1\r\n" + head, 101, Request{Target: "/chat"}},
		{"with a query", "GET /chat?room=7 HTTP/1.1\r\n" + head, 101, Request{Target: "/chat?room=7"}},
		{"lower case", "GET /chat HTTP/1.1\r\n" + strings.ToLower(without("Sec-WebSocket-Key")) + "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 101, Request{Target: "/chat"}},
		{"a page from a listed origin", "GET /chat HTTP/1.1\r\n" + head + "Origin: https://app.test\r\n", 101, Request{Target: "/chat", Origin: "https://app.test"}},
		{"a subprotocol", "GET /chat HTTP/1.1\r\n" + head + "Sec-WebSocket-Protocol: soap, mqtt\r\n", 101, Request{Target: "/chat", Protocol: "mqtt"}},
		{"a subprotocol that nobody speaks", "GET /chat HTTP/1.1\r\n" + head + "Sec-WebSocket-Protocol: soap\r\n", 101, Request{Target: "/chat"}},
		{"an extension", "GET /chat HTTP/1.1\r\n" + head + "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n", 101, Request{Target: "/chat"}},
		{"another path", "GET /chats HTTP/1.1\r\n" + head, 404, Request{}},
		{"a path below", "GET /chat/x HTTP/1.1\r\n" + head, 404, Request{}},
		{"a favicon", "GET /favicon.ico HTTP/1.1\r\n" + plain, 404, Request{}},
		{"another origin", "GET /chat HTTP/1.1\r\n" + head + "Origin: https://evil.test\r\n", 403, Request{}},
		{"a file's origin", "GET /chat HTTP/1.1\r\n" + head + "Origin: null\r\n", 403, Request{}},
		{"two origins", "GET /chat HTTP/1.1\r\n" + head + "Origin: https://app.test\r\nOrigin: https://evil.test\r\n", 400, Request{}},
		{"a page's link", "GET /chat HTTP/1.1\r\n" + plain, 426, Request{}},
		{"another upgrade", "GET /chat HTTP/1.1\r\n" + without("Upgrade") + "Upgrade: h2c\r\n", 426, Request{}},
		{"no connection header", "GET /chat HTTP/1.1\r\n" + without("Connection"), 426, Request{}},
		{"an old version", "GET /chat HTTP/1.1\r\n" + without("Sec-WebSocket-Version") + "Sec-WebSocket-Version: 8\r\n", 426, Request{}},
		{"no version", "GET /chat HTTP/1.1\r\n" + without("Sec-WebSocket-Version"), 400, Request{}},
		{"no key", "GET /chat HTTP/1.1\r\n" + without("Sec-WebSocket-Key"), 400, Request{}},
		{"a short key", "GET /chat HTTP/1.1\r\n" + without("Sec-WebSocket-Key") + "Sec-WebSocket-Key: x\r\n", 400, Request{}},
		{"no host", "GET /chat HTTP/1.1\r\n" + without("Host"), 400, Request{}},
		{"a body", "GET /chat HTTP/1.1\r\n" + head + "Content-Length: 3\r\n", 400, Request{}},
		{"a body in chunks", "GET /chat HTTP/1.1\r\n" + head + "Transfer-Encoding: chunked\r\n", 400, Request{}},
		{"a post", "POST /chat HTTP/1.1\r\n" + head, 405, Request{}},
		{"HTTP/1.0", "GET /chat HTTP/1.0\r\n" + head, 505, Request{}},
		{"a line without a colon", "GET /chat HTTP/1.1\r\nrubbish\r\n" + head, 400, Request{}},
		{"no HTTP", "EHLO there\r\n", 400, Request{}},
		{"an empty line", "", 400, Request{}},
		{"bytes in the target", "GET /chat?\x01 HTTP/1.1\r\n" + head, 400, Request{}},
		{"too many headers", "GET /chat HTTP/1.1\r\n" + head + "Cookie: " + strings.Repeat("x", 2000) + "\r\n", 431, Request{}},
	} {
		origins, err := ParseOrigins([]string{"https://app.test"})
		if err != nil {
			t.Fatal(err)
		}
		rules := &Rules{Path: "/chat", Origins: origins, Protocols: []string{"mqtt"}, MostHead: 1024}
		whole := []byte(x.request + "\r\nframes")
		for size := range len(whole) + 1 {
			r, n, answer, refusal := Upgrade(whole[:size], rules)
			if n == 0 {
				if answer != nil || refusal != nil {
					t.Errorf("%s: an answer, and nothing was taken", x.name)
				}
				continue
			}
			status := 101
			if refusal != nil {
				status = refusal.Status
			}
			if status != x.status || r != x.want || !bytes.HasPrefix(answer, fmt.Appendf(nil, "HTTP/1.1 %d ", x.status)) || !bytes.Contains(answer, []byte("\r\n\r\n")) {
				t.Errorf("%s: %+v, %q, %v; want %d and %+v", x.name, r, answer, refusal, x.status, x.want)
			}
			if status == 101 && (string(whole[n:]) != "frames" || !bytes.Contains(answer, []byte("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))) {
				t.Errorf("%s: %d bytes were taken, and the answer is %q", x.name, n, answer)
			}
			if bytes.Contains(answer, []byte("deflate")) {
				t.Errorf("%s: an extension was agreed on: %q", x.name, answer)
			}
			break
		}
	}
}

func TestOrigins(t *testing.T) {
	for _, x := range []struct {
		list    []string
		allowed []string // with the host a.test:7080
		refused []string
	}{
		{nil, []string{"", "http://a.test:7080", "https://A.test:7080"}, []string{"http://a.test", "https://b.test:7080", "null", "a.test:7080", "file://a.test:7080"}},
		{[]string{}, []string{""}, []string{"http://a.test:7080", "null"}},
		{[]string{"*"}, []string{"", "null", "https://x.test"}, nil},
		{[]string{"null"}, []string{"null"}, []string{"https://null", "http://a.test:7080"}},
		{[]string{"https://Example.com", "http://localhost:8000"}, []string{"https://example.com", "http://localhost:8000"}, []string{"http://example.com", "https://example.com:8443", "http://localhost", "https://example.com.evil.test"}},
		{[]string{"https://*.example.com"}, []string{"https://a.example.com", "https://a.b.example.com"}, []string{"https://example.com", "https://evilexample.com", "http://a.example.com", "https://.example.com"}},
	} {
		o, err := ParseOrigins(x.list)
		if err != nil {
			t.Fatal(err)
		}
		for _, origin := range x.allowed {
			if !o.Allow(origin, "a.test:7080") {
				t.Errorf("%q refuses %q", x.list, origin)
			}
		}
		for _, origin := range x.refused {
			if o.Allow(origin, "a.test:7080") {
				t.Errorf("%q allows %q", x.list, origin)
			}
		}
	}
	for _, bad := range []string{"", "example.com", "https://", "https://example.com/", "https://u@example.com", "https://example.com?x", "https://a.*.com", "https://*.*.com", "https://example.com#"} {
		if _, err := ParseOrigins([]string{bad}); err == nil {
			t.Errorf("%q is taken for an origin", bad)
		}
	}
}

// Whatever comes, the answer is the same for the whole as for each longer beginning, and nothing
// panics.
func FuzzUpgrade(f *testing.F) {
	f.Add([]byte("GET /chat HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://a.test\r\nSec-WebSocket-Protocol: a, b\r\n\r\nrest"))
	f.Add([]byte("GET / HTTP/1.1\n\n"))
	f.Add([]byte("\r\n\r\n"))
	f.Add([]byte("GET /chat HTTP/1.1\r\n:\r\nSec-WebSocket-Extensions: ;;=\"\r\n\r\n"))
	rules := &Rules{Path: "/chat", Protocols: []string{"b"}, MostHead: 512}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		r, n, answer, refusal := Upgrade(b, rules)
		if !bytes.Equal(b, before) {
			t.Fatal("the request was written to")
		}
		switch {
		case n < 0 || n > len(b):
			t.Fatalf("%d of %d bytes were taken", n, len(b))
		case n == 0 && (answer != nil || refusal != nil || len(b) >= rules.MostHead):
			t.Fatalf("nothing was taken of %d bytes: %q %v", len(b), answer, refusal)
		case n > 0 && !bytes.HasPrefix(answer, []byte("HTTP/1.1 ")):
			t.Fatalf("the answer is %q", answer)
		case n > 0 && refusal == nil && !strings.HasPrefix(r.Target, "/chat"):
			t.Fatalf("%+v", r)
		}
		if n > 0 && n <= rules.MostHead && len(b) <= rules.MostHead {
			again, m, _, other := Upgrade(b[:n], rules)
			if m != n || again != r || (other == nil) != (refusal == nil) {
				t.Fatalf("%d and %d bytes, %v and %v", n, m, refusal, other)
			}
		}
	})
}
