package host_test

import (
	"bufio"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"
)

var chatMembers = flag.Int("members", 200, "how many TestHalfOfAChatVanishes has; 100 at most with -short or the race detector")

// Half of a chat vanishes at once: each of the others is told of each that has gone, and is
// still there afterwards. An event then sends to hundreds of connections, which is too long for a
// call on a loop and goes on in the background.
func TestHalfOfAChatVanishes(t *testing.T) {
	all := *chatMembers
	if raceEnabled || testing.Short() {
		all = min(all, 100)
	}
	plugin, err := filepath.Abs("../examples/chat/chat.wasm")
	if err != nil {
		t.Fatal(err)
	}
	h := hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
[tenant.acme]
memory = "64MiB"
[[listener]]
name = "chat"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
instance = "listener"
`, hosttest.State(), plugin), host.Options{})

	type member struct {
		lines *bufio.Reader
		leave func()
	}
	deadline := awaittest.Deadline() // of all of it
	members := make([]member, all)
	for n := range members {
		c := hosttest.Dial(t, h.Addr("chat"))
		if err := c.SetDeadline(deadline); err != nil {
			t.Fatal(err)
		}
		members[n] = member{bufio.NewReader(c), func() {
			_ = c.SetLinger(0)
			_ = c.Close()
		}}
		hosttest.Say(t, c, fmt.Sprintf("m%d\n", n))
		hears := func(text string) {
			for {
				line, err := members[n].lines.ReadString('\n')
				if err != nil {
					t.Fatalf("member %d waits for %q: %v", n, text, err)
				}
				if strings.Contains(line, text) {
					return
				}
			}
		}
		hears("you are in lobby")
	}
	leaving, stay := members[:all/2], members[all/2:]
	began := time.Now()
	for _, m := range leaving {
		m.leave()
	}
	var told sync.WaitGroup
	for n, m := range stay {
		told.Go(func() {
			gone := make(map[string]bool)
			for len(gone) < len(leaving) {
				line, err := m.lines.ReadString('\n')
				if err != nil {
					t.Errorf("member %d has heard of %d of %d: %v", all/2+n, len(gone), len(leaving), err)
					return
				}
				if who, ok := strings.CutSuffix(line, " left\n"); ok {
					gone[who] = true
				}
			}
		})
	}
	told.Wait()
	t.Logf("%d were told of %d after %v", len(stay), len(leaving), time.Since(began).Round(time.Millisecond))
	if n := h.Stats().Connections; n != len(stay) {
		t.Errorf("there are %d connections; want %d", n, len(stay))
	}
}
