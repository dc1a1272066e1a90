package plugins

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bulkhead/internal/awaittest"
	w "bulkhead/internal/wasmtest"
)

// A busy machine may take longer than anybody who reads a log wants to wait.
func init() { explainWithin = awaittest.Longest }

// traced is a tenant whose traps name lines.
func traced(t *testing.T) *tenant {
	t.Helper()
	n := &tenant{t: t, acc: &account{}, maps: &mappingAccount{}, log: &journal{}}
	n.r = NewRuntime(RuntimeOptions{Log: n.log, Code: openCode(t, filepath.Join(t.TempDir(), "code")), Compiler: childCompiler(t)})
	t.Cleanup(func() {
		n.r.Close()
		select {
		case <-n.r.Done():
		case <-time.After(awaittest.Longest):
			t.Error("the runtime does not end")
		}
	})
	return n
}

// trapOf is the trap of an instance that is sent a text, and where it was.
func trapOf(t *testing.T, m *Module, text string) (trap *Trap, in string) {
	t.Helper()
	l := listener()
	l.OnTrap = func(_ *Instance, got *Trap) { trap = got }
	i, err := m.Instantiate(l)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	f := &fake{}
	h := open(i, f)
	copy(i.memory.Bytes()[i.window:], text)
	i.call(callData, uint64(h), uint64(len(text)))
	if trap == nil {
		t.Fatal("it has not trapped")
	}
	said := make(chan string, 1)
	trap.Explain(func(s string) { said <- s })
	select {
	case in = <-said:
	case <-time.After(awaittest.Longest):
		t.Fatal("where it was is never said")
	}
	return trap, in
}

