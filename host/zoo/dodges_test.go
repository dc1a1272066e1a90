package zoo

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bulkhead/internal/hosttest"
	"bulkhead/internal/recordtest"
	w "bulkhead/internal/wasmtest"
)

// dodge is a way to have the host work for a tenant without being seen to: it is not the guest
// that computes, or it does so where no account is kept of it.
type dodge struct {
	name     string
	guest    func() []byte
	tenant   string // further lines of its tenant's table
	listener string // further lines of its listener's table
	udp, tls bool   // how it is spoken to
	// client does its part once, over and over, and is given a connection that it may use, or
	// nil when it dials itself. It reports whether the connection is of use to it any more.
	client func(addr string, conn net.Conn) bool
	// wrap, unless it is nil, is called once with each connection, and client gets what it returns.
	wrap  func(conn net.Conn) (net.Conn, error)
	conns int // connections, each with a client
	dials bool
}

// pages is the memory of dodges that touch it, in pages of WebAssembly.
const pages = 256

// storm is a handler that does a fault for '!' and spins, to look quick, for 's'.
func storm(fault func(m *w.Module, f []w.Func) []byte, imports ...imported) []byte {
	m := w.New()
	var f []w.Func
	for _, i := range append([]imported{send}, imports...) {
		module := "csa_v1"
		if strings.Contains(i[0], "_") {
			module = "wasi_snapshot_preview1"
		}
		f = append(f, m.Import(module, i[0], i[1]))
	}
	m.Memory(pages, pages)
	m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
	do := fault(m, f[1:])
	up := func(by, to int32) []byte {
		return w.Cat(w.LocalGet(scratch), w.I32Const(by), w.I32Add, w.LocalTee(scratch), w.I32Const(to), w.I32LtS, w.BrIf(0))
	}
	m.Func("csa_data", "ii:i", "ii",
		w.I32Const(w.WindowAt), w.I32Load8U(0), w.I32Const('s'), w.I32Eq, w.If(w.Loop(up(1, 2_000_000))),
		w.I32Const(w.WindowAt), w.I32Load8U(0), w.I32Const('!'), w.I32Eq, w.If(w.I32Const(0), w.LocalSet(scratch), do),
		w.LocalGet(conn), w.I32Const(w.WindowAt), w.I32Const(1), w.Call(f[0]), w.Drop, w.LocalGet(length))
	return m.Bytes()
}

// repeat does something n times in csa_data.
func repeat(n int32, body ...[]byte) []byte {
	return w.Loop(w.Cat(body...), w.LocalGet(scratch), w.I32Const(1), w.I32Add, w.LocalTee(scratch), w.I32Const(n), w.I32LtS, w.BrIf(0))
}

// sink is a handler that takes what comes and answers nothing.
func sink() []byte {
	m := w.New()
	m.Memory(1)
	m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
	m.Func("csa_data", "ii:i", "", w.LocalGet(length))
	return m.Bytes()
}

// talk says each letter and hears an answer.
func talk(letters string) func(string, net.Conn) bool {
	return func(_ string, conn net.Conn) bool {
		b := make([]byte, 1)
		for _, c := range []byte(letters) {
			b[0] = c
			if _, err := conn.Write(b); err != nil {
				return false
			}
			if _, err := io.ReadFull(conn, b); err != nil {
				return false
			}
		}
		return true
	}
}

// visit dials, does as talk does, and goes.
func visit(letters string) func(string, net.Conn) bool {
	return func(addr string, _ net.Conn) bool {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		return talk(letters)("", conn)
	}
}

// pelt writes what next returns 50 times, without waiting for anything, and then lets a
// millisecond go by.
func pelt(next func(conn net.Conn) []byte) func(string, net.Conn) bool {
	return func(_ string, conn net.Conn) bool {
		for range 50 {
			if _, err := conn.Write(next(conn)); err != nil {
				return false
			}
		}
		time.Sleep(time.Millisecond)
		return true
	}
}

