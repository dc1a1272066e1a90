package host_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
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
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
	"bulkhead/selector"
)

// tally answers each piece of data with its letter, and the next of 0, 1, 2, ... of its instance.
func tally(letter byte) *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"})
	const count, answer = 64, 128
	m.Data(answer, string(letter))
	m.Func("csa_data", "ii:i", "",
		w.I32Const(answer), w.I32Const(count), w.I32Load(0), w.I32Const('0'), w.I32Add, w.I32Store8(1),
		w.I32Const(count), w.I32Const(count), w.I32Load(0), w.I32Const(1), w.I32Add, w.I32Store(0),
		w.LocalGet(0), w.I32Const(answer), w.I32Const(2), w.Call(f[0]), w.Drop, w.LocalGet(1))
	return m
}

// trapsAtStart is a plugin whose first call traps.
func trapsAtStart() *w.Module {
	m, _ := w.Handler()
	m.Func("csa_start", ":i", "", w.Unreachable)
	m.Func("csa_data", "ii:i", "", w.LocalGet(1))
	return m
}

// lives is a host whose configuration is reloaded, with files in a folder of the test's.
type lives struct {
	t     *testing.T
	dir   string
	state string // its folder; empty: the one of all tests
	h     *host.Host
}

// write makes a file of the folder.
func (l *lives) write(name string, content []byte) {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		l.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lives) load(toml string) (*config.Config, error) {
	l.write("host.toml", []byte(fmt.Sprintf("[host]\nstate = %q\nloops = 2\n", cmp.Or(l.state, hosttest.State()))+toml))
	return config.Load(filepath.Join(l.dir, "host.toml"))
}

// newLives serves the first configuration. In it, and in those that follow, files are of the
// test's folder.
func newLives(t *testing.T, files map[string][]byte, toml string, o host.Options) *lives {
	l := &lives{t: t, dir: t.TempDir()}
	for name, content := range files {
		l.write(name, content)
	}
	cfg, err := l.load(toml)
	if err != nil {
		t.Fatal(err)
	}
	l.h = hosttest.ServeConfig(t, cfg, o, runtime.NumGoroutine())
	hosttest.Eventually(t, "the host serves", func() bool {
		c, err := net.Dial("tcp", l.h.Addr(cfg.Listeners[0].Name))
		if err == nil {
			c.Close()
		}
		return err == nil && l.h.Reload(t.Context(), cfg) == nil
	})
	return l
}

// reload serves another configuration.
func (l *lives) reload(toml string) error {
	cfg, err := l.load(toml)
	if err != nil {
		return err
	}
	return l.h.Reload(l.t.Context(), cfg)
}

func (l *lives) mustReload(toml string) {
	l.t.Helper()
	if err := l.reload(toml); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lives) dial(listener string) *net.TCPConn {
	l.t.Helper()
	return hosttest.Dial(l.t, l.h.Addr(listener))
}

// ask says something and wants an answer.
func (l *lives) ask(c io.ReadWriter, want string) {
	l.t.Helper()
	hosttest.Say(l.t, c, "?")
	hosttest.Hear(l.t, c, want)
}

// listenerOf is a listener of tenant acme, with more keys.
func listenerOf(name, plugin, more string) string {
	return fmt.Sprintf("[[listener]]\nname = %q\ntenant = \"acme\"\naddress = \"tcp://127.0.0.1:0\"\nplugin = %q\n%s\n", name, plugin, more)
}

const acme = "[tenant.acme]\naccept_rate = 100000\n"

