package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// upgradeRequest is what a connection over WebSocket begins with.
const upgradeRequest = "GET /echo HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// upgraded is how the answer to it begins that makes a WebSocket of the connection.
const upgraded = "HTTP/1.1 101 "

// mask is that of all frames. What it costs the server does not depend on what it is.
var mask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// Frame is a client's WebSocket message of bytes.
func Frame(payload []byte) []byte {
	f := append(header(len(payload), 0x80), mask[:]...)
	for i, b := range payload {
		f = append(f, b^mask[i%4])
	}
	return f
}

// Unframe is how a server's message with the payload begins and goes on.
func Unframe(payload []byte) []byte { return append(header(len(payload), 0), payload...) }

// header is that of a frame of bytes that is all of a message.
func header(n int, masked byte) []byte {
	switch {
	case n < 126:
		return []byte{0x82, masked | byte(n)}
	case n < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{0x82, masked | 126}, uint16(n))
	}
	return binary.BigEndian.AppendUint64([]byte{0x82, masked | 127}, uint64(n))
}

// framed is the wire of messages of size bytes over WebSocket.
func framed(size int) wire {
	var w wire
	w.whole = true
	for pos := 0; pos == 0 || len(w.out.bytes) < period; pos += size {
		payload := at(uint64(pos), size)
		w.out.bytes = append(w.out.bytes, Frame(payload)...)
		w.back.bytes = append(w.back.bytes, Unframe(payload)...)
		if pos == 0 {
			w.outSize, w.backSize = len(w.out.bytes), len(w.back.bytes)
		}
	}
	for _, c := range []*cycle{&w.out, &w.back} {
		c.period = len(c.bytes)
		for len(c.bytes) < c.period+longest {
			c.bytes = append(c.bytes, c.bytes[:c.period]...)
		}
	}
	return w
}

// Upgrade has a connection speak WebSocket, on this side the client.
func Upgrade(c io.ReadWriter) error {
	if _, err := io.WriteString(c, upgradeRequest); err != nil {
		return err
	}
	var answer []byte
	var one [1]byte
	for !bytes.HasSuffix(answer, []byte("\r\n\r\n")) && len(answer) < 4096 {
		if _, err := io.ReadFull(c, one[:]); err != nil {
			return fmt.Errorf("waiting for the answer to a request for WebSocket: %w", err)
		}
		answer = append(answer, one[0])
	}
	if !bytes.HasPrefix(answer, []byte(upgraded)) {
		return fmt.Errorf("a request for WebSocket is answered by %.100q", answer)
	}
	return nil
}

// upgrade is Upgrade for a descriptor that does not block.
func upgrade(fd int, timeout time.Duration) error {
	end := time.Now().Add(timeout)
	if n, err := unix.Write(fd, []byte(upgradeRequest)); err != nil || n < len(upgradeRequest) {
		return errors.Join(errors.New("the request for WebSocket was not sent"), err)
	}
	var answer [4096]byte
	for got := 0; got < len(answer); {
		left := time.Until(end)
		if left <= 0 {
			return fmt.Errorf("the request for WebSocket had no answer within %v", timeout)
		}
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, int(left/time.Millisecond)+1); err != nil && err != unix.EINTR {
			return err
		}
		n, err := unix.Read(fd, answer[got:])
		switch {
		case err == unix.EAGAIN || err == unix.EINTR:
			continue
		case err != nil || n == 0:
			return errors.Join(errors.New("the connection ended before the answer to the request for WebSocket"), err)
		}
		got += n
		if bytes.HasSuffix(answer[:got], []byte("\r\n\r\n")) {
			if !bytes.HasPrefix(answer[:got], []byte(upgraded)) {
				return fmt.Errorf("a request for WebSocket is answered by %.100q", answer[:got])
			}
			return nil
		}
	}
	return errors.New("the answer to a request for WebSocket does not end")
}
