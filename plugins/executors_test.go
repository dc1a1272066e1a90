package plugins

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/selector"
)

// bookedCPU counts what is booked.
type bookedCPU struct {
	allCores
	ns atomic.Int64
}

func (c *bookedCPU) Book(ns int64) { c.ns.Add(ns) }

// scriptPools are pools of one script each of several tenants, on one loop.
type scriptPools struct {
	*loop
	clock *selector.Manual
	p     *Interpreter
	cpus  []*bookedCPU
	ns    []*tenant
	pools []*Pool
}

func newScriptPools(t *testing.T, module []byte, tenants int) *scriptPools {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("this system has no snapshots")
	}
	p, _ := interpreterOf(t, module)
	clock := &selector.Manual{}
	clock.Advance(time.Hour)
	g := &scriptPools{loop: newLoopOn(t, clock), clock: clock, p: p}
	for k := range tenants {
		n, cpu := newTenant(t, 0), &bookedCPU{}
		n.r.options.CPU = cpu
		m := n.loadScript(p, 16, k+1)
		s, err := m.Snapshot(&Listener{Name: "web", Tenant: fmt.Sprint("t", k), EventTimeout: 10 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		g.cpus, g.ns = append(g.cpus, cpu), append(g.ns, n)
		g.on(func() { g.pools = append(g.pools, s.Pool(g.Loop)) })
		s.Close() // the pool keeps it
	}
	t.Cleanup(func() {
		g.on(func() {
			for _, p := range g.pools {
				p.Close()
			}
		})
	})
	return g
}

// do has an instance do something, beside the loop's events.
func (g *scriptPools) do(t *testing.T, i *Instance, what uint64) (answer uint32, ok bool) {
	t.Helper()
	until(t, "there is an executor", func() (is bool) { g.on(func() { is = i.pool.executorFor(i) }); return is })
	g.on(func() {
		loop := i.loop
		i.loop = nil // which it would pass on if the machine were busy elsewhere
		r, returned := i.call(callData, 0, what)
		answer, ok = uint32(r), returned
		i.loop = loop
	})
	return answer, ok
}

// Scripts of several tenants run on one executor of their loop. Each has its own memory, globals,
// fuel and CPU time, also when another's has trapped on it, and when another's pool has gone.
func TestScriptsShareExecutors(t *testing.T) {
	const tenants = 3
	g := newScriptPools(t, interpreterModule(), tenants)
	var is [tenants]*Instance
	for k, p := range g.pools {
		g.on(func() {
			var err error
			if is[k], err = p.Get(); err != nil {
				t.Error(err)
			}
		})
	}
	if t.Failed() {
		return
	}
	set := g.pools[0].executorSet
	for round := range uint32(5) {
		for k, i := range is {
			if r, ok := g.do(t, i, tellScript); !ok || r != secret(k+1) {
				t.Errorf("tenant %d has the script %#x", k, r)
			}
			if r, ok := g.do(t, i, lookAround); !ok || r != 0 {
				t.Errorf("tenant %d sees %d words of another's", k, r)
			}
			if r, ok := g.do(t, i, countGlobal); !ok || r != round+1 {
				t.Errorf("tenant %d has counted to %d in round %d", k, r, round)
			}
			if i.pool.executorSet != set {
				t.Fatalf("tenant %d has executors of its own", k)
			}
		}
	}
	g.on(func() {
		if n := len(set.executors); n != 1 || set.busy != 0 {
			t.Errorf("there are %d executors, and %d are busy", n, set.busy)
		}
	})

	// What one uses it is charged for, though another uses the executor next.
	var before [tenants]int64
	for k := range is {
		before[k] = g.ns[k].r.Fuel()
	}
	g.cpus[1].ns.Store(0)
	for range 50 {
		g.do(t, is[0], lookAround)
		if r, ok := g.do(t, is[1], tellScript); !ok || r != secret(2) {
			t.Errorf("tenant 1 has the script %#x", r)
		}
	}
	g.do(t, is[2], tellScript) // which has the others' counted
	a, b := g.ns[0].r.Fuel()-before[0], g.ns[1].r.Fuel()-before[1]
	if b <= 0 || a < 1000*b {
		t.Errorf("who looks through its memory has used %d units, and who does next to nothing %d", a, b)
	}
	if g.cpus[0].ns.Load() == 0 || g.cpus[1].ns.Load() == 0 {
		t.Errorf("%d and %d ns are booked", g.cpus[0].ns.Load(), g.cpus[1].ns.Load())
	}

	if _, ok := g.do(t, is[0], trap); ok {
		t.Error("it traps, and returns")
	}
	g.on(is[0].Close)
	g.on(g.pools[0].Close)
	for k, i := range is[1:] {
		if r, ok := g.do(t, i, tellScript); !ok || r != secret(k+2) {
			t.Errorf("then tenant %d has the script %#x", k+1, r)
		}
		if r, ok := g.do(t, i, countGlobal); !ok || r != 6 {
			t.Errorf("then tenant %d has counted to %d", k+1, r)
		}
	}
	g.on(func() {
		for _, e := range set.executors {
			if e.owed == g.ns[0].r {
				t.Error("an executor still has a tenant that is gone")
			}
		}
		is[1].Close()
		is[2].Close()
	})
	spare := len(g.p.spare)
	g.on(func() { g.pools[1].Close(); g.pools[2].Close() })
	if len(set.executors) != 0 || len(g.p.sets) != 0 || len(g.p.spare) != spare {
		t.Errorf("without pools there are %d executors, and %d sets; %d executors are kept, with one on which something has trapped, and %d before",
			len(set.executors), len(g.p.sets), len(g.p.spare), spare)
	}
}

// Whoever starts a script does so on an executor that another has started one on, which has nothing
// of that one, and is not used again once something has trapped on it.
func TestExecutorsStartOneAfterTheOther(t *testing.T) {
	p, _ := interpreterOf(t, interpreterModule())
	r := newTenant(t, 0)
	keeps := r.loadScript(p, 16, 99)
	if keeps.base == nil {
		t.Skip("this system has no images")
	}
	made := executors.Load()
	for k := range 20 {
		n := newTenant(t, 0)
		i, err := n.loadScript(p, 16, k+1).Instantiate(listener())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			do   uint64
			want uint32
		}{{tellScript, secret(k + 1)}, {lookAround, 0}, {countGlobal, 1}} {
			if got := do(t, i, c.do); got != c.want {
				t.Errorf("script %d: told to %d it answers %#x, want %#x", k, c.do, got, c.want)
			}
		}
		i.Close()
	}
	if n := executors.Load() - made; n != 1 {
		t.Errorf("20 scripts have been started on %d executors", n)
	}
	if len(p.spare) != 1 {
		t.Fatalf("%d executors are kept", len(p.spare))
	}
	i, err := keeps.Instantiate(listener())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := i.call(callData, 0, trap); ok {
		t.Error("it traps, and returns")
	}
	i.Close()
	if len(p.spare) != 0 {
		t.Error("an executor is kept on which something has trapped")
	}
}

