package zoo

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"
)

// patience is how long anything at all may take. It is not what a neighbour
// feels, which bench measures, but the difference to one that is stuck. On a machine ten times
// slower whose cores twenty others want, seconds pass with nobody stuck.
const patience = 45 * time.Second

// spin is the event_timeout of an animal that says nothing of it. It is many slices and turns of a
// loop long, and most of what the zoo takes is spent by guests that use it up.
var spin = func() time.Duration {
	if raceEnabled { // with which what guests call takes some times as long
		return 50 * time.Millisecond
	}
	return 10 * time.Millisecond
}()

// lineup is the configuration of a host with a neighbour and some animals, each a
// tenant of its own.
type lineup struct {
	t     testing.TB
	dir   string
	loops int
	toml  strings.Builder
}

func newLineup(t testing.TB, loops int) *lineup {
	echo, err := filepath.Abs("../../examples/echo/echo.wasm")
	if err != nil {
		t.Fatal(err)
	}
	l := &lineup{t: t, dir: t.TempDir(), loops: loops}
	fmt.Fprintf(&l.toml, `
[host]
state = %q
loops = %d
drain = "2s"
[tenant.neighbour]
[[listener]]
name = "neighbour"
tenant = "neighbour"
address = "tcp://127.0.0.1:0"
plugin = %q
instance = "loop"
`, hosttest.State(), loops, echo)
	return l
}

// add takes an animal in under a name.
func (l *lineup) add(a *animal, name, mode string) {
	l.t.Helper()
	path := filepath.Join(l.dir, name+".wasm")
	if err := os.WriteFile(path, a.guest(), 0o600); err != nil {
		l.t.Fatal(err)
	}
	kind := fmt.Sprintf("instance = %q", mode)
	if mode == "stdio" {
		kind = `shape = "stdio"`
	}
	tenant := a.tenant
	if !strings.Contains(tenant, "memory =") {
		tenant += "\nmemory = \"4MiB\""
	}
	listener := a.listener
	if !strings.Contains(listener, "event_timeout =") {
		listener += fmt.Sprintf("\nevent_timeout = %q", spin)
	}
	// Many animals hear nothing from their client, and on a busy machine it may take minutes until
	// they have used up what stops them.
	listener += "\nfirst_byte_timeout = \"0s\""
	if !strings.Contains(listener, "idle_timeout =") {
		listener += "\nidle_timeout = \"1h\""
	}
	fmt.Fprintf(&l.toml, `
[tenant.%s]
accept_rate = 10000
%s
[[listener]]
name = %q
tenant = %q
address = "tcp://127.0.0.1:0"
plugin = %q
%s
%s
`, name, tenant, name, name, path, kind, listener)
}

// state is what the zoo knows of one animal at a time.
type state struct {
	host.TenantStats
	host.ListenerStats
}

// find picks one tenant, which has one listener of the same name.
func find(st host.Stats, name string) (s state) {
	for _, t := range st.Tenants {
		if t.Name == name {
			s.TenantStats = t
		}
	}
	for _, l := range st.Listeners {
		if l.Name == name {
			s.ListenerStats = l
		}
	}
	return s
}

// cage is one animal in a host that runs.
type cage struct {
	t      *testing.T
	animal *animal
	mode   string
	name   string // its tenant's and its listener's
	addr   string
	look   func(began time.Time) state // what is so, or was at some time after began
	log    func() string               // the lines about it
	before state
	open   []net.Conn
}

// now is what is known of the animal now.
func (c *cage) now() state { return c.look(time.Now()) }

// dial connects to the animal.
func (c *cage) dial() *net.TCPConn {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		c.t.Fatal(err)
	}
	_ = conn.SetDeadline(awaittest.Deadline())
	c.open = append(c.open, conn)
	return conn.(*net.TCPConn)
}

// tame connects, and finds the animal still at peace.
func (c *cage) tame() *net.TCPConn {
	c.t.Helper()
	conn := c.dial()
	hosttest.Say(c.t, conn, "tame")
	hosttest.Hear(c.t, conn, "tame")
	return conn
}

// served hears what a client has said, when there is room for it at last. The host lets it wait for
// ten seconds. Where the machine is so busy that they were over before the room was made, another
// client is served instead.
func (c *cage) served(conn net.Conn, said string, since time.Time) {
	c.t.Helper()
	have := make([]byte, len(said))
	_, err := io.ReadFull(conn, have)
	if errors.Is(err, syscall.ECONNRESET) && time.Since(since) > 9*time.Second {
		c.t.Logf("a client was given up after %v", time.Since(since))
		conn = c.dial()
		hosttest.Say(c.t, conn, said)
		hosttest.Hear(c.t, conn, said)
		return
	}
	if err != nil || string(have) != said {
		c.t.Fatalf("heard %q, %v; want %q", have, err, said)
	}
}

// ends reads to the end of a connection, whichever way it comes, and returns
// how many bytes came before.
func (c *cage) ends(conn net.Conn) int64 {
	c.t.Helper()
	n, err := io.Copy(io.Discard, conn)
	if e, ok := err.(net.Error); ok && e.Timeout() {
		c.t.Fatalf("the connection does not end\n%s", c.log())
	}
	return n
}

