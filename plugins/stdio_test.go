package plugins

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/internal/awaittest"
	w "bulkhead/internal/wasmtest"
)

// program starts a command: it has fd_read, fd_write and proc_exit, in this
// order, and four pages of memory.
func program() (*w.Module, [5]w.Func) {
	m := w.New()
	f := [5]w.Func{
		m.Import("wasi_snapshot_preview1", "fd_read", "iiii:i"),
		m.Import("wasi_snapshot_preview1", "fd_write", "iiii:i"),
		m.Import("wasi_snapshot_preview1", "proc_exit", "i:"),
		m.Import("wasi_snapshot_preview1", "poll_oneoff", "iiii:i"),
		m.Import("wasi_snapshot_preview1", "fd_close", "i:i"),
	}
	m.Memory(4)
	return m, f
}

const (
	vectors = 16 // where the iovecs are
	moved   = 8  // where the count goes
	buffer  = 65536
)

func vector(at, ptr, length int32) []byte {
	return w.Cat(w.I32Const(at), w.I32Const(ptr), w.I32Store(0), w.I32Const(at), w.I32Const(length), w.I32Store(4))
}

// cat copies its input to its output, in three vectors each time, and exits
// with 0, or with 100 and the error number.
func catProgram() *w.Module {
	m, f := program()
	m.Func("_start", ":", "ii", w.Loop(
		// read: an empty vector, then the buffer
		vector(vectors, 0, 0), vector(vectors+8, buffer, 5000),
		w.I32Const(0), w.I32Const(vectors), w.I32Const(2), w.I32Const(moved), w.Call(f[0]), w.LocalTee(1),
		w.If(w.LocalGet(1), w.I32Const(100), w.I32Add, w.Call(f[2])),
		w.I32Const(moved), w.I32Load(0), w.LocalTee(0),
		w.If(
			// write: the first byte, nothing, and the rest
			vector(vectors, buffer, 1), vector(vectors+8, 0, 0), vector(vectors+16, buffer+1, 0),
			w.I32Const(vectors+16), w.LocalGet(0), w.I32Const(1), w.I32Sub, w.I32Store(4),
			w.I32Const(1), w.I32Const(vectors), w.I32Const(3), w.I32Const(moved), w.Call(f[1]), w.LocalTee(1),
			w.If(w.LocalGet(1), w.I32Const(100), w.I32Add, w.Call(f[2])),
			// all of it has to be taken
			w.I32Const(moved), w.I32Load(0), w.LocalGet(0), w.I32Ne, w.If(w.Unreachable),
			w.Br(1))))
	return m
}

func (n *tenant) command(m *w.Module, l *Listener) *Process {
	n.t.Helper()
	p, err := n.load(m.Bytes(), Stdio).Stdio(l)
	if err != nil {
		n.t.Fatal(err)
	}
	return p
}

func (p *Process) awaitEnd(t *testing.T) {
	t.Helper()
	select {
	case <-p.Ended():
	case <-time.After(awaittest.Longest):
		t.Fatal("the command does not end")
	}
}

func closeWrite(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

func TestCommandIsExact(t *testing.T) {
	noLeaks(t)
	n := newTenant(t, 0)
	l := newLoop(t)
	p := n.command(catProgram(), listener())
	peer, end := l.wire(p)
	r := rand.New(rand.NewPCG(7, 7))
	sent := make([]byte, 3<<20)
	for k := range sent {
		sent[k] = byte(r.Uint32())
	}
	go func() {
		for rest := sent; len(rest) > 0; {
			k := min(len(rest), 1+r.IntN(30000))
			if _, err := peer.Write(rest[:k]); err != nil {
				return
			}
			rest = rest[k:]
		}
		peer.(*net.UnixConn).CloseWrite()
	}()
	got, err := io.ReadAll(peer)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back, equal %v, %v", len(got), bytes.Equal(got, sent), err)
	}
	if r := end.wait(t); r != csa.Orderly {
		t.Errorf("it ended with %v", r)
	}
	p.awaitEnd(t)
}

