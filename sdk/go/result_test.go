//go:build !wasip1

package guest

import (
	"testing"

	"bulkhead/sdk/go/internal/seam"
)

// Each operation has a token of its own, and its function is called once, with what its result was.
func TestResults(t *testing.T) {
	startWith(t, echo{}, &stub{})
	var tokens []int32
	var heard []string
	begin := func(token int32) int32 { tokens = append(tokens, token); return 0 }
	for _, name := range []string{"a", "b"} {
		err := g.await(begin, func(r Result, err error) {
			if name == "b" {
				err = g.await(begin, nil)
			}
			heard = append(heard, name, string(r.Value))
			if r.Revision != 5 || err != nil {
				t.Errorf("revision %d, %v", r.Revision, err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := g.await(func(int32) int32 { return int32(Again) }, func(Result, error) { t.Error("it was not begun") }); err != Again {
		t.Error(err)
	}
	copy(g.window, "value")
	for range 2 {
		seam.Result(tokens[1], 0, 5, 5)
		seam.Result(tokens[0], 0, 5, 0)
	}
	if len(heard) != 4 || heard[0] != "b" || heard[1] != "value" || heard[2] != "a" || heard[3] != "" {
		t.Errorf("%q", heard)
	}
	if len(tokens) != 3 || tokens[0] == tokens[1] || tokens[2] == tokens[1] {
		t.Errorf("the tokens are %d", tokens)
	}
	seam.Result(tokens[2], int32(Conflict), 0, 0)
	seam.Result(99, 0, 0, 0)
	if len(g.results) != 0 {
		t.Errorf("%d are left", len(g.results))
	}
}
