package plugins

import (
	"strings"
	"testing"
)

// A guest with exceptions, as clang makes them of longjmp, does what it says; one that nobody
// catches is a trap that says so, with the tag; and traps name the lines of the source through all
// that is rewritten. What a trap has left does not reach the next instance on the same executor.
func TestExceptionsOfAGuest(t *testing.T) {
	b := file(t, "jumps.wasm")
	load := func() *Module {
		m := traced(t).load(b, Events)
		m.SetSource(func() (module, lines []byte, err error) { return b, nil, nil })
		return m
	}
	m := load()
	if !m.code.throws {
		t.Fatal("it uses no exceptions")
	}
	caught := func(i *Instance) {
		t.Helper()
		f := &fake{room: 100}
		h := open(i, f)
		copy(i.memory.Bytes()[i.window:], "c")
		if used, ok := i.call(callData, uint64(h), 1); !ok || used != 1 || string(f.sent) != "7" {
			t.Fatalf("a longjmp: it consumed %d, %v, and has sent %q", used, ok, string(f.sent))
		}
	}
	i, err := m.Instantiate(listener())
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	caught(i)
	trap, in := trapOf(t, m, "u")
	if want := `an exception with the tag "__c_longjmp" was not caught`; trap.Why != want || trap.Error() != "csa_data trapped: "+want || trap.Stop != StopNot || trap.Bug {
		t.Errorf("an exception that nobody catches: %+v", trap)
	}
	if !strings.HasPrefix(in, "csa_data jumps.c:") {
		t.Errorf("it was in %q", in)
	}
	trap, in = trapOf(t, load(), "t")
	if want := "deep jumps.c:16 < guarded jumps.c:23 < csa_data jumps.c:30"; in != want || trap.Why == "unreachable" {
		t.Errorf("a trap below a setjmp: %v in %q (%s), want %q", trap, in, trap.In, want)
	}
	caught(i)
}