// until waits for the animal's state to be as cond wants it.
func (c *cage) until(what string, cond func(now state) bool) {
	c.t.Helper()
	began := time.Now()
	deadline := began.Add(awaittest.Longest) // all animals share the cores
	// To look is to gather the figures of a hundred tenants. Who did so every other millisecond
	// took the processor from what is waited for.
	for pause := time.Millisecond; ; pause = min(2*pause, 16*time.Millisecond) {
		now := c.look(began)
		if cond(now) {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("never: %s; it is %+v, and was %+v\n%s", what, now, c.before, c.log())
		}
		time.Sleep(pause)
	}
}

// handsOff closes the connections.
func (c *cage) handsOff() {
	for _, conn := range c.open {
		conn.Close()
	}
}

// leavesNothing waits until nothing of the connections is left.
func (c *cage) leavesNothing() {
	c.t.Helper()
	c.until("all is as it was", func(now state) bool {
		b := &c.before
		return now.Connections == 0 && now.BackgroundRunning == 0 && now.Timers == b.Timers &&
			now.Memory == b.Memory && now.TenantStats.Instances == b.TenantStats.Instances &&
			now.ListenerStats.Instances == b.ListenerStats.Instances
	})
}

// bait lets clients set the animal off, one after another, and then wants the next to be served.
// Where they share an instance one does, since the wait for the next instance gets longer each
// time.
func bait(c *cage) {
	n := *baits
	if c.mode != "connection" {
		n = 1
	}
	for range n {
		conn := c.tame()
		hosttest.Say(c.t, conn, "!")
		c.ends(conn)
	}
	c.tame()
}

// run provokes the animal and wants its fate, and nothing left of it.
func (c *cage) run() {
	c.t.Helper()
	c.provoke()
	c.leavesNothing()
}

// provoke sets the animal off and wants its fate.
func (c *cage) provoke() {
	c.t.Helper()
	defer c.handsOff()
	c.before = c.now()
	if c.animal.provoke != nil {
		c.animal.provoke(c)
	} else {
		bait(c)
	}
	if counted := c.animal.counted; counted != nil {
		c.until("its counter has risen", func(now state) bool {
			return counted(now.TenantStats, now.ListenerStats) > counted(c.before.TenantStats, c.before.ListenerStats)
		})
	}
	if c.animal.said != "" {
		said := regexp.MustCompile(c.animal.said)
		c.until("the log says "+c.animal.said, func(state) bool { return said.MatchString(c.log()) })
	}
}

// neighbours are clients of the neighbour, one on each loop, that talk all the
// time.
type neighbours struct {
	rounds []atomic.Int64
	worst  []atomic.Int64 // ns
	failed atomic.Pointer[error]
	stop   chan struct{}
	once   sync.Once
	all    sync.WaitGroup
}

// pace is how often each neighbour says something. Without it they would want a
// core to themselves, and every millisecond took a tenth of all that the zoo takes.
const pace = 4 * time.Millisecond

func meetNeighbours(t testing.TB, addr string, loops int) *neighbours {
	t.Helper()
	n := &neighbours{rounds: make([]atomic.Int64, loops), worst: make([]atomic.Int64, loops), stop: make(chan struct{})}
	for i := range loops {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		n.all.Go(func() {
			defer conn.Close()
			if err := n.talk(conn, i); err != nil {
				err = fmt.Errorf("neighbour %d after %d round trips: %w", i, n.rounds[i].Load(), err)
				n.failed.Store(&err)
			}
		})
	}
	n.more(t)
	return n
}

func (n *neighbours) talk(conn net.Conn, i int) error {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	message, back := make([]byte, 64), make([]byte, 64)
	for {
		select {
		case <-n.stop:
			return nil
		case <-tick.C:
		}
		began := time.Now()
		_ = conn.SetDeadline(began.Add(patience))
		if _, err := conn.Write(message); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, back); err != nil {
			return err
		}
		n.worst[i].Store(max(n.worst[i].Load(), int64(time.Since(began))))
		n.rounds[i].Add(1)
	}
}

// more waits until each neighbour has been answered three times more.
func (n *neighbours) more(t testing.TB) {
	t.Helper()
	for i := range n.rounds {
		from := n.rounds[i].Load()
		hosttest.Eventually(t, "the neighbours are served", func() bool {
			return n.rounds[i].Load() >= from+3 || n.failed.Load() != nil
		})
	}
	if err := n.failed.Load(); err != nil {
		t.Fatal(*err)
	}
}

// leave ends their talk, once, and returns the longest round trip.
func (n *neighbours) leave(t testing.TB) time.Duration {
	t.Helper()
	n.once.Do(func() { close(n.stop) })
	n.all.Wait()
	if err := n.failed.Swap(nil); err != nil {
		t.Error(*err)
	}
	var worst int64
	for i := range n.worst {
		worst = max(worst, n.worst[i].Load())
	}
	return time.Duration(worst)
}

// book is a log that can be looked at while it is written.
type book struct {
	mu sync.Mutex
	b  strings.Builder
}

// Write adds to the book.
func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// about are the lines about one tenant.
func (b *book) about(tenant string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var lines strings.Builder
	for line := range strings.Lines(b.b.String()) {
		if strings.Contains(line, " tenant="+tenant+" ") {
			lines.WriteString(line)
		}
	}
	return lines.String()
}

// String is all of it.
func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// end is the last of it, where a crash would be.
func (b *book) end() string {
	s := b.String()
	return s[max(0, len(s)-8<<10):]
}
