package plugins

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"bulkhead/csa"
	w "bulkhead/internal/wasmtest"
)

// A module is refused in one line that starts with its name and says the first few reasons.
func TestRefusedModules(t *testing.T) {
	n := newTenant(t, 1<<20)
	nothing := func(*w.Module) {}
	good := w.HandlerWith(nothing)
	for _, c := range []struct {
		name  string
		b     []byte
		shape Shape
		want  string
	}{
		{"empty", nil, Events, "it is empty, not a WebAssembly module"},
		{"truncated", good[:len(good)-3], Events, "the file ends inside the code section"},
		{"nothing in it", []byte("\x00asm\x01\x00\x00\x00"), Events, "has no memory; build it with one, exported as \"memory\"; it also does not export csa_window, which the host calls as csa_window() -> i64; it also does not export csa_data"},
		{"foreign import", w.HandlerWith(func(m *w.Module) { m.Import("mine", "f", ":") }), Events, "imports function mine.f, which is not in csa_v1 or wasi_snapshot_preview1; build it without it"},
		{"many imports", w.HandlerWith(func(m *w.Module) {
			for _, name := range []string{"a", "b", "c", "d", "e"} {
				m.Import("mine", name, ":")
			}
		}), Events, "; and 2 more of the kind"},
		{"an import as an export", w.PassesOn("csa_v1", "receive", "ii:i", "csa_data").Bytes(), Events, "exports csa_data as the imported function csa_v1.receive, and"},
		{"command as handler", w.CommandWith(nothing), Events, `so say shape = "stdio"`},
		{"handler as command", good, Stdio, `so say shape = "events"`},
		{"too much memory", func() []byte { m := w.New(); m.Memory(17); m.Func("_start", ":", ""); return m.Bytes() }(), Stdio, "declares at least 17 pages of memory = 1.1 MiB; its tenant's memory is 1 MiB"},
		{"invalid code", func() []byte { m := w.New(); m.Memory(1); m.Func("_start", ":", "", w.I32Add); return m.Bytes() }(), Stdio, "does not compile: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := n.r.Load("x.wasm", c.b, c.shape)
			if err == nil {
				m.Close()
				t.Fatal("it is loaded")
			}
			var refusal *LoadError
			if s := err.Error(); !strings.Contains(s, c.want) || !strings.HasPrefix(s, "x.wasm: ") || strings.Contains(s, "\n") || !errors.As(err, &refusal) {
				t.Errorf("it says %q, not %q", s, c.want)
			}
		})
	}
	if _, err := n.r.Load("x.wasm", good, "loop"); err == nil || !strings.Contains(err.Error(), `shape "loop"`) {
		t.Errorf("an unknown shape is answered with %v", err)
	}
}

// Constructors that the linker has each callback call run once, before csa_start, and the log says
// nothing of it.
func TestConstructorsRunOnce(t *testing.T) {
	m := w.New()
	count := m.Import("csa_v1", "count", "iiI:i")
	m.Memory(1)
	m.Data(0, "ab")
	// Each adds to a count of its own how many have run: a=constructor, b=csa_start.
	ran := m.Global('I', true, w.I64Const(1))
	step := func(at int32) []byte {
		return w.Cat(w.I32Const(at), w.I32Const(1), w.GlobalGet(ran), w.Call(count), w.Drop,
			w.GlobalGet(ran), w.I64Const(1), w.I64Add, w.GlobalSet(ran))
	}
	constructors := m.Func("", ":", "", w.Call(count+2))
	m.Func("", ":", "", step(0))
	start := m.Func("", ":i", "", step(1), w.I32Const(0))
	window := m.Func("", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
	data := m.Func("", "ii:i", "", w.LocalGet(1))
	m.Func("csa_start", ":i", "", w.Call(constructors), w.Call(start))
	m.Func("csa_window", ":I", "", w.Call(constructors), w.Call(window))
	m.Func("csa_data", "ii:i", "", w.Call(constructors), w.LocalGet(0), w.LocalGet(1), w.Call(data))
	n := newTenant(t, 0)
	n.start(m, listener())
	if got := fmt.Sprint(n.log.counts); got != "map[a:1 b:2]" {
		t.Errorf("they ran in the order %s", got)
	}
	if said := n.log.text(); said != "" {
		t.Errorf("the log says %q", said)
	}
}

func TestModuleLife(t *testing.T) {
	n := newTenant(t, 0)
	m, err := n.r.Load("a.wasm", w.Echo().Bytes(), Events)
	if err != nil {
		t.Fatal(err)
	}
	again, err := n.r.Load("b.wasm", w.Echo().Bytes(), Events) // the same bytes
	if err != nil {
		t.Fatal(err)
	}
	i, err := m.Instantiate(listener())
	if err != nil {
		t.Fatal(err)
	}
	if m.Name() != "a.wasm" || m.Shape() != Events || m.Runtime() != n.r {
		t.Errorf("the module is %q of shape %q", m.Name(), m.Shape())
	}
	m.Close()
	m.Close()
	if _, err := m.Instantiate(listener()); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed module answers %v", err)
	}
	if _, err := again.Stdio(listener()); err == nil || !strings.Contains(err.Error(), `shape "events"`) {
		t.Errorf("a handler as a command answers %v", err)
	}
	f := &fake{room: 100}
	if i.data(open(i, f), f, 7) != 7 {
		t.Error("an instance does not outlive the closing of its module")
	}
	n.r.Close()
	n.r.Close()
	if _, err := n.r.Load("c.wasm", w.Echo().Bytes(), Events); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed runtime answers %v", err)
	}
	if _, err := again.Instantiate(listener()); !errors.Is(err, ErrClosed) {
		t.Errorf("a module of a closed runtime answers %v", err)
	}
	again.Close()
	select {
	case <-n.r.Done():
		t.Error("the runtime ended under an instance")
	default:
	}
	i.Close()
	<-n.r.Done()
}

