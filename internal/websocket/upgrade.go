package websocket

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/gobwas/ws"
)

// Rules say which requests become connections.
type Rules struct {
	// Path is what the request's target has to be, before its query.
	Path string
	// Origins are the pages that may connect.
	Origins Origins
	// Protocols are the subprotocols that are spoken here. The first of the client's that is among
	// them is agreed on, and none where none is.
	Protocols []string
	// MostHead is how many bytes the request may have.
	MostHead int
}

// Request is what is known of a request that has become a connection.
type Request struct {
	// Target is its path and query, Origin is where the page is from, or "", and Protocol is the
	// subprotocol that was agreed on, or "".
	Target, Origin, Protocol string
}

// Refusal is why a request does not become a connection.
type Refusal struct {
	// Status is that of the answer: 404 for another path, 403 for another origin, 431 for too long
	// a request, 426 for one that asks for no WebSocket, or for another version of it, and else
	// 400, 405 or 505.
	Status int
	// Why is one clause.
	Why string
}

// Error is Why.
func (r *Refusal) Error() string { return r.Why }

func refuse(status int, format string, args ...any) *Refusal {
	return &Refusal{status, fmt.Sprintf(format, args...)}
}

// headLen is how long the request at the start of b is, with the empty line that ends it; 0: it
// does not end there.
func headLen(b []byte) int {
	for at := 0; ; {
		n := bytes.IndexByte(b[at:], '\n')
		if n < 0 {
			return 0
		}
		if line := b[at : at+n]; len(line) == 0 || len(line) == 1 && line[0] == '\r' {
			return at + n + 1
		}
		at += n + 1
	}
}

// Upgrade reads the request at the start of b. It returns how long that is,
// and the answer to send: one that makes a connection of it, or, with a refusal, one that does not.
// n is 0 as long as the request is not all there, and then there is neither.
func Upgrade(b []byte, rules *Rules) (r Request, n int, answer []byte, refusal *Refusal) {
	n = headLen(b)
	switch {
	case n > rules.MostHead || n == 0 && len(b) >= rules.MostHead:
		refusal = refuse(http.StatusRequestHeaderFieldsTooLarge, "its request has more than %d bytes", rules.MostHead)
		return r, len(b), refusal.answer(), refusal
	case n == 0:
		return r, 0, nil, nil
	}
	var host string
	var body bool
	exchange := exchange{in: bytes.NewReader(b[:n])}
	u := ws.Upgrader{
		OnRequest: func(uri []byte) error {
			path, _, _ := strings.Cut(string(uri), "?")
			switch {
			case !printable(uri):
				return refuse(http.StatusBadRequest, "its request's target has bytes that no target has")
			case path != rules.Path:
				return refuse(http.StatusNotFound, "it asks for another path than %s", rules.Path)
			}
			r.Target = string(uri)
			return nil
		},
		OnHost: func(h []byte) error {
			host = string(h)
			return nil
		},
		OnHeader: func(key, value []byte) error {
			switch strings.ToLower(string(key)) {
			case "origin":
				if r.Origin != "" || len(value) == 0 || !printable(value) {
					return refuse(http.StatusBadRequest, "its request has no one Origin")
				}
				r.Origin = string(value)
			case "content-length":
				body = body || string(value) != "0"
			case "transfer-encoding":
				body = true
			}
			return nil
		},
		OnBeforeUpgrade: func() (ws.HandshakeHeader, error) {
			switch {
			case body:
				return nil, refuse(http.StatusBadRequest, "its request has a body")
			case !rules.Origins.Allow(r.Origin, host):
				return nil, refuse(http.StatusForbidden, "the origin of its page is not in origins")
			}
			return nil, nil
		},
	}
	if len(rules.Protocols) > 0 {
		u.Protocol = func(p []byte) bool { return slices.Contains(rules.Protocols, string(p)) }
	}
	hs, err := u.Upgrade(&exchange)
	if err != nil {
		refusal = refusalOf(err)
		return Request{}, n, refusal.answer(), refusal
	}
	r.Protocol = hs.Protocol
	return r, n, exchange.out.Bytes(), nil
}

// printable reports whether b is of visible ASCII alone.
func printable(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// refusalOf says what an error of the handshake is.
func refusalOf(err error) *Refusal {
	var own *Refusal
	var rejected *ws.ConnectionRejectedError
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, ws.ErrHandshakeBadUpgrade), errors.Is(err, ws.ErrHandshakeBadConnection):
		return refuse(http.StatusUpgradeRequired, "it asks for no WebSocket")
	case errors.Is(err, ws.ErrHandshakeUpgradeRequired):
		return refuse(http.StatusUpgradeRequired, "it asks for another version of WebSocket than 13")
	case errors.As(err, &rejected):
		return refuse(rejected.StatusCode(), "its request is wrong: %v", err)
	}
	return refuse(http.StatusBadRequest, "it has sent no HTTP request")
}

// answer is the response to a request that is refused.
func (r *Refusal) answer() []byte {
	text := http.StatusText(r.Status) + "\n" // why is in the log: a scanner need not know the path
	more := ""
	switch r.Status {
	case http.StatusUpgradeRequired:
		more = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
	case http.StatusMethodNotAllowed:
		more = "Allow: GET\r\n"
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n%s\r\n%s",
		r.Status, http.StatusText(r.Status), len(text), more, text)
}

// exchange is a connection in memory.
type exchange struct {
	in  *bytes.Reader
	out bytes.Buffer
}

func (e *exchange) Read(p []byte) (int, error)  { return e.in.Read(p) }
func (e *exchange) Write(p []byte) (int, error) { return e.out.Write(p) }

var _ io.ReadWriter = (*exchange)(nil)
