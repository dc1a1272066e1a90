package csa

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/internal/awaittest"
)

// faulting is a handler that panics in one of its methods, or in what is told of its end.
type faulting struct {
	script
	in   string
	told []any
}

func (f *faulting) at(method string) {
	if f.in == method {
		panic("in " + method)
	}
}

func (f *faulting) Open(c *CSA)                 { f.script.Open(c); f.at("open") }
func (f *faulting) Window(c *CSA) []byte        { f.at("window"); return f.script.Window(c) }
func (f *faulting) Data(c *CSA, p []byte) int   { n := f.script.Data(c, p); f.at("data"); return n }
func (f *faulting) Writable(c *CSA)             { f.script.Writable(c); f.at("writable") }
func (f *faulting) EOF(c *CSA)                  { f.at("eof"); f.script.EOF(c) }
func (f *faulting) Timer(c *CSA, token int32)   { f.at("timer") }
func (f *faulting) Secured(c *CSA, k abi.Code)  { f.at("secured") }
func (f *faulting) Closed(c *CSA, r Reason)     { f.script.Closed(c, r); f.at("closed") }
func (f *faulting) SocketShutdown(*CSA, Reason) { f.ends[1]++; f.at("creator") }
func (f *faulting) ShutdownCSA(*CSA)            { f.ends[2]++; f.at("signal") }
func (f *faulting) Faulted(v any)               { f.told = append(f.told, v) }

// A panic in whatever is called for a connection ends that connection: everybody is told once,
// nothing of it is left, and the others of its loop go on.
func TestFaultsAreTheConnections(t *testing.T) {
	for _, in := range []string{"open", "window", "data", "writable", "eof", "timer", "closed", "creator", "signal"} {
		t.Run(in, func(t *testing.T) {
			b := newBench(t)
			b.set.Inbox = 4096
			var faults []*Fault
			b.on(func() { b.loop.OnFault(func(f *Fault) bool { faults = append(faults, f); return true }) })
			other := &script{}
			other.data = func(c *CSA, p []byte) int { n, _ := c.Send(p); return n }
			co, po := b.tcp(other)
			h := &faulting{in: in}
			h.data = func(c *CSA, p []byte) int {
				c.SetTimer(1, 0)
				if in == "writable" {
					for much := make([]byte, 16<<20); ; { // its peer may take much at once
						if n, _ := c.Send(much); n < len(much) {
							break
						}
					}
				}
				return len(p)
			}
			c, p := b.tcp(h)
			if _, err := io.WriteString(p, "hello"); err != nil && in != "open" {
				t.Fatal(err)
			}
			if in == "writable" {
				go func() { _, _ = io.Copy(io.Discard, p) }()
			}
			if in != "timer" && in != "writable" {
				_ = p.CloseWrite()
			}
			b.until("it is over", func() bool { return b.loop.Len() == 1 })
			b.turns()
			// The other one, in the same turns and later.
			for range 3 {
				if _, err := io.WriteString(po, "hello"); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, 5)
				if _, err := io.ReadFull(po, got); err != nil || string(got) != "hello" {
					t.Fatalf("the other one hears %q, %v", got, err)
				}
			}
			b.on(func() {
				if len(faults) != 1 || faults[0].Value != "in "+in || !strings.Contains(string(faults[0].Stack), "faulting") {
					t.Errorf("there were the faults %v", faults)
				}
				for _, f := range faults {
					if f.Conn == nil || f.Conn.wiring.Handler != Handler(h) {
						t.Errorf("it is taken for the fault of %v", f.Conn)
					}
				}
				if h.ends != [3]int{1, 1, 1} {
					t.Errorf("handler, creator and signal were told %v times", h.ends)
				}
				if len(h.told) != 1 {
					t.Errorf("the handler is told %v of it", h.told)
				}
				if in != "closed" && in != "creator" && in != "signal" && h.reason.Why != "a bug in the host" {
					t.Errorf("it ended with %v", h.reason)
				}
				if b.loop.depth != 1 || b.loop.calling.c != nil || in != "open" && !c.is(dead) {
					t.Errorf("the loop is at depth %d, calling %v", b.loop.depth, b.loop.calling)
				}
				co.ShutdownMicroprocess(Orderly)
			})
		})
	}
}

// The same over UDP, where the others are peers of the same socket, and of the same batch.
func TestFaultsAreThePeers(t *testing.T) {
	for _, in := range []string{"open", "window", "data", "closed"} {
		t.Run(in, func(t *testing.T) {
			b := newBench(t)
			faults := 0
			b.on(func() { b.loop.OnFault(func(f *Fault) bool { faults++; return true }) })
			g := &guests{}
			g.make = func() Handler {
				h := &faulting{}
				h.data = func(c *CSA, p []byte) int {
					if string(p) == "bad" && in == "closed" {
						h.in = in
						c.ShutdownMicroprocess(Orderly)
					} else if string(p) == "bad" {
						panic("in data")
					}
					_, _ = c.Send(p)
					return len(p)
				}
				if in != "data" && in != "closed" && g.open == 2 {
					h.in = in // the second one
				}
				return h
			}
			_, addr := b.udp("udp", "127.0.0.1:0", g)
			first, second := b.client(addr), b.client(addr)
			exchange := func(text string) {
				t.Helper()
				got := make([]byte, 100)
				_ = first.SetReadDeadline(awaittest.Deadline())
				if _, err := io.WriteString(first, text); err != nil {
					t.Fatal(err)
				}
				if n, err := first.Read(got); err != nil || string(got[:n]) != text {
					t.Fatalf("the first hears %q, %v", got[:n], err)
				}
			}
			exchange("0")
			for n := range 5 {
				if _, err := io.WriteString(second, "bad"); err != nil {
					t.Fatal(err)
				}
				exchange(fmt.Sprint(n))
				b.until("it was faulty", func() bool { return faults == n+1 && g.open == 1 })
			}
		})
	}
}

// A fault that the embedding program does not want to survive ends the process; one
// on a goroutine beside the loop asks it, too.
func TestFaultsBesideTheLoop(t *testing.T) {
	b := newBench(t)
	if b.loop.beside(nil, "x") {
		t.Error("nobody has said that it may go on")
	}
	var got *Fault
	b.on(func() { b.loop.OnFault(func(f *Fault) bool { got = f; return true }) })
	if !b.loop.beside(nil, "x") || got == nil || got.Value != "x" || !got.BatonPassed {
		t.Errorf("it is told %v", got)
	}
}

// brokenPayer fails when it is told what an event took.
type brokenPayer struct{ asked int }

func (p *brokenPayer) Book(int64) { p.asked++; panic("in Book") }

// A panic in the booking of an event, which is behind everything else, comes once: what was to be
// booked is forgotten. Else the loop would mend itself for ever, and serve nobody.
func TestAFaultInTheBookingComesOnce(t *testing.T) {
	b := newBench(t)
	faults, p := 0, &brokenPayer{}
	b.on(func() { b.loop.OnFault(func(*Fault) bool { faults++; return true }) })
	b.loop.Post(func() {
		b.loop.Charge(p)
		b.loop.time.began -= int64(time.Second) // so that it is booked at once
	})
	b.turns()
	b.on(func() {
		if faults != 1 || p.asked != 1 {
			t.Errorf("there were %d faults, and %d bookings", faults, p.asked)
		}
	})
}
