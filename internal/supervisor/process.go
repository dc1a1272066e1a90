package supervisor

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Options are those of Run.
type Options struct {
	// Args is the worker's command line: this program's own name, and arguments.
	Args []string
	// Notify sends a message to the service manager, and Watchdog is how long that waits for signs
	// of life; 0: it does not. Nil: there is no manager. One goroutine calls it.
	Notify   func(text string) error
	Watchdog time.Duration
	// Store is the service manager's store of descriptors, for the next supervisor: Store puts one
	// into it by a name, and Unstore takes it out. Nil: there is none.
	Store   func(name string, fd int) error
	Unstore func(name string) error
	// Log makes a log of a form and a level of [host]. Its lines must not wait for their reader. It
	// is called again when the form and the level are known.
	Log func(form, level string) *slog.Logger
}

// firstInherited is the first descriptor that is none of the standard ones.
const firstInherited = 3

// mostInherited bounds what LISTEN_FDS is believed to say.
const mostInherited = 1 << 16

// Run starts a worker, which is this program, and others after it, until the daemon is over. The
// result is the daemon's exit status. The process must have no other children, and must not have
// listened to signals.
//
// The worker inherits what this process was given: standard input, output and error, and all other
// descriptors under the same numbers.
func Run(o Options) int {
	// A worker dies with the thread that has started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Go ends a process that writes to a standard error whose reader has gone away.
	signal.Ignore(syscall.SIGPIPE)
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGABRT, syscall.SIGQUIT)
	defer signal.Stop(signals)
	in := findInherited()
	events := make(chan event)
	var s *shelf
	if o.Store != nil {
		s = newShelf(in.takeStored(), o.Store, o.Unstore)
	}
	d := &daemon{
		start:  func() (process, error) { return start(o.Args, in, events) },
		events: events, signals: signals, notify: o.Notify, watchdog: o.Watchdog, disinherit: in.release, shelf: s, log: o.Log,
	}
	return d.run()
}

// inherited are the descriptors that this process was given, from number 3 on. Those that it was
// not given are nil.
type inherited struct{ files []*os.File }

// findInherited finds them. Nobody has opened anything yet that a child would get.
func findInherited() *inherited {
	in := new(inherited)
	look := func(fd int) {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			return
		}
		for len(in.files) <= fd-firstInherited {
			in.files = append(in.files, nil)
		}
		unix.CloseOnExec(fd)
		in.files[fd-firstInherited] = os.NewFile(uintptr(fd), strconv.Itoa(fd))
	}
	n, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	for i := range min(n, mostInherited) {
		look(firstInherited + i)
	}
	entries, _ := os.ReadDir("/dev/fd") // without which there are those of LISTEN_FDS
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= firstInherited {
			look(fd)
		}
	}
	return in
}

// release closes one, by the name that listen.InheritedName gives it.
func (in *inherited) release(name string) {
	number, ok := strings.CutPrefix(name, "fd/")
	fd, err := strconv.Atoi(number)
	i := fd - firstInherited
	if !ok || err != nil || i < 0 || i >= len(in.files) || in.files[i] == nil {
		return
	}
	_ = in.files[i].Close()
	in.files[i] = nil
}

// worker is a process that start has made.
type worker struct {
	cmd  *exec.Cmd
	conn *conn
}

func (w *worker) send(m message)          { w.conn.send(m) }
func (w *worker) kill(sig syscall.Signal) { _ = w.cmd.Process.Signal(sig) }

// start starts a worker, whose events go to a channel: all that it says, and then its end.
func start(args []string, in *inherited, events chan<- event) (process, error) {
	reap()
	own, child, err := pair()
	if err != nil {
		return nil, err
	}
	defer child.Close()
	c, err := newConn(own)
	if err != nil {
		return nil, err
	}
	path, err := program()
	if err != nil {
		c.close()
		return nil, err
	}
	cmd := exec.Command(path)
	cmd.Args = args
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = append(append(cmd.ExtraFiles, in.files...), child)
	cmd.Env = append(os.Environ(), variable+"="+strconv.Itoa(firstInherited+len(in.files)))
	cmd.SysProcAttr = attributes()
	if err := cmd.Start(); err != nil {
		c.close()
		return nil, fmt.Errorf("starting the worker %s: %w", path, err)
	}
	w := &worker{cmd, c}
	var said sync.WaitGroup
	said.Go(func() {
		for {
			m, err := c.receive()
			if err != nil {
				return
			}
			events <- event{of: w, said: m}
		}
	})
	go func() {
		err := cmd.Wait()
		said.Wait() // the other end has gone, and all that was sent is heard
		c.close()
		events <- event{of: w, ended: true, how: endingOf(cmd.ProcessState, err)}
	}()
	return w, nil
}

func endingOf(s *os.ProcessState, err error) ending {
	if s == nil {
		return ending{code: 1}
	}
	if status, ok := s.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return ending{signal: status.Signal()}
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && s.ExitCode() == 0 {
		return ending{code: 1}
	}
	return ending{code: s.ExitCode()}
}

// reap takes leave of processes that were a dead worker's, and came to this one since it is the
// first of a container.
func reap() {
	for os.Getpid() == 1 {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err != nil || pid <= 0 {
			return
		}
	}
}