// forge makes the handshake of a client that writes records by hand, and reads what comes.
func forge(conn net.Conn) (net.Conn, error) {
	g, err := recordtest.Forge(conn, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	return g, nil
}

func dodges() []dodge {
	nothing := func(*w.Module, []w.Func) []byte { return w.Nop }
	return []dodge{
		{name: "first touches of pages", conns: 2, dials: true, client: visit("s!"), guest: func() []byte {
			return storm(func(*w.Module, []w.Func) []byte {
				return repeat(pages*16, w.LocalGet(scratch), w.I32Const(4096), w.I32Mul, w.I32Const(1), w.I32Store8(0))
			})
		}},
		{name: "reads all over memory", conns: 2, dials: true, client: visit("s!"), guest: func() []byte {
			return storm(func(*w.Module, []w.Func) []byte {
				return repeat(9000, w.LocalGet(3), w.I32Const(1664525), w.I32Mul, w.I32Const(1013904223), w.I32Add,
					w.LocalTee(3), w.I32Const(pages*65536-8), w.I32And, w.I32Load(0), w.LocalGet(3), w.I32Add, w.LocalSet(3))
			})
		}},
		{name: "lists of 64 subscriptions", conns: 2, client: talk("!"), guest: func() []byte {
			return storm(func(_ *w.Module, f []w.Func) []byte {
				return repeat(360, w.I32Const(65536), w.I32Const(131072), w.I32Const(64), w.I32Const(140000), w.Call(f[0]), w.Drop)
			}, imported{"poll_oneoff", "iiii:i"})
		}},
		{name: "lists of 1024 vectors", conns: 2, client: talk("!"), guest: func() []byte {
			return storm(func(_ *w.Module, f []w.Func) []byte {
				return repeat(360, w.I32Const(0), w.I32Const(65536), w.I32Const(1024), w.I32Const(140000), w.Call(f[0]), w.Drop)
			}, imported{"fd_read", "iiii:i"})
		}},
		{name: "timers of no time", conns: 10, client: talk("!"), guest: func() []byte {
			return storm(func(m *w.Module, f []w.Func) []byte {
				m.Func("csa_timer", "ii:", "", w.LocalGet(0), w.LocalGet(1), w.I32Const(0), w.Call(f[0]), w.Drop)
				return repeat(8,
					w.LocalGet(conn), w.LocalGet(scratch), w.I32Const(0), w.Call(f[0]), w.Drop,
					w.I32Const(-1), w.LocalGet(scratch), w.I32Const(0), w.Call(f[0]), w.Drop)
			}, timer)
		}},
		{name: "messages of one byte", conns: 8, client: talk("x"), guest: func() []byte { return storm(nothing) }},
		{name: "connections that come and go", conns: 8, dials: true, client: visit("x"), guest: func() []byte { return storm(nothing) }},
		{name: "connections that are reset", conns: 4, dials: true, guest: func() []byte { return storm(nothing) },
			client: func(addr string, _ net.Conn) bool {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					return false
				}
				_ = conn.(*net.TCPConn).SetLinger(0)
				return conn.Close() == nil
			}},
		{name: "datagrams", conns: 1, guest: func() []byte { return storm(nothing) }, udp: true,
			client: pelt(func(net.Conn) []byte { return []byte("x") })},
		{name: "datagrams of new peers", conns: 4, dials: true, guest: func() []byte { return storm(nothing) }, udp: true,
			client: func(addr string, _ net.Conn) bool {
				conn, err := net.Dial("udp", addr)
				if err != nil {
					return false
				}
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(20 * time.Millisecond))
				return talk("x")("", conn)
			}},
		{name: "programs that wait for a nanosecond", conns: 16, listener: `shape = "stdio"`, guest: func() []byte {
			m := w.New()
			poll := m.Import("wasi_snapshot_preview1", "poll_oneoff", "iiii:i")
			m.Memory(1)
			m.Func("_start", ":", "i", w.I32Const(16), w.I32Const(1), w.I32Store(0), w.I32Const(24), w.I32Const(1), w.I32Store(0),
				w.Loop(
					w.I32Const(0), w.LocalSet(0),
					w.Loop(w.LocalGet(0), w.I32Const(1), w.I32Add, w.LocalTee(0), w.I32Const(2000), w.I32LtS, w.BrIf(0)),
					w.I32Const(0), w.I32Const(256), w.I32Const(1), w.I32Const(512), w.Call(poll), w.Drop, w.Br(0)))
			return m.Bytes()
		}},
		{name: "dials that are refused", conns: 4, client: talk("!"), tenant: "memory = \"64MiB\"\nconnect = [\"127.0.0.1:1\", \"localhost:1\"]", guest: func() []byte {
			return storm(func(m *w.Module, f []w.Func) []byte {
				const numeric, named = "tcp://127.0.0.1:1", "tcp://localhost:1"
				m.Data(40_000, numeric)
				m.Data(41_000, named)
				m.Func("csa_closed", "ii:", "")
				return repeat(4,
					w.I32Const(40_000), w.I32Const(int32(len(numeric))), w.Call(f[0]), w.Drop,
					w.I32Const(41_000), w.I32Const(int32(len(named))), w.Call(f[0]), w.Drop)
			}, imported{"connect", "ii:i"})
		}},
		{name: "bytes that come one by one", conns: 4, guest: sink, client: pelt(func(net.Conn) []byte { return []byte("x") })},
		{name: "programs at the end of their input", conns: 4, dials: true, listener: `shape = "stdio"`, client: unheard, guest: func() []byte {
			m := w.New()
			read := m.Import("wasi_snapshot_preview1", "fd_read", "iiii:i")
			m.Memory(1)
			m.Func("_start", ":", "", w.I32Const(0), w.I32Const(64), w.I32Store(0), w.I32Const(4), w.I32Const(64), w.I32Store(0),
				w.Loop(w.I32Const(0), w.I32Const(0), w.I32Const(1), w.I32Const(256), w.Call(read), w.Drop, w.Br(0)))
			return m.Bytes()
		}},
		{name: "recursion", conns: 2, dials: true, client: visit("!"), guest: func() []byte { return echo(recursion).Bytes() }},
		{name: "closes of a large memory", conns: 2, dials: true, client: visit("!"), tenant: `memory = "512MiB"`, guest: func() []byte {
			m := echo(just(w.I32Const(480<<20-1), w.I32Const(1), w.I32Store8(0)))
			return m.Bytes()
		}},
		{name: "more memory than there is", conns: 16, dials: true, client: visit("x"), tenant: `memory = "72MiB"`, listener: "snapshot = false",
			guest: func() []byte { return storm(nothing) }},
		{name: "TLS records of one byte", conns: 2, tls: true, guest: sink, wrap: forge,
			client: pelt(func(conn net.Conn) []byte {
				return conn.(*recordtest.Forger).Record(recordtest.Application, []byte("x"))
			})},
		{name: "TLS with new keys all the time", conns: 2, tls: true, guest: sink, wrap: forge,
			client: pelt(func(conn net.Conn) []byte {
				g := conn.(*recordtest.Forger)
				return append(g.NewKeys(), g.Record(recordtest.Application, []byte("x"))...)
			})},
		{name: "TLS handshakes", conns: 4, dials: true, tls: true, guest: sink,
			client: func(addr string, _ net.Conn) bool {
				conn, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Second}, "tcp", addr, &tls.Config{InsecureSkipVerify: true})
				if err != nil {
					return false
				}
				return conn.Close() == nil
			}},
		{name: "TLS handshakes that say nothing", conns: 32, dials: true, tls: true, guest: sink,
			client: func(addr string, _ net.Conn) bool {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					return false
				}
				defer conn.Close()
				_, _ = conn.Write([]byte{22})
				time.Sleep(5 * time.Millisecond)
				return true
			}},
	}
}

