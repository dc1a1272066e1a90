package host_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"
)

// goodClient talks to the daemon all along and fails the test when it is not
// served.
type goodClient struct {
	stop   chan struct{}
	done   chan struct{}
	rounds atomic.Int64
}

func startGoodClient(t *testing.T, addr string) *goodClient {
	t.Helper()
	g := &goodClient{stop: make(chan struct{}), done: make(chan struct{})}
	conn := hosttest.Dial(t, addr)
	go func() {
		defer close(g.done)
		msg, back := []byte("still there?"), make([]byte, 12)
		for {
			select {
			case <-g.stop:
				conn.Close()
				return
			default:
			}
			began := time.Now()
			_ = conn.SetDeadline(awaittest.Deadline())
			if _, err := conn.Write(msg); err != nil {
				t.Errorf("the good client: %v", err)
				return
			}
			if _, err := io.ReadFull(conn, back); err != nil || string(back) != string(msg) {
				t.Errorf("the good client heard %q, %v, after %v in its round %d", back, err, time.Since(began), g.rounds.Load()+1)
				return
			}
			g.rounds.Add(1)
			time.Sleep(time.Millisecond) // else it and the daemon take all of a core
		}
	}()
	return g
}

// end stops the client and wants that it was served meanwhile.
func (g *goodClient) end(t *testing.T) {
	t.Helper()
	close(g.stop)
	<-g.done
	if g.rounds.Load() == 0 {
		t.Error("the good client was never served")
	}
}

// warmUps is how many connections warmUp makes.
const warmUps = 4

// warmUp is served by every loop, so that all is there which the daemon makes when
// it is first needed. A loop that has not begun yet lacks a goroutine, and one
// connection alone only needs the first loop.
func warmUp(t *testing.T, addr string) {
	t.Helper()
	var conns []net.Conn
	for range warmUps { // open at once, so that they go to different loops
		conn := hosttest.Dial(t, addr)
		hosttest.Say(t, conn, "x")
		hosttest.Hear(t, conn, "x")
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		conn.Close()
	}
}

// torn runs an attack against a daemon of its own and wants that everything
// is back to where it was afterwards, and a good client served all along.
func torn(t *testing.T, instance string, attack func(t *testing.T, p *process, addr string)) {
	t.Helper()
	p := startProcess(t, echoConfig(t, instance, `
idle_timeout = "2s"
linger = "1s"`))
	addr := p.addrs["echo"]
	warmUp(t, addr)
	before := p.until("the warm-up is over", func(h holds) bool { return h.connections == 0 && h.busy == 0 })
	good := startGoodClient(t, addr)
	attack(t, p, addr)
	good.end(t)
	p.until(fmt.Sprintf("all is back to where it was, %+v", before), func(h holds) bool {
		return h.connections == 0 && h.fds <= before.fds && h.instances <= before.instances && h.goroutines <= before.goroutines
	})
	p.stop()
	if strings.Contains(p.stderr.String(), "panic") {
		t.Errorf("the daemon's log:\n%s", p.stderr)
	}
}

func forEachInstance(t *testing.T, attack func(t *testing.T, p *process, addr string)) {
	for _, instance := range []string{"loop", "connection"} {
		t.Run(instance, func(t *testing.T) {
			t.Parallel() // each has a daemon of its own, and they wait for idle_timeout
			torn(t, instance, attack)
		})
	}
}

func inParallel(n int, f func(i int, rng *rand.Rand)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i, rand.New(rand.NewPCG(uint64(i), 3))) })
	}
	wg.Wait()
}

func TestConnectStorm(t *testing.T) {
	t.Parallel()
	forEachInstance(t, func(t *testing.T, _ *process, addr string) {
		inParallel(16, func(_ int, rng *rand.Rand) {
			for range 150 {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					t.Error(err)
					return
				}
				if rng.IntN(2) == 0 {
					_, _ = io.WriteString(conn, "hello")
				}
				conn.Close()
			}
		})
	})
}

func TestResetsInMidMessage(t *testing.T) {
	t.Parallel()
	forEachInstance(t, func(t *testing.T, _ *process, addr string) {
		inParallel(16, func(_ int, rng *rand.Rand) {
			for range 60 {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					t.Error(err)
					return
				}
				message := strings.Repeat("x", 1+rng.IntN(1<<17))
				go func() { _, _ = io.WriteString(conn, message) }()
				if rng.IntN(2) == 0 {
					_, _ = conn.Read(make([]byte, 100))
				}
				_ = conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
			}
		})
	})
}