// A peer that does not read holds the command up, and nobody else.
func TestCommandWaitsForItsPeer(t *testing.T) {
	noLeaks(t)
	n := newTenant(t, 0)
	l := newLoop(t)
	m, f := program()
	// It writes 100 times 100,000 bytes and ends.
	m.Func("_start", ":", "i", w.Loop(
		vector(vectors, buffer, 100000),
		w.I32Const(1), w.I32Const(vectors), w.I32Const(1), w.I32Const(moved), w.Call(f[1]), w.If(w.Unreachable),
		w.I32Const(moved), w.I32Load(0), w.I32Const(100000), w.I32Ne, w.If(w.Unreachable),
		w.LocalGet(0), w.I32Const(1), w.I32Add, w.LocalTee(0), w.I32Const(100), w.I32LtS, w.BrIf(0)))
	p := n.command(m, listener())
	peer, end := l.wire(p)
	echo := n.start(w.Echo(), listener())
	other, otherEnd := l.wire(echo)
	for range 100 {
		if _, err := other.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(other, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
	}
	closeWrite(t, other)
	if r := otherEnd.wait(t); r.Code != abi.OK {
		t.Errorf("the other ended with %v", r)
	}
	select {
	case <-p.Ended():
		t.Error("the command has ended though nobody reads")
	default:
	}
	got, err := io.Copy(io.Discard, peer)
	if got != 100*100000 || err != nil {
		t.Errorf("%d bytes came, %v", got, err)
	}
	closeWrite(t, peer)
	if r := end.wait(t); r.Code != abi.OK {
		t.Errorf("it ended with %v", r)
	}
	p.awaitEnd(t)
	l.on(echo.Close)
}

// A component that wraps a command is that command.
func TestComponentRuns(t *testing.T) {
	n := newTenant(t, 0)
	l := newLoop(t)
	p, err := n.load(w.Component(catProgram().Bytes()), Stdio).Stdio(listener())
	if err != nil {
		t.Fatal(err)
	}
	peer, end := l.wire(p)
	if _, err := io.WriteString(peer, "hello"); err != nil {
		t.Fatal(err)
	}
	closeWrite(t, peer)
	if got, err := io.ReadAll(peer); string(got) != "hello" || err != nil {
		t.Errorf("it answers %q, %v", got, err)
	}
	if r := end.wait(t); r.Code != abi.OK {
		t.Errorf("it ended with %v", r)
	}
	p.awaitEnd(t)
}

func TestCommandEnds(t *testing.T) {
	exit := func(code int32) func(m *w.Module, f [5]w.Func) []byte {
		return func(_ *w.Module, f [5]w.Func) []byte { return w.Cat(w.I32Const(code), w.Call(f[2])) }
	}
	for _, c := range []struct {
		name   string
		body   func(m *w.Module, f [5]w.Func) []byte
		reason csa.Reason
		output string
		log    string
		trap   string
	}{
		{"returns", func(*w.Module, [5]w.Func) []byte { return nil }, csa.Orderly, "hi", "", ""},
		{"exits", exit(0), csa.Orderly, "hi", "", ""},
		{"fails", exit(3), csa.Orderly, "hi", "2 false its command ended with exit code 3\n", ""},
		{"traps", func(*w.Module, [5]w.Func) []byte { return w.Unreachable }, csa.Trapped.Because("its handler trapped: unreachable"), "", "", "_start trapped: unreachable"},
		{"writes to the log", func(_ *w.Module, f [5]w.Func) []byte {
			return w.Cat(w.I32Const(2), w.I32Const(vectors), w.I32Const(1), w.I32Const(moved), w.Call(f[1]), w.Drop)
		}, csa.Orderly, "hi", "2 true \"hi\"\n", ""},
		{"closes its output", func(_ *w.Module, f [5]w.Func) []byte {
			return w.Cat(w.I32Const(1), w.Call(f[4]), w.If(w.Unreachable),
				// neither a second close nor a write works
				w.I32Const(1), w.Call(f[4]), w.I32Const(8), w.I32Ne, w.If(w.Unreachable),
				w.I32Const(1), w.I32Const(vectors), w.I32Const(1), w.I32Const(moved), w.Call(f[1]), w.I32Const(8), w.I32Ne, w.If(w.Unreachable))
		}, csa.Orderly, "hi", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			noLeaks(t)
			n := newTenant(t, 0)
			l := newLoop(t)
			m, f := program()
			m.Data(1000, "hi")
			m.Func("_start", ":", "", vector(vectors, 1000, 2),
				w.I32Const(1), w.I32Const(vectors), w.I32Const(1), w.I32Const(moved), w.Call(f[1]), w.Drop,
				c.body(m, f))
			trap := make(chan *Trap, 1)
			li := listener()
			li.OnTrap = func(i *Instance, tr *Trap) {
				if i != nil {
					t.Error("a command has an instance")
				}
				trap <- tr
			}
			p := n.command(m, li)
			peer, end := l.wire(p)
			got, _ := io.ReadAll(peer)
			if c.output != "" && string(got) != c.output {
				t.Errorf("it wrote %q", got)
			}
			closeWrite(t, peer)
			if r := end.wait(t); r != c.reason {
				t.Errorf("it ended with %v", r)
			}
			p.awaitEnd(t)
			if got := n.log.text(); got != c.log {
				t.Errorf("the log is %q", got)
			}
			select {
			case tr := <-trap:
				if tr.Error() != c.trap {
					t.Errorf("it trapped with %q", tr)
				}
			default:
				if c.trap != "" {
					t.Error("OnTrap was not called")
				}
			}
		})
	}
}

