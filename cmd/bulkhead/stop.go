package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"bulkhead/host"
	"bulkhead/host/logqueue"
	"bulkhead/internal/supervisor"
)

const (
	// closeTime is how long the host may take to close everything at a second signal, before
	// the process ends without it.
	closeTime = 2 * time.Second
	// endTime is how long it may take behind [host] drain, after a first signal.
	endTime = 30 * time.Second
	// lastLines is how long the log's last lines may take.
	lastLines = time.Second
)

// stopper has signals end the process, in three steps of which each is there in case the one
// before hangs: the host drains, the host closes everything, the process exits.
type stopper struct {
	log   *slog.Logger
	queue *logqueue.Queue
	// ctx is done from the first signal on.
	ctx   context.Context
	begin context.CancelFunc
	drain atomic.Int64 // a time.Duration, of [host]
	// close closes everything, and reload reads the configuration again; nil until there is
	// something.
	close, reload atomic.Pointer[func()]
	// reopen opens the access log again; nil until there is something.
	reopen atomic.Pointer[func()]
	exit   func(code int)

	signals <-chan os.Signal
	own     chan os.Signal // those of this process
	done    chan struct{}
}

// newStopper begins to listen to signals: to those that the supervisor passes on, if there is one.
func newStopper(ctx context.Context, queue *logqueue.Queue, drain time.Duration, link *supervisor.Link) *stopper {
	// Go ends a process that writes to a standard error whose reader has gone away.
	signal.Ignore(syscall.SIGPIPE)
	s := &stopper{
		log: queue.Logger(), queue: queue, exit: os.Exit,
		own: make(chan os.Signal, 4), done: make(chan struct{}),
	}
	s.signals = s.own
	if link != nil {
		// Whoever sends one to all processes of the daemon, as systemd does, sends it to the
		// supervisor, too. So nobody reads those that come to this one.
		s.signals = link.Signals()
	}
	s.setDrain(drain)
	s.ctx, s.begin = context.WithCancel(ctx)
	signal.Notify(s.own, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1)
	go s.run()
	return s
}

// setDrain says how long the host may take to drain. Any goroutine may call it.
func (s *stopper) setDrain(d time.Duration) { s.drain.Store(int64(d)) }

// serves says what a second signal closes, and what SIGHUP does, which may not wait.
func (s *stopper) serves(h *host.Host, reload func()) {
	f := h.Close
	s.close.Store(&f)
	s.reload.Store(&reload)
}

// reopens says what SIGUSR1 does, which may wait.
func (s *stopper) reopens(f func()) { s.reopen.Store(&f) }

// over ends the listening to signals: from here on they end the process by themselves. It
// gives the log's last lines some time.
func (s *stopper) over() {
	signal.Stop(s.own)
	close(s.done)
	s.begin()
	s.queue.Close(lastLines)
}

func (s *stopper) run() {
	for n := 0; ; {
		var sig os.Signal
		select {
		case sig = <-s.signals:
		case <-s.done:
			return
		}
		if sig == syscall.SIGUSR1 {
			if f := s.reopen.Load(); f != nil {
				go (*f)()
			}
			continue
		}
		if sig == syscall.SIGHUP {
			if f := s.reload.Load(); f != nil {
				(*f)()
			} else {
				s.log.Warn("SIGHUP: nothing is served yet, and the configuration is not read again")
			}
			continue
		}
		// First what ends the process if all else hangs.
		switch n++; n {
		case 1:
			time.AfterFunc(time.Duration(s.drain.Load())+endTime, func() { s.leave("the host has not come to its end") })
			s.log.Info("signal", "signal", sig.String())
			s.begin()
		case 2:
			time.AfterFunc(closeTime, func() { s.leave("the host does not close") })
			s.log.Info("signal", "signal", sig.String())
			if f := s.close.Load(); f != nil {
				go (*f)()
			}
		default:
			s.exit(exitFailed)
		}
	}
}

// leave ends the process without the host. Nothing that it needs can hang but the log, which
// has its time.
func (s *stopper) leave(why string) {
	select {
	case <-s.done:
		return // it is at its end
	default:
	}
	time.AfterFunc(2*lastLines, func() { s.exit(exitFailed) })
	s.log.Error(why + "; the process ends without that")
	s.queue.Close(lastLines)
	s.exit(exitFailed)
}