// Peers that half-close and then neither read nor go away: the idle timeout and
// the linger bound end them all, though the peers do nothing.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	forEachInstance(t, func(t *testing.T, p *process, addr string) {
		var conns []*net.TCPConn
		var all sync.WaitGroup
		much := make([]byte, 8<<20) // fills every buffer; nobody reads
		for i := range 100 {
			conn := hosttest.Dial(t, addr)
			conns = append(conns, conn)
			all.Go(func() {
				if i%2 == 0 {
					_ = conn.SetReadBuffer(4096)
					_ = conn.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
					_, _ = conn.Write(much)
				}
				_ = conn.CloseWrite()
			})
		}
		all.Wait()
		p.until("only the good client is left", func(h holds) bool { return h.accepted >= warmUps+1+len(conns) && h.connections == 1 })
		for _, conn := range conns {
			conn.Close()
		}
	})
}

func TestTricklingClients(t *testing.T) {
	torn(t, "loop", func(t *testing.T, _ *process, addr string) {
		var conns []net.Conn
		for range 1000 {
			conns = append(conns, hosttest.Dial(t, addr))
		}
		for i := range 5 {
			for _, conn := range conns {
				hosttest.Say(t, conn, string(rune('a'+i)))
			}
		}
		for _, conn := range conns {
			hosttest.Hear(t, conn, "abcde")
			conn.Close()
		}
	})
}

// With 64 descriptors in all, a flood neither stops the daemon nor makes it
// spin, and when the flood is over it accepts again.
func TestFloodWithFewDescriptors(t *testing.T) {
	t.Parallel()
	p := startProcess(t, strings.Replace(echoConfig(t, "loop", ""), "[host]", "[host]\nconnections = 1000", 1), "BULKHEAD_TEST_NOFILE=64")
	addr := p.addrs["echo"]
	good := startGoodClient(t, addr)
	hosttest.Eventually(t, "the good client is served", func() bool { return good.rounds.Load() > 0 })
	before := p.holds("")
	var flood []net.Conn
	for range 300 {
		conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
		if err != nil {
			break // the backlog is full: as it should be
		}
		flood = append(flood, conn)
	}
	h := p.until("descriptors have run out", func(h holds) bool { return h.shortages > 0 })
	if h.fds > 64 {
		t.Errorf("%d descriptors", h.fds)
	}
	rounds := good.rounds.Load()
	hosttest.Eventually(t, "the good client is served during the flood", func() bool { return good.rounds.Load() > rounds+1000 })
	for _, conn := range flood {
		conn.Close()
	}
	after := hosttest.Dial(t, addr)
	hosttest.Say(t, after, "again")
	hosttest.Hear(t, after, "again")
	after.Close()
	good.end(t)
	p.until(fmt.Sprintf("the descriptors are back, %+v with the good client", before), func(h holds) bool { return h.connections == 0 && h.fds < before.fds })
	p.stop()
	if n := strings.Count(p.stderr.String(), "cannot accept connections"); n < 1 || n > 3 {
		t.Errorf("%d lines about the shortage; want a few:\n%s", n, p.stderr)
	}
}

// While no descriptor is free and no client does anything, the daemon sleeps.
func TestShortageDoesNotSpin(t *testing.T) {
	t.Parallel()
	p := startProcess(t, strings.Replace(echoConfig(t, "loop", `idle_timeout = "5m"`), "[host]", "[host]\nconnections = 1000", 1), "BULKHEAD_TEST_NOFILE=64")
	var flood []net.Conn
	for range 200 {
		conn, err := net.DialTimeout("tcp", p.addrs["echo"], 5*time.Second)
		if err != nil {
			break
		}
		flood = append(flood, conn)
	}
	defer func() {
		for _, conn := range flood {
			conn.Close()
		}
	}()
	h := p.until("descriptors have run out", func(h holds) bool { return h.shortages >= 5 })
	start := cpuTime(t, p.cmd.Process.Pid)
	p.until("some more attempts", func(now holds) bool { return now.shortages >= h.shortages+2 })
	if used := cpuTime(t, p.cmd.Process.Pid) - start; used > time.Second {
		t.Errorf("%v of CPU while there was nothing to do", used)
	}
}

// cpuTime is what a process has used, user and system.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	stat := strings.Fields(string(b))
	var user, system int64
	_, _ = fmt.Sscan(stat[13], &user)
	_, _ = fmt.Sscan(stat[14], &system)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// SIGTERM lets what is open come to its end; a second one does not wait.
func TestSignals(t *testing.T) {
	p := startProcess(t, strings.Replace(echoConfig(t, "loop", ""), "[host]", "[host]\ndrain = \"1m\"", 1))
	conn := hosttest.Dial(t, p.addrs["echo"])
	hosttest.Say(t, conn, "x")
	hosttest.Hear(t, conn, "x")
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	hosttest.Eventually(t, "no more is accepted", func() bool {
		c, err := net.Dial("tcp", p.addrs["echo"])
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	hosttest.Say(t, conn, "while it drains")
	hosttest.Hear(t, conn, "while it drains")
	conn.Close()
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
}
