package plugins

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A trap says in which of the guest's functions it was, the innermost first: as its module
// names them, and no more than fits in a line of the log.
func TestWhereATrapWas(t *testing.T) {
	of := func(lines ...string) error {
		return errors.New("wasm error: unreachable\nwasm stack trace:\n\t" + strings.Join(lines, "\n\t"))
	}
	for _, c := range []struct {
		what string
		err  error
		want string
	}{
		{"a name, and none", of(".parse(i32,i32) i32", ".$5(i32,i32) i32"), "parse < $5"},
		{"places in the source are left out", of("m.f(i32)", "\t0x12: f.c:3", ".csa_data(i32) i32"), "m.f < csa_data"},
		{"what the engine left out", of(".f()", "... maybe followed by omitted frames"), "f"},
		{"a name with brackets", of(".std::f(int)(i32)"), "std::f(int)"},
		{"the host's own calls are not the guest's", errors.New("x (recovered by wazero)\nwasm stack trace:\n\t.f()\n\ngoroutine 1\n\tsecret.go:1"), "f"},
		{"no calls", errors.New("anything"), ""},
		{"the host's own function for more fuel", of("bulkhead.refill()", ".f(i32)", ".main()"), "f < main"},
		{"a recursion", of(slices.Concat([]string{".f(i32)"}, slices.Repeat([]string{".g()", ".h()"}, 9), []string{".main()"})...), "f < g < h < ... 16 more < main"},
	} {
		if got := newTrap("csa_data", c.err).In; got != c.want {
			t.Errorf("%s: it was in %q, want %q", c.what, got, c.want)
		}
	}
	for name, frame := range map[string]string{"deep": "f", "long": strings.Repeat("ä", 1000)} {
		var frames []string
		for n := range 500 {
			frames = append(frames, fmt.Sprintf(".f%d%s()", n, frame))
		}
		in := callsOf(of(frames...))
		if len(in) > mostCalls+10 || !strings.HasSuffix(in, " < ...") {
			t.Errorf("%s: it is %d bytes, %q", name, len(in), in)
		}
	}
}
