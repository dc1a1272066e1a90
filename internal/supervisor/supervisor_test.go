package supervisor

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// stage has a daemon whose workers are no processes, in a bubble of virtual time.
type stage struct {
	t       *testing.T
	d       *daemon
	events  chan event
	signals chan os.Signal
	mu      sync.Mutex
	workers []*actor
	refuse  error // what starting a worker fails with
	told    []string
	dropped []string // inherited descriptors
	code    chan int
}

// actor is a worker. Its fields are read when the bubble is quiet.
type actor struct {
	at     time.Time
	sent   []message
	killed []syscall.Signal
}

func (a *actor) send(m message)          { a.sent = append(a.sent, m) }
func (a *actor) kill(sig syscall.Signal) { a.killed = append(a.killed, sig) }

// kinds are those of what the worker was sent.
func (a *actor) kinds() (all []string) {
	for _, m := range a.sent {
		all = append(all, m.Kind)
	}
	return all
}

func newStage(t *testing.T, watchdog time.Duration) *stage { return newStageWith(t, watchdog, nil) }

func newStageWith(t *testing.T, watchdog time.Duration, shelf *shelf) *stage {
	s := &stage{t: t, events: make(chan event), signals: make(chan os.Signal), code: make(chan int, 1)}
	s.d = &daemon{
		start: func() (process, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.refuse != nil {
				return nil, s.refuse
			}
			w := &actor{at: time.Now()}
			s.workers = append(s.workers, w)
			return w, nil
		},
		events: s.events, signals: s.signals, watchdog: watchdog, shelf: shelf,
		notify:     func(text string) error { s.mu.Lock(); s.told = append(s.told, text); s.mu.Unlock(); return nil },
		disinherit: func(name string) { s.dropped = append(s.dropped, name) },
		log:        func(string, string) *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) },
	}
	go func() { s.code <- s.d.run() }()
	synctest.Wait()
	return s
}

func (s *stage) last() *actor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.workers[len(s.workers)-1]
}

// heard is what the service manager was told since the last call.
func (s *stage) heard() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	told := s.told
	s.told = nil
	return told
}

func (s *stage) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.workers)
}

func (s *stage) refuses(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = err
}

func (s *stage) says(m message) {
	s.events <- event{of: s.last(), said: m}
	synctest.Wait()
}

func (s *stage) serves() { s.says(message{Kind: kindServing, fd: -1}) }

func (s *stage) dies(how ending) {
	s.events <- event{of: s.last(), ended: true, how: how}
	synctest.Wait()
}

func (s *stage) signal(sig os.Signal) {
	s.signals <- sig
	synctest.Wait()
}

// ends wants the daemon to be over, with a status.
func (s *stage) ends(code int) {
	s.t.Helper()
	synctest.Wait()
	select {
	case have := <-s.code:
		if have != code {
			s.t.Fatalf("the exit status is %d, want %d", have, code)
		}
	default:
		s.t.Fatal("the daemon goes on")
	}
}

// finish ends the daemon, whatever it does.
func (s *stage) finish() {
	s.signal(syscall.SIGTERM)
	s.dies(ending{})
	s.ends(0)
}

var killed = ending{signal: syscall.SIGKILL}

func TestADeadWorkerIsReplacedAtOnceAndThenMoreAndMoreSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, 0)
		s.serves()
		time.Sleep(time.Hour)
		for i, pause := range []time.Duration{0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000} {
			pause *= time.Millisecond
			died := time.Now()
			s.dies(killed)
			time.Sleep(pause)
			synctest.Wait()
			if s.count() != i+2 || s.last().at.Sub(died) != pause {
				t.Fatalf("after death %d there are %d workers, the last one since %v, want %v", i+1, s.count(), s.last().at.Sub(died), pause)
			}
			b := s.last().sent[0].Begin
			if b == nil || b.Restarts != int64(i+1) || b.Why != "killed by signal 9 (killed)" || b.PID != os.Getpid() {
				t.Fatalf("it was told %+v", b)
			}
			if i%2 == 0 {
				s.serves() // which is no merit yet
			}
		}
		// One that lives long has nothing to do with those before it.
		s.serves()
		time.Sleep(young)
		s.dies(ending{code: 2})
		synctest.Wait()
		if n := s.count(); n != 13 || s.last().sent[0].Begin.Why != "exit status 2" {
			t.Fatalf("there are %d workers", n)
		}
		s.finish()
	})
}

func TestAWorkerThatCannotBeStartedIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, 0)
		s.serves()
		s.refuses(errors.New("no more processes"))
		s.dies(killed)
		time.Sleep(time.Minute)
		synctest.Wait()
		if s.count() != 1 {
			t.Fatal("there is a worker that cannot be")
		}
		s.refuses(nil)
		time.Sleep(longestPause)
		synctest.Wait()
		if s.count() != 2 {
			t.Fatal("it is not tried again")
		}
		s.finish()
	})
}

// Before the first worker serves its end is the daemon's: a configuration is wrong, say.
func TestTheFirstWorkersStatusIsTheDaemons(t *testing.T) {
	for _, c := range []struct {
		how  ending
		code int
	}{{ending{code: 1}, 1}, {ending{code: 2}, 2}, {ending{}, 0}, {killed, 137}} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, 0)
			s.dies(c.how)
			s.ends(c.code)
			if s.count() != 1 {
				t.Error("another was started")
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, refuse: errors.New("no such program"), code: make(chan int, 1)}
		s.d = &daemon{
			start: func() (process, error) { return nil, s.refuse },
			log:   func(string, string) *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) },
		}
		go func() { s.code <- s.d.run() }()
		s.ends(1)
	})
}

