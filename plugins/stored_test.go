package plugins

import (
	"errors"
	"testing"
	"time"
)

// A snapshot of a script is what differs from its interpreter's base. There is an image of it while
// somebody has a copy, and each time it is the script's own.
func TestSnapshotsOfScripts(t *testing.T) {
	p, _ := interpreterOf(t, interpreterModule())
	var tenants [2]*tenant
	var snapshots [2]*Snapshot
	for n := range snapshots {
		tenants[n] = newTenant(t, 0)
		m := tenants[n].loadScript(p, 16, n+1)
		s, err := m.Snapshot(listener())
		if err != nil {
			t.Skip("this system has no snapshots")
		}
		t.Cleanup(s.Close)
		snapshots[n] = s
		if s.image.difference == nil || s.image.image != nil || tenants[n].maps.held.Load() != 0 {
			t.Fatalf("the snapshot has the difference %v, the image %v, and %d mappings", s.image.difference, s.image.image, tenants[n].maps.held.Load())
		}
	}
	l := newLoop(t)
	for range 3 {
		l.on(func() {
			for n, s := range snapshots {
				pool := s.Pool(l.Loop)
				var all [3]*Instance
				for k := range all {
					i, err := pool.Get()
					if err != nil {
						t.Error(err)
						return
					}
					all[k] = i
					if b := i.memory.Bytes(); uint32(b[scriptAt])|uint32(b[scriptAt+1])<<8|uint32(b[scriptAt+2])<<16|uint32(b[scriptAt+3])<<24 != secret(n+1) {
						t.Errorf("an instance of tenant %d has the script % x", n, b[scriptAt:scriptAt+4])
					}
				}
				if s.image.copies != 3 || s.image.image == nil {
					t.Errorf("for three instances there are %d copies", s.image.copies)
				}
				for _, i := range all {
					i.Close()
				}
				pool.Close()
			}
		})
		for n, s := range snapshots {
			until(t, "nothing is left", func() (none bool) {
				l.on(func() { none = s.image.copies == 0 && s.image.image == nil && tenants[n].maps.held.Load() == 0 })
				return none
			})
		}
	}
	tenants[0].maps.limit.Store(1) // of an image, and not of a copy as well
	l.on(func() {
		pool := snapshots[0].Pool(l.Loop)
		defer pool.Close()
		if _, err := pool.Get(); !errors.Is(err, ErrMappings) {
			t.Errorf("with no mapping for a copy: %v", err)
		}
		if snapshots[0].image.image != nil || tenants[0].maps.held.Load() != 0 {
			t.Errorf("then %d mappings are held", tenants[0].maps.held.Load())
		}
	})
}

// The memory of a script's connection is kept for the next only where one comes soon after the
// other: else the image is gone with the last connection. A module's, whose image stays, is kept.
func TestMemoryOfScriptsIsKeptForWhoComesSoon(t *testing.T) {
	g := newScriptPools(t, interpreterModule(), 1)
	p := g.pools[0]
	s := p.snapshot
	if !s.image.returns() {
		t.Skip("this system keeps an image")
	}
	for _, c := range []struct {
		after time.Duration
		kept  int
	}{{0, 0}, {trimEvery - 1, 1}, {trimEvery - 1, 1}, {trimEvery, 0}, {time.Hour, 0}, {0, 1}} {
		g.clock.Advance(c.after)
		g.on(func() {
			if i, err := p.Get(); err != nil {
				t.Error(err)
			} else {
				i.Close()
			}
		})
		g.on(func() {
			if n := len(p.free); n != c.kept || (s.image.image != nil) != (n > 0) || s.image.copies != n {
				t.Errorf("%v after the last connection %d memories are kept, and there are %d copies; want %d", c.after, n, s.image.copies, c.kept)
			}
			p.tidy()
			p.tidy()
		})
	}
}
