package plugins

import (
	"encoding/binary"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/compiler"
	"bulkhead/plugins/memory"
	"bulkhead/plugins/wasm"
)

// scriptAt is where the interpreter of the tests has its script, whose first four bytes are a
// number.
const scriptAt = 1024

// What its instances do when csa_data is told to.
const (
	tellScript  = iota // the number of the script
	growMemory         // what memory.grow says of one page more
	countGlobal        // a global that is one more each time
	lookAround         // how many words of its memory are numbers of other scripts
	countMetric        // what count says
	logNumber          // what log says
	askForRandom
	spin
	trap
)

// secret makes a number that only scripts have.
func secret(n int) uint32 { return 0x5ec2<<16 | uint32(n) }

// interpreterModule is what the tests have as an interpreter.
func interpreterModule() []byte { return interpreterGuest().Bytes() }

func interpreterGuest() *w.Module {
	m := w.New()
	count := m.Import("csa_v1", "count", "iiI:i")
	log := m.Import("csa_v1", "log", "iii:i")
	random := m.Import("csa_v1", "random", "ii:i")
	send := m.Import("csa_v1", "send", "iii:i")
	m.Memory(1)
	global := m.Global('i', true, w.I32Const(0))
	m.Data(512, "seen")
	m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
	// csa_start leaves the number all over a page.
	m.Func("csa_start", ":i", "i",
		w.I32Const(32<<10), w.LocalSet(0),
		w.Loop(
			w.LocalGet(0), w.I32Const(scriptAt), w.I32Load(0), w.I32Store(0),
			w.LocalGet(0), w.I32Const(4), w.I32Add, w.LocalTee(0), w.I32Const(64<<10), w.I32LtU, w.BrIf(0)),
		w.I32Const(0))
	when := func(what int32, do ...[]byte) []byte {
		return w.Cat(w.LocalGet(1), w.I32Const(what), w.I32Eq, w.If(w.Cat(do...), w.Return))
	}
	m.Func("csa_data", "ii:i", "ii",
		when(tellScript, w.I32Const(scriptAt), w.I32Load(0)),
		when(growMemory, w.I32Const(1), w.MemoryGrow),
		when(countGlobal, w.GlobalGet(global), w.I32Const(1), w.I32Add, w.GlobalSet(global), w.GlobalGet(global)),
		when(lookAround,
			w.Loop(
				w.LocalGet(2), w.I32Load(0), w.I32Const(-65536), w.I32And, w.I32Const(int32(secret(0))), w.I32Eq,
				w.LocalGet(2), w.I32Load(0), w.I32Const(scriptAt), w.I32Load(0), w.I32Ne, w.I32And,
				w.LocalGet(3), w.I32Add, w.LocalSet(3),
				w.LocalGet(2), w.I32Const(4), w.I32Add, w.LocalTee(2), w.I32Const(64<<10), w.I32LtU, w.BrIf(0)),
			w.LocalGet(3)),
		when(countMetric, w.I32Const(512), w.I32Const(4), w.I64Const(1), w.Call(count)),
		when(logNumber, w.I32Const(2), w.I32Const(512), w.I32Const(4), w.Call(log)),
		when(askForRandom, w.I32Const(600), w.I32Const(4), w.Call(random), w.Drop, w.I32Const(600), w.I32Load(0)),
		when(spin, w.Forever(), w.I32Const(0)),
		when(trap, w.Unreachable),
		// Of a client: its bytes back, and the number behind them.
		w.LocalGet(0), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(send), w.Drop,
		w.LocalGet(0), w.I32Const(scriptAt), w.I32Const(4), w.Call(send), w.Drop,
		w.LocalGet(1))
	return m
}

// interpreterOf makes one that counts how often it is compiled.
func interpreterOf(t testing.TB, module []byte) (p *Interpreter, compiled *atomic.Int64) {
	t.Helper()
	compiled = new(atomic.Int64)
	p = NewInterpreter(InterpreterOptions{Name: "the interpreter", Module: module, Compiling: func(string) func() {
		compiled.Add(1)
		return func() {}
	}})
	t.Cleanup(func() {
		p.Close()
		if p.users != 0 || p.code != nil || p.engine != nil || len(p.spare)+len(p.sets) > 0 {
			t.Errorf("of the interpreter there are %d users, %v, %v, %d executors and %d sets left", p.users, p.code, p.engine, len(p.spare), len(p.sets))
		}
	})
	return p, compiled
}

