package supervisor

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// The kinds of messages. An end leaves out those that it does not know, as of a later version.
const (
	// To the worker.
	kindSocket  = "socket"  // a listening socket that another worker has left: Name, Note, and its descriptor
	kindBegin   = "begin"   // all of these have been sent: Begin
	kindSignal  = "signal"  // a signal for the daemon: Number
	kindSettled = "settled" // all was done that came before the sync of this Number
	// From the worker.
	kindHold    = "hold"    // Name, Note, and a descriptor unless it is held already
	kindRelease = "release" // Name
	kindSync    = "sync"    // Number
	kindNotify  = "notify"  // Text, for the service manager
	kindLog     = "log"     // the log of the daemon: Text is its form, and Name its level
	kindServing = "serving" // the worker serves
)

// message is what the two ends say to each other: its length as four bytes, and then JSON. A
// descriptor comes with the first of these bytes.
type message struct {
	Kind   string `json:"kind"`
	Name   string `json:"name,omitempty"`
	Note   []byte `json:"note,omitempty"`
	Text   string `json:"text,omitempty"`
	Number int    `json:"number,omitempty"`
	Begin  *Begin `json:"begin,omitempty"`

	fd int // -1: none; of the message's owner
}

const (
	longestMessage = 1 << 20
	headerSize     = 4
)

// conn is one end. One goroutine receives; any may send.
type conn struct {
	c *net.UnixConn

	mu     sync.Mutex
	queue  []message
	wake   chan struct{} // holds one value while something is in the queue
	ended  chan struct{}
	ending sync.Once
}

// newConn takes over an end of a pair of sockets.
func newConn(f *os.File) (*conn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("it is not a Unix socket")
	}
	k := &conn{c: u, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go k.write()
	return k, nil
}

// pair makes both ends: one for this process, and one for a child.
func pair() (own, child *os.File, err error) {
	syscall.ForkLock.RLock() // no other child gets them
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("making a pair of sockets: %w", err)
	}
	_ = unix.SetNonblock(fds[0], true)
	return os.NewFile(uintptr(fds[0]), "worker"), os.NewFile(uintptr(fds[1]), "supervisor"), nil
}

// send has a message be sent after those before it, and does not wait. The descriptor is closed
// then. What is sent when the other end has gone is dropped.
func (k *conn) send(m message) {
	k.mu.Lock()
	select {
	case <-k.ended:
		k.mu.Unlock()
		m.drop()
		return
	default:
	}
	k.queue = append(k.queue, m)
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (m *message) drop() {
	if m.fd >= 0 {
		_ = unix.Close(m.fd)
		m.fd = -1
	}
}

func (k *conn) write() {
	for {
		select {
		case <-k.wake:
		case <-k.ended:
			return
		}
		k.mu.Lock()
		all := k.queue
		k.queue = nil
		k.mu.Unlock()
		for i := range all {
			if err := k.put(&all[i]); err != nil {
				for ; i < len(all); i++ {
					all[i].drop()
				}
				k.close()
				return
			}
			all[i].drop()
		}
	}
}

// put writes one message.
func (k *conn) put(m *message) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	b := binary.BigEndian.AppendUint32(make([]byte, 0, headerSize+len(text)), uint32(len(text)))
	b = append(b, text...)
	var rights []byte
	if m.fd >= 0 {
		rights = unix.UnixRights(m.fd)
	}
	n, _, err := k.c.WriteMsgUnix(b, rights, nil)
	if err == nil && n < len(b) {
		_, err = k.c.Write(b[n:])
	}
	return err
}

// receive waits for a message, whose descriptor is the caller's. The error is io.EOF when the other
// end has gone.
func (k *conn) receive() (m message, err error) {
	fd := -1
	defer func() {
		if err != nil && fd >= 0 {
			_ = unix.Close(fd)
		}
	}()
	var head [headerSize]byte
	oob := make([]byte, unix.CmsgSpace(4))
	for got := 0; got < len(head); {
		n, with, _, _, err := k.c.ReadMsgUnix(head[got:], oob)
		if err != nil {
			return m, err
		}
		if n == 0 {
			return m, io.EOF
		}
		got += n
		if with > 0 {
			if fd, err = descriptorIn(oob[:with]); err != nil {
				return m, err
			}
		}
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > longestMessage {
		return m, fmt.Errorf("a message has %d bytes, more than %d", size, longestMessage)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(k.c, text); err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("a message is no JSON: %w", err)
	}
	m.fd = fd
	return m, nil
}

// descriptorIn is the one that comes with a message.
func descriptorIn(oob []byte) (int, error) {
	all, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(all) != 1 {
		return -1, fmt.Errorf("what comes with a message cannot be read: %w", err)
	}
	fds, err := unix.ParseUnixRights(&all[0])
	if err != nil || len(fds) != 1 {
		return -1, fmt.Errorf("what comes with a message is no descriptor: %w", err)
	}
	return fds[0], nil
}

// close ends both directions. What has not been sent is dropped.
func (k *conn) close() {
	k.ending.Do(func() {
		k.mu.Lock()
		close(k.ended)
		for i := range k.queue {
			k.queue[i].drop()
		}
		k.queue = nil
		k.mu.Unlock()
		_ = k.c.Close()
	})
}
