// Package supervisor is the process that holds a daemon's listening sockets and starts its worker,
// the process that serves. When the worker dies, another is started, and clients wait in the queues
// of the sockets meanwhile. To everybody outside both are one daemon: the supervisor's process id,
// its signals, its exit status, its messages to the service manager.
//
// Run is the supervisor, and FromEnvironment the worker's end. They talk over a pair of Unix
// sockets: see message. The supervisor does not read the configuration, and understands nothing of
// what it is told about sockets: it gives it to the next worker as it is.
package supervisor

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// young is how long a worker has to live so that its death says nothing of the next one's.
	young = 10 * time.Second
	// The pause before a worker is started again, after the second young death in a row, and the
	// longest one. It doubles in between.
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
	// notePause is how long notes wait for others, to be written at once.
	notePause = 20 * time.Millisecond
)

// exitKilled is added to the number of a signal that has ended a worker, to be an exit status, as
// in a shell.
const exitKilled = 128

// process is a worker that was started. The methods do not wait.
type process interface {
	send(m message)
	kill(sig syscall.Signal)
}

// event is something that has come from a worker: a message, or its end.
type event struct {
	of    process
	said  message
	ended bool
	how   ending
}

// ending is how a worker has ended: by itself, with a status, or by a signal.
type ending struct {
	code   int
	signal syscall.Signal // 0: none
}

// String goes on from "the worker ended: ".
func (e ending) String() string {
	if e.signal != 0 {
		return fmt.Sprintf("killed by signal %d (%s)", int(e.signal), e.signal)
	}
	return fmt.Sprintf("exit status %d", e.code)
}

func (e ending) status() int {
	if e.signal != 0 {
		return exitKilled + int(e.signal)
	}
	return e.code
}

// held is a listening socket of which the supervisor has a copy.
type held struct {
	name string
	note []byte
	fd   int
}

// daemon is the supervisor's state. All of it is of the goroutine that runs.
type daemon struct {
	// start starts a worker, whose events then come by events.
	start   func() (process, error)
	events  <-chan event
	signals <-chan os.Signal
	// notify sends a message to the service manager; nil: there is none.
	notify   func(text string) error
	watchdog time.Duration
	// disinherit closes an inherited descriptor, by the name that a worker releases it by.
	disinherit func(name string)
	// shelf is where the sockets lie that the next supervisor gets; nil: nowhere.
	shelf *shelf
	// log makes the log, which a worker has said the form and the level of.
	log func(form, level string) *slog.Logger

	logger  *slog.Logger
	noted   <-chan time.Time // when the shelf's notes are written; nil: they are
	unheard bool             // by the service manager, and the log says so
	sockets map[string]held
	order   []string // of the sockets: the oldest first

	worker   process // nil: none is alive
	began    time.Time
	serves   bool // the worker does
	served   bool // one has, since the supervisor began
	stops    int  // how often it was told to stop
	aborted  bool // by SIGABRT or SIGQUIT
	deaths   int  // young ones in a row
	restarts int64
	why      string
}

// run runs the daemon until it is over. The result is its exit status.
func (d *daemon) run() int {
	d.logger = d.log("auto", "info")
	d.sockets = make(map[string]held)
	defer d.closeAll()
	for _, h := range d.shelf.take() {
		d.sockets[h.name] = h
		d.order = append(d.order, h.name)
	}
	if n := len(d.order); n > 0 {
		d.logger.Warn("the daemon before this one was killed; its listening sockets are taken back from the service manager", "sockets", n)
	}
	var again, alive <-chan time.Time
	if d.watchdog > 0 {
		t := time.NewTicker(max(d.watchdog/3, time.Millisecond))
		defer t.Stop()
		alive = t.C
	}
	if err := d.begin(); err != nil {
		d.logger.Error("the worker cannot be started", "error", err)
		return 1
	}
	for {
		select {
		case s := <-d.signals:
			if code, over := d.signal(s); over {
				return code
			}
		case e := <-d.events:
			if !e.ended {
				d.hear(e)
				continue
			}
			if e.of != d.worker {
				continue
			}
			pause, code, over := d.over(e.how)
			if over {
				return code
			}
			again = time.After(pause)
		case <-again:
			again = nil
			if err := d.begin(); err != nil {
				d.deaths++
				pause := pauseAfter(d.deaths)
				d.logger.Error("the worker cannot be started; it is tried again", "error", err, "in", pause.String())
				again = time.After(pause)
			}
		case <-d.noted:
			d.noted = nil
			d.shelf.write(d.order, d.sockets)
		case <-alive:
			// A worker that serves gives its own signs of life.
			if d.served && !d.serves {
				d.tell("WATCHDOG=1")
			}
		}
	}
}

// pauseAfter is how long to wait after so many young deaths in a row. The first of them may be a
// matter of chance.
func pauseAfter(deaths int) time.Duration {
	if deaths < 2 {
		return 0
	}
	return min(firstPause<<min(deaths-2, 10), longestPause)
}