// A common set keeps no more executors than were needed lately.
func TestCommonExecutorsAreTrimmed(t *testing.T) {
	g := newScriptPools(t, interpreterModule(), 2)
	set := g.pools[0].executorSet
	g.on(func() {
		for range 3 {
			e, err := g.pools[0].snapshot.newExecutor()
			if err != nil {
				t.Error(err)
				return
			}
			set.add(e)
		}
		set.takes(set.executors[0])
		set.takes(set.executors[1])
		set.gives(set.executors[0])
		set.gives(set.executors[1])
		set.trimNow()
		if n := len(set.executors); n != 2 {
			t.Errorf("of three of which two were in use %d are left", n)
		}
		set.trimNow()
		set.trimNow()
		if n := len(set.executors); n != 1 {
			t.Errorf("of those that nobody uses %d are left", n)
		}
		if n := len(g.p.spare); n > mostSpareExecutors {
			t.Errorf("%d are kept for others", n)
		}
	})
	i, err := (*Instance)(nil), error(nil)
	g.on(func() { i, err = g.pools[1].Get() })
	if err != nil {
		t.Fatal(err)
	}
	if r, ok := g.do(t, i, tellScript); !ok || r != binary.LittleEndian.Uint32(script(2).Bytes) {
		t.Errorf("the script is %#x", r)
	}
	g.on(i.Close)
}

// A pool that leaves while another's call computes on an executor beside the loop leaves that one
// alone: its use is the call's.
func TestLeavingSettlesNoneThatIsBusy(t *testing.T) {
	r := &Runtime{}
	busy := &executor{owed: r, busy: true}
	s := &executorSet{of: &Interpreter{}, pools: 2, executors: []*executor{busy}}
	s.leave(r, nil)
	if busy.owed != r {
		t.Error("it is settled in the middle of its call")
	}
}
