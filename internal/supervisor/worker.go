package supervisor

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// variable has the worker's end of the pair, in its environment.
const variable = "BULKHEAD_SUPERVISOR"

// settleTime bounds how long Settle waits.
const settleTime = 5 * time.Second

// Begin is what a worker is told at its start.
type Begin struct {
	// PID is the supervisor's, which is the daemon's to everybody else.
	PID int `json:"pid"`
	// Watchdog is how long the service manager waits for signs of life; 0: it does not. Managed
	// says that there is a manager.
	Managed  bool          `json:"managed"`
	Watchdog time.Duration `json:"watchdog"`
	// Restarts is how many workers have died while they served or were to serve again, and Why how
	// the last of them did.
	Restarts int64  `json:"restarts"`
	Why      string `json:"why,omitempty"`
}

// Socket is a listening socket that a worker before this one has left. FD is the receiver's.
type Socket struct {
	Name string
	Note []byte
	FD   int
}

// Link is a worker's way to its supervisor. Any goroutine may call its methods, and none but Settle
// waits.
type Link struct {
	// Begin and Sockets are what it was told at its start.
	Begin   Begin
	Sockets []Socket

	conn    *conn
	signals chan os.Signal

	mu      sync.Mutex
	syncs   int
	settled int
	changed chan struct{} // closed when settled grows, and replaced
	gone    bool
}

// FromEnvironment is for a process that a supervisor has started, and nil in every other one. It
// waits until the supervisor has told it everything. The error is of a supervisor that says
// nothing, or nothing that makes sense.
func FromEnvironment() (*Link, error) {
	said, ok := os.LookupEnv(variable)
	if !ok {
		return nil, nil
	}
	if err := os.Unsetenv(variable); err != nil { // no child is a worker
		return nil, err
	}
	fd, err := strconv.Atoi(said)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s is %q, which is no descriptor; leave it unset", variable, said)
	}
	unix.CloseOnExec(fd)
	_ = unix.SetNonblock(fd, true)
	c, err := newConn(os.NewFile(uintptr(fd), "supervisor"))
	if err != nil {
		return nil, fmt.Errorf("%s is %q: %w; leave it unset", variable, said, err)
	}
	return newLink(c)
}

func newLink(c *conn) (*Link, error) {
	l := &Link{conn: c, signals: make(chan os.Signal, 8), changed: make(chan struct{})}
	for {
		m, err := c.receive()
		if err != nil {
			return nil, fmt.Errorf("the supervisor has gone before it has told its worker anything: %w", err)
		}
		switch {
		case m.Kind == kindSocket && m.fd >= 0:
			l.Sockets = append(l.Sockets, Socket{m.Name, m.Note, m.fd})
		case m.Kind == kindBegin && m.Begin != nil:
			l.Begin = *m.Begin
			l.adoptListenPID()
			go l.receive()
			return l, nil
		default:
			m.drop()
		}
	}
}

// adoptListenPID has the descriptors that were passed to the supervisor be passed to this process.
func (l *Link) adoptListenPID() {
	if os.Getenv("LISTEN_PID") == strconv.Itoa(l.Begin.PID) {
		_ = os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	}
}

// Signals has what the supervisor was sent: SIGTERM, SIGINT, SIGHUP, SIGUSR1. When the
// supervisor has gone, SIGTERM comes twice: what is open is closed, and the process ends, since
// nobody would start it again, or tell it anything.
func (l *Link) Signals() <-chan os.Signal { return l.signals }

func (l *Link) receive() {
	for {
		m, err := l.conn.receive()
		if err != nil {
			break
		}
		switch m.Kind {
		case kindSignal:
			l.signal(syscall.Signal(m.Number))
		case kindSettled:
			l.mu.Lock()
			l.settled = max(l.settled, m.Number)
			close(l.changed)
			l.changed = make(chan struct{})
			l.mu.Unlock()
		}
		m.drop()
	}
	l.conn.close()
	l.mu.Lock()
	l.gone = true
	close(l.changed)
	l.mu.Unlock()
	l.signal(syscall.SIGTERM)
	l.signal(syscall.SIGTERM)
}

// signal passes one on. Of more than the channel holds, nobody needs the rest.
func (l *Link) signal(s os.Signal) {
	select {
	case l.signals <- s:
	default:
	}
}

// Hold is listen.Keeper's.
func (l *Link) Hold(name string, note []byte, fd int) {
	copied := -1
	if fd >= 0 {
		var err error
		if copied, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return // no descriptors: after a death the next worker opens a socket of its own
		}
	}
	l.conn.send(message{Kind: kindHold, Name: name, Note: note, fd: copied})
}

// Release is listen.Keeper's.
func (l *Link) Release(name string) { l.conn.send(message{Kind: kindRelease, Name: name, fd: -1}) }

// Settle is listen.Keeper's.
func (l *Link) Settle() {
	l.mu.Lock()
	l.syncs++
	mine := l.syncs
	l.mu.Unlock()
	l.conn.send(message{Kind: kindSync, Number: mine, fd: -1})
	late := time.NewTimer(settleTime)
	defer late.Stop()
	for {
		l.mu.Lock()
		changed, over := l.changed, l.settled >= mine || l.gone
		l.mu.Unlock()
		if over {
			return
		}
		select {
		case <-changed:
		case <-late.C:
			return
		}
	}
}

// Notify sends a message to the service manager, as the process that it has started.
func (l *Link) Notify(text string) error {
	l.mu.Lock()
	gone := l.gone
	l.mu.Unlock()
	if gone {
		return errors.New("the supervisor has gone")
	}
	l.conn.send(message{Kind: kindNotify, Text: text, fd: -1})
	return nil
}

// Log says how the supervisor writes its own lines.
func (l *Link) Log(form, level string) {
	l.conn.send(message{Kind: kindLog, Text: form, Name: level, fd: -1})
}

// Serving says that this worker serves. From here on its death is no reason to end.
func (l *Link) Serving() { l.conn.send(message{Kind: kindServing, fd: -1}) }
