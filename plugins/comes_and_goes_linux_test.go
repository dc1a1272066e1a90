package plugins

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	w "bulkhead/internal/wasmtest"
)

// processHolds is what the process has of the system's things.
type processHolds struct {
	resident, mappings, descriptors, goroutines int
}

func holds(t *testing.T) (h processHolds) {
	t.Helper()
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(string(bytes.Fields(b)[1]))
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return processHolds{pages * os.Getpagesize(), mappings(t), len(files), runtime.NumGoroutine()}
}

var comingModules = flag.Int("modules", 80, "how many modules TestModulesComeAndGo replaces, 80 or more")

// A module that is replaced again and again leaves nothing, in whatever way its instances lived: a
// reload is no leak.
func TestModulesComeAndGo(t *testing.T) {
	const warm = 25
	times := *comingModules
	store, err := OpenCode(filepath.Join(t.TempDir(), "code"))
	if err != nil {
		t.Fatal(err)
	}
	n := newTenant(t, 0)
	n.r.options.Code = store
	l := newLoop(t)
	use := func(k int) {
		m, err := n.r.Load("test.wasm", passing(k), Events)
		if err != nil {
			t.Fatal(err)
		}
		live := func(i *Instance) {
			peer, end := l.wire(i)
			write(t, peer, "hello")
			hear(t, peer, "hello")
			_ = peer.Close()
			end.wait(t)
			l.on(i.Close)
		}
		s, err := m.Snapshot(listener())
		if err != nil {
			t.Fatal(err)
		}
		var p *Pool
		var i *Instance
		l.on(func() {
			p = s.Pool(l.Loop)
			if i, err = p.Get(); err != nil {
				t.Error(err)
			}
		})
		live(i)
		if i, err = m.Instantiate(listener()); err != nil {
			t.Fatal(err)
		}
		l.on(func() { i.Attach(l.Loop) })
		m.Close() // the order is anybody's
		live(i)
		l.on(p.Close)
		s.Close()
		until(t, "the module is gone", func() bool { return m.users.Load() == 0 })
	}
	var first processHolds
	for k := range times {
		use(k)
		if k == warm {
			first = holds(t)
		}
		if held, maps := n.acc.held.Load(), n.maps.held.Load(); held != 0 || maps != engineMappings {
			t.Fatalf("after %d modules %d bytes and %d mappings are on the tenant's account", k+1, held, maps)
		}
		if n.acc.timers.Load() != 0 || n.r.live != 0 || len(n.r.pools) != 0 {
			t.Fatalf("after %d modules there are %d timers, %d modules and %d pools", k+1, n.acc.timers.Load(), n.r.live, len(n.r.pools))
		}
	}
	last := holds(t)
	t.Logf("after %d: %+v; after %d: %+v", warm, first, times, last)
	// Each of those that came meanwhile, 54 or more, has some 200 KB of memory, and as much of
	// code; mappings for both, and for an image, which is a descriptor.
	if last.mappings > first.mappings+min(40, (times-warm)/2) || last.descriptors > first.descriptors || last.goroutines > first.goroutines ||
		last.resident > first.resident+(6<<20) {
		t.Errorf("after %d modules the process has %+v, and %+v after %d", times, last, first, warm)
	}
}

// Tenants with a script each come and go, two at a time on one loop, whose instances are copies of
// snapshots. Each connection gets its own tenant's script, and a tenant that has gone leaves
// nothing, be the code let go of with it, as every other time, or not.
func TestScriptsComeAndGo(t *testing.T) {
	const times, warm = 60, 20
	p, compiled := interpreterOf(t, interpreterModule())
	l := newLoop(t)
	type served struct {
		n *tenant
		m *Module
		s *Snapshot
		p *Pool
	}
	serve := func(number int) *served {
		c := &served{n: newTenant(t, 0)}
		c.m = c.n.loadScript(p, 4, number)
		var err error
		if c.s, err = c.m.Snapshot(listener()); err != nil {
			t.Fatal(err)
		}
		l.on(func() { c.p = c.s.Pool(l.Loop) })
		return c
	}
	connect := func(c *served, number int) {
		var i *Instance
		l.on(func() {
			var err error
			if i, err = c.p.Get(); err != nil {
				t.Error(err)
			}
		})
		peer, end := l.wire(i)
		said := strings.Repeat("x", 100) // which no command is
		write(t, peer, said)
		hear(t, peer, said+string(script(number).Bytes))
		_ = peer.Close()
		end.wait(t)
		l.on(i.Close)
	}
	leave := func(c *served) {
		c.m.Close()
		l.on(c.p.Close)
		c.s.Close()
		c.n.r.Close()
		<-c.n.r.Done()
		if held, maps := c.n.acc.held.Load(), c.n.maps.held.Load(); held != 0 || maps != 0 {
			t.Fatalf("a tenant that has gone holds %d bytes and %d mappings", held, maps)
		}
	}
	var first processHolds
	stays := serve(0)
	for k := 1; k <= times; k++ {
		comes := serve(k)
		for range 3 {
			connect(stays, k-1)
			connect(comes, k)
		}
		leave(stays)
		stays = comes
		if k%2 == 0 {
			leave(stays)
			if p.code != nil {
				t.Fatal("the code is there, and nobody's")
			}
			stays = serve(k)
		}
		if k == warm {
			first = holds(t)
		}
	}
	last := holds(t)
	leave(stays)
	if n := compiled.Load(); n != times/2+1 {
		t.Errorf("it is compiled %d times", n)
	}
	t.Logf("after %d: %+v; after %d: %+v", warm, first, times, last)
	if last.mappings > first.mappings+10 || last.descriptors > first.descriptors || last.goroutines > first.goroutines ||
		last.resident > first.resident+(4<<20) {
		t.Errorf("after %d tenants the process has %+v, and %+v after %d", times, last, first, warm)
	}
}

// passing is the kth of many modules, each of another kind: an echo with a timer, with types that
// no other has, and with much code and data.
func passing(k int) []byte {
	m := w.New()
	send := m.Import("csa_v1", "send", "iii:i")
	timer := m.Import("csa_v1", "timer", "iii:i")
	m.Memory(3)
	m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
	m.Func("csa_start", ":i", "", w.I32Const(0), w.I32Const(7), w.I32Const(3_600_000), w.Call(timer), w.Drop, w.I32Const(0))
	m.Func("csa_timer", "ii:", "")
	m.Func("csa_data", "ii:i", "", w.LocalGet(0), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(send))
	for at := range 16 {
		m.Data(65536+at*4096, strings.Repeat(fmt.Sprintf("%8d", k), 512))
	}
	for f := range 40 {
		var code [][]byte
		for range 200 {
			code = append(code, w.LocalGet(0), w.I32Const(int32(k+f)), w.I32Add, w.LocalSet(0))
		}
		params := strings.Repeat("i", 1+f) + strings.Repeat("I", k%10) + strings.Repeat("f", k/10)
		m.Func("", params[:min(len(params), 40)]+":", "", code...)
	}
	return m.Bytes()
}
