package host_test

import (
	"fmt"
	"net"
	"sync"
	"syscall"
	"testing"

	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"
)

// Ten thousand connections are open and idle, then each echoes: nothing is
// lost, an idle one costs little, and goroutines do not grow with them.
func TestTenThousandConnections(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 3000
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if room := int(limit.Cur) - 200; room < n {
		t.Logf("RLIMIT_NOFILE leaves room for %d connections", room)
		n = room
	}
	p := startProcess(t, echoConfig(t, "loop", ""))
	warm := hosttest.Dial(t, p.addrs["echo"])
	hosttest.Say(t, warm, "x")
	hosttest.Hear(t, warm, "x")
	warm.Close()
	p.until("the warm-up is over", func(h holds) bool { return h.connections == 0 })
	empty := p.holds("gc")
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = hosttest.Dial(t, p.addrs["echo"])
	}
	p.until("all are open", func(h holds) bool { return h.connections == n })
	open := p.holds("gc")
	each := float64(open.rss-empty.rss) / float64(n)
	t.Logf("%d idle connections: %.0f bytes of RSS each, %d goroutines (%d without)", n, each, open.goroutines, empty.goroutines)
	if each > 2048 && !raceEnabled { // the detector keeps a shadow of all memory
		t.Errorf("an idle connection costs %.0f bytes of RSS; want 2048 at most", each)
	}
	if open.goroutines > empty.goroutines+10 {
		t.Errorf("goroutines grew from %d to %d", empty.goroutines, open.goroutines)
	}
	var wg sync.WaitGroup
	for part := range 8 {
		wg.Go(func() {
			for i := part; i < n; i += 8 {
				msg := fmt.Sprintf("message of connection %d", i)
				_ = conns[i].SetDeadline(awaittest.Deadline())
				if _, err := conns[i].Write([]byte(msg)); err != nil {
					t.Error(err)
					return
				}
				hosttest.HearOrError(t, conns[i], msg)
				conns[i].Close()
			}
		})
	}
	wg.Wait()
	p.until("all are gone", func(h holds) bool { return h.connections == 0 && h.fds <= empty.fds })
	p.stop()
}
