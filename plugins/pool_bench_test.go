package plugins

import (
	"testing"
	"time"
)

// onPool runs f on the loop of a pool of a shipped handler, which has an executor.
func onPool(b *testing.B, file string, f func(p *Pool)) {
	b.Helper()
	onPoolOf(b, shipped(b, file), f)
}

// onPoolOf is onPool for the bytes of a module.
func onPoolOf(b testing.TB, module []byte, f func(p *Pool)) {
	b.Helper()
	s, err := newTenant(b, 0).share().load(module, Events).Snapshot(listener())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	l := newLoop(b)
	var p *Pool
	l.on(func() {
		p = s.Pool(l.Loop)
		i, err := p.Get()
		if err != nil {
			b.Error(err)
			return
		}
		p.ready(i)
		i.Close()
	})
	until(b, "there is an executor", func() (ok bool) { l.on(func() { ok = len(p.executors) > 0 }); return ok })
	l.on(func() {
		defer p.Close()
		f(p)
	})
}

// BenchmarkPool takes an instance of a shipped handler from a pool, has it answer one
// message, and returns it. "took" is the time of taking and returning alone.
func BenchmarkPool(b *testing.B) {
	for name, file := range map[string]string{"C": "echo/echo.wasm", "Go": "chat/chat.wasm"} {
		b.Run(name, func(b *testing.B) {
			var took time.Duration
			rounds := 0
			onPool(b, file, func(p *Pool) {
				f := &sink{}
				b.ReportAllocs()
				for b.Loop() {
					began := time.Now()
					i, err := p.Get()
					took += time.Since(began)
					if err != nil {
						b.Error(err)
						return
					}
					i.loop = nil // which it would pass on if the machine were busy elsewhere
					h := i.admit(f)
					i.opened(h, f)
					if w := i.Window(nil); len(w) > 0 {
						copy(w, "hello, everybody out there!\n")
						i.data(h, f, 28)
					}
					i.handles.remove(h)
					began = time.Now()
					i.Close()
					took += time.Since(began)
					rounds++
				}
			})
			b.ReportMetric(float64(took.Nanoseconds())/float64(rounds), "took-ns")
		})
	}
}

// BenchmarkBind has instances of one loop answer in turn: one that keeps its
// executor, and two that take it from each other at every message.
func BenchmarkBind(b *testing.B) {
	for name, file := range map[string]string{"C": "echo/echo.wasm", "Go": "chat/chat.wasm"} {
		for instances, kind := range []string{"alone", "in turn"} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				onPool(b, file, func(p *Pool) {
					var all []*Instance
					f := &sink{}
					var handles []int32
					for range instances + 1 {
						i, err := p.Get()
						if err != nil {
							b.Error(err)
							return
						}
						i.loop = nil
						h := i.admit(f)
						i.opened(h, f)
						all, handles = append(all, i), append(handles, h)
					}
					b.ReportAllocs()
					for k := 0; b.Loop(); k = (k + 1) % len(all) {
						i := all[k]
						if w := i.Window(nil); len(w) > 0 {
							copy(w, "hello, everybody out there!\n")
							i.data(handles[k], f, 28)
						}
					}
					for _, i := range all {
						i.Close()
					}
				})
			})
		}
	}
}