func file(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../examples/testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// crashed is where examples/testdata/crash.c traps.
const crashed = "lookup crash.c:14 < route crash.c:22 < csa_data crash.c:29"

// A trap names the line of the guest's source, of inlined functions also, by what the module says
// or the file beside it: DWARF of versions 5 and 4.
func TestTrapsNameTheLine(t *testing.T) {
	for _, c := range []struct{ module, lines, send, in string }{
		{"crash.wasm", "", "GET /b", crashed},
		{"split.wasm", "split.debug.wasm", "GET /b", crashed},
		{"shop.wasm", "", "Gb", "at shop.cc:13 < operator() shop.cc:26 < sell shop.cc:29 < csa_data shop.cc:37"},
	} {
		t.Run(c.module, func(t *testing.T) {
			n := traced(t)
			b := file(t, c.module)
			m := n.load(b, Events)
			reads := 0
			m.SetSource(func() (module, lines []byte, err error) {
				reads++
				if c.lines != "" {
					lines = file(t, c.lines)
				}
				return b, lines, nil
			})
			for range 3 {
				trap, in := trapOf(t, m, c.send)
				if in != c.in {
					t.Errorf("it was in %q (%q), want %q; %s", in, trap.In, c.in, n.log.text())
				}
			}
			if reads != 1 {
				t.Errorf("the same trap was looked up %d times", reads)
			}
		})
	}
}

// What says no lines has its functions' names, and one that lies has them too, and the log says
// why.
func TestTrapsWithoutLines(t *testing.T) {
	module := func(custom ...string) []byte {
		m, _ := w.Handler()
		parse := m.Func("", "i:i", "", w.LocalGet(0), w.I32Const(0), w.I32DivS)
		m.Func("csa_data", "ii:i", "", w.LocalGet(1), w.Call(parse))
		for _, name := range custom {
			m.Custom(name, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		}
		return m.Bytes()
	}
	n := traced(t)
	plain := n.load(module(), Events)
	if trap, in := trapOf(t, plain, "x"); in != trap.In || in == "" {
		t.Errorf("without lines it was in %q, and by its names in %q", in, trap.In)
	}
	b := module(".debug_info", ".debug_line")
	lies := n.load(b, Events)
	reads := 0
	lies.SetSource(func() (m, lines []byte, err error) { reads++; return b, nil, nil })
	for range 2 {
		if trap, in := trapOf(t, lies, "x"); in != trap.In || in == "" {
			t.Errorf("with lines that lie it was in %q, and by its names in %q", in, trap.In)
		}
	}
	if reads != 1 || strings.Count(n.log.text(), "its traps do not name the lines of its source: ") != 1 {
		t.Errorf("it was read %d times, and the log is %q", reads, n.log.text())
	}
}

// A file with lines that is of another build, or is gone, is said once, and the names are there.
func TestTrapsWithWrongLines(t *testing.T) {
	n := traced(t)
	id := func(name, id string) []byte {
		b := file(t, name)
		return append(b, append([]byte{0, byte(9 + len(id))}, "\bbuild_id"+id...)...)
	}
	b := id("split.wasm", "one")
	for why, read := range map[string]func() ([]byte, []byte, error){
		"of another build":          func() ([]byte, []byte, error) { return b, id("split.debug.wasm", "two"), nil },
		"no such file or directory": func() ([]byte, []byte, error) { return nil, nil, os.ErrNotExist },
	} {
		if why != "of another build" {
			why = os.ErrNotExist.Error()
		}
		m := n.load(b, Events)
		m.SetSource(read)
		trap, in := trapOf(t, m, "GET /b")
		if in != trap.In || in != "route < csa_data" || !strings.Contains(n.log.text(), why) {
			t.Errorf("%s: it was in %q, and the log is %q", why, in, n.log.text())
		}
	}
}

// While one trap is looked up, others of the same place wait for it, and others have their names;
// none waits when the runtime closes.
func TestTrapsWhileOneIsLookedUp(t *testing.T) {
	n := traced(t)
	b := file(t, "crash.wasm")
	m := n.load(b, Events)
	go1, reading := make(chan bool), make(chan bool)
	m.SetSource(func() (module, lines []byte, err error) {
		close(reading)
		<-go1
		return b, nil, nil
	})
	var traps []*Trap
	l := listener()
	l.OnTrap = func(_ *Instance, got *Trap) { traps = append(traps, got) }
	for range mostWaiting + 2 {
		i, err := m.Instantiate(l)
		if err != nil {
			t.Fatal(err)
		}
		h := open(i, &fake{})
		copy(i.memory.Bytes()[i.window:], "GET /b")
		i.call(callData, uint64(h), 6)
		i.Close()
	}
	said := make(chan string, len(traps)+1)
	for _, trap := range traps {
		trap.Explain(func(s string) { said <- s })
	}
	other := *traps[0]
	at := *other.at
	at.calls.At = at.calls.At[1:]
	other.at = &at
	other.Explain(func(s string) { said <- s })
	for range 3 { // those that were too many, and the other one
		if s := <-said; s != "route < csa_data" {
			t.Errorf("what need not wait was in %q", s)
		}
	}
	<-reading
	close(go1)
	for range mostWaiting {
		if s := <-said; s != crashed {
			t.Errorf("what has waited was in %q", s)
		}
	}
}

// A trap that is looked up when the runtime closes has its names, and the runtime waits for it.
func TestTrapsOfARuntimeThatCloses(t *testing.T) {
	n := traced(t)
	b := file(t, "crash.wasm")
	m := n.load(b, Events)
	m.SetSource(func() (module, lines []byte, err error) {
		n.r.Close()
		return b, nil, nil
	})
	if _, in := trapOf(t, m, "GET /b"); in != "route < csa_data" {
		t.Errorf("it was in %q", in)
	}
	if s := n.log.text(); s != "" {
		t.Errorf("the log is %q", s)
	}
}

// In each language, a trap and what the language calls where it gives up name the author's lines,
// and what it says of that is in the log. AssemblyScript's compiler writes names alone.
func TestTrapsOfLanguages(t *testing.T) {
	n := traced(t)
	modules := make(map[string]*Module)
	for _, c := range []struct{ source, verb, said, in string }{
		{"panics.rs", "index", "index out of bounds: the len is 1 but the index is 5', @index", "panic < look_up @index < csa_data @call"},
		{"panics.rs", "panic", "no such verb: panic', @panic", "panic < csa_data @panic"},
		{"panics.rs", "none", "called `Option::unwrap()` on a `None` value', @none", "panic < unwrap<u8> option.rs:775 < csa_data @none"},
		{"panics.rs", "trap", "", "read<i32> mod.rs:1151 < read<i32> const_ptr.rs:1152 < csa_data @trap"},
		{"panics.zig", "index", "index out of bounds", "panic @handler < lookUp @index < csa_data @call"},
		{"panics.zig", "panic", "no such verb: panic", "panic @handler < csa_data @panic"},
		{"panics.ts", "index", "Index out of range at ~lib/staticarray.ts:", "panics/aborted < panics/csa_data"},
		{"panics.ts", "throw", "no such verb: throw at @throw", "panics/aborted < panics/csa_data"},
		{"panics.ts", "trap", "", "panics/csa_data"},
	} {
		t.Run(c.source+" "+c.verb, func(t *testing.T) {
			b := file(t, "languages/"+c.source+".wasm")
			m := modules[c.source]
			if m == nil {
				m = n.load(b, Events)
				modules[c.source] = m
			}
			// Nothing is known of it any more, and so nothing has to wait for what was looked up
			// before.
			m.SetSource(func() (module, lines []byte, err error) { return b, nil, nil })
			source := string(file(t, "languages/"+c.source))
			said, want := atMarks(source, c.source, c.said), atMarks(source, c.source, c.in)
			if trap, in := trapOf(t, m, c.verb); in != want {
				t.Errorf("it was in %q (%q), want %q", in, trap.In, want)
			}
			if !strings.Contains(n.log.text(), said) {
				t.Errorf("the log is %q, want %q in it", n.log.text(), said)
			}
		})
	}
}

// atMarks is a text with the line of the source that ends with "at: x" in place of "@x".
func atMarks(source, name, text string) string {
	for i, line := range strings.Split(source, "\n") {
		if _, mark, ok := strings.Cut(line, " // at: "); ok {
			text = strings.ReplaceAll(text, "@"+mark, fmt.Sprintf("%s:%d", name, i+1))
		}
	}
	return text
}
