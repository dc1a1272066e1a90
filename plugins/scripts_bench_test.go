package plugins

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkLine answers lines on 1 and 64 connections without sockets, each of an instance of its
// own: what a script costs beside C, before the system has its share.
func BenchmarkLine(b *testing.B) {
	for _, name := range []string{"echo.c", "echo.js", "echo.lua"} {
		b.Run(name, func(b *testing.B) {
			module := shipped(b, "echo/echo.wasm")
			if name != "echo.c" {
				module = scriptModule(b, name)
			}
			for _, connections := range []int{1, 64} {
				b.Run(fmt.Sprint(connections), func(b *testing.B) {
					onPoolOf(b, module, func(p *Pool) { answerLines(b, p, connections) })
				})
			}
		})
	}
}

// answerLines has the connections of a pool answer a line in turn.
func answerLines(b *testing.B, p *Pool, connections int) {
	line := strings.Repeat("x", 63) + "\n"
	f := &sink{}
	var all []*Instance
	var handles []int32
	for range connections {
		i, err := p.Get()
		if err != nil {
			b.Error(err)
			return
		}
		defer i.Close()
		i.loop = nil // which it would pass on if the machine were busy elsewhere
		h := i.admit(f)
		i.opened(h, f)
		all, handles = append(all, i), append(handles, h)
	}
	b.ReportAllocs()
	for k := 0; b.Loop(); k = (k + 1) % len(all) {
		if all[k].data(handles[k], f, copy(all[k].Window(nil), line)) != len(line) {
			b.Error("it did not take the line")
			return
		}
	}
}