// A listener whose plugin has changed gives new connections to it, and the old ones go on with
// what they have; one that has not changed is not touched.
func TestReload(t *testing.T) {
	for _, instance := range []string{"connection", "loop", "listener"} {
		t.Run(instance, func(t *testing.T) {
			kind := fmt.Sprintf("instance = %q", instance)
			files := map[string][]byte{"a.wasm": tally('a').Bytes(), "b.wasm": tally('b').Bytes(), "other.wasm": tally('o').Bytes()}
			l := newLives(t, files, acme+listenerOf("it", "a.wasm", kind)+listenerOf("other", "other.wasm", kind), host.Options{})
			it, other := l.dial("it"), l.dial("other")
			l.ask(it, "a0")
			l.ask(other, "o0")
			addresses := l.h.Addr("it") + l.h.Addr("other")

			l.mustReload(acme + listenerOf("other", "other.wasm", kind) + listenerOf("it", "b.wasm", kind))
			l.ask(it, "a1")
			l.ask(other, "o1")
			if now := l.h.Addr("it") + l.h.Addr("other"); now != addresses {
				t.Errorf("it listens on %s, and not on %s any more", now, addresses)
			}
			l.ask(l.dial("it"), "b0")
			if instance == "listener" {
				l.ask(l.dial("other"), "o2") // of the instance that was there
			}

			// The file is another one, and its path is the same.
			second := l.dial("it")
			l.ask(second, map[string]string{"connection": "b0", "loop": "b0", "listener": "b1"}[instance])
			l.write("b.wasm", tally('B').Bytes())
			l.mustReload(acme + listenerOf("other", "other.wasm", kind) + listenerOf("it", "b.wasm", kind))
			l.ask(l.dial("it"), "B0")
			l.ask(it, "a2")
			l.ask(second, map[string]string{"connection": "b1", "loop": "b1", "listener": "b2"}[instance])
			l.ask(other, map[string]string{"connection": "o2", "loop": "o2", "listener": "o3"}[instance])
		})
	}
}

// What a generation has is given back when its last connection is gone.
func TestReloadGivesBack(t *testing.T) {
	files := map[string][]byte{"a.wasm": tally('a').Bytes(), "b.wasm": tally('b').Bytes()}
	const many = "generations = 20"
	l := newLives(t, files, acme+listenerOf("it", "a.wasm", many), host.Options{})
	it := l.dial("it")
	l.ask(it, "a0")
	it.Close()
	hosttest.Eventually(t, "it is gone", func() bool { return l.h.Stats().Connections == 0 })
	l.mustReload(acme + listenerOf("it", "b.wasm", many))
	hosttest.Eventually(t, "the first is over", func() bool { return l.h.Stats().RetiredGenerations == 0 })
	alone := l.h.Stats().Tenants[0]
	l.ask(l.dial("it"), "b0")
	for i := range 10 {
		l.write("b.wasm", tally(byte('c'+i)).Bytes())
		l.mustReload(acme + listenerOf("it", "b.wasm", many))
		l.ask(l.dial("it"), string(rune('c'+i))+"0")
	}
	if st := l.h.Stats(); st.RetiredGenerations != 10 || st.Tenants[0].Memory < 10*alone.Memory {
		t.Errorf("%d generations have %d bytes, and one has %d", st.RetiredGenerations, st.Tenants[0].Memory, alone.Memory)
	}
}

// Listeners and tenants come, and go when their connections have.
func TestReloadAddsAndRemoves(t *testing.T) {
	files := map[string][]byte{"a.wasm": tally('a').Bytes(), "b.wasm": tally('b').Bytes()}
	stays := acme + listenerOf("stays", "a.wasm", "")
	l := newLives(t, files, stays, host.Options{})
	comes := "[tenant.new]\n" + strings.ReplaceAll(listenerOf("comes", "b.wasm", ""), "acme", "new")
	for range 3 {
		l.mustReload(comes + stays)
		c := l.dial("comes")
		l.ask(c, "b0")
		address := l.h.Addr("comes")
		l.mustReload(stays)
		if l.h.Addr("comes") != "" {
			t.Error("a listener that was removed has an address")
		}
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			t.Error("a listener that was removed accepts")
		}
		l.ask(c, "b1")
		if st := l.h.Stats(); st.RetiredGenerations != 1 || st.Connections < 1 {
			t.Errorf("%d generations end, with %d connections", st.RetiredGenerations, st.Connections)
		}
		c.Close()
		hosttest.Eventually(t, "it is over", func() bool { return l.h.Stats().RetiredGenerations == 0 })
	}
}

