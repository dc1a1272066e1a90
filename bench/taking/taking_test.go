package main

import (
	"testing"
)

// An instance from the pool, and one made anew, of a guest in C and of one in Go.
func TestMeasure(t *testing.T) {
	for _, file := range []string{"../../examples/echo/echo.wasm", "../guests/src/echogo.wasm"} {
		r, err := measure(file, 2, 5, 2)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for k := range r.pooled {
			if r.take[k] <= 0 || r.give[k] <= 0 || r.anew[k] <= 0 || r.pooled[k] <= 0 {
				t.Errorf("%s: %+v", file, r)
			}
		}
	}
	if _, err := measure("nothing.wasm", 1, 1, 1); err == nil {
		t.Error("no error for a file that is not there")
	}
}
