package zoo

import (
	"bufio"
	"context"
	"encoding/gob"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"
)

// daemonConfig is set for a test binary that is to be a daemon, which has
// descriptors and memory of its own.
const daemonConfig = "BULKHEAD_ZOO_DAEMON"

// daemonQuiet is set for one whose log nobody reads: to write it is a wait for the reader, in which
// a loop's thread does what others have to do.
const daemonQuiet = "BULKHEAD_ZOO_QUIET"

func TestMain(m *testing.M) {
	if path := os.Getenv(daemonConfig); path != "" {
		if err := beDaemon(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	// Tests that run at a time are the animals of one daemon: all of them.
	_ = flag.Set("test.parallel", "1000")
	os.Exit(m.Run())
}

// account is what a daemon holds, at the time it is asked.
type account struct {
	Stats       host.Stats
	Goroutines  int
	Descriptors int
	Threads     int
	Resident    int           // bytes
	Processor   time.Duration // used since it began
	Collection  time.Duration // how long the garbage collection took that it was asked for
}

// beDaemon serves a configuration. It says where the listeners are, and then, for each
// line of its input, what it holds.
func beDaemon(path string) error {
	cfg, err := config.Load(path)
	if err != nil {
		return err
	}
	var log io.Writer = os.Stderr
	if os.Getenv(daemonQuiet) != "" {
		log = io.Discard
	}
	h, err := host.New(cfg, host.Options{EventsByThread: true, Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		return err
	}
	// The status of a hundred tenants is asked for again and again: as JSON it took a third of the
	// processor time of TestTheWholeZoo.
	out := gob.NewEncoder(os.Stdout)
	addresses := make(map[string]string)
	for _, l := range cfg.Listeners {
		addresses[l.Name] = h.Addr(l.Name)
	}
	if err := out.Encode(addresses); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			var a account
			if lines.Text() == "collect" {
				began := time.Now()
				runtime.GC()
				a.Collection = time.Since(began)
			}
			a.Stats, a.Processor = h.Stats(), processor()
			a.Resident, a.Threads = status("VmRSS")<<10, status("Threads")
			if lines.Text() != "time" { // the rest takes some
				a.Goroutines, a.Descriptors = runtime.NumGoroutine(), openDescriptors()
			}
			_ = out.Encode(a)
		}
	}()
	return h.Run(ctx)
}

// processor is how much processor time this process has used.
func processor() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// status is a number that the system tells of this process, VmRSS in KiB.
func status(name string) (n int) {
	all, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(all)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			_, _ = fmt.Sscan(value, &n)
		}
	}
	return n
}

// daemon is a host in a process of its own.
type daemon struct {
	cmd       *exec.Cmd
	log       *book
	addresses map[string]string

	mu    sync.Mutex // asking and hearing the answer
	ask   io.Writer
	hear  *gob.Decoder
	gone  bool
	worst account // the most it ever had of each

	asking sync.Mutex // since
	asked  time.Time
	answer account
}

// startDaemon starts one, with env beside the environment.
func startDaemon(t testing.TB, toml string, env ...string) *daemon {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("it reads /proc")
	}
	d := &daemon{cmd: exec.Command(os.Args[0]), log: &book{}}
	d.cmd.Env = append(append(os.Environ(), daemonConfig+"="+hosttest.WriteConfig(t, toml)), env...)
	d.cmd.Stderr = d.log
	in, err := d.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.ask, d.hear = in, gob.NewDecoder(out)
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.cmd.Process.Kill(); _ = d.cmd.Wait() })
	if err := d.hear.Decode(&d.addresses); err != nil {
		t.Fatalf("the daemon did not start: %v\n%s", err, d.log)
	}
	return d
}

// holds asks the daemon. Any goroutine may call it.
func (d *daemon) holds(t testing.TB, what string) (a account) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.gone {
		fmt.Fprintln(d.ask, what)
		d.gone = d.hear.Decode(&a) != nil
	}
	if d.gone {
		t.Fatalf("the daemon is gone; its last words were\n%s", d.log.end())
	}
	d.worst.Resident = max(d.worst.Resident, a.Resident)
	d.worst.Goroutines = max(d.worst.Goroutines, a.Goroutines)
	d.worst.Descriptors = max(d.worst.Descriptors, a.Descriptors)
	d.worst.Collection = max(d.worst.Collection, a.Collection)
	return a
}

// since is what the daemon held at some time after a given one. With a hundred animals that ask
// again and again, answering each would be most of what it does. Any goroutine may call it.
func (d *daemon) since(t testing.TB, began time.Time) account {
	t.Helper()
	d.asking.Lock()
	defer d.asking.Unlock()
	if now := time.Now(); d.asked.Before(began) || now.Sub(d.asked) > 50*time.Millisecond {
		d.answer = d.holds(t, "")
		d.asked = now
	}
	return d.answer
}

// mostResident is how much memory the daemon may have with the whole zoo in it. A
// tenth of it is what it takes, and three tenths with the race detector; any one
// bomb would take more.
const mostResident = 1 << 30

// All animals at once, in each of their kinds of instance, in one daemon.
func TestTheWholeZoo(t *testing.T) {
	const loops = 2
	l := newLineup(t, loops)
	type inmate struct {
		name, mode string
		animal     animal
	}
	var inmates []inmate
	for i, a := range animals() {
		for _, mode := range a.modes {
			name := fmt.Sprintf("animal%d%s", i, mode)
			inmates = append(inmates, inmate{name, mode, a})
			l.add(&a, name, mode)
		}
	}
	d := startDaemon(t, l.toml.String())
	n := meetNeighbours(t, d.addresses["neighbour"], loops)
	defer n.leave(t)
	before := d.holds(t, "collect")
	t.Run("animals", func(t *testing.T) {
		for _, in := range inmates {
			t.Run(in.animal.name+"/"+in.mode, func(t *testing.T) {
				t.Parallel()
				c := &cage{
					t: t, animal: &in.animal, mode: in.mode, addr: d.addresses[in.name],
					look: func(began time.Time) state { return find(d.since(t, began).Stats, in.name) },
					log:  func() string { return d.log.about(in.name) },
				}
				c.run()
			})
		}
		t.Run("the collector", func(t *testing.T) {
			t.Parallel()
			for range 20 {
				d.holds(t, "collect")
			}
		})
	})
	n.more(t)
	if worst := n.leave(t); worst > patience {
		t.Errorf("the neighbour waited for %v", worst)
	} else {
		t.Logf("the neighbour waited for %v at most", worst)
	}
	t.Logf("%d animals; the daemon had %d MiB at most (%d before), %d goroutines, %d descriptors, and a collection took %v",
		len(inmates), d.worst.Resident>>20, before.Resident>>20, d.worst.Goroutines, d.worst.Descriptors, d.worst.Collection)
	if d.worst.Resident > mostResident {
		t.Errorf("the daemon had %d bytes of memory; want at most %d", d.worst.Resident, mostResident)
	}
	if d.worst.Collection > patience {
		t.Errorf("a garbage collection took %v", d.worst.Collection)
	}
	hosttest.Eventually(t, "the daemon has no more goroutines and descriptors than before", func() bool {
		now := d.holds(t, "")
		return now.Goroutines <= before.Goroutines && now.Descriptors <= before.Descriptors
	})
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("the daemon ended with %v; its last words were\n%s", err, d.log.end())
	}
}
