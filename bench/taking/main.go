// Taking measures what an instance costs that a connection gets for itself: taken from a
// pool and given back, beside one that is started anew.
//
//	make -C bench instances
//
// The instance answers one message in between, which is not in the figures, so that what
// is given back has been written to.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/abi"
	"bulkhead/bench/internal/stats"
	"bulkhead/bench/internal/table"
	"bulkhead/csa"
	"bulkhead/plugins"
	"bulkhead/selector"
)

// guests are what is measured, and what is promised of it in microseconds.
var guests = []struct {
	name, file string
	goal       float64
}{
	{"C: echo", "../examples/echo/echo.wasm", 5},
	{"Go: echo", "guests/src/echogo.wasm", 20},
	{"Go: chat", "../examples/chat/chat.wasm", 20},
}

func main() {
	err := run(os.Args[1:], os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "taking:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("taking", flag.ContinueOnError)
	f.SetOutput(stderr)
	quick := f.Bool("quick", false, "fewer rounds: some seconds")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("argument %q: it takes flags only", f.Arg(0))
	}
	repeats, rounds, plain := 7, 3000, 40
	if *quick {
		repeats, rounds, plain = 3, 500, 10
	}
	fmt.Fprintf(stdout, "# Bulkhead: an instance for a connection\n\nTaken and given back, having answered one message; medians of %d repetitions, each the median of %d from a pool, or %d started anew.\n\n", repeats, rounds, plain)
	t := table.New("guest", "from a pool, µs", "spread", "taking", "giving back", "anew, µs", "ratio", "goal, µs", "met")
	for _, g := range guests {
		r, err := measure(g.file, repeats, rounds, plain)
		if err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		pooled, anew := stats.Median(r.pooled), stats.Median(r.anew)
		met := "**no**"
		if pooled <= g.goal {
			met = "yes"
		}
		t.Row(g.name, table.Figure(pooled), fmt.Sprintf("%.0f%%", 100*stats.Spread(r.pooled)), table.Figure(stats.Median(r.take)), table.Figure(stats.Median(r.give)),
			table.Figure(anew), table.Ratio(pooled, anew), table.Figure(g.goal), met)
	}
	if err := t.Write(stdout); err != nil {
		return err
	}
	_, err := fmt.Fprintln(stdout)
	return err
}

// result has a figure in microseconds for each repetition.
type result struct{ pooled, take, give, anew []float64 }

// patience bounds each round.
const patience = 10 * time.Second

func measure(file string, repeats, rounds, plain int) (r result, err error) {
	code, err := os.ReadFile(file)
	if err != nil {
		return r, err
	}
	rt := plugins.NewRuntime(plugins.RuntimeOptions{})
	defer rt.Close()
	m, err := rt.Load(filepath.Base(file), code, plugins.Events)
	if err != nil {
		return r, err
	}
	defer m.Close()
	l := &plugins.Listener{Name: "bench", Tenant: "bench", LogLines: -1}
	s, err := m.Snapshot(l)
	if err != nil {
		return r, err
	}
	defer s.Close()
	on, err := newStage(s)
	if err != nil {
		return r, err
	}
	defer on.close()
	for range repeats {
		var sum, take, give, anew []float64
		for len(sum) < rounds {
			a, b, err := on.round()
			if err != nil {
				return r, err
			}
			take, give, sum = append(take, a), append(give, b), append(sum, a+b)
		}
		for range plain {
			began := time.Now()
			i, err := m.Instantiate(l)
			if err != nil {
				return r, err
			}
			i.Close()
			anew = append(anew, micros(time.Since(began)))
		}
		r.pooled = append(r.pooled, stats.Median(sum))
		r.take = append(r.take, stats.Median(take))
		r.give = append(r.give, stats.Median(give))
		r.anew = append(r.anew, stats.Median(anew))
	}
	return r, nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// stage is a loop with a pool, and a connection that instances answer on.
type stage struct {
	loop *csa.Loop
	pool *plugins.Pool
	conn *csa.CSA
	peer *os.File
}

func newStage(s *plugins.Snapshot) (*stage, error) {
	sel, err := selector.New(selector.Options{})
	if err != nil {
		return nil, err
	}
	on := &stage{loop: csa.NewLoop(sel)}
	go sel.Run()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		sel.Stop()
		return nil, fmt.Errorf("making a connection: %w", err)
	}
	on.peer = os.NewFile(uintptr(fds[1]), "peer")
	go io.Copy(io.Discard, on.peer)
	on.call(func() {
		on.pool = s.Pool(on.loop)
		on.conn, err = on.loop.NewCSA(fds[0], netip.AddrPort{}, csa.Wiring{Handler: nobody{}, Settings: &csa.Settings{}, Budget: csa.Unlimited{}})
	})
	if err != nil {
		on.close()
		return nil, err
	}
	if _, _, err := on.round(); err != nil {
		on.close()
		return nil, err
	}
	return on, nil
}

func (on *stage) close() {
	on.call(func() {
		if on.conn != nil {
			on.conn.ShutdownMicroprocess(csa.Orderly)
		}
		on.pool.Close()
	})
	on.loop.Selector().Stop()
	<-on.loop.Selector().Done()
	on.peer.Close()
}

// call runs f on the loop, and reports whether it came to its end: a guest that the
// machine has kept waiting passes the loop on in mid-call.
func (on *stage) call(f func()) bool {
	done := make(chan struct{})
	on.loop.Post(func() { f(); close(done) })
	t := time.NewTimer(patience)
	defer t.Stop()
	passed := make(chan struct{})
	on.loop.Post(func() { close(passed) })
	select {
	case <-passed:
	case <-t.C:
		return false
	}
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// errNothing is an instance that has no executor: those of large modules are made off the
// loop when one is first asked for, or when a call has passed the loop on.
var errNothing = errors.New("the instance has nothing to run on yet")

// round has one instance answer one message. It returns how long taking it and giving it
// back took, in microseconds.
func (on *stage) round() (take, give float64, err error) {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		ended := on.call(func() {
			began := time.Now()
			i, failed := on.pool.Get()
			take = micros(time.Since(began))
			if err = failed; err != nil {
				return
			}
			i.Open(on.conn)
			window := i.Window(on.conn)
			if len(window) == 0 {
				err = errNothing
			} else {
				i.Data(on.conn, window[:copy(window, "hello, everybody out there!\n")])
			}
			i.Closed(on.conn, csa.Orderly)
			began = time.Now()
			i.Close()
			give = micros(time.Since(began))
		})
		switch {
		case ended && err == errNothing:
			time.Sleep(time.Millisecond)
		case ended:
			return take, give, err
		}
	}
	return 0, 0, errors.New("the machine is too busy: calls of microseconds do not come to their end")
}

// nobody is the handler of a connection whose events nobody wants.
type nobody struct{}

func (nobody) Open(*csa.CSA)               {}
func (nobody) Window(*csa.CSA) []byte      { return nil }
func (nobody) Data(*csa.CSA, []byte) int   { return 0 }
func (nobody) Writable(*csa.CSA)           {}
func (nobody) Secured(*csa.CSA, abi.Code)  {}
func (nobody) EOF(*csa.CSA)                {}
func (nobody) Timer(*csa.CSA, int32)       {}
func (nobody) Closed(*csa.CSA, csa.Reason) {}