// script is that of a number.
func script(n int) Script {
	return Script{scriptAt, binary.LittleEndian.AppendUint32(nil, secret(n))}
}

// loadScript loads one with so many pages of memory for an instance.
func (n *tenant) loadScript(p *Interpreter, pages int64, number int) *Module {
	n.t.Helper()
	m, err := n.r.LoadScript(pages*wasm.PageSize, "x.js", p, script(number), Events)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(m.Close)
	return m
}

// do has an instance do something that it returns from.
func do(t testing.TB, i *Instance, what uint64) uint32 {
	t.Helper()
	r, ok := i.call(callData, 0, what)
	if !ok {
		t.Fatalf("it trapped when told to %d", what)
	}
	return uint32(r)
}

// strangers wants instances of two tenants that run the same code, which have their numbers as
// scripts and get them as random numbers, to see, count, log and use up nothing of each other's.
func strangers(t *testing.T, ns [2]*tenant, is [2]*Instance) {
	t.Helper()
	for range 3 {
		for k, i := range is {
			if r := do(t, i, tellScript); r != secret(k+1) {
				t.Errorf("tenant %d has the script %#x", k, r)
			}
			if r := do(t, i, lookAround); r != 0 {
				t.Errorf("tenant %d sees %d words of another's", k, r)
			}
			if r := do(t, i, askForRandom); r != uint32(k+1) {
				t.Errorf("tenant %d has the random number %d", k, r)
			}
		}
	}
	fuel := ns[1].r.Fuel()
	for range 5 {
		do(t, is[0], countGlobal)
		do(t, is[0], growMemory)
		do(t, is[0], countMetric)
		do(t, is[0], logNumber)
	}
	if r := do(t, is[1], countGlobal); r != 1 {
		t.Errorf("a global of the other is %d", r)
	}
	if a, b := ns[0].acc.held.Load(), ns[1].acc.held.Load(); a != 6*wasm.PageSize || b != wasm.PageSize {
		t.Errorf("%d bytes are charged to the one that grows, and %d to the other", a, b)
	}
	if ns[0].log.counts["seen"] != 5 || len(ns[1].log.counts) != 0 || len(ns[0].log.lines) != 5 || len(ns[1].log.lines) != 0 {
		t.Errorf("they have counted %v and %v, and logged %q and %q", ns[0].log.counts, ns[1].log.counts, ns[0].log.text(), ns[1].log.text())
	}
	if _, ok := is[0].call(callData, 0, spin); ok {
		t.Error("it spins for ever, and returns")
	}
	do(t, is[1], lookAround)
	if a, b := ns[0].r.Fuel(), ns[1].r.Fuel()-fuel; a < 10*b {
		t.Errorf("the one that spins has used %d units, and the other %d", a, b)
	}
}