// unheard dials, says that it will say nothing, and listens for a while.
func unheard(addr string, _ net.Conn) bool {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).CloseWrite()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	_, _ = io.Copy(io.Discard, conn)
	return true
}

const (
	// share is the cpu of each dodger, and mostBeside how much of a core the host may use besides
	// while it is at it: what wakes up for it, a thread or the kernel's, cannot all be on its
	// account. That many sleeps a second, at what they cost on the machine at the time, may come on
	// top: to sleep and be woken has cost from 5 to 50 µs of processor time on one and the same
	// virtual machine, and so the host has used from 0.02 to 0.12 besides. It is dearest in any
	// case.
	share      = 0.05
	mostBeside = 0.06
	mostSleeps = 5000
	dearest    = 0.25
	// longestEvent is how much processor time a loop may take for one event, while nobody else on
	// it is served. The watchdog's thread ends those of guests, and on a busy machine has to wait
	// for a core: as late as another thread's at worst, which may come on top. latestEvent bounds
	// both.
	longestEvent = 6 * time.Millisecond
	latestEvent  = 30 * time.Millisecond
	// mostMemory is how much more memory the process may have while a tenant of 64 MiB is at it,
	// its stacks and what the collector has not found yet included, and mostThreads how many
	// threads.
	mostMemory  = 96 << 20
	mostThreads = 16
)

