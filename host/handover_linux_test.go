package host_test

import (
	"bufio"
	"errors"
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
	"bulkhead/internal/pairtest"
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
	o.Patience = time.Minute
	if o.Retry == 0 {
		o.Retry = time.Minute
	}
	a, b := pairtest.Packets(t)
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

// Whatever goes wrong at whatever step, connections whose clients are silent meanwhile are served
// afterwards as if nothing had been, by the old host: the new one dies, or is left.
func TestMovingFailsAtEachStep(t *testing.T) {
	const clients = 12
	toml := movers(t, "")
	first := hosttest.Serve(t, toml, host.Options{})
	conns := make([]*net.TCPConn, clients)
	for k := range conns {
		conns[k] = hosttest.Dial(t, first.Addr("counts"))
		hosttest.Say(t, conns[k], "one\nt")
		hosttest.Hear(t, conns[k], "1 3 one 3\n")
	}
	lines, mine := 1, 3
	for _, step := range handover.Steps {
		t.Run(string(step), func(t *testing.T) {
			next := hosttest.Serve(t, toml, host.Options{})
			fails := handover.Options{Batch: 5, Patience: time.Minute, Step: func(s handover.Step) error {
				if s == step {
					return errors.New("the test says so")
				}
				return nil
			}}
			a, b := pairtest.Packets(t)
			var took error
			done := make(chan struct{})
			give, take := host.HandOverOptions{Options: handover.Options{Batch: 5, Patience: time.Minute, Guard: time.Hour}}, host.HandOverOptions{}
			if step[0] == 't' {
				take.Options = fails
			} else {
				fails.Guard = time.Hour
				give.Options = fails
			}
			go func() {
				defer close(done)
				take.Patience = time.Minute
				_, took = next.TakeOver(t.Context(), b, take)
				_ = b.Close() // as it would if the process died
			}()
			r, gave := first.HandOver(t.Context(), a, give)
			_ = a.Close()
			<-done
			if gave == nil || took == nil || r.Lost > 0 || r.Given > 0 {
				t.Errorf("%+v, %v, %v", r, gave, took)
			}
			if n := first.Stats().Connections; int(n) != clients {
				t.Errorf("%d connections are left", n)
			}
			lines, mine = lines+1, mine+len("two")
			for _, c := range conns {
				hosttest.Say(t, c, "wo\nt")
			}
			for _, c := range conns {
				hosttest.Hear(t, c, fmt.Sprintf("%d %d two %d\n", lines, mine, mine))
			}
		})
	}
}

// A host that dies when it has touched some connections takes those with it, and their clients see
// a reset; the others go on in the old one.
func TestTouchedConnectionsAreLost(t *testing.T) {
	toml := movers(t, "")
	first := hosttest.Serve(t, toml, host.Options{})
	next := hosttest.Serve(t, toml, host.Options{})
	talks, silent := hosttest.Dial(t, first.Addr("counts")), hosttest.Dial(t, first.Addr("counts"))
	for _, c := range []*net.TCPConn{talks, silent} {
		hosttest.Say(t, c, "one\n")
		hosttest.Hear(t, c, "1 3 one 3\n")
	}
	a, b := pairtest.Packets(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = next.TakeOver(t.Context(), b, host.HandOverOptions{Options: handover.Options{Patience: time.Minute}})
	}()
	guards := make(chan struct{})
	var r host.HandOverReport
	var gave error
	over := make(chan struct{})
	go func() {
		defer close(over)
		r, gave = first.HandOver(t.Context(), a, host.HandOverOptions{Options: handover.Options{Guard: time.Hour, Patience: time.Minute, Step: func(s handover.Step) error {
			if s == handover.GiveGuard {
				close(guards)
			}
			return nil
		}}})
	}()
	<-guards
	hosttest.Say(t, talks, "two\n")
	hosttest.Hear(t, talks, "2 6 two 6\n")
	_ = b.Close()
	<-done
	<-over
	if gave == nil || r.Returned != 1 || r.Given+r.Lost != 1 {
		t.Errorf("%+v, %v", r, gave)
	}
	hosttest.Say(t, silent, "two\n")
	hosttest.Hear(t, silent, "2 6 two 6\n")
}

// What cannot go stays, and goes on: a program, a handler in Go, a connection that its plugin's
// state does not fit, and one whose listener the other host does not have.
func TestWhatStays(t *testing.T) {
	rot13, err := filepath.Abs("../examples/rot13-stdio/rot13.wasm")
	if err != nil {
		t.Fatal(err)
	}
	listener := func(name, plugin, more string) string {
		return fmt.Sprintf("[[listener]]\nname = %q\ntenant = \"acme\"\naddress = \"tcp://127.0.0.1:0\"\nplugin = %q\n%s", name, plugin, more)
	}
	other := filepath.Join(t.TempDir(), "other.js")
	if err := os.WriteFile(other, []byte("export default { line(c, text) { c.send(text + '!\\n') } }"), 0o600); err != nil {
		t.Fatal(err)
	}
	changed := filepath.Join(t.TempDir(), "changed.js")
	if err := os.WriteFile(changed, []byte("export default { line(c, text) { c.send(text + '?\\n') } }"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := movers(t, listener("program", rot13, "shape = \"stdio\"\n")+listener("gone", other, "")+listener("changed", other, "")+
		listener("shared", other, "instance = \"listener\"\n"))
	first := hosttest.Serve(t, old, host.Options{})
	next := hosttest.Serve(t, movers(t, listener("changed", changed, "")), host.Options{})
	said := map[string]string{"program": "uryyb\n", "gone": "hello!\n", "changed": "hello!\n", "shared": "hello!\n"}
	conns := make(map[string]*net.TCPConn)
	for name, want := range said {
		conns[name] = hosttest.Dial(t, first.Addr(name))
		hosttest.Say(t, conns[name], "hello\n")
		hosttest.Hear(t, conns[name], want)
	}
	r, gave, took := moves(t, first, next, host.HandOverOptions{Options: handover.Options{Guard: -1}, Retry: -1})
	if gave != nil || took != nil || r.Given != 0 || r.Refused != 2 || r.ImagesRefused != 2 || len(r.Stayed) != 1 {
		t.Errorf("%+v, %v, %v", r, gave, took)
	}
	for name, want := range said {
		hosttest.Say(t, conns[name], "hello\n")
		hosttest.Hear(t, conns[name], want)
	}
}