func TestSignals(t *testing.T) {
	numbers := func(a *actor) (all []int) {
		for _, m := range a.sent {
			if m.Kind == kindSignal {
				all = append(all, m.Number)
			}
		}
		return all
	}
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, 0)
		s.serves()
		s.signal(syscall.SIGHUP)
		s.signal(syscall.SIGUSR1)
		s.signal(syscall.SIGTERM)
		s.signal(syscall.SIGINT)
		want := []int{int(syscall.SIGHUP), int(syscall.SIGUSR1), int(syscall.SIGTERM), int(syscall.SIGINT)}
		if have := numbers(s.last()); !slices.Equal(have, want) || len(s.last().killed) > 0 {
			t.Fatalf("the worker was sent %v and %v, want %v", have, s.last().killed, want)
		}
		s.dies(ending{})
		s.ends(0)
	})
	// A worker that was told to end is not replaced, however it ends.
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, 0)
		s.serves()
		s.signal(syscall.SIGTERM)
		s.dies(ending{code: 1})
		s.ends(1)
	})
	// The third signal waits for nobody.
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, 0)
		s.serves()
		for range 3 {
			s.signal(syscall.SIGTERM)
		}
		s.ends(1)
		if !slices.Equal(s.last().killed, []syscall.Signal{syscall.SIGKILL}) {
			t.Fatalf("the worker was killed by %v", s.last().killed)
		}
	})
	// Between two workers there is nothing to wait for.
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, 0)
		s.serves()
		for range 4 {
			s.dies(killed)
		}
		s.signal(syscall.SIGHUP)
		s.signal(syscall.SIGTERM)
		s.ends(0)
	})
	// The watchdog's signal is for the process that hangs.
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, 0)
		s.serves()
		s.signal(syscall.SIGABRT)
		if !slices.Equal(s.last().killed, []syscall.Signal{syscall.SIGABRT}) {
			t.Fatalf("the worker was killed by %v", s.last().killed)
		}
		s.dies(ending{code: 2})
		s.ends(2)
	})
}

func TestTheManagerHearsTheWorkerAndSignsOfLifeWhileThereIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, 3*time.Second)
		if b := s.last().sent[0].Begin; !b.Managed || b.Watchdog != 3*time.Second {
			t.Fatalf("the worker was told %+v", b)
		}
		time.Sleep(time.Minute) // it loads, and the manager waits for READY
		s.says(message{Kind: kindNotify, Text: "READY=1", fd: -1})
		s.serves()
		time.Sleep(time.Minute) // and gives no sign of life, as if it hung
		if told := s.heard(); !slices.Equal(told, []string{"READY=1"}) {
			t.Fatalf("the manager was told %q", told)
		}
		old := s.last()
		s.dies(killed)
		s.heard()
		time.Sleep(10 * time.Second) // the next one loads
		synctest.Wait()
		if told := s.heard(); len(told) < 9 || told[0] != "WATCHDOG=1" {
			t.Fatalf("the manager was told %q", told)
		}
		s.heard()
		s.events <- event{of: old, said: message{Kind: kindNotify, Text: "READY=1", fd: -1}}
		synctest.Wait()
		if slices.Contains(s.heard(), "READY=1") {
			t.Fatal("it was told what a dead worker has said")
		}
		s.finish()
	})
}

// open reports whether a descriptor is.
func open(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

func TestSocketsGoFromWorkerToWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, 0)
		hold := func(name, note string) int {
			var p [2]int
			if err := unix.Pipe(p[:]); err != nil {
				t.Fatal(err)
			}
			unix.Close(p[1])
			s.says(message{Kind: kindHold, Name: name, Note: []byte(note), fd: p[0]})
			return p[0]
		}
		a, b, c := hold("a", "one"), hold("b", "two"), hold("c", "three")
		s.says(message{Kind: kindHold, Name: "a", Note: []byte("four"), fd: -1})
		s.says(message{Kind: kindHold, Name: "unknown", fd: -1})
		s.says(message{Kind: kindRelease, Name: "b", fd: -1})
		s.says(message{Kind: kindRelease, Name: "fd/7", fd: -1})
		s.says(message{Kind: kindSync, Number: 5, fd: -1})
		if m := s.last().sent[len(s.last().sent)-1]; m.Kind != kindSettled || m.Number != 5 {
			t.Fatalf("the worker was told %+v", m)
		}
		if open(b) || !open(a) || !open(c) {
			t.Fatal("what was released is open, or what is held is not")
		}
		if !slices.Equal(s.dropped, []string{"fd/7"}) {
			t.Fatalf("of what was inherited %q is closed", s.dropped)
		}
		s.serves()
		s.dies(killed)
		w := s.last()
		if got := strings.Join(w.kinds(), " "); got != "socket socket begin" {
			t.Fatalf("the next worker was sent %s", got)
		}
		for i, want := range []string{"a four", "c three"} {
			m := w.sent[i]
			if m.Name+" "+string(m.Note) != want || !open(m.fd) || m.fd == a || m.fd == c {
				t.Fatalf("the next worker was sent %+v, want %s", m, want)
			}
			unix.Close(m.fd)
		}
		s.finish()
		if open(a) || open(c) {
			t.Error("sockets are open when the daemon is over")
		}
	})
}
