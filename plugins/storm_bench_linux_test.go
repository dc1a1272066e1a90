package plugins

import (
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkStorm has a thousand instances answer one message each while all of them live, as after
// an outage, and closes them: CPU time and page faults of each, by what was done.
func BenchmarkStorm(b *testing.B) {
	for _, g := range []struct {
		name   string
		module func() []byte
	}{
		{"C", func() []byte { return shipped(b, "echo/echo.wasm") }},
		{"Go", func() []byte { return shipped(b, "../bench/guests/src/echogo.wasm") }},
		{"JavaScript", func() []byte { return scriptModule(b, "echo.js") }},
		{"Lua", func() []byte { return scriptModule(b, "echo.lua") }},
	} {
		b.Run(g.name, func(b *testing.B) {
			onPoolOf(b, g.module(), func(p *Pool) { storm(b, p) })
		})
	}
}

func storm(b *testing.B, p *Pool) {
	const instances = 1000
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f := &sink{}
	all := make([]*Instance, 0, instances)
	handles := make([]int32, 0, instances)
	var get, first, second, end used
	for b.Loop() {
		all, handles = all[:0], handles[:0]
		get.begin()
		for range instances {
			i, err := p.Get()
			if err != nil {
				b.Error(err)
				return
			}
			i.loop = nil // which it would pass on if the machine were busy elsewhere
			all = append(all, i)
		}
		get.stop()
		answer := func(i *Instance, h int32) {
			if w := i.Window(nil); len(w) > 0 {
				i.data(h, f, copy(w, "hello, everybody out there!\n"))
			}
		}
		first.begin()
		for _, i := range all {
			h := i.admit(f)
			handles = append(handles, h)
			i.opened(h, f)
			answer(i, h)
		}
		first.stop()
		second.begin()
		for k, i := range all {
			answer(i, handles[k])
		}
		second.stop()
		end.begin()
		for k, i := range all {
			i.handles.remove(handles[k])
			i.Close()
		}
		end.stop()
		for range executorTurns {
			p.tidy()
		}
	}
	for name, u := range map[string]*used{"get": &get, "first": &first, "second": &second, "close": &end} {
		b.ReportMetric(median(u.ns)/instances/1000, name+"-us")
		b.ReportMetric(median(u.faults)/instances, name+"-faults")
	}
}

// used is CPU time and page faults of the calling thread, from begin to stop.
type used struct {
	ns, faults   []int64
	ns0, faults0 int64
}

func (u *used) begin() { u.ns0, u.faults0 = threadUse() }
func (u *used) stop() {
	ns, faults := threadUse()
	u.ns, u.faults = append(u.ns, ns-u.ns0), append(u.faults, faults-u.faults0)
}

func threadUse() (ns, faults int64) {
	var r unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_THREAD, &r)
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return t.Nano(), r.Minflt
}

func median(all []int64) float64 {
	slices.Sort(all)
	return float64(all[len(all)/2])
}