// What the host does for a tenant is on its account, however it is brought about; what is booked is
// no more than its cpu, and the process uses little besides; no event holds a loop for long, and
// memory and threads stay within bounds. All is processor time, so that what else runs on the
// machine does not count. Each daemon has one dodge at a time, so that what it uses is for that
// one.
func TestNoDodgeIsFree(t *testing.T) {
	const daemons = 4
	all := dodges()
	m := watchMachine(t)
	for n := range daemons {
		t.Run(fmt.Sprint("daemon ", n), func(t *testing.T) {
			t.Parallel()
			var mine []dodge
			for i := n; i < len(all); i += daemons {
				mine = append(mine, all[i])
			}
			oneAfterAnother(t, mine, m)
		})
	}
}

// startDodged starts a host with a neighbour and some dodgers, dodge0 and so on.
func startDodged(t testing.TB, all []dodge) *daemon {
	t.Helper()
	l := newLineup(t, 2)
	for i, d := range all {
		path := filepath.Join(l.dir, fmt.Sprintf("dodge%d.wasm", i))
		if err := os.WriteFile(path, d.guest(), 0o600); err != nil {
			t.Fatal(err)
		}
		scheme, tenant, lines := "tcp", d.tenant, d.listener
		if d.udp {
			scheme = "udp"
		}
		if tenant == "" {
			tenant = `memory = "64MiB"`
		}
		if d.tls {
			lines += "\n[listener.tls]\nself_signed = [\"zoo.test\"]"
		}
		fmt.Fprintf(&l.toml, `
[tenant.dodge%d]
cpu = %v
%s
accept_rate = 10000
[[listener]]
name = "dodge%d"
tenant = "dodge%d"
address = "%s://127.0.0.1:0"
plugin = %q
%s
`, i, share, tenant, i, i, scheme, path, lines)
	}
	daemon := startDaemon(t, l.toml.String(), daemonQuiet+"=1")
	daemon.settles(t)
	return daemon
}

func oneAfterAnother(t *testing.T, all []dodge, m *machine) {
	daemon := startDodged(t, all)
	for i, d := range all {
		t.Run(d.name, func(t *testing.T) {
			daemon.watch(t, fmt.Sprintf("dodge%d", i), &d, m)
			meetNeighbours(t, daemon.addresses["neighbour"], 2).leave(t)
		})
	}
	a := daemon.holds(t, "")
	t.Logf("the longest event took %v; the daemon had %d MiB at most", a.Stats.LongestEvent, daemon.worst.Resident>>20)
	if daemon.worst.Resident > mostResident/4 {
		t.Errorf("the daemon had %d bytes of memory; want at most %d", daemon.worst.Resident, mostResident/4)
	}
}

