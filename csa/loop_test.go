package csa

import (
	"runtime"
	"slices"
	"strings"
	"testing"

	"bulkhead/abi"
)

// note is told of the end of an event.
type note struct{ f func() }

func (n *note) EventOver() { n.f() }

// Whoever waits for the end of an event is told once, when the connections that died in it
// are destroyed, at once where there is none, and also when the loop is passed on meanwhile.
func TestAtEnd(t *testing.T) {
	b := newBench(t)
	var log []string
	say := func(s string) *note { return &note{func() { log = append(log, s) }} }
	want := func(texts ...string) {
		t.Helper()
		b.on(func() {
			if !slices.Equal(log, texts) {
				t.Errorf("it went %q; want %q", log, texts)
			}
			log = nil
		})
	}
	s := &script{}
	s.data = func(c *CSA, p []byte) int {
		c.loop.AtEnd(&note{func() {
			log = append(log, s.log[len(s.log)-1])
			c.loop.AtEnd(say("second"))
		}})
		c.ShutdownMicroprocess(Orderly)
		log = append(log, "in data")
		return 0
	}
	_, peer := b.tcp(s)
	if _, err := peer.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	b.until("it is gone", func() bool { return b.loop.Len() == 0 })
	want("in data", "closed", "second")

	b.on(func() {
		b.loop.Event(func() {
			b.loop.AtEnd(say("outer"))
			log = append(log, "inner is over")
		})
		log = append(log, "outer is not")
	})
	want("inner is over", "outer is not", "outer")

	b.loop.Post(func() {
		b.loop.AtEnd(say("passed on"))
		b.loop.Pass()
		runtime.Goexit()
	})
	b.turns()
	want("passed on")
}

// A handler that splices two connections and is gone with the event has its window copied
// before: what Data has left is not lost, nor read later.
func TestSpliceInDataOfAWindowThatEnds(t *testing.T) {
	j := newJoined(t)
	j.on(func() {
		j.a.data = func(c *CSA, p []byte) int {
			if code := Splice(j.ca, j.cb); code != 0 {
				t.Errorf("it is refused with %v", code)
			}
			c.loop.AtEnd(&note{func() { clear(j.a.window) }})
			return 2
		}
	})
	if _, err := j.pa.Write([]byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 100)
	if n, err := j.pb.Read(p); err != nil || string(p[:n]) != "23456789" {
		t.Errorf("the other end gets %q, %v", p[:n], err)
	}
	_ = j.pa.CloseWrite()
	_ = j.pb.CloseWrite()
	j.gone()
}

// asksFor is a handler that does something when it is asked for its window, after which it is
// to get nothing.
type asksFor struct {
	script
	then func(c *CSA)
}

func (a *asksFor) Window(c *CSA) []byte {
	if then := a.then; then != nil {
		a.then = nil
		then(c)
	}
	return a.script.Window(c)
}

// What a handler does when it is asked for its window counts at once: nothing is handed
// to it that it has said it does not want, and nothing is lost by that.
func TestDoingThingsInWindow(t *testing.T) {
	for name, c := range map[string]struct {
		then func(j *joined, c *CSA)
		want string // what its handler is handed in the end
	}{
		"pause":  {func(j *joined, c *CSA) { c.Receive(false) }, ""},
		"kill":   {func(j *joined, c *CSA) { c.ShutdownMicroprocess(Orderly) }, ""},
		"finish": {func(j *joined, c *CSA) { c.ProducerFinished() }, ""},
		"splice": {func(j *joined, c *CSA) {
			if code := Splice(c, j.cb); code != abi.OK {
				t.Errorf("splice is refused with %v", code)
			}
		}, ""},
		"want": {func(j *joined, c *CSA) { c.Want(8) }, "data 0123456789"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			j := &joined{bench: b, b: &script{}}
			h := &asksFor{}
			h.data = func(*CSA, []byte) int { return 0 }
			j.ca, j.pa = b.tcp(h)
			j.cb, j.pb = b.tcp(j.b)
			say := func(s string) {
				if _, err := j.pa.Write([]byte(s)); err != nil {
					t.Fatal(err)
				}
			}
			// Some is left, so that there is a rest to be offered.
			say("01234")
			b.until("some has come", func() bool { return len(h.log) == 2 })
			b.on(func() {
				h.log = nil
				h.data = nil
				h.then = func(at *CSA) { c.then(j, at) }
				if name == "want" {
					return
				}
				j.ca.Receive(true) // offers it again
			})
			say("56789")
			b.until("it was asked", func() bool { return h.then == nil })
			if c.want != "" {
				b.until("it has come", func() bool { return len(h.log) > 0 })
			}
			if name == "splice" {
				p := make([]byte, 100)
				n := 0
				for n < 10 {
					k, err := j.pb.Read(p[n:])
					if err != nil {
						t.Fatal(err)
					}
					n += k
				}
				if string(p[:n]) != "0123456789" {
					t.Errorf("the other end gets %q", p[:n])
				}
			}
			b.turns()
			b.on(func() {
				for _, said := range h.log {
					if strings.HasPrefix(said, "data") && said != c.want {
						t.Errorf("it is handed %q", said)
					}
				}
				j.ca.ShutdownMicroprocess(Orderly)
				j.cb.ShutdownMicroprocess(Orderly)
			})
			j.gone()
		})
	}
}
