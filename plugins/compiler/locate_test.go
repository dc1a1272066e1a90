package compiler

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/admit"
	"bulkhead/plugins/meter"
	"bulkhead/plugins/trace"
	"bulkhead/plugins/wasm"
)

// example is a guest of examples/testdata.
func example(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../../examples/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var metering = meter.Options{MaxPages: 100, MaxTableGrowth: wasm.MaxGrowth, Detach: true}

// everywhere are calls at so many of the places that a module's code has.
func everywhere(t testing.TB, module []byte, most int) Calls {
	t.Helper()
	m, err := wasm.Parse(module)
	if err != nil {
		t.Fatal(err)
	}
	metered, err := meter.Rewrite(m, metering)
	if err != nil {
		t.Fatal(err)
	}
	code, err := compileMapped(metered.Code)
	if err != nil {
		t.Fatal(err)
	}
	c := Calls{Meter: metering, Sum: code.sum}
	for _, p := range code.places {
		if at := uint32(p[1]) + 1; !slices.Contains(c.At, at) && len(c.At) < most {
			c.At = append(c.At, at)
		}
	}
	return c
}

// The places of a module's native code lead to the lines of its source, whichever the version of
// its DWARF, and whether it is in the module.
func TestLocate(t *testing.T) {
	for _, c := range []struct{ module, lines string }{{"crash.wasm", "crash.wasm"}, {"split.wasm", "split.debug.wasm"}} {
		module := example(t, c.module)
		places, err := locate(everywhere(t, module, 1<<20), module, example(t, c.lines))
		if err != nil {
			t.Fatal(err)
		}
		said := make(map[string]bool)
		for _, p := range places {
			said[p.String()] = true
		}
		for _, want := range []string{"lookup crash.c:14", "route crash.c:18", "route crash.c:21", "route crash.c:22", "csa_data crash.c:29", "csa_data crash.c:30"} {
			if !said[want] {
				t.Errorf("%s: nothing is in %q, but in %v", c.module, want, said)
			}
		}
	}
}

// What cannot be located is an error that says why, and names are kept where there are no lines.
func TestLocateWithout(t *testing.T) {
	module := example(t, "crash.wasm")
	calls := everywhere(t, module, 1)
	other := calls
	other.Sum++
	if _, err := locate(other, module, module); err == nil || !strings.Contains(err.Error(), "otherwise") {
		t.Errorf("of code that is another: %v", err)
	}
	echo := w.Echo().Bytes()
	if _, err := locate(everywhere(t, echo, 1), echo, echo); err == nil || !strings.Contains(err.Error(), "DWARF") {
		t.Errorf("of a module without lines: %v", err)
	}
	// Lines of something else, which have none of this code.
	large := w.Echo()
	for range 200 {
		large.Func("", ":", "", slices.Repeat(w.Nop, 20))
	}
	last := large.Func("last", ":", "", w.Unreachable)
	large.Custom("name", append([]byte{1, 8, 1}, append(binary.AppendUvarint(nil, uint64(last)), 4, 'l', 'a', 's', 't')...))
	b := large.Bytes()
	calls = everywhere(t, b, 1<<20)
	calls.At = calls.At[len(calls.At)-1:]
	places, err := locate(calls, b, module)
	if err != nil || len(places) != 1 || places[0] != (trace.Place{Function: "last"}) {
		t.Errorf("of code that the lines do not have: %v, %v", places, err)
	}
	if _, err := locate(Calls{Meter: metering, At: []uint32{0, 1 << 31, 1<<32 - 1}, Sum: calls.Sum}, b, module); err != nil {
		t.Errorf("of places that are none: %v", err)
	}
}

// Where a component's core module runs, it is that which is located: its own sections say the
// lines.
func TestLocateInAComponent(t *testing.T) {
	const from, to = "\x06csa_v1", "\x16wasi_snapshot_preview1"
	plain := example(t, "crash.wasm")
	core := append([]byte(nil), plain[:8]...)
	for rest := plain[8:]; len(rest) > 0; {
		n, k := binary.Uvarint(rest[1:])
		content := rest[1+k:][:n]
		if rest[0] == wasm.ImportSection { // a component's core module imports WASI alone
			content = bytes.ReplaceAll(content, []byte(from), []byte(to))
		}
		core = append(binary.AppendUvarint(append(core, rest[0]), uint64(len(content))), content...)
		rest = rest[1+k:][n:]
	}
	places, err := locate(everywhere(t, core, 1<<20), w.Component(core), nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := (trace.Place{Function: "route", File: "crash.c", Line: 22}); !slices.Contains(places, want) {
		t.Errorf("nothing is in %v, but in %v", want, places)
	}
}

// Code is located as it runs: a handler whose callbacks ran its constructors, without that.
func TestLocateInAMendedModule(t *testing.T) {
	module, lines := example(t, "unconstructed.wasm"), example(t, "crash.wasm")
	m, err := wasm.Parse(module)
	if err != nil {
		t.Fatal(err)
	}
	if len(admit.Mend(m, admit.Events)) == 0 {
		t.Fatal("there is nothing to mend in it")
	}
	metered, err := meter.Rewrite(m, metering)
	if err != nil {
		t.Fatal(err)
	}
	code, err := compileMapped(metered.Code)
	if err != nil {
		t.Fatal(err)
	}
	calls := Calls{Shape: admit.Events, Meter: metering, Sum: code.sum, At: []uint32{uint32(code.places[len(code.places)-1][1]) + 1}}
	if places, err := locate(calls, module, lines); err != nil || len(places) == 0 {
		t.Errorf("as it runs: %v, %v", places, err)
	}
}

// section is a custom section.
func section(name string, content ...[]byte) []byte { return custom(name, slices.Concat(content...)) }

// sections is a module of nothing but the sections of DWARF.
func sections(s map[string][]byte) []byte {
	b := []byte("\x00asm\x01\x00\x00\x00")
	for name, content := range s {
		b = append(b, section(name, content)...)
	}
	return b
}

// hostile are files with lines that are made to harm whoever reads them.
func hostile(t testing.TB) map[string][]byte {
	t.Helper()
	good := trace.Sections(example(t, "crash.wasm"))
	with := func(name string, content []byte) []byte {
		s := make(map[string][]byte)
		for k, v := range good {
			s[k] = v
		}
		s[name] = content
		return sections(s)
	}
	line := func(body ...byte) []byte {
		return append(binary.LittleEndian.AppendUint32(nil, uint32(len(body))), body...)
	}
	head := []byte{5, 0, 4, 0, 40, 0, 0, 0, 1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1}
	many := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}
	some := []byte{0xff, 0xff, 0xff, 0xff, 0x7f} // 2^35 folders of 16 bytes
	// A unit whose first child says that the next one is where it is itself.
	circle := map[string][]byte{
		".debug_abbrev": {1, 0x11, 1, 0, 0, 2, 0x2e, 1, 0x01, 0x13, 0, 0, 0},
		".debug_info":   {18, 0, 0, 0, 4, 0, 0, 0, 0, 0, 4, 1, 2, 11, 0, 0, 0, 0, 0, 0, 0, 0},
		".debug_line":   {0},
	}
	return map[string][]byte{
		"circle":       sections(circle),
		"empty":        sections(map[string][]byte{".debug_info": {0}, ".debug_line": {0}}),
		"no lines":     with(".debug_line", nil),
		"no abbrev":    with(".debug_abbrev", []byte{0}),
		"many folders": with(".debug_line", line(slices.Concat(head, []byte{0}, many, make([]byte, 30))...)),
		"most memory":  with(".debug_line", line(slices.Concat(head, []byte{0}, some, make([]byte, 30))...)),
		"cut":          with(".debug_info", good[".debug_info"][:len(good[".debug_info"])/2]),
		"not a module": []byte("not a module"),
		"random":       with(".debug_info", slices.Repeat([]byte{0xff}, 1000)),
	}
}

// limitedLocate bounds what the children of this test take.
func limitedLocate(t testing.TB) {
	before := LocateLimits
	LocateLimits = Limits{Memory: 512 << 20, CPU: 5 * time.Second, Wall: 5 * time.Minute}
	t.Cleanup(func() { LocateLimits = before })
}

// Lines made to harm whoever reads them end the child that does, or are an error: the text that
// comes back is short in any case.
func TestHostileLines(t *testing.T) {
	limitedLocate(t)
	module := example(t, "crash.wasm")
	calls := everywhere(t, module, 8)
	try := func(name string, lines []byte) {
		places, err := self("compile", Limits{}).Locate(context.Background(), calls, module, lines, t.TempDir())
		if text := trace.Text(places); len(text) > trace.MaxText+10 {
			t.Errorf("%s: %d bytes of text", name, len(text))
		}
		if err == nil {
			return
		}
		if strings.Contains(err.Error(), "\n") || len(err.Error()) > 500 {
			t.Errorf("%s: not one line: %v", name, err)
		}
	}
	for name, lines := range hostile(t) {
		try(name, lines)
	}
	r := rand.New(rand.NewSource(1))
	for range 20 {
		b := bytes.Clone(module)
		at := bytes.Index(b, []byte(".debug_"))
		for range 1 + r.Intn(8) {
			b[at+r.Intn(len(b)-at)] = byte(r.Int())
		}
		try("changed", b)
	}
	// It is for the good ones after that.
	places, err := self("compile", Limits{}).Locate(context.Background(), calls, module, nil, t.TempDir())
	if err != nil || len(places) == 0 {
		t.Errorf("a good one: %v, %v", places, err)
	}
}

// FuzzLines has a child read the sections of DWARF.
func FuzzLines(f *testing.F) {
	limitedLocate(f)
	module := example(f, "crash.wasm")
	calls := everywhere(f, module, 4)
	for _, name := range []string{"crash.wasm", "split.debug.wasm"} {
		s := trace.Sections(example(f, name))
		f.Add(s[".debug_info"], s[".debug_abbrev"], s[".debug_line"], s[".debug_rnglists"], s[".debug_str_offsets"])
	}
	for _, b := range hostile(f) {
		s := trace.Sections(b)
		f.Add(s[".debug_info"], s[".debug_abbrev"], s[".debug_line"], s[".debug_rnglists"], s[".debug_str_offsets"])
	}
	f.Fuzz(func(t *testing.T, info, abbrev, line, ranges, offsets []byte) {
		lines := sections(map[string][]byte{".debug_info": info, ".debug_abbrev": abbrev, ".debug_line": line, ".debug_rnglists": ranges, ".debug_ranges": ranges, ".debug_str_offsets": offsets, ".debug_str": offsets})
		places, err := self("compile", Limits{}).Locate(context.Background(), calls, module, lines, t.TempDir())
		if len(places) > MaxCalls*40 || len(trace.Text(places)) > trace.MaxText+10 {
			t.Errorf("%d places", len(places))
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("not one line: %v", err)
		}
	})
}
