package host_test

import (
	"io"
	"net"
	"strings"
	"time"

	"bulkhead/internal/hosttest"
)

const wsAddress = "ws://127.0.0.1:0/echo"

// framed is a connection over WebSocket: each Write is a message, and the bytes of the messages
// that come are read.
type framed struct {
	net.Conn
	left int // of the message that is read
}

func (f *framed) Write(p []byte) (int, error) {
	if _, err := io.WriteString(f.Conn, masked(0x81, string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *framed) Read(p []byte) (int, error) {
	for f.left == 0 {
		var header [2]byte
		if _, err := io.ReadFull(f.Conn, header[:]); err != nil {
			return 0, err
		}
		f.left = int(header[1])
	}
	n, err := f.Conn.Read(p[:min(len(p), f.left)])
	f.left -= n
	return n, err
}

// asks sends a request for WebSocket with another header, and is the connection and the answer.
func (c *changing) asks(header string) (conn net.Conn, answer string) {
	c.t.Helper()
	conn = c.dial("it")
	hosttest.Say(c.t, conn, strings.TrimSuffix(upgradeRequest, "\r\n")+header+"\r\n")
	var b [1]byte
	for !strings.HasSuffix(answer, "\r\n\r\n") {
		if _, err := conn.Read(b[:]); err != nil {
			c.t.Fatalf("it is answered by %q, %v", answer, err)
		}
		answer += string(b[:])
	}
	return conn, answer
}

// upgraded is a new connection over WebSocket.
func (c *changing) upgraded() *framed {
	c.t.Helper()
	conn, answer := c.asks("")
	if !strings.HasPrefix(answer, "HTTP/1.1 101 ") {
		c.t.Fatalf("it is answered by %q", answer)
	}
	return &framed{Conn: conn}
}

// answered wants a request with this header to be answered so.
func answered(header, want string) func(*changing) {
	return func(c *changing) {
		c.t.Helper()
		if _, answer := c.asks(header); !strings.Contains(answer, want) {
			c.t.Errorf("a request with %q is answered by %q; want %s", header, answer, want)
		}
	}
}

// overWebSocket has a connection send frames after the change, which are answered so, and by which
// it ends.
func overWebSocket(before, after, frames, answer, cause string) inPlaceCase {
	return inPlaceCase{address: wsAddress, more: "ping = \"1h\"", before: before, after: after, see: func(c *changing) {
		conn := c.conn.(*framed).Conn
		hosttest.Say(c.t, conn, frames)
		hosttest.Hear(c.t, conn, answer)
		c.ends(cause, 10*time.Minute) // the client does not close, so it lingers
	}}
}

// webSocketInPlaceCases are those of inPlaceCases for keys of WebSocket.
var webSocketInPlaceCases = map[string]inPlaceCase{
	"origins": {address: wsAddress, before: `["https://a.test"]`, after: `["https://b.test"]`, see: func(c *changing) {
		answered("Origin: https://b.test\r\n", " 101 ")(c)
		answered("Origin: https://a.test\r\n", " 403 ")(c)
	}},
	"subprotocols": {address: wsAddress, before: `["mqtt"]`, after: `["soap"]`, see: answered("Sec-WebSocket-Protocol: mqtt, soap\r\n", "Sec-WebSocket-Protocol: soap\r\n")},
	"request_size": {address: wsAddress, before: `"8KiB"`, after: `"512B"`, see: answered("X: "+strings.Repeat("x", 600)+"\r\n", " 431 ")},
	"request_timeout": {address: wsAddress, before: `"10m"`, after: `"30s"`, see: func(c *changing) {
		silent(c) // first_byte_timeout is longer
		c.ends("request_timeout", 5*time.Minute)
	}},
	"message_size":   overWebSocket(`"64KiB"`, `"125B"`, masked(0x81, strings.Repeat("?", 126)), "\x88", "message_too_long"),
	"message_frames": overWebSocket("256", "1", masked(0x01, "?")+masked(0x80, "?"), "\x88", "message_frames"),
	"control_rate":   overWebSocket("100", "1", masked(0x89, "")+masked(0x89, ""), "\x8a\x00\x88", "websocket_flood"),
	"ping": {address: wsAddress, before: `"1h"`, after: `"1m"`, see: func(c *changing) {
		c.ends("ping_timeout", 100*time.Hour)
	}},
	"send_as": {address: wsAddress, before: `"text"`, after: `"binary"`, see: func(c *changing) {
		conn := c.conn.(*framed).Conn
		hosttest.Say(c.t, conn, masked(0x81, "?"))
		hosttest.Hear(c.t, conn, "\x82\x02k2")
	}},
}
