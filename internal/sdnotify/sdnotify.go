// Package sdnotify tells the service manager, systemd, how the process is: sd_notify(3), and what
// sd_watchdog_enabled(3) reads.
package sdnotify

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// sendTime is how long the manager may take to make room for a message.
const sendTime = time.Second

// Notifier sends messages to the manager. A nil one has no manager, and sends nothing. Any
// goroutine may use it.
type Notifier struct {
	address  net.UnixAddr
	watchdog time.Duration
	through  func(message string) error // nil: to address
}

// Through makes one whose messages another process sends to its manager, by a function that any
// goroutine may call. watchdog is how long the manager waits for Alive; 0: it does not.
func Through(send func(message string) error, watchdog time.Duration) *Notifier {
	return &Notifier{through: send, watchdog: watchdog}
}

// FromEnvironment is for the manager that NOTIFY_SOCKET names, and nil where it is not set. It
// takes the manager's variables out of the environment, so that no child takes itself for what is
// meant. The error says what is wrong with a variable; the Notifier is good for the rest, or nil.
func FromEnvironment() (*Notifier, error) {
	socket, usec, pid := os.Getenv("NOTIFY_SOCKET"), os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID")
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		if err := os.Unsetenv(name); err != nil {
			return nil, fmt.Errorf("taking %s out of the environment: %w", name, err)
		}
	}
	if socket == "" {
		return nil, nil
	}
	if len(socket) < 2 || socket[0] != '/' && socket[0] != '@' {
		return nil, fmt.Errorf("NOTIFY_SOCKET is %q; only a path, or an abstract name behind @, is understood", socket)
	}
	n := &Notifier{address: net.UnixAddr{Name: socket, Net: "unixgram"}}
	if usec == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return n, nil // nobody waits for signs of life from this process
	}
	us, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || us <= 0 || us > int64(1<<63-1)/1000 {
		return n, fmt.Errorf("WATCHDOG_USEC is %q, which is no time in microseconds", usec)
	}
	n.watchdog = time.Duration(us) * time.Microsecond
	return n, nil
}

// WatchdogTime is how long the manager waits for Alive before it takes the process for hung. 0: it
// does not wait.
func (n *Notifier) WatchdogTime() time.Duration {
	if n == nil {
		return 0
	}
	return n.watchdog
}

// Ready says that the process serves, or that a reload is over, whatever became of it. status is
// for people, one line.
func (n *Notifier) Ready(status string) error { return n.send("READY=1", "STATUS="+line(status)) }

// Reloading says that a reload has begun. Ready has to follow.
func (n *Notifier) Reloading() error {
	state := []string{"RELOADING=1"}
	if now := monotonic(); now > 0 {
		// In the same message, as Type=notify-reload wants it.
		state = append(state, "MONOTONIC_USEC="+strconv.FormatInt(now, 10))
	}
	return n.send(append(state, "STATUS=reads the configuration again")...)
}

// Stopping says that the process comes to its end, within a time.
func (n *Notifier) Stopping(status string, within time.Duration) error {
	return n.send("STOPPING=1", "EXTEND_TIMEOUT_USEC="+strconv.FormatInt(within.Microseconds(), 10), "STATUS="+line(status))
}

// Status tells people how the process is, in one line.
func (n *Notifier) Status(status string) error { return n.send("STATUS=" + line(status)) }

// Alive is a sign of life, for WatchdogTime.
func (n *Notifier) Alive() error { return n.send("WATCHDOG=1") }

// Pass sends a message that another Notifier has made.
func (n *Notifier) Pass(message string) error { return n.send(message) }

// Store has the manager hold a copy of a descriptor for the next start of the process, by a name
// that no other has: of printable ASCII without colons, 255 bytes at most. A manager that holds
// none ignores it.
func (n *Notifier) Store(name string, fd int) error {
	// Sockets that listen are held whatever happens to them.
	return n.sendWith(unix.UnixRights(fd), "FDSTORE=1", "FDNAME="+name, "FDPOLL=0")
}

// Unstore has the manager close what it holds by a name.
func (n *Notifier) Unstore(name string) error { return n.send("FDSTOREREMOVE=1", "FDNAME="+name) }

// send sends one message.
func (n *Notifier) send(state ...string) error { return n.sendWith(nil, state...) }

// sendWith sends one message with descriptors, if there are any.
func (n *Notifier) sendWith(rights []byte, state ...string) error {
	if n == nil {
		return nil
	}
	if n.through != nil {
		if err := n.through(strings.Join(state, "\n")); err != nil {
			return fmt.Errorf("telling the service manager %s: %w", state[0], err)
		}
		return nil
	}
	// Connected each time: the manager may have made the socket anew.
	c, err := net.DialUnix("unixgram", nil, &n.address)
	if err != nil {
		return fmt.Errorf("telling the service manager %s: %w", state[0], err)
	}
	defer c.Close()
	_ = c.SetWriteDeadline(time.Now().Add(sendTime))
	text := []byte(strings.Join(state, "\n"))
	if rights == nil {
		_, err = c.Write(text)
	} else {
		err = sendRights(c, text, rights)
	}
	if err != nil {
		return fmt.Errorf("telling the service manager %s: %w", state[0], err)
	}
	return nil
}

// sendRights is what UnixConn.WriteMsgUnix does not do for a connected socket of datagrams.
func sendRights(c *net.UnixConn, text, rights []byte) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		sent = unix.Sendmsg(int(fd), text, rights, nil, 0)
		return sent != unix.EAGAIN
	})
	return errors.Join(err, sent)
}

// line keeps a text within one line of a message, and short.
func line(s string) string {
	const most = 300
	s = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