// sleeper says hi and then does something that takes for ever.
func sleeper(forever func(f [5]w.Func) []byte) *w.Module {
	m, f := program()
	m.Data(1000, "hi")
	m.Func("_start", ":", "", vector(vectors, 1000, 2),
		w.I32Const(1), w.I32Const(vectors), w.I32Const(1), w.I32Const(moved), w.Call(f[1]), w.Drop,
		forever(f))
	return m
}

var waits = map[string]func(f [5]w.Func) []byte{
	"read": func(f [5]w.Func) []byte {
		return w.Cat(vector(vectors, buffer, 100), w.Loop(w.I32Const(0), w.I32Const(vectors), w.I32Const(1), w.I32Const(moved), w.Call(f[0]), w.Drop, w.Br(0)))
	},
	"write": func(f [5]w.Func) []byte {
		return w.Cat(vector(vectors, buffer, 100000), w.Loop(w.I32Const(1), w.I32Const(vectors), w.I32Const(1), w.I32Const(moved), w.Call(f[1]), w.Drop, w.Br(0)))
	},
	"sleep": func(f [5]w.Func) []byte {
		return w.Cat(
			// one subscription at 2000: the monotonic clock, an hour
			w.I32Const(2000), w.I32Const(1), w.I32Store(16),
			w.I32Const(2000), w.I64Const(3600e9), w.I64Store(24),
			w.Loop(w.I32Const(2000), w.I32Const(3000), w.I32Const(1), w.I32Const(moved), w.Call(f[3]), w.Drop, w.Br(0)))
	},
	"poll": func(f [5]w.Func) []byte {
		return w.Cat(subscribeTo(2000, 1, 0),
			w.Loop(w.I32Const(2000), w.I32Const(3000), w.I32Const(1), w.I32Const(moved), w.Call(f[3]), w.Drop, w.Br(0)))
	},
	"poll for an hour": func(f [5]w.Func) []byte {
		return w.Cat(subscribeTo(2000, 1, 0), subscribeTo(2048, 0, 3600e9),
			w.Loop(w.I32Const(2000), w.I32Const(3000), w.I32Const(2), w.I32Const(moved), w.Call(f[3]), w.Drop, w.Br(0)))
	},
	"spin through the host": func(f [5]w.Func) []byte { return w.Loop(w.I32Const(9), w.Call(f[4]), w.Drop, w.Br(0)) },
}

// Whatever a command waits for, the end of its connection, of its loop or of
// its runtime unwinds it.
func TestCommandIsUnwound(t *testing.T) {
	for name, forever := range waits {
		for how, cut := range map[string]func(n *tenant, l *loop, peer net.Conn){
			"connection": func(_ *tenant, l *loop, _ net.Conn) {
				l.on(func() { l.Each(func(c *csa.CSA) { c.ShutdownMicroprocess(csa.Orderly) }) })
			},
			"runtime": func(n *tenant, _ *loop, _ net.Conn) { n.r.Close() },
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				noLeaks(t)
				n := newTenant(t, 0)
				l := newLoop(t)
				p := n.command(sleeper(forever), listener())
				peer, end := l.wire(p)
				if _, err := io.ReadFull(peer, make([]byte, 2)); err != nil {
					t.Fatal(err)
				}
				cut(n, l, peer)
				end.wait(t)
				p.awaitEnd(t)
			})
		}
	}
}

func TestCommandOfAStoppedLoop(t *testing.T) {
	for name, forever := range waits {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			n := newTenant(t, 0)
			l := newLoop(t)
			p := n.command(sleeper(forever), listener())
			peer, _ := l.wire(p)
			if _, err := io.ReadFull(peer, make([]byte, 2)); err != nil {
				t.Fatal(err)
			}
			l.sel.Stop()
			<-l.sel.Done()
			p.awaitEnd(t)
			// What newLoop's cleanup would do on the loop.
			l.Loop.Each(func(c *csa.CSA) { c.ShutdownMicroprocess(csa.Orderly) })
			l.stopped = true
		})
	}
}

