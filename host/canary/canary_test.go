package canary

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"
	"bulkhead/selector"
)

// connections is how many the test of all ways makes; the claim is proved by a million
// of them under the race detector.
var connections = flag.Int("connections", 5_000, "connections that TestEveryWayToEnd makes")

// site is a listener of the guest's.
type site struct {
	name    string
	weight  int // of the connections
	kind    kind
	plain   bool
	network string
	more    string // lines of its table
	address string // once it is served
}

// sites are where connections go in all ways.
func sites() []*site {
	return []*site{
		{name: "data", weight: 30, network: "unix"},
		{name: "reseed", weight: 35, network: "unix", kind: kind{reseeds: true}},
		{name: "open", weight: 15, network: "unix", kind: kind{opens: true}},
		{name: "tcp", weight: 18, network: "tcp", kind: kind{reseeds: true}},
		{name: "plain", weight: 2, network: "unix", kind: kind{reseeds: true}, plain: true},
	}
}

// write adds the sites to a configuration, of one tenant, and their guests to a folder.
func write(t testing.TB, dir, tenant string, all ...*site) string {
	t.Helper()
	var toml strings.Builder
	for _, s := range all {
		s.plain = s.plain || runtime.GOOS != "linux"
		plugin := filepath.Join(dir, s.name+".wasm")
		if err := os.WriteFile(plugin, s.kind.guest(), 0o600); err != nil {
			t.Fatal(err)
		}
		address := "tcp://127.0.0.1:0"
		if s.network == "unix" {
			s.address = filepath.Join(dir, s.name)
			address = "unix://" + s.address
		}
		fmt.Fprintf(&toml, `
[[listener]]
name = %q
tenant = %q
address = %q
plugin = %q
snapshot = %v
inbox = "1MiB"
%s
`, s.name, tenant, address, plugin, !s.plain, s.more)
	}
	return toml.String()
}

// roomy is a tenant whose limits nobody meets, but for the stack's.
func roomy(name string) string {
	return fmt.Sprintf(`
[tenant.%s]
memory = "2GiB"
cpu = 1024
stack = "256KiB"
connections = 10000
accept_rate = 1000000
bandwidth = "100GiB/s"
`, name)
}

func hostTable(loops int) string {
	return fmt.Sprintf("[host]\nstate = %q\nloops = %d\ndrain = \"5s\"\n", hosttest.State(), loops)
}

// shortFolder is one whose path is short enough for the address of a socket.
func shortFolder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "canary")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// bugs is a log that keeps what should never be said, and the last lines but those of
// connections that ended as their clients or handlers wished.
type bugs struct {
	mu    sync.Mutex
	lines []string
	odd   []string
}

// Enabled is for all levels.
func (*bugs) Enabled(context.Context, slog.Level) bool { return true }

// Handle keeps a line about a bug.
func (b *bugs) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	b.mu.Lock()
	defer b.mu.Unlock()
	if strings.Contains(line, "bug in the host") || strings.Contains(line, "panic") {
		b.lines = append(b.lines, line)
	}
	if r.Level > slog.LevelDebug || !strings.Contains(line, "code=OK") && !strings.Contains(line, "code=RESET") {
		b.odd = append(b.odd[max(0, len(b.odd)-99):], line)
	}
	return nil
}

// WithAttrs is the same log.
func (b *bugs) WithAttrs([]slog.Attr) slog.Handler { return b }

// WithGroup is the same log.
func (b *bugs) WithGroup(string) slog.Handler { return b }

// none fails the test for each bug.
func (b *bugs) none(t *testing.T) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range b.lines {
		t.Errorf("the log says %q", line)
	}
	if t.Failed() {
		t.Logf("the log ends with\n%s", strings.Join(b.odd, "\n"))
	}
}

// crowd makes connections from many clients at once, until there were enough or
// something is wrong.
type crowd struct {
	t      *testing.T
	left   atomic.Int64
	failed atomic.Bool
	all    sync.WaitGroup
	mu     sync.Mutex
	ended  map[string]int // by the name of the way
}

func (c *crowd) fail(err error) {
	if !c.failed.Swap(true) {
		c.t.Error(err)
	}
}

