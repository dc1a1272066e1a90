package plugins

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
)

// BenchmarkIdleInstance says what an instance takes that has answered one message and
// waits for the next, of a thousand: in Go's heap, in pages of its own, in page tables.
// One turn is enough: -benchtime 1x.
func BenchmarkIdleInstance(b *testing.B) {
	for name, module := range map[string][]byte{
		"C": shipped(b, "echo/echo.wasm"), "Go": shipped(b, "chat/chat.wasm"),
		"JavaScript": scriptModule(b, "echo.js"), "Lua": scriptModule(b, "echo.lua"),
		"Python": scriptModule(b, "echo.py"),
	} {
		b.Run(name, func(b *testing.B) {
			onPoolOf(b, module, func(p *Pool) {
				for b.Loop() {
					idle(b, p)
				}
			})
		})
	}
}

func idle(b *testing.B, p *Pool) {
	const instances = 1000
	all := make([]*Instance, 0, instances)
	f := &sink{}
	heap, pages, tables := heapInUse(), memoryOf(b, "RssAnon"), memoryOf(b, "VmPTE")
	for range instances {
		i, err := p.Get()
		if err != nil {
			b.Error(err)
			return
		}
		i.loop = nil // which it would pass on if the machine were busy elsewhere
		h := i.admit(f)
		i.opened(h, f)
		if w := i.Window(nil); len(w) > 0 {
			i.data(h, f, copy(w, "hello, everybody out there!\n"))
		}
		all = append(all, i)
	}
	b.ReportMetric(float64(heapInUse()-heap)/instances, "heap-B")
	b.ReportMetric(float64(memoryOf(b, "RssAnon")-pages)/instances, "own-pages-B")
	b.ReportMetric(float64(memoryOf(b, "VmPTE")-tables)/instances, "page-tables-B")
	for _, i := range all {
		i.Close()
	}
	for range executorTurns {
		p.tidy()
	}
}

// heapInUse is how many bytes of Go's heap are reachable.
func heapInUse() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// memoryOf is a line of /proc/self/status, in bytes.
func memoryOf(b *testing.B, key string) int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("it reads /proc")
	}
	for line := range strings.Lines(string(status)) {
		var kb int
		if n, _ := fmt.Sscanf(line, key+": %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	b.Fatalf("/proc/self/status has no line %s", key)
	return 0
}