// Code that is kept is used again; one that is damaged costs time and a line in
// the log, not the module.
func TestCodeIsKept(t *testing.T) {
	for name, hurt := range map[string]func(file string) error{
		"well":    func(string) error { return nil },
		"flipped": func(file string) error { return flip(file, 200) },
		"short":   func(file string) error { return os.Truncate(file, 100) },
		"empty":   func(file string) error { return os.Truncate(file, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "code")
			load := func() string {
				log := &journal{}
				r := NewRuntime(RuntimeOptions{Code: openCode(t, dir), Log: log})
				m, err := r.Load("x.wasm", w.Echo().Bytes(), Events)
				if err != nil {
					t.Fatal(err)
				}
				i, err := m.Instantiate(listener())
				if err != nil {
					t.Fatal(err)
				}
				f := &fake{room: 100}
				if i.data(open(i, f), f, 7) != 7 {
					t.Error("it does not echo")
				}
				i.Close()
				m.Close()
				r.Close()
				<-r.Done()
				return log.text()
			}
			load()
			file := codeFiles(t, dir, 1)[0]
			kept, err := os.Open(file) // so that another file cannot have its number
			if err != nil {
				t.Fatal(err)
			}
			defer kept.Close()
			before, err := kept.Stat()
			if err := errors.Join(err, hurt(file)); err != nil {
				t.Fatal(err)
			}
			log := load()
			after, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			if damaged := name != "well"; damaged == os.SameFile(before, after) || damaged != strings.Contains(log, "x.wasm is compiled again, since its compiled code cannot be used: "+file) {
				t.Errorf("it was written again: %v; the log is %q", !os.SameFile(before, after), log)
			}
			if log := load(); log != "" {
				t.Errorf("afterwards the log is %q", log)
			}
		})
	}
}

// Code that cannot be kept is compiled, and that is said.
func TestCodeIsNotKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "code")
	log := &journal{}
	r := NewRuntime(RuntimeOptions{Code: openCode(t, dir), Log: log})
	defer func() {
		r.Close()
		<-r.Done()
	}()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	m, err := r.Load("x.wasm", w.Echo().Bytes(), Events)
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	if text := log.text(); !strings.Contains(text, "x.wasm: starting again will take longer: keeping compiled code: open "+dir) {
		t.Errorf("the log is %q", text)
	}
}

// Instances are made, used and closed by many goroutines at once.
func TestManyAtOnce(t *testing.T) {
	n := newTenant(t, 0)
	m := n.load(callbacks("").Bytes(), Events)
	l := listener()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 25 {
				i, err := m.Instantiate(l)
				if err != nil {
					t.Error(err)
					return
				}
				f := &fake{room: 100}
				h := open(i, f)
				if i.data(h, f, 7) != 7 {
					t.Error("it does not answer")
				}
				i.ended(h, csa.Orderly)
				i.Close()
			}
		})
	}
	all.Wait()
}

// FuzzLoad gives the engine what the gate lets through, and runs it: nothing may
// panic or take more memory than the bounds allow.
func FuzzLoad(f *testing.F) {
	n := newTenant(f, 1<<20)
	f.Add(w.Echo().Bytes())
	f.Add(callbacks("").Bytes())
	f.Add(w.CommandWith(func(m *w.Module) { m.Import("wasi_snapshot_preview1", "fd_read", "iiii:i") }))
	f.Add(w.PassesOn("csa_v1", "receive", "ii:i", "csa_data").Bytes())
	f.Add(w.PassesOn("wasi_snapshot_preview1", "sched_yield", ":i", "csa_start").Bytes())
	l := listener()
	l.EventTimeout = 5 * time.Millisecond
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, s := range []Shape{Events, Stdio} {
			m, err := n.r.Load("x.wasm", b, s)
			if err != nil {
				if s := err.Error(); strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.Contains(s, "gave up") {
					t.Errorf("%q", s)
				}
				continue
			}
			if s == Events {
				runOnce(t, m, l)
			}
			m.Close()
		}
	})
}

// runOnce has a guest hear of everything, which may end it, but not as a bug.
func runOnce(t *testing.T, m *Module, l *Listener) {
	var trap *Trap
	i, err := m.Instantiate(l)
	if err != nil {
		if errors.As(err, &trap) && trap.Bug {
			t.Error(err)
		}
		return
	}
	defer i.Close()
	for name, drive := range events {
		if c := slices.Index(callNames[:], "csa_"+name); !m.has[c] {
			continue
		}
		f := &fake{room: 10}
		drive(i, i.admit(f), f)
		for _, r := range f.ends {
			if strings.Contains(r.Why, "the host") {
				t.Errorf("%v", r)
			}
		}
		if !i.Running() {
			return
		}
	}
}