// Two tenants' scripts run on code that is compiled once. Neither sees, counts, logs or uses up
// anything of the other, nor ends it, and nobody is charged for the code.
func TestScriptsOfTwoTenants(t *testing.T) {
	p, compiled := interpreterOf(t, interpreterModule())
	var ns [2]*tenant
	var ms [2]*Module
	var is [2]*Instance
	for k := range ns {
		n := newTenant(t, 0)
		n.r.options.Random = func(b []byte) { b[0], b[1], b[2], b[3] = byte(k+1), 0, 0, 0 }
		ns[k], ms[k] = n, n.loadScript(p, 16, k+1)
		if n.acc.held.Load() != 0 || n.maps.held.Load() != 0 {
			t.Errorf("tenant %d is charged %d bytes and %d mappings for code", k, n.acc.held.Load(), n.maps.held.Load())
		}
		if memory, mappings := ms[k].Held(); memory != 0 || mappings != 0 {
			t.Errorf("tenant %d has code of %d bytes and %d mappings", k, memory, mappings)
		}
		i, err := ms[k].Instantiate(&Listener{Name: "web", Tenant: "acme", EventTimeout: 10 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(i.Close)
		is[k] = i
		if n.maps.held.Load() != memory.PlainMappings {
			t.Errorf("tenant %d is charged %d mappings for an instance", k, n.maps.held.Load())
		}
	}
	if n := compiled.Load(); n != 1 || ms[0].compiled != ms[1].compiled {
		t.Errorf("it is compiled %d times", n)
	}
	strangers(t, ns, is)
	// What is over of one is not of the other: its instance, its module, its runtime.
	is[0].Close()
	ms[0].Close()
	ns[0].r.Close()
	<-ns[0].r.Done()
	if ns[0].maps.held.Load() != 0 {
		t.Errorf("%d mappings are still held", ns[0].maps.held.Load())
	}
	if r := do(t, is[1], tellScript); r != secret(2) {
		t.Errorf("then the other has the script %#x", r)
	}
	if _, ok := is[1].call(callData, 0, trap); ok {
		t.Error("it traps, and returns")
	}
	is[1].Close()
	if p.code == nil || p.users != 1 {
		t.Error("the code is gone, and a module is there")
	}
	ms[1].Close()
	if p.code != nil {
		t.Error("the code is there, and no module")
	}
	third := newTenant(t, 0)
	m := third.loadScript(p, 16, 3)
	if n := compiled.Load(); n != 2 {
		t.Errorf("it is compiled %d times", n)
	}
	m.Close()
	p.Close()
	p.Close()
	if _, err := third.r.LoadScript(wasm.PageSize, "x.js", p, script(3), Events); !errors.Is(err, ErrClosed) {
		t.Errorf("with a closed interpreter: %v", err)
	}
}

// How much memory an instance may have is its tenant's affair, though the code is the same.
func TestMemoryOfScripts(t *testing.T) {
	p, compiled := interpreterOf(t, interpreterModule())
	for _, pages := range []int64{2, 9, 4} {
		n := newTenant(t, 0)
		m := n.loadScript(p, pages, 1)
		i, err := m.Instantiate(listener())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(i.Close)
		for k := int64(1); k < pages; k++ {
			if r := do(t, i, growMemory); int64(r) != k {
				t.Errorf("with %d pages: it has %d when it should have %d", pages, int32(r), k)
			}
		}
		if r := int32(do(t, i, growMemory)); r != -1 || i.Memory() != int(pages)*wasm.PageSize {
			t.Errorf("with %d pages: one more answers %d, and it has %d bytes", pages, r, i.Memory())
		}
		if m.MoreWithin(pages*wasm.PageSize) || !m.MoreWithin((pages+1)*wasm.PageSize) {
			t.Errorf("with %d pages: what more would give is wrong", pages)
		}
	}
	if n := compiled.Load(); n != 1 {
		t.Errorf("it is compiled %d times", n)
	}
}

// A script is refused, and does not start, in the words in which the module with it would be.
func TestRefusedScripts(t *testing.T) {
	bare := func() *w.Module {
		m := w.New()
		m.Memory(3)
		m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
		m.Func("csa_data", "ii:i", "", w.LocalGet(1))
		return m
	}
	whole := bare()
	whole.Data(3*wasm.PageSize-2, "script")
	s := Script{3*wasm.PageSize - 2, []byte("script")}
	noModule, noHandler := w.New(), w.New()
	noHandler.Memory(1)
	for _, c := range []struct {
		name   string
		module []byte
		whole  []byte
		pages  int64
		shape  Shape
	}{
		{"too little memory", bare().Bytes(), whole.Bytes(), 2, Events},
		{"another shape", bare().Bytes(), whole.Bytes(), 9, Stdio},
		{"no shape at all", bare().Bytes(), whole.Bytes(), 9, "loud"},
		{"beyond its memory", bare().Bytes(), whole.Bytes(), 9, Events},
		{"no module", []byte("none"), []byte("none"), 9, Events},
		{"nothing in it", noModule.Bytes(), noModule.Bytes(), 9, Events},
		{"no handler", noHandler.Bytes(), noHandler.Bytes(), 9, Events},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, _ := interpreterOf(t, c.module)
			n := newTenant(t, 0)
			start := func(m *Module, err error) string {
				if err != nil {
					return err.Error()
				}
				defer m.Close()
				i, err := m.Instantiate(listener())
				if err == nil {
					i.Close()
					return ""
				}
				return err.Error()
			}
			want := start(n.r.LoadWithin(c.pages*wasm.PageSize, nil, "x.js", c.whole, c.shape))
			for range 2 {
				if got := start(n.r.LoadScript(c.pages*wasm.PageSize, "x.js", p, s, c.shape)); got != want || want == "" {
					t.Errorf("it says %q, and %q of the whole module", got, want)
				}
			}
		})
	}
	// One that is refused says nothing of the next.
	p, _ := interpreterOf(t, bare().Bytes())
	n := newTenant(t, 0)
	keeps := n.loadScript(p, 3, 1)
	for _, c := range []struct {
		pages int64
		shape Shape
		is    string
	}{{2, Events, "its tenant's memory is 128 KiB"}, {3, Stdio, "_start"}} {
		if _, err := n.r.LoadScript(c.pages*wasm.PageSize, "x.js", p, script(1), c.shape); err == nil || !strings.Contains(err.Error(), c.is) {
			t.Errorf("with %d pages, as %s: %v", c.pages, c.shape, err)
		}
	}
	if p.users != 1 {
		t.Errorf("it has %d users", p.users)
	}
	keeps.Close()
}