// client makes one visit after another, which say in which way they end.
func (c *crowd) client(seed uint64, visit func(*rand.Rand) (way string, err error)) {
	c.all.Go(func() {
		rng := rand.New(rand.NewPCG(seed, 11))
		ended := make(map[string]int)
		for !c.failed.Load() && c.left.Add(-1) >= 0 {
			way, err := visit(rng)
			if err != nil {
				c.fail(err)
				return
			}
			ended[way]++
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for name, n := range ended {
			c.ended[name] += n
		}
	})
}

// run is a client of some sites, who ends in some ways.
func (c *crowd) run(seed uint64, sites []*site, ways []way) {
	var last uint64 // the last random number of csa_reseed
	c.client(seed, func(rng *rand.Rand) (string, error) {
		s := pick(rng, sites, func(s *site) int { return s.weight })
		way := pick(rng, ways, func(w way) int { return w.weight })
		v, err := visit(s, rng, &way)
		if err == nil && v.nonce != 0 && v.nonce == last {
			err = fmt.Errorf("%w: two instances have drawn the same random number %#x", errLeak, last)
		}
		if err != nil {
			return "", fmt.Errorf("listener %s: %w", s.name, err)
		}
		last = v.nonce
		return way.name, nil
	})
}

// pick chooses by weight.
func pick[T any](rng *rand.Rand, of []T, weight func(T) int) T {
	sum := 0
	for _, v := range of {
		sum += weight(v)
	}
	n := rng.IntN(sum)
	for _, v := range of {
		if n -= weight(v); n < 0 {
			return v
		}
	}
	panic("weights that change")
}

// clients is how many are at it at a time.
const clients = 32

// Connections end in every way, on copies of snapshots that are used over and over, and
// nobody finds anything of another's. In the end nothing is left of them.
func TestEveryWayToEnd(t *testing.T) {
	dir := shortFolder(t)
	all := sites()
	idle := &site{name: "idle", network: "unix", weight: 1, kind: kind{reseeds: true}, more: `idle_timeout = "150ms"`}
	busy := &site{name: "busy", network: "unix", weight: 1, more: `event_timeout = "20ms"`}
	tight := &site{name: "tight", network: "unix", weight: 1}
	golang := filepath.Join(dir, "chat")
	log := &bugs{}
	clock := startClock(t)
	h := hosttest.Serve(t, hostTable(2)+roomy("roomy")+write(t, dir, "roomy", append(slices.Clone(all), idle, busy)...)+
		strings.Replace(roomy("tight"), "2GiB", "1100KiB", 1)+write(t, dir, "tight", tight)+chatRoom(t, golang),
		host.Options{Log: slog.New(log), Clock: &clock.Manual})
	for _, s := range all {
		if s.network == "tcp" {
			s.address = h.Addr(s.name)
		}
	}

	before := atRest(t, h, all)

	began := time.Now()
	c := &crowd{t: t, ended: make(map[string]int)}
	c.left.Store(int64(*connections))
	for n := range clients {
		c.run(uint64(100+n), all, ways())
	}
	beside := c.beside()
	for n := range 2 {
		beside.client(uint64(400+n), func(rng *rand.Rand) (string, error) { return "chat", chat(golang, rng) })
	}
	beside.run(200, []*site{idle}, []way{{"idle_timeout", 1, ended(0, 0)}})
	beside.run(201, []*site{idle}, []way{{"idle_timeout", 1, ended(0, 0)}})
	beside.run(202, []*site{busy}, []way{{"event_timeout", 1, ended(doSpin, longer)}, {"event_timeout in csa_closed", 1, ended(doSpinClosed, longer)}})
	for n := range 3 {
		beside.run(uint64(300+n), []*site{tight}, []way{{"the tenant's memory", 1, crowded}})
	}
	c.all.Wait()
	beside.end()
	took := time.Since(began)
	traps := make(map[string]string)
	for _, l := range h.Stats().Listeners {
		traps[l.Name] = fmt.Sprintf("%d accepted, %d traps, %d stopped, %d refused", l.Accepted, l.Traps, l.LimitStops, l.Refused)
	}
	t.Logf("%d connections in %v; ends: %v, %v; listeners: %v", visits.Load(), took.Round(time.Second/10), c.ended, beside.ended, traps)
	for _, way := range ways() {
		if c.ended[way.name] == 0 && !c.failed.Load() {
			t.Errorf("nobody has ended by %s", way.name)
		}
	}
	if len(beside.ended) != 5 && !beside.failed.Load() {
		t.Errorf("only some of those beside have ended: %v", beside.ended)
	}
	log.none(t)
	clock.speed.Store(20) // nobody is there any more whom that could cut off
	settled(t, h, before)
}

// beside is a crowd that goes on for as long as another does.
func (c *crowd) beside() *crowd {
	b := &crowd{t: c.t, ended: make(map[string]int)}
	b.left.Store(1 << 60)
	return b
}

func (c *crowd) end() {
	c.left.Store(0)
	c.all.Wait()
}

// ended asks for something if do is not 0, and waits for the host to end it. On a busy
// machine that may come earlier than the first report. wait keeps the client from
// taking all of the machine for it.
func ended(do int, wait time.Duration) func(*visitor) error {
	return func(v *visitor) error {
		defer time.Sleep(wait)
		err := v.stain()
		if err == nil {
			err = v.hear()
		}
		if err != nil {
			return leak(err)
		}
		if do != 0 {
			if err := v.say(do, 0, 1); err != nil {
				return nil
			}
		}
		b, err := v.toEnd(reportSize)
		if err != nil {
			return err
		}
		return v.mine(b)
	}
}

// longer is how long a client does nothing that has had the host spin.
const longer = 100 * time.Millisecond

// leak is an error that says so, where others are to be expected.
func leak(err error) error {
	if errors.Is(err, errLeak) {
		return err
	}
	return nil
}

// crowded writes to more memory than its tenant has for all that are at it, so that
// it may be stopped at any time, or not be served.
func crowded(v *visitor) error {
	v.poor = true
	wishes := allPages
	if v.rng.IntN(2) == 0 {
		wishes |= 1 + v.rng.IntN(mostGrow)
	}
	err := v.say(doStain, wishes, 1+v.rng.IntN(100))
	if err == nil {
		err = v.hear()
	}
	for err == nil && v.rng.IntN(3) > 0 {
		if err = v.say(doCheck, 0, 1); err == nil {
			err = v.hear()
		}
	}
	return leak(err)
}

// clock goes as the system's does, or some times as fast: pools let go of what they have within
// seconds.
type clock struct {
	selector.Manual
	speed atomic.Int64
}

// startClock starts one, which goes until the test is over.
func startClock(t *testing.T) *clock {
	c := &clock{}
	c.speed.Store(1)
	stop, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for last := time.Now(); ; {
			select {
			case <-stop:
				return
			case now := <-tick.C:
				c.Advance(now.Sub(last) * time.Duration(c.speed.Load()))
				last = now
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-gone }) // after the host's, which waits by it
	return c
}

// holdings are what a host at rest has, and this process with it.
type holdings struct {
	goroutines  int
	descriptors int
	copies      int // mappings of snapshots
	mappings    int // in all
	memory      [3]int64
}

func held(h *host.Host) (has holdings, busy bool) {
	st := h.Stats()
	for n, t := range st.Tenants {
		has.memory[n] = t.Memory
		busy = busy || t.Instances != 0 || t.Timers != 0 || t.BackgroundRunning != 0
	}
	busy = busy || st.Connections != 0
	here := process()
	here.memory = has.memory
	return here, busy
}

// process is what this process has.
func process() (has holdings) {
	has.goroutines = runtime.NumGoroutine()
	list, _ := os.ReadDir("/proc/self/fd")
	has.descriptors = len(list)
	maps, _ := os.ReadFile("/proc/self/maps")
	for line := range strings.Lines(string(maps)) {
		has.mappings++
		if strings.Contains(line, "memfd:bulkhead-snapshot") {
			has.copies++
		}
	}
	return has
}

// moreMappings is what Go's heap and threads may take in the meantime, which is more the
// longer it lasts. It is less than a thousandth of what the connections would leave, if
// they left any.
func moreMappings() int { return max(100, *connections/2000) }

// atRest is what a host has that has not served anybody, but for what each loop makes
// when it first does, and keeps for good.
func atRest(t *testing.T, h *host.Host, sites []*site) holdings {
	t.Helper()
	fresh, _ := held(h)
	warm := &crowd{t: t, ended: make(map[string]int)}
	warm.left.Store(10 * clients)
	for n := range clients {
		warm.run(uint64(n), sites, ways())
	}
	warm.all.Wait()
	var last holdings
	hosttest.Eventually(t, "the warm-up is over", func() bool {
		now, busy := held(h)
		steady := !busy && now.goroutines == last.goroutines && now.descriptors == last.descriptors
		last = now
		return steady
	})
	last.memory, last.copies = fresh.memory, fresh.copies
	t.Logf("at rest it has %+v", last)
	return last
}

// settled waits until the host has nothing that belongs to a connection, and no more
// than before; pools let go of what nobody uses by and by.
func settled(t *testing.T, h *host.Host, before holdings) {
	t.Helper()
	for deadline := awaittest.Deadline(); ; time.Sleep(10 * time.Millisecond) {
		now, busy := held(h)
		if !busy && now.memory == before.memory && now.copies <= before.copies && now.goroutines <= before.goroutines &&
			now.descriptors <= before.descriptors && now.mappings <= before.mappings+moreMappings() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it never comes to rest: it has %+v, and before it was %+v; %+v", now, before, h.Stats())
		}
	}
}
