package budget

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestSources(t *testing.T) {
	s := NewSources(2, 0, 64)
	at := func(a string) netip.Addr { return netip.MustParseAddr(a) }
	take := func(a string, want bool) netip.Addr {
		t.Helper()
		got, ok := s.Take(at(a), 0)
		if ok != want {
			t.Errorf("%s is answered %v", a, ok)
		}
		return got
	}
	first := take("192.0.2.1", true)
	take("::ffff:192.0.2.1", true)
	take("192.0.2.1", false)
	take("192.0.2.2", true)
	take("2001:db8::1", true)
	take("2001:db8::ffff:1", true)
	take("2001:db8::2", false)
	take("2001:db8:0:1::1", true)
	take("fe80::1%lo", true)
	if n := s.Used(); n != 5 {
		t.Errorf("%d sources have connections", n)
	}
	s.Release(first, 0)
	take("192.0.2.1", true)
	take("192.0.2.1", false)
	if n := s.Refused(); n != 3 {
		t.Errorf("%d were refused", n)
	}
	if a, ok := s.Take(netip.Addr{}, 0); !ok || a.IsValid() {
		t.Error("a peer without an address is bounded")
	}
	var none *Sources
	if a, ok := none.Take(first, 0); !ok || a.IsValid() {
		t.Error("no bound is one")
	}
	none.Release(first, 0)
}

func TestSourceRate(t *testing.T) {
	s := NewSources(0, 10, 64)
	now := int64(time.Hour)
	a := netip.MustParseAddr("192.0.2.1")
	took := func() (n int) {
		for {
			at, ok := s.Take(a, now)
			if !ok {
				return n
			}
			s.Release(at, now) // which does not make it forgotten
			n++
		}
	}
	if n := took(); n != 10 {
		t.Errorf("%d came at once", n)
	}
	now += int64(time.Hour)
	for range 100 {
		at, ok := s.Take(a, now)
		if !ok {
			t.Fatal("what was taken back counts")
		}
		s.Undo(at, now)
	}
	if n := took(); n != 10 {
		t.Errorf("%d came at once after some that did not come to be", n)
	}
	if now += int64(250 * time.Millisecond); took() != 2 {
		t.Error("more or fewer than two came a quarter of a second later")
	}
	if now += int64(time.Hour); took() != 10 {
		t.Error("an hour's quiet does not let ten through at once, or more")
	}
}

// What is remembered of sources that have gone is bounded.
func TestSourcesAreForgotten(t *testing.T) {
	s := NewSources(0, 1, 64)
	now := int64(0)
	for i := range 100_000 {
		a, ok := s.Take(netip.MustParseAddr(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)), now)
		if !ok {
			t.Fatal("a new source is refused")
		}
		s.Release(a, now)
		now += int64(10 * time.Millisecond)
	}
	if n := len(s.known); n > 2*mostIdle {
		t.Errorf("%d sources are remembered", n)
	}
	if s.Used() != 0 {
		t.Errorf("%d have connections", s.Used())
	}
}

// A bound that comes later counts those who come from then on, and one that goes lets everybody in.
func TestSourcesSet(t *testing.T) {
	s := NewSources(0, 0, 64)
	a := netip.MustParseAddr("192.0.2.1")
	early, ok := s.Take(a, 0)
	if !ok || early.IsValid() || s.Bounded() {
		t.Fatal("no bound bounds")
	}
	s.Set(1, 0, 64)
	first, ok := s.Take(a, 0)
	if !ok || !s.Bounded() {
		t.Fatal("the first of one was refused")
	}
	if _, ok := s.Take(a, 0); ok {
		t.Error("the second of one was let in")
	}
	s.Set(2, 0, 64)
	second, ok := s.Take(a, 0)
	if !ok {
		t.Error("a raised bound does not hold at once")
	}
	s.Set(0, 0, 64)
	if _, ok := s.Take(a, 0); !ok {
		t.Error("a bound that was taken away bounds")
	}
	for _, x := range []netip.Addr{early, first, second} {
		s.Release(x, 0)
	}
	if s.Used() != 0 {
		t.Errorf("%d sources are left", s.Used())
	}
}

// A connection that comes with its source has a place, also where there is none, and is no new one.
func TestKeepsSources(t *testing.T) {
	s := NewSources(1, 1, 64)
	a := netip.MustParseAddr("192.0.2.1")
	source, ok := s.Take(a, 0)
	if !ok || s.Keep(source) != source {
		t.Fatal("it has no place")
	}
	if _, ok := s.Take(a, int64(time.Hour)); ok {
		t.Error("a third one has a place")
	}
	s.Release(source, 0)
	s.Release(source, 0)
	if _, ok := s.Take(a, int64(time.Hour)); !ok {
		t.Error("there is no place when all are gone")
	}
	if s.Keep(netip.Addr{}).IsValid() || NewSources(0, 0, 64).Keep(a).IsValid() {
		t.Error("one is counted where there is nothing to bound")
	}
}
