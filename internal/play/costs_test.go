package play

import (
	"fmt"
	"testing"
)

// The costs of a conversation are by the lines that brought them about, and add up.
func TestCosts(t *testing.T) {
	h := script(t, `
export default {
  open(c) { c.timer(1, 5000) },
  line(c, t) { let n = 0; for (let i = 0; i < +t; i++) n += i; c.send(n + "\n") },
  timer(c) { let n = 0; for (let i = 0; i < 20000; i++) n += i; c.send(n + "\n") },
};`)
	text := "== a\neol lf\n> 10\n< ~ .*\n> 5000\n< ~ .*\n> 10\n> 10\n< ~ .*\n< ~ .*\nwait 5s\n< ~ .*\n>EOF\n<EOF\n"
	r := reports(t, h, text, Written)[0]
	if r.Failure != nil {
		t.Fatalf("%+v", r.Failure)
	}
	byLine := map[int]Cost{}
	var fuel int64
	events := 0
	for _, c := range r.Costs {
		byLine[c.Line] = c
		fuel += c.Fuel
		events += c.Events
	}
	if fuel != r.Fuel || events != r.Events {
		t.Errorf("the costs are %d of fuel and %d events, of %d and %d", fuel, events, r.Fuel, r.Events)
	}
	if byLine[5].Fuel < 10*byLine[3].Fuel || byLine[7].Fuel > byLine[5].Fuel || byLine[11].Fuel < byLine[5].Fuel {
		t.Errorf("lines 3, 5, 7 and 11 took %d, %d, %d, %d", byLine[3].Fuel, byLine[5].Fuel, byLine[7].Fuel, byLine[11].Fuel)
	}
	if most, ok := r.Costliest(); !ok || most.Line != 11 {
		t.Errorf("the costliest is %+v", most)
	}
	// A budget that is not kept says where most of it went.
	f := reports(t, h, text+"fuel < 1k\n", Written)[0].Failure
	if f == nil {
		t.Fatal("the budget was kept")
	}
	var used, part int64
	if _, err := fmt.Sscanf(f.What, "the handler has used %d of fuel so far, %d of it for line 11", &used, &part); err != nil || part > used || part < used/3 {
		t.Errorf("the failure is %+v", f)
	}
}