// Reloads that fail leave everything as it was: a long transfer loses nothing, and what is new
// is gone.
func TestReloadFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	echo := strings.Replace(acme, "\n", "\nbandwidth = \"1GiB/s\"\n", 1) + listenerOf("echo", plugin(t, "echo/echo.wasm"), "")
	big := tally('a')
	big.Memory(100)
	files := map[string][]byte{"a.wasm": tally('a').Bytes(), "traps.wasm": trapsAtStart().Bytes(), "bad.wasm": []byte("\x00asm"), "big.wasm": big.Bytes(), "broken.pem": []byte("-----BEGIN NOTHING-----")}
	buffer := "send_buffer = \"64KiB\"\n"
	l := newLives(t, files, echo+listenerOf("it", "a.wasm", buffer), host.Options{})
	it := l.dial("it")
	l.ask(it, "a0")
	c := l.dial("echo")
	var stop atomic.Bool
	var sent, heard [sha256.Size]byte
	var both sync.WaitGroup
	both.Go(func() {
		sum := sha256.New()
		piece := make([]byte, 10_000)
		for n := 0; !stop.Load(); n++ {
			for i := range piece {
				piece[i] = byte(n + i*i)
			}
			sum.Write(piece)
			if _, err := c.Write(piece); err != nil {
				t.Error(err)
				break
			}
		}
		_ = c.CloseWrite()
		sum.Sum(sent[:0])
	})
	both.Go(func() {
		sum := sha256.New()
		if n, err := io.Copy(sum, c); err != nil || n == 0 {
			t.Errorf("%d bytes came back: %v", n, err)
		}
		sum.Sum(heard[:0])
	})

	// Each has a good change beside the bad one, which may not be in force either.
	good := echo + listenerOf("it", "a.wasm", buffer+"idle_timeout = \"1m\"") + listenerOf("more", "a.wasm", "")
	bads := []struct{ what, toml, want string }{
		{"syntax", good + "[[listener\n", "host.toml:"},
		{"a key", good + listenerOf("bad", "a.wasm", "no_such_key = 1"), "no_such_key"},
		{"a missing module", good + listenerOf("bad", "none.wasm", ""), "none.wasm"},
		{"a module that is none", good + listenerOf("bad", "bad.wasm", ""), "bad.wasm"},
		{"a trap in csa_start", good + listenerOf("bad", "traps.wasm", ""), `listener "bad"`},
		{"a trap in csa_start of a shared one", good + listenerOf("bad", "traps.wasm", "instance = \"loop\""), `listener "bad"`},
		{"a sum that is not its plugin's", good + listenerOf("bad", "a.wasm", "plugin_sha256 = \""+strings.Repeat("0", 64)+"\""), "plugin_sha256"},
		{"a route's module", good + listenerOf("bad", "a.wasm", "") + "[[listener.route]]\nname = \"r\"\nplugin = \"traps.wasm\"\nfirst = [\"A\"]\n", "traps.wasm"},
		{"a socket file without a folder", good + strings.Replace(listenerOf("bad", "a.wasm", ""), "tcp://127.0.0.1:0", "unix://none/x", 1), "none/x"},
		{"an address that is taken", good + strings.Replace(listenerOf("bad", "a.wasm", ""), "127.0.0.1:0", taken.Addr().String(), 1), "another process listens there"},
		{"a certificate that is none", good + listenerOf("bad", "a.wasm", "") + "[listener.tls]\ncert = \"broken.pem\"\nkey = \"broken.pem\"\n", "broken.pem"},
		{"a host's key", strings.Replace(good, "[tenant", "log = \"json\"\n[tenant", 1), "[host] log has changed, and a reload cannot change it"},
		{"a socket's key", strings.Replace(good, "64KiB", "0B", 1), "host.toml:18: listener \"it\": send_buffer has changed, and a reload cannot change it for a socket that stays open; put the old value back"},
		{"no memory", good + "[tenant.poor]\nmemory = \"64KiB\"\n" + strings.Replace(listenerOf("bad", "big.wasm", "instance = \"loop\""), "acme", "poor", 1), "memory"},
	}
	fail := func() {
		for _, bad := range bads {
			err := l.reload(bad.toml)
			if err == nil || !strings.Contains(err.Error(), bad.want) {
				t.Errorf("%s: %v; want %q", bad.what, err, bad.want)
			}
			if l.h.Addr("more") != "" || l.h.Addr("bad") != "" || len(l.h.Stats().Listeners) != 2 || len(l.h.Stats().Tenants) != 1 {
				t.Errorf("%s: something of it is in force", bad.what)
			}
		}
	}
	fail()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cfg, err := l.load(good)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.h.Reload(ctx, cfg); err == nil || l.h.Addr("more") != "" {
		t.Errorf("nobody waits for the reload any more, and it was made: %v", err)
	}

	l.ask(it, "a1")
	fresh := l.dial("it")
	l.ask(fresh, "a0")
	fresh.Close()
	stop.Store(true)
	both.Wait()
	if sent != heard {
		t.Error("what came back is not what was sent")
	}
	if st := l.h.Stats(); st.RetiredGenerations != 0 {
		t.Errorf("%d generations are there", st.RetiredGenerations)
	}
	it.Close()
	c.Close()
	hosttest.Eventually(t, "they are gone", func() bool { return l.h.Stats().Connections == 0 })
	before := l.h.Stats().Tenants[0].Memory
	fail()
	hosttest.Eventually(t, "nothing is left of what has failed", func() bool { return l.h.Stats().Tenants[0].Memory <= before })
	l.mustReload(good)
	l.ask(l.dial("more"), "a0")
}

