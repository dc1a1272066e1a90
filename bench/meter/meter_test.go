package main

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"
)

// A quick run of everything: the guests work, and do the same metered and under ContextDone, or
// run fails.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run([]string{"-examples", "../../examples", "-repeats", "1", "-least", "1ms", "-compiles", "0"}, &out); err != nil {
		t.Fatal(err)
	}
	for _, sub := range subjects {
		if !strings.Contains(out.String(), "| "+sub.name) {
			t.Errorf("%s is not in the table", sub.name)
		}
	}
	if !strings.Contains(out.String(), "Geometric mean") {
		t.Errorf("no mean in\n%s", &out)
	}
}

// A guest that finds a fault in its own work answers 0.
func TestGuestsAreContent(t *testing.T) {
	s := &settings{examples: "../../examples"}
	for i := range subjects {
		sub := &subjects[i]
		t.Run(sub.name, func(t *testing.T) {
			if sub.name == "chat (Go)" {
				t.Skip("it takes long to compile, and TestRun has it")
			}
			code, err := sub.code(s)
			if err != nil {
				t.Fatal(err)
			}
			g, err := newGuest(metered, code)
			if err != nil {
				t.Fatal(err)
			}
			defer g.close()
			work, err := sub.start(g)
			if err != nil {
				t.Fatal(err)
			}
			before := g.units()
			sum, err := work(2)
			if err != nil || sum == 0 && sub.name != "empty call" {
				t.Errorf("the sum is %d, and the error %v", sum, err)
			}
			if g.units() <= before {
				t.Errorf("its work cost no fuel: %d units before, %d after", before, g.units())
			}
		})
	}
}

func TestSameFuelEachTime(t *testing.T) {
	code, err := shipped("json")(nil)
	if err != nil {
		t.Fatal(err)
	}
	var units [2]int64
	for i := range units {
		g, err := newGuest(metered, code)
		if err != nil {
			t.Fatal(err)
		}
		defer g.close()
		work, err := program(g)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := work(100); err != nil {
			t.Fatal(err)
		}
		units[i] = g.units()
	}
	if units[0] != units[1] {
		t.Errorf("one instance used %d units and another %d for the same", units[0], units[1])
	}
}

func TestCompare(t *testing.T) {
	code, err := shipped("http")(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := compare(1, code)
	if err != nil {
		t.Fatal(err)
	}
	if s.Wasm <= 1 || s.Machine <= 1 || s.Compile <= 0 || s.Rewrite <= 0 || s.Rewrite >= 1 {
		t.Errorf("compared: %+v", s)
	}
}

func TestGCWaits(t *testing.T) {
	waits, err := gcWaits(time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if len(waits) != int(modes)+1 {
		t.Errorf("%d rows: %v", len(waits), waits)
	}
}

func TestMean(t *testing.T) {
	one := func(ratio float64, micro bool) *row {
		r := &row{Micro: micro, Ratio: [modes]float64{1, ratio, 4 * ratio}}
		return r
	}
	r := &report{Rows: []*row{one(1, false), one(4, false), one(100, true)}}
	if worst := r.sumUp(); worst != r.Rows[1] {
		t.Errorf("the worst is %v", worst)
	}
	if math.Abs(r.Mean[metered]-2) > 1e-9 || math.Abs(r.Mean[done]-8) > 1e-9 {
		t.Errorf("the means are %v", r.Mean)
	}
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{"-repeats", "0"}, {"-guests", "no such"}, {"json"}, {"-least", "0s"}} {
		if err := run(args, &bytes.Buffer{}); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}