// begin starts a worker, and gives it what it needs.
func (d *daemon) begin() error {
	w, err := d.start()
	if err != nil {
		return err
	}
	d.worker, d.began, d.serves = w, time.Now(), false
	for _, name := range d.order {
		h := d.sockets[name]
		if fd, err := unix.FcntlInt(uintptr(h.fd), unix.F_DUPFD_CLOEXEC, 0); err == nil {
			w.send(message{Kind: kindSocket, Name: h.name, Note: h.note, fd: fd})
		}
	}
	w.send(message{Kind: kindBegin, fd: -1, Begin: &Begin{
		PID: os.Getpid(), Managed: d.notify != nil, Watchdog: d.watchdog, Restarts: d.restarts, Why: d.why,
	}})
	return nil
}

// over is what to do when the worker has ended: start another after a pause, or end, with a status.
func (d *daemon) over(how ending) (pause time.Duration, code int, end bool) {
	d.worker, d.serves = nil, false
	if d.stops > 0 || d.aborted {
		return 0, how.status(), true
	}
	if !d.served {
		if how.signal != 0 {
			d.logger.Error("the worker ended before it served", "how", how.String())
		}
		return 0, how.status(), true
	}
	if lived := time.Since(d.began); lived < young {
		d.deaths++
	} else {
		d.deaths = 0
	}
	d.restarts++
	d.why = how.String()
	pause = pauseAfter(d.deaths)
	d.logger.Error("the worker has ended, and its connections with it; another is started, for which new ones wait",
		"how", d.why, "in", pause.String(), "worker_restarts", d.restarts)
	d.tell("STATUS=the worker has ended (" + d.why + "); another is started")
	return pause, 0, false
}

// signal does what a signal asks for. over says that the supervisor ends with a status.
func (d *daemon) signal(s os.Signal) (code int, over bool) {
	sig, _ := s.(syscall.Signal)
	switch sig {
	case syscall.SIGTERM, syscall.SIGINT:
		d.stops++
		switch {
		case d.worker == nil:
			return 0, true
		case d.stops > 2: // whatever hangs
			d.worker.kill(syscall.SIGKILL)
			return 1, true
		}
	case syscall.SIGABRT, syscall.SIGQUIT:
		if d.worker == nil {
			return exitKilled + int(sig), true
		}
		d.aborted = true
		d.worker.kill(sig) // it writes down what its goroutines do
		return 0, false
	case syscall.SIGHUP:
		if d.worker == nil {
			return 0, false // the next one reads the configuration anyway
		}
	}
	if d.worker != nil {
		d.worker.send(message{Kind: kindSignal, Number: int(sig), fd: -1})
	}
	return 0, false
}

// hear does what a worker says. Of one that has ended, what it said last still counts.
func (d *daemon) hear(e event) {
	m := e.said
	switch m.Kind {
	case kindHold:
		d.hold(m)
		return
	case kindRelease:
		if h, ok := d.sockets[m.Name]; ok {
			d.shelf.remove(h)
			_ = unix.Close(h.fd)
			delete(d.sockets, m.Name)
			d.order = slices.DeleteFunc(d.order, func(name string) bool { return name == m.Name })
		} else {
			d.disinherit(m.Name)
		}
	case kindSync:
		e.of.send(message{Kind: kindSettled, Number: m.Number, fd: -1})
	case kindNotify:
		if e.of == d.worker {
			d.tell(m.Text)
		}
	case kindLog:
		d.logger = d.log(m.Text, m.Name)
	case kindServing:
		if e.of == d.worker {
			d.serves, d.served = true, true
		}
	}
	m.drop()
}

// hold keeps a copy of a socket, or another note of one that is kept.
func (d *daemon) hold(m message) {
	h, known := d.sockets[m.Name]
	switch {
	case known:
		m.drop()
		h.note = m.Note
	case m.fd < 0:
		return
	default:
		h = held{m.Name, m.Note, m.fd}
		d.order = append(d.order, m.Name)
		d.shelf.put(h)
	}
	d.sockets[m.Name] = h
	if d.shelf != nil && d.noted == nil {
		d.noted = time.After(notePause)
	}
}

// tell tells the service manager, if there is one, and logs once that it could not be told.
func (d *daemon) tell(text string) {
	if d.notify == nil {
		return
	}
	if err := d.notify(text); err != nil && !d.unheard {
		d.unheard = true
		d.logger.Warn("the service manager does not hear how this process is", "error", err)
	}
}

// closeAll closes all sockets. The files of Unix sockets are the worker's to remove.
func (d *daemon) closeAll() {
	for _, name := range slices.Sorted(maps.Keys(d.sockets)) {
		_ = unix.Close(d.sockets[name].fd)
	}
	d.sockets, d.order = nil, nil
}
