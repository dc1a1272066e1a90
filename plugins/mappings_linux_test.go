package plugins

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"testing"

	"bulkhead/plugins/wasm"
)

// Instances are wanted for 60,000 connections, every third of which has grown: the account ends
// that, with a quarter of the system's mappings left, and not the system. The process goes
// on, and all of them come back.
func TestMappingsOfThisSystem(t *testing.T) {
	b, err := os.ReadFile("/proc/sys/vm/max_map_count")
	if err != nil {
		t.Skip(err)
	}
	system, err := strconv.Atoi(string(bytes.TrimSpace(b)))
	if err != nil {
		t.Fatal(err)
	}
	const connections = 60_000
	g := newPooled(t, grower(1).Bytes(), listener())
	already := mappings(t)
	held := g.maps.held.Load()
	g.maps.limit.Store(min(int64(system-system/4-already), connections/2))
	var all []*Instance
	refused := 0
	g.l.on(func() {
		for k := range connections {
			i, err := g.p.Get()
			switch {
			case errors.Is(err, ErrMappings):
				refused++
				continue
			case err != nil:
				t.Errorf("instance %d: %v", k, err)
				return
			}
			if k%3 == 0 {
				i.memory.Grow(2 * wasm.PageSize)
			}
			if k%50 == 0 {
				i.memory.Bytes()[len(i.memory.Bytes())-1]++ // it is really there
			}
			all = append(all, i)
		}
	})
	if refused == 0 || len(all) < connections/4 {
		t.Errorf("%d have an instance, and %d were refused", len(all), refused)
	}
	if n := mappings(t); n > system-system/5 || n < len(all) {
		t.Errorf("the process has %d mappings of %d, and %d instances", n, system, len(all))
	}
	goes := make([]byte, 64<<20) // Go's heap grows
	goes[len(goes)-1]++
	g.l.on(func() {
		for _, i := range all {
			i.Close()
		}
	})
	g.l.on(func() {
		for _, m := range g.p.free {
			m.Free()
		}
		g.p.free = nil
	})
	if n, now := g.maps.held.Load(), mappings(t); n != held || now > already+50 {
		t.Errorf("%d mappings are held at the end, and %d before; the process has %d, and had %d", n, held, now, already)
	}
}