// Connections of an earlier generation are closed when old_for is over, and not before, with
// a reason that names the key; what it had is given back.
func TestReloadOldFor(t *testing.T) {
	clock := &selector.Manual{}
	log := hosttest.NewLines(t)
	of := func(plugin, old string) string {
		return acme + listenerOf("it", plugin, fmt.Sprintf("idle_timeout = \"720h\"\ngenerations = 20\nold_for = %q", old))
	}
	files := map[string][]byte{"a.wasm": tally('a').Bytes(), "b.wasm": tally('b').Bytes()}
	l := newLives(t, files, of("a.wasm", "1h"), host.Options{Log: log.Log(), Clock: clock})
	it := l.dial("it")
	l.ask(it, "a0")
	for n := range 10 { // each is a minute's older than the next
		l.write("b.wasm", tally(byte('b'+n)).Bytes())
		l.mustReload(of("b.wasm", "1h"))
		clock.Advance(time.Minute)
		l.ask(it, fmt.Sprintf("a%c", '1'+n))
	}
	clock.Advance(50*time.Minute - time.Millisecond)
	l.ask(it, "a;")
	newest := l.dial("it")
	l.ask(newest, "k0")
	memory, modules := l.h.Stats().Tenants[0].Memory, l.h.LoadedModules()
	clock.Advance(time.Millisecond)
	hosttest.HearEnd(t, it)
	log.Wait("the time for old connections is over", "key=old_for", "cause=old_for")
	hosttest.Eventually(t, "it has given back its memory", func() bool {
		st := l.h.Stats()
		return st.RetiredGenerations == 0 && st.Tenants[0].Memory < memory && l.h.LoadedModules() < modules
	})
	l.ask(newest, "k1")

	// old_for alone makes no generation, and holds for the next one.
	l.mustReload(of("b.wasm", "0s"))
	l.ask(newest, "k2")
	l.mustReload(of("a.wasm", "0s"))
	hosttest.HearEnd(t, newest)
}

// A tenant's limits, and the host's, hold at once.
func TestReloadLimits(t *testing.T) {
	of := func(connections int) string {
		return fmt.Sprintf("[tenant.acme]\nconnections = %d\n", connections) + listenerOf("it", "a.wasm", "")
	}
	l := newLives(t, map[string][]byte{"a.wasm": tally('a').Bytes()}, of(2), host.Options{})
	hosttest.Eventually(t, "nobody is connected", func() bool { return l.h.Stats().Connections == 0 })
	first, second := l.dial("it"), l.dial("it")
	l.ask(first, "a0")
	l.ask(second, "a0")
	third := l.dial("it")
	hosttest.Say(t, third, "?")
	l.mustReload(of(3))
	hosttest.Hear(t, third, "a0")
	l.mustReload(of(1))
	for _, c := range []*net.TCPConn{first, second, third} {
		l.ask(c, "a1")
	}
	fourth := l.dial("it")
	hosttest.Say(t, fourth, "?")
	l.mustReload("connections = 4\n" + of(1))
	first.Close()
	second.Close()
	hosttest.Eventually(t, "two have gone", func() bool { return l.h.Stats().Connections == 1 })
	l.ask(third, "a2")
	third.Close()
	hosttest.Hear(t, fourth, "a0")
	if st := l.h.Stats(); st.RetiredGenerations != 0 {
		t.Errorf("%d generations were retired for limits of a tenant", st.RetiredGenerations)
	}
}

