package host_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/handover"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"

	"golang.org/x/sys/unix"
)

// counts is a handler that keeps state in its instance and in its connection, and leaves what is no
// whole line unconsumed.
const counts = `
let lines = 0, all = "";
export default {
  line(c, text) {
    c.mine = (c.mine || 0) + text.length;
    all += text;
    c.send(` + "`${++lines} ${c.mine} ${text} ${all.length}\\n`" + `);
  },
};
`

// pair is a pair of sockets as a supervisor gives them to two workers.
func pair(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ends := make([]*net.UnixConn, 2)
	for n, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ends[n] = c.(*net.UnixConn)
		t.Cleanup(func() { _ = c.Close() })
	}
	return ends[0], ends[1]
}

// movers is a configuration of hosts that hand their connections on.
func movers(t testing.TB, more string) string {
	t.Helper()
	script := filepath.Join(t.TempDir(), "counts.js")
	if err := os.WriteFile(script, []byte(counts), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`
[host]
state = %q
loops = 2
[tenant.acme]
connections = 5000
accept_rate = 100000
memory = "512MiB"
cpu = 2
instances = 5000
[[listener]]
name = "counts"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
%s`, hosttest.State(), script, more)
}

// moves hands all connections of one host to another, and waits until that is over.
func moves(t *testing.T, from, to *host.Host, o host.HandOverOptions) (host.HandOverReport, error, error) {
	t.Helper()
	a, b := pair(t)
	var took error
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, took = to.TakeOver(t.Context(), b, o)
		_ = b.Close()
	}()
	r, gave := from.HandOver(t.Context(), a, o)
	_ = a.Close()
	<-done
	return r, gave, took
}

// Connections whose clients talk all the while go from host to host, with the state of their
// instances, and not a byte is lost, doubled or wrong.
func TestConnectionsMove(t *testing.T) {
	clients, hops := 60, 4
	toml := movers(t, "")
	first := hosttest.Serve(t, toml, host.Options{})
	var wg sync.WaitGroup
	var over atomic.Bool
	said := make([]int, clients)
	for k := range clients {
		conn := hosttest.Dial(t, first.Addr("counts"))
		wg.Go(func() {
			defer conn.Close()
			in := bufio.NewReader(conn)
			mine := 0
			for n := 1; !over.Load() || n < 10; n++ {
				text := fmt.Sprintf("%d-%d", k, n)
				mine += len(text)
				half := len(text) / 2
				_ = conn.SetDeadline(awaittest.Deadline())
				_, _ = conn.Write([]byte(text[:half]))
				if n%3 == 0 {
					time.Sleep(time.Millisecond) // so that it is moved in the middle of a line
				}
				_, _ = conn.Write([]byte(text[half:] + "\n"))
				got, err := in.ReadString('\n')
				if want := fmt.Sprintf("%d %d %s %d\n", n, mine, text, mine); err != nil || got != want {
					t.Errorf("connection %d got %q, %v; want %q", k, got, err, want)
					return
				}
				said[k] = n
			}
		})
	}
	hosttest.Eventually(t, "all are open", func() bool { return int(first.Stats().Connections) == clients })
	at := first
	for hop := range hops {
		next := hosttest.Serve(t, toml, host.Options{})
		r, gave, took := moves(t, at, next, host.HandOverOptions{Options: handover.Options{Guard: 50 * time.Millisecond}})
		if gave != nil || took != nil || r.Given != clients || r.Lost+r.Returned+r.Refused > 0 || len(r.Stayed) > 0 {
			t.Errorf("hop %d: %+v, %v, %v", hop, r, gave, took)
		}
		t.Logf("hop %d: %d connections, still for %v on average and %v at most", hop, r.Given, r.Total/time.Duration(max(r.Given, 1)), r.Longest)
		if n := at.Stats().Connections; n != 0 {
			t.Errorf("hop %d: %d connections are left behind", hop, n)
		}
		at = next
	}
	over.Store(true)
	wg.Wait()
	for k, n := range said {
		if n < 10 {
			t.Errorf("connection %d has said %d lines", k, n)
		}
	}
}