// A peer that breaks off has the command's read or write fail, and its next
// call unwinds it.
func TestCommandOfADeadPeer(t *testing.T) {
	for _, name := range []string{"read", "write"} {
		noLeaks(t)
		n := newTenant(t, 0)
		l := newLoop(t)
		p := n.command(sleeper(waits[name]), listener())
		peer, end := l.wire(p)
		if _, err := io.ReadFull(peer, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		peer.Close()
		if name == "read" {
			// It may have seen an orderly end, and goes on reading that.
			l.on(func() { l.Each(func(c *csa.CSA) { c.ShutdownMicroprocess(csa.Reason{Code: abi.Reset}) }) })
		}
		end.wait(t)
		p.awaitEnd(t)
	}
}

func TestCommandSeesStop(t *testing.T) {
	noLeaks(t)
	n := newTenant(t, 0)
	l := newLoop(t)
	p := n.command(catProgram(), listener())
	peer, end := l.wire(p)
	if _, err := peer.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(peer, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	l.on(p.Stop)
	if got, err := io.ReadAll(peer); err != nil || len(got) != 0 {
		t.Errorf("it sent %q, %v", got, err)
	}
	closeWrite(t, peer)
	if r := end.wait(t); r.Code != abi.OK {
		t.Errorf("it ended with %v", r)
	}
	p.awaitEnd(t)
}

func TestCommandWithoutMemory(t *testing.T) {
	noLeaks(t)
	n := newTenant(t, 0)
	n.acc.limit.Store(1)
	l := newLoop(t)
	p := n.command(catProgram(), listener())
	_, end := l.wire(p)
	if r := end.wait(t); r.Code != abi.Quota {
		t.Errorf("it ended with %v", r)
	}
	p.awaitEnd(t)
}

// The command traps as it is made.
func TestCommandThatCannotStart(t *testing.T) {
	noLeaks(t)
	n := newTenant(t, 0)
	l := newLoop(t)
	m, _ := program()
	m.Start(m.Func("", ":", "", w.Unreachable))
	m.Func("_start", ":", "")
	p := n.command(m, listener())
	_, end := l.wire(p)
	if r := end.wait(t); r.Code != abi.Invalid || !strings.Contains(r.Why, "unreachable") {
		t.Errorf("it ended with %v", r)
	}
	p.awaitEnd(t)
	if _, err := p.module.Instantiate(listener()); err == nil || errors.Is(err, ErrClosed) {
		t.Errorf("a command as a handler answers %v", err)
	}
}

// Reading on at the end of the input is no wait, so that event_timeout ends a command that does
// nothing else. A client's half-close could have one spin for as long as idle_timeout otherwise.
func TestCommandReadsOnAtTheEnd(t *testing.T) {
	noLeaks(t)
	n := newTenant(t, 0)
	l := newLoop(t)
	m, f := program()
	m.Func("_start", ":", "", vector(vectors, buffer, 100), w.Loop(
		w.I32Const(0), w.I32Const(vectors), w.I32Const(1), w.I32Const(moved), w.Call(f[0]), w.If(w.Unreachable),
		w.Br(0)))
	of := listener()
	of.EventTimeout = 20 * time.Millisecond
	p := n.command(m, of)
	peer, end := l.wire(p)
	// Bytes and pauses before that are waits.
	for range 3 {
		if _, err := peer.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	closeWrite(t, peer)
	if r := end.wait(t); r.Code != abi.Timeout || !strings.Contains(r.Why, "event_timeout") {
		t.Errorf("it ended with %v", r)
	}
	p.awaitEnd(t)
}

// A command is let in again after each wait, and runs in a slot: no wait is so short that what
// follows it is on nobody's account.
func TestCommandIsLetInAfterEachWait(t *testing.T) {
	noLeaks(t)
	n := newTenant(t, 0)
	cpu := newGate()
	n.r.options.CPU = cpu
	l := newLoop(t)
	p := n.command(catProgram(), listener())
	peer, end := l.wire(p)
	say := func(s string) {
		t.Helper()
		if _, err := peer.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(s string) {
		t.Helper()
		b := make([]byte, len(s))
		if _, err := io.ReadFull(peer, b); err != nil || string(b) != s {
			t.Fatalf("%q, %v", b, err)
		}
	}
	say("one")
	hear("one")
	until(t, "it had a slot for its start, after a read, and after a write, and waits for more", func() bool {
		cpu.mu.Lock()
		defer cpu.mu.Unlock()
		return cpu.passed == 3 && cpu.running.Load() == 0
	})
	if cpu.booked.Load() == 0 {
		t.Error("nothing is booked")
	}
	cpu.deny.Store(true)
	say("two")
	again := <-cpu.denied
	if cpu.running.Load() != 0 {
		t.Error("it runs, though it was not let in")
	}
	cpu.deny.Store(false)
	again()
	hear("two")
	// One that waits to be let in when its connection goes ends.
	until(t, "it waits for more", func() bool {
		cpu.mu.Lock()
		defer cpu.mu.Unlock()
		return cpu.passed == 5 && cpu.running.Load() == 0
	})
	cpu.deny.Store(true)
	say("three")
	<-cpu.denied
	peer.Close()
	l.on(func() { p.csa.ShutdownMicroprocess(csa.Orderly) })
	end.wait(t)
	p.awaitEnd(t)
}