// grows answers each "?" with y or n: whether its memory has grown by 4 MiB. It says itself that it
// has most pages at most; 0: it does not.
func grows(most int) *w.Module {
	m := w.New()
	send := m.Import("csa_v1", "send", "iii:i")
	if most > 0 {
		m.Memory(1, most)
	} else {
		m.Memory(1)
	}
	m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
	m.Func("csa_data", "ii:i", "",
		w.I32Const(128), w.I32Const(64), w.MemoryGrow, w.I32Const(0), w.I32LtS, w.IfElse('i', w.I32Const('n'), w.I32Const('y')), w.I32Store8(0),
		w.LocalGet(0), w.I32Const(128), w.I32Const(1), w.Call(send), w.Drop, w.LocalGet(1))
	return m
}

// A tenant's memory that is raised reaches its instances without a restart: those listeners have a
// new generation whose instances can grow further by it, once. Others, and all where it is lowered,
// go on.
func TestReloadRaisesMemory(t *testing.T) {
	of := func(memory string) string {
		return "[tenant.acme]\naccept_rate = 100000\nmemory = \"" + memory + "\"\n" + listenerOf("it", "grows.wasm", "") + listenerOf("small", "small.wasm", "")
	}
	l := newLives(t, map[string][]byte{"grows.wasm": grows(0).Bytes(), "small.wasm": grows(20).Bytes()}, of("4MiB"), host.Options{})
	old, small := l.dial("it"), l.dial("small")
	l.ask(old, "n")
	l.ask(small, "n")
	retired := func(n int) {
		t.Helper()
		if got := l.h.Stats().RetiredGenerations; got != n {
			t.Errorf("%d generations are retired, not %d", got, n)
		}
	}
	changes, err := l.plan(of("64MiB"))
	if want := []string{"its tenant's memory"}; err != nil || !slices.ContainsFunc(changes, func(c host.Change) bool {
		return c.Name == "it" && c.What == host.NewGeneration && slices.Equal(c.Keys, want)
	}) {
		t.Errorf("the plan is %+v, %v", changes, err)
	}
	if err := l.reload(of("64MiB") + listenerOf("bad", "none.wasm", "")); err == nil {
		t.Error("a plugin that is not there is served")
	}
	young := l.dial("it")
	l.ask(young, "n")
	retired(0)
	l.mustReload(of("64MiB"))
	l.ask(old, "n")
	l.ask(small, "n")
	l.ask(l.dial("it"), "y")
	l.ask(l.dial("small"), "n")
	retired(1)
	for _, memory := range []string{"32MiB", "64MiB", "63MiB"} {
		l.mustReload(of(memory))
		retired(1)
	}
	l.ask(l.dial("it"), "y")
}