// goOn does a client's part until stop is closed.
func (d *dodge) goOn(addr string, stop <-chan struct{}) {
	network := "tcp"
	if d.udp {
		network = "udp"
	}
	over := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	for !over() {
		var conn net.Conn
		if !d.dials {
			raw, err := net.Dial(network, addr)
			if err != nil {
				continue
			}
			_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
			if conn = raw; d.wrap != nil {
				if conn, err = d.wrap(raw); err != nil {
					raw.Close()
					continue
				}
			}
		}
		if d.client == nil {
			<-stop
		}
		for !over() && d.client(addr, conn) {
			if conn != nil {
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			}
		}
		if conn != nil {
			conn.Close()
		}
	}
}

// settles waits until the daemon has loaded its plugins, or has nothing else to do.
func (d *daemon) settles(t testing.TB) {
	hosttest.Eventually(t, "the daemon has nothing to do", func() bool {
		before := d.holds(t, "time").Processor
		time.Sleep(30 * time.Millisecond)
		return d.holds(t, "time").Processor-before < 2*time.Millisecond
	})
}

// beside is how much processor time the daemon has used that is on no tenant's account.
func (a *account) beside() time.Duration {
	ns := a.Processor
	for _, t := range a.Stats.Tenants {
		ns -= t.CPU
	}
	return ns
}

// watch has a dodge go on until so much is booked that a difference would be seen.
func (d *daemon) watch(t *testing.T, name string, dodge *dodge, m *machine) {
	const enough = 80 * time.Millisecond
	stop := make(chan struct{})
	var all sync.WaitGroup
	defer all.Wait()
	defer close(stop)
	for range dodge.conns {
		all.Go(func() { dodge.goOn(d.addresses[name], stop) })
	}
	began := time.Now()
	first := d.holds(t, "time")
	was := find(first.Stats, name).CPU
	most, wake := first, m.wakeCost()
	for {
		time.Sleep(50 * time.Millisecond)
		now := d.holds(t, "time")
		most.Resident, most.Threads = max(most.Resident, now.Resident), max(most.Threads, now.Threads)
		gone := time.Since(began)
		booked, beside := find(now.Stats, name).CPU-was, now.beside()-first.beside()
		// What it had not used before counts for a tenth of a second; and what is under way when it
		// is over is paid afterwards. With the race detector all that the host does besides takes
		// some times as long.
		spare := gone + 100*time.Millisecond
		mostBooked := time.Duration(share*float64(spare)) + enough/2
		wake = max(wake, m.wakeCost())
		mostUsed := time.Duration(min(mostBeside+mostSleeps*wake.Seconds(), dearest)*float64(spare)) + enough/2
		within := booked <= mostBooked && (beside <= mostUsed || raceEnabled)
		switch {
		case booked < enough && gone < 2*time.Minute:
			continue
		case !within && booked < 5*enough:
			continue // what was too much at once is no more than it may be in the long run
		}
		t.Logf("%.3f cores are booked, and %.3f used besides; the longest event of all took %v (%d are not known); %d MiB more, %d threads more than %d; a sleep costs %v here, and is up to %v late",
			booked.Seconds()/gone.Seconds(), beside.Seconds()/gone.Seconds(), now.Stats.LongestEvent, now.Stats.LostEvents,
			(most.Resident-first.Resident)>>20, most.Threads-first.Threads, first.Threads, wake, m.latest())
		d.holds(t, "")
		if longest := min(longestEvent+m.latest(), latestEvent); now.Stats.LongestEvent > longest && !raceEnabled {
			t.Errorf("an event took %v of a loop's processor time; want at most %v", now.Stats.LongestEvent, longest)
		}
		if more := most.Resident - first.Resident; more > mostMemory {
			t.Errorf("the daemon had %d bytes of memory more; want at most %d", more, mostMemory)
		}
		if more := most.Threads - first.Threads; more > mostThreads {
			t.Errorf("the daemon had %d threads more; want at most %d", more, mostThreads)
		}
		if booked < enough {
			t.Fatalf("%v were booked in %v: the dodge does nothing", booked, gone)
		}
		if !within {
			t.Errorf("in %v %v were booked and %v used besides; want at most %v and %v", gone, booked, beside, mostBooked, mostUsed)
		}
		return
	}
}