// Tenants come and go at the same time, each with a script of its own, on as many goroutines as may
// be.
func TestScriptsAtTheSameTime(t *testing.T) {
	p, compiled := interpreterOf(t, interpreterModule())
	var all sync.WaitGroup
	for k := range 6 {
		all.Go(func() {
			for round := range 8 {
				number := 1 + k*100 + round
				r := NewRuntime(RuntimeOptions{})
				m, err := r.LoadScript(4*wasm.PageSize, "x.js", p, script(number), Events)
				if err != nil {
					t.Error(err)
					return
				}
				i, err := m.Instantiate(listener())
				if err != nil {
					t.Error(err)
					return
				}
				m.Close() // the instance keeps the code
				for range 20 {
					if got, ok := i.call(callData, 0, tellScript); !ok || uint32(got) != secret(number) {
						t.Errorf("script %#x is %#x", secret(number), got)
					}
				}
				if n, ok := i.call(callData, 0, lookAround); !ok || n != 0 {
					t.Errorf("%d words of another's", n)
				}
				i.Close()
				r.Close()
				<-r.Done()
			}
		})
	}
	all.Wait()
	if n := compiled.Load(); n < 1 || n > 48 {
		t.Errorf("it is compiled %d times", n)
	}
	if p.users != 0 || p.code != nil {
		t.Error("the code is still there")
	}
}

// The state folder has the code once, and who compiles it is ended by the interpreter's end, not by
// that of the tenant which has come first.
func TestInterpreterIsCompiledApart(t *testing.T) {
	noLeaks(t)
	dir := filepath.Join(t.TempDir(), "code")
	options := InterpreterOptions{Name: "the interpreter", Module: interpreterModule(), Code: openCode(t, dir), Compiler: childCompiler(t)}
	for range 2 {
		p := NewInterpreter(options)
		for k := range 3 {
			n := newTenant(t, 0)
			n.loadScript(p, int64(2+k), k).Close()
		}
		p.Close()
		codeFiles(t, dir, 1)
		options.Compiler = noProgram // it is there
	}

	dir = filepath.Join(t.TempDir(), "code")
	options.Code, options.Compiler = openCode(t, dir), compiler.Command{Args: []string{childCompiler(t).Args[0], hangRole}}
	p := NewInterpreter(options)
	first, second := NewRuntime(RuntimeOptions{}), NewRuntime(RuntimeOptions{})
	errs := make(chan error, 2)
	for _, r := range []*Runtime{first, second} {
		go func() {
			_, err := r.LoadScript(wasm.PageSize, "x.js", p, script(1), Events)
			errs <- err
		}()
	}
	children := func() int {
		found, _ := filepath.Glob(dir + "/compiling-*/out")
		return len(found)
	}
	loads := func(r *Runtime) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.live == 1
	}
	until(t, "a child is started, and both wait for it", func() bool { return children() == 1 && loads(first) && loads(second) })
	first.Close()
	waiting := 2
	select {
	case err := <-errs:
		t.Errorf("when a tenant ends: %v", err)
		waiting--
	case <-time.After(10 * time.Millisecond):
	}
	p.Close()
	for range waiting {
		if err := <-errs; err == nil || !errors.Is(err, ErrClosed) && !strings.Contains(err.Error(), "x.js: does not compile: what would run it was closed meanwhile") {
			t.Errorf("LoadScript says %v", err)
		}
	}
	second.Close()
	<-first.Done()
	<-second.Done()
	if n := children(); n != 0 {
		t.Errorf("%d children are left", n)
	}
	if p.engine != nil || p.users != 0 {
		t.Error("something of it is left")
	}
}