// Peers over UDP go on with the handler that they have, over a socket that stays.
func TestReloadUDP(t *testing.T) {
	udp := func(plugin string) string {
		return acme + strings.Replace(listenerOf("udp", plugin, ""), "tcp://", "udp4://", 1)
	}
	l := &lives{t: t, dir: t.TempDir()}
	for name, letter := range map[string]byte{"a.wasm": 'a', "b.wasm": 'b'} {
		l.write(name, tally(letter).Bytes())
	}
	cfg, err := l.load(udp("a.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	l.h = hosttest.ServeConfig(t, cfg, host.Options{}, runtime.NumGoroutine())
	ask := func(c net.Conn, want string) {
		t.Helper()
		p := make([]byte, 16)
		for try := 0; ; try++ { // a datagram may be lost before the host reads
			hosttest.Say(t, c, "?")
			_ = c.SetReadDeadline(time.Now().Add(time.Minute))
			n, err := c.Read(p)
			if err == nil && string(p[:n]) == want {
				return
			}
			if err == nil || try == 2 {
				t.Fatalf("heard %q, %v; want %q", p[:n], err, want)
			}
		}
	}
	dial := func() net.Conn {
		c, err := net.Dial("udp4", l.h.Addr("udp"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	old := dial()
	ask(old, "a0")
	address := l.h.Addr("udp")
	l.mustReload(udp("b.wasm"))
	if l.h.Addr("udp") != address {
		t.Error("it has another address")
	}
	ask(old, "a1")
	late := dial()
	ask(late, "b0")
	ask(old, "a2")
	l.mustReload(acme + listenerOf("tcp", "a.wasm", ""))
	ask(old, "a3")
	ask(late, "b1")
	stranger, err := net.Dial("udp4", address)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	hosttest.Say(t, stranger, "?")
	ask(old, "a4")
	if n := l.h.Stats().Connections; n != 2 {
		t.Errorf("%d are connected, and nobody new may be", n)
	}
}

// A listener whose plugin is not there yet, or cannot be loaded, may be changed, and stay as it is.
func TestReloadOfLateListeners(t *testing.T) {
	l := &lives{t: t, dir: t.TempDir()}
	l.write("a.wasm", tally('a').Bytes())
	l.write("bad.wasm", trapsAtStart().Bytes())
	bad := listenerOf("bad", "bad.wasm", "")
	of := func(plugin string) string {
		return acme + listenerOf("it", "a.wasm", "") + listenerOf("worse", plugin, "") + bad
	}
	cfg, err := l.load(of("bad.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	l.h = hosttest.ServeConfig(t, cfg, host.Options{LoadLate: true}, runtime.NumGoroutine())
	l.ask(l.dial("it"), "a0")
	quarantined := func(listener string) bool {
		for _, st := range l.h.Stats().Listeners {
			if st.Name == listener {
				return st.Quarantine != nil
			}
		}
		return false
	}
	hosttest.Eventually(t, "both are quarantined", func() bool { return quarantined("bad") && quarantined("worse") })
	l.mustReload(of("a.wasm"))
	l.ask(l.dial("worse"), "a0")
	if !quarantined("bad") || quarantined("worse") {
		t.Error("the listener that has not changed is out of quarantine, or the one that has is not")
	}
	l.write("bad.wasm", tally('g').Bytes())
	l.mustReload(of("a.wasm"))
	hosttest.Eventually(t, "the other is out of quarantine", func() bool { return !quarantined("bad") })
	c := l.dial("bad")
	l.ask(c, "g0")
	l.mustReload(of("a.wasm"))
	l.ask(c, "g1") // its generation would not be gone
	hosttest.Eventually(t, "a reload that changes nothing retires no generation", func() bool { return l.h.Stats().RetiredGenerations == 0 })
}

// A host that is closed, or drains, in the middle of a reload ends with nothing left.
func TestCloseDuringReload(t *testing.T) {
	for n := range 12 {
		l := &lives{t: t, dir: t.TempDir()}
		for _, name := range []string{"a.wasm", "b.wasm"} {
			l.write(name, tally(name[0]).Bytes())
		}
		of := func(plugin string) string {
			return acme + listenerOf("it", plugin, "instance = \"loop\"") + listenerOf("its", plugin, "")
		}
		a, err := l.load(of("a.wasm"))
		if err != nil {
			t.Fatal(err)
		}
		b, err := l.load(of("b.wasm") + "[tenant.more]\n")
		if err != nil {
			t.Fatal(err)
		}
		h, err := host.New(a, host.Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done, reloaded := make(chan error, 1), make(chan int)
		go func() { done <- h.Run(ctx) }()
		c := hosttest.Dial(t, h.Addr("its"))
		hosttest.Say(t, c, "?")
		hosttest.Hear(t, c, "a0")
		go func() {
			for i := 0; ; i++ {
				if err := h.Reload(t.Context(), []*config.Config{b, a}[i%2]); err != nil {
					reloaded <- i
					return
				}
			}
		}()
		// It ends at another step each time.
		time.Sleep(time.Duration(n) * time.Millisecond / 2)
		c.Close()
		if n%2 == 0 {
			stop()
		} else {
			h.Close()
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		<-reloaded
		stop()
		nothingLeft(t, h)
	}
}

// A reload that changes one of a thousand tenants, each with a listener and a plugin of its own.
func BenchmarkReload(b *testing.B) {
	const tenants = 1000
	dir := b.TempDir()
	of := func(changed string) *config.Config {
		var toml strings.Builder
		fmt.Fprintf(&toml, "[host]\nstate = %q\nloops = 2\n", hosttest.State())
		for n := range tenants {
			more, name := "", fmt.Sprintf("t%d", n)
			if n == tenants/2 {
				more = changed
			}
			fmt.Fprintf(&toml, "[tenant.%s]\n%s", name, strings.Replace(listenerOf(name, "a.wasm", more), "acme", name, 1))
		}
		path := filepath.Join(dir, "host.toml")
		if err := os.WriteFile(path, []byte(toml.String()), 0o600); err != nil {
			b.Fatal(err)
		}
		cfg, err := config.Load(path)
		if err != nil {
			b.Fatal(err)
		}
		return cfg
	}
	if err := os.WriteFile(filepath.Join(dir, "a.wasm"), tally('a').Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	both := []*config.Config{of(""), of("event_timeout = \"2s\"")}
	h, err := host.New(both[0], host.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- h.Run(context.Background()) }()
	defer func() {
		h.Close()
		<-done
	}()
	for h.Reload(b.Context(), both[0]) != nil { // until it serves
		time.Sleep(time.Millisecond)
	}
	for n := 1; b.Loop(); n++ {
		if err := h.Reload(b.Context(), both[n%2]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(h.Stats().LongestEvent)/1e6, "longest-event-ms")
}

// A connection without a route yet keeps the routes that it has come to, and the next one has
// the new ones. A tenant of a route alone comes and goes with it.
func TestReloadRoutes(t *testing.T) {
	route := func(name, tenant, plugin string) string {
		return fmt.Sprintf("[[listener.route]]\nname = %q\ntenant = %q\nplugin = %q\nfirst = [%q]\n", strings.ToLower(name), tenant, plugin, name)
	}
	front := acme + listenerOf("front", "rest.wasm", "route_timeout = \"10m\"")
	files := map[string][]byte{"rest.wasm": tally('r').Bytes(), "a.wasm": tally('a').Bytes(), "b.wasm": tally('b').Bytes()}
	l := newLives(t, files, front+route("A", "acme", "a.wasm"), host.Options{})
	hosttest.Eventually(t, "nobody is connected", func() bool { return l.h.Stats().Connections == 0 })
	say := func(c io.ReadWriter, said, want string) {
		t.Helper()
		hosttest.Say(t, c, said)
		hosttest.Hear(t, c, want)
	}
	old, undecided, other := l.dial("front"), l.dial("front"), l.dial("front")
	say(old, "A", "a0")
	hosttest.Eventually(t, "all are there", func() bool { return l.h.Stats().Connections == 3 })
	l.mustReload("[tenant.more]\n" + front + route("A", "more", "b.wasm") + route("B", "acme", "a.wasm"))
	say(l.dial("front"), "A", "b0")
	say(l.dial("front"), "B", "a0")
	say(l.dial("front"), "C", "r0")
	say(undecided, "A", "a0")
	say(other, "B", "r0")
	say(old, "x", "a1")
	if st := l.h.Stats(); st.RetiredGenerations != 1 || len(st.Tenants) != 2 {
		t.Errorf("%d generations are retired, and there are %d tenants", st.RetiredGenerations, len(st.Tenants))
	}
	for _, c := range []io.Closer{old, undecided, other} {
		c.Close()
	}
	hosttest.Eventually(t, "the first is over", func() bool { return l.h.Stats().RetiredGenerations == 0 })
	l.mustReload(front + route("A", "acme", "a.wasm"))
	say(l.dial("front"), "B", "r0")
	if all := l.h.Stats().Tenants; slices.ContainsFunc(all, func(t host.TenantStats) bool { return t.Removed != (t.Name != "acme") }) {
		t.Errorf("the tenants are %+v", all)
	}
}

// With tickets that were given before a reload, clients of TLS resume; a listener whose tls has
// not changed keeps its certificate, also one that it has made itself.
func TestReloadTLS(t *testing.T) {
	of := func(plugin, idle string) string {
		return acme + listenerOf("first", "a.wasm", "") + listenerOf("tls", plugin, "idle_timeout = \""+idle+"\"") + "[listener.tls]\nself_signed = [\"a.test\"]\n"
	}
	l := newLives(t, map[string][]byte{"a.wasm": tally('a').Bytes(), "b.wasm": tally('b').Bytes()}, of("a.wasm", "1m"), host.Options{})
	client := &tls.Config{InsecureSkipVerify: true, ServerName: "a.test", ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	dial := func() *tls.Conn {
		c := tls.Client(l.dial("tls"), client)
		t.Cleanup(func() { c.Close() })
		return c
	}
	old := dial()
	l.ask(old, "a0")
	l.mustReload(of("b.wasm", "2m"))
	l.ask(old, "a1")
	c := dial()
	l.ask(c, "b0")
	if a, b := old.ConnectionState(), c.ConnectionState(); !b.DidResume || !a.PeerCertificates[0].Equal(b.PeerCertificates[0]) {
		t.Errorf("it resumes: %v", b.DidResume)
	}
	l.ask(old, "a2")
}
