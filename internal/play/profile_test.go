package play

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	w "bulkhead/internal/wasmtest"
)

// works is an echo whose csa_data calls two functions, of which one does a hundred times as much.
func works() *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"})
	rounds := func(n int32) []byte {
		return w.Cat(w.I32Const(n), w.LocalSet(0), w.Loop(w.LocalGet(0), w.I32Const(-1), w.I32Add, w.LocalTee(0), w.BrIf(0)))
	}
	little := m.Func("", ":", "i", rounds(200))
	much := m.Func("", ":", "i", rounds(20_000))
	data := m.Func("csa_data", "ii:i", "",
		w.Call(little), w.Call(much), w.LocalGet(0), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(f[0]))
	m.Custom("name", w.Cat([]byte{1, 24, 3, byte(little), 6}, []byte("little"), []byte{byte(much), 4}, []byte("much"), []byte{byte(data), 7}, []byte("on_data")))
	return m
}

// profiled is a file of speedscope, as far as it is looked at.
type profiled struct {
	Shared   struct{ Frames []struct{ Name string } }
	Profiles []struct {
		Name     string
		EndValue int64
		Samples  [][]int
		Weights  []int64
	}
}

// A profile has all the fuel of a conversation, by lines, callbacks and functions.
func TestProfile(t *testing.T) {
	profile := func(h Handler, text string, every int64) (shares map[string]int64, fuel int64) {
		h.SampleEvery = every
		var p Profile
		r := reports(t, h, text, Written)[0]
		if r.Failure != nil {
			t.Fatalf("%+v", r.Failure)
		}
		p.Add("t.talk", r)
		b, err := p.Speedscope()
		if err != nil {
			t.Fatal(err)
		}
		var got profiled
		if err := json.Unmarshal(b, &got); err != nil || len(got.Profiles) != 1 {
			t.Fatalf("%v: %s", err, b)
		}
		shares = map[string]int64{}
		var sum int64
		for i, s := range got.Profiles[0].Samples {
			var names []string
			for _, n := range s {
				names = append(names, got.Shared.Frames[n].Name)
			}
			shares[strings.Join(names, " ")] += got.Profiles[0].Weights[i]
			sum += got.Profiles[0].Weights[i]
		}
		if sum != r.Fuel || got.Profiles[0].EndValue != sum || got.Profiles[0].Name != "a" {
			t.Errorf("the profile of %q has %d of fuel up to %d, of %d", got.Profiles[0].Name, sum, got.Profiles[0].EndValue, r.Fuel)
		}
		return shares, sum
	}
	const text = "== a\neol lf\n> x\n< x\n\n> y\n< y\n"
	shares, fuel := profile(module(t, works()), text, 100)
	for line, share := range map[string]int64{"line 3 csa_data on_data much": 98, "line 6 csa_data on_data much": 98} {
		if got := 2 * 100 * shares[line] / fuel; got < share-3 || got > share+2 {
			t.Errorf("%s has %d %% of its line, want about %d: %v", line, got, share, shares)
		}
	}
	if n := shares["line 3 csa_data on_data little"]; n < 200 || n > 4000 {
		t.Errorf("little has %d of fuel: %v", n, shares)
	}
	for _, c := range reports(t, module(t, works()), text, Written)[0].Costs {
		for _, call := range c.Calls {
			if len(call.stacks) > 0 {
				t.Errorf("where nobody looks, there is %v", call.stacks)
			}
		}
	}

	// Of a script the profile has its own functions.
	shares, fuel = profile(script(t, `
function sums(n) { let s = 0; for (let i = 0; i < n; i++) s += i; return s }
export default { line(c, t) { c.send(sums(250_000) + t + "\n") } };`), "== a\neol lf\n> x\n< ~ .*\n", 1000)
	if shares["line 3 csa_data line (h.js:3) sums (h.js:2)"] < fuel/2 {
		t.Errorf("of %d fuel the script's functions have %v", fuel, shares)
	}
}

// Each call of a callback is told with what it has cost.
func TestCalls(t *testing.T) {
	h := script(t, `
export default {
  line(c, t) { count("lines"); count("words"); c.send(t + "\n"); if (t === "more") globalThis.kept = new Uint8Array(1 << 20) },
  eof(c) { c.close() },
};`)
	r := reports(t, h, "== a\neol lf\n> one\n< one\n> more\n< more\n> more\n< more\n>EOF\n<EOF\n", Written)[0]
	if r.Failure != nil {
		t.Fatalf("%+v", r.Failure)
	}
	var fuel int64
	by := map[int][]Call{}
	for _, c := range r.Costs {
		by[c.Line] = append(by[c.Line], c.Calls...)
		for _, call := range c.Calls {
			fuel += call.Fuel
		}
	}
	if fuel != r.Fuel {
		t.Errorf("the calls have used %d of fuel, of %d", fuel, r.Fuel)
	}
	one, more := by[3], by[5]
	if len(one) == 0 || len(more) != 1 {
		t.Fatalf("the calls are %+v", by)
	}
	first, second := one[len(one)-1], more[0]
	if first.Export != "csa_data" || first.Peer != "192.0.2.1:40001" || first.HostCalls["send"] != 1 || first.HostCalls["count"] != 2 {
		t.Errorf("the call for line 3 is %+v", first)
	}
	if second.Memory < first.Memory+1<<20 {
		t.Errorf("it has %d bytes of memory, then %d, and keeps a MiB more", first.Memory, second.Memory)
	}
	var ends []string
	for _, c := range r.Costs[len(r.Costs)-1].Calls {
		ends = append(ends, c.Export)
	}
	if !slices.Contains(ends, "csa_closed") {
		t.Errorf("at the end it is called by %q", ends)
	}
	if most, ok := r.Costs[1].Costliest(); !ok || most.Fuel == 0 {
		t.Errorf("the costliest call is %+v", most)
	}
}
