package handover

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// mostMessage is how long a message may be. What is longer goes by a file.
const mostMessage = 64 << 10

var errDescriptors = errors.New("descriptors were lost on the way: the process has no room for them")

// channel is one end of the pair of sockets.
type channel struct {
	conn *net.UnixConn
	b    []byte // a message that comes
	oob  []byte
	// stopped says that nothing more is waited for.
	stopped atomic.Bool
}

// stop ends what is being waited for. Any goroutine may call it.
func (c *channel) stop() {
	c.stopped.Store(true)
	_ = c.conn.SetReadDeadline(time.Unix(1, 0))
}

func newChannel(conn *net.UnixConn) *channel {
	return &channel{conn: conn, b: make([]byte, mostMessage+1), oob: make([]byte, unix.CmsgSpace(4*256))}
}

// message is one that has come. Its body is good until the next.
type message struct {
	kind kind
	body []byte
	fds  []int
}

// close closes its descriptors, which nobody has taken.
func (m *message) close() {
	closeAll(m.fds)
	m.fds = nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// send sends a message, with copies of descriptors.
func (c *channel) send(k kind, body []byte, fds ...int) error {
	if len(body) > mostMessage {
		return fmt.Errorf("sending %v: it has %d bytes, and may have %d", k, len(body), mostMessage)
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if _, _, err := c.conn.WriteMsgUnix(append([]byte{byte(k)}, body...), rights, nil); err != nil {
		return fmt.Errorf("sending %v: %w", k, err)
	}
	return nil
}

// receive waits for a message of a kind, up to d; zero or less: for ever. io.EOF says that the
// other side is gone. On an error there are no descriptors.
func (c *channel) receive(d time.Duration, want ...kind) (m message, err error) {
	deadline := time.Time{}
	if d > 0 {
		deadline = time.Now().Add(d)
	}
	if err := c.conn.SetReadDeadline(deadline); err != nil {
		return m, err
	}
	if c.stopped.Load() {
		c.stop() // it may have come between
	}
	n, oobn, flags, _, err := c.conn.ReadMsgUnix(c.b, c.oob)
	if err != nil {
		return m, fmt.Errorf("waiting for %v: %w", want, err)
	}
	m.fds = rights(c.oob[:oobn])
	switch {
	case flags&unix.MSG_CTRUNC != 0:
		err = errDescriptors
	case n == 0:
		err = io.EOF
	case n > mostMessage || flags&unix.MSG_TRUNC != 0:
		err = errors.New("a message is too long")
	default:
		m.kind, m.body = kind(c.b[0]), c.b[1:n]
		err = fmt.Errorf("%v has come", m.kind)
		for _, k := range want {
			if k == m.kind {
				return m, nil
			}
		}
	}
	m.close()
	return message{}, fmt.Errorf("waiting for %v: %w", want, err)
}

// rights are the descriptors that have come.
func rights(oob []byte) (fds []int) {
	all, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for k := range all {
		if some, err := unix.ParseUnixRights(&all[k]); err == nil {
			fds = append(fds, some...)
		}
	}
	return fds
}

// dead reports whether an error of receive, or send, says that the other side is gone.
func dead(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.ENOTCONN)
}
