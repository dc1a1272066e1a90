package hosttest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"syscall"
	"testing"

	"bulkhead/internal/awaittest"

	"github.com/coder/websocket"
	"golang.org/x/sys/unix"
)

// WebSocket is a client over WebSocket. The system keeps only some KiB of what it has not read.
type WebSocket struct {
	t   testing.TB
	c   *websocket.Conn
	ctx context.Context
}

// DialWebSocket connects to an address such as "ws://127.0.0.1:7080/chat", as a page of the origin
// would; "": as a program. The connection is closed with the test, and what is done on it fails
// after awaittest.Longest.
func DialWebSocket(t testing.TB, address, origin string, subprotocols ...string) *WebSocket {
	t.Helper()
	ctx, cancel := context.WithDeadline(context.Background(), awaittest.Deadline())
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		// Before it connects, or the first window that the other side is told is a large one.
		broken := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 16<<10) })
		return errors.Join(err, broken)
	}}
	transport := &http.Transport{DialContext: dialer.DialContext}
	header := http.Header{}
	if origin != "" {
		header.Set("Origin", origin)
	}
	c, _, err := websocket.Dial(ctx, address, &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}, HTTPHeader: header, Subprotocols: subprotocols})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	c.SetReadLimit(1 << 20)
	t.Cleanup(func() {
		_ = c.CloseNow()
		cancel()
		transport.CloseIdleConnections()
	})
	return &WebSocket{t, c, ctx}
}

// Say sends a text.
func (w *WebSocket) Say(text string) {
	w.t.Helper()
	if err := w.c.Write(w.ctx, websocket.MessageText, []byte(text)); err != nil {
		w.t.Fatal(err)
	}
}

// Next is the next message.
func (w *WebSocket) Next() string {
	w.t.Helper()
	_, p, err := w.c.Read(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(p)
}

// Hear wants the next message to be this one.
func (w *WebSocket) Hear(want string) {
	w.t.Helper()
	if got := w.Next(); got != want {
		w.t.Fatalf("heard a message of %d bytes, %.60q; want one of %d, %.60q", len(got), got, len(want), want)
	}
}
