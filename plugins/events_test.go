package plugins

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
	w "bulkhead/internal/wasmtest"
)

// The echo on real sockets: what comes back is what was sent, through a small
// inbox and a slow reader.
func TestEchoOverSockets(t *testing.T) {
	n := newTenant(t, 0)
	l := newLoop(t)
	l.set.Inbox = 5000
	i := n.start(w.Echo(), listener())
	type done struct {
		peer net.Conn
		end  ending
		sent []byte
	}
	var all []done
	for k := range 5 {
		peer, end := l.wire(i)
		r := rand.New(rand.NewPCG(1, uint64(k)))
		sent := make([]byte, 1<<20)
		for k := range sent {
			sent[k] = byte(r.Uint32())
		}
		all = append(all, done{peer, end, sent})
		go func() {
			for rest := sent; len(rest) > 0; {
				k := min(len(rest), 1+r.IntN(20000))
				if _, err := peer.Write(rest[:k]); err != nil {
					return
				}
				rest = rest[k:]
			}
			peer.(*net.UnixConn).CloseWrite()
		}()
	}
	for _, d := range all {
		got, err := io.ReadAll(d.peer)
		if err != nil || !bytes.Equal(got, d.sent) {
			t.Errorf("%d bytes came back, %v", len(got), err)
		}
		if r := d.end.wait(t); r != csa.Orderly {
			t.Errorf("it ended with %v", r)
		}
	}
	l.on(i.Close)
}

// A trap ends the instance's own connections, and no other's.
func TestTrapOverSockets(t *testing.T) {
	n := newTenant(t, 0)
	l := newLoop(t)
	li := listener()
	li.OnTrap = func(i *Instance, _ *Trap) { i.Close() }
	bad := n.start(callbacks("data", w.Unreachable), li)
	good := n.start(w.Echo(), li)
	peer, end := l.wire(bad)
	_, second := l.wire(bad)
	other, _ := l.wire(good)
	if _, err := peer.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, e := range []ending{end, second} {
		if r := e.wait(t); r.Code != abi.Invalid || !strings.Contains(r.Why, "trapped: unreachable") {
			t.Errorf("it ended with %v", r)
		}
	}
	_, late := l.wire(bad)
	if r := late.wait(t); r.Code != abi.Refused {
		t.Errorf("a late connection ended with %v", r)
	}
	if _, err := other.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(other, make([]byte, 4)); err != nil {
		t.Errorf("the other instance does not answer: %v", err)
	}
	l.on(good.Close)
}

// Connections that are there when an instance is closed are closed too.
func TestCloseWithConnections(t *testing.T) {
	n := newTenant(t, 0)
	l := newLoop(t)
	i := n.start(callbacks(""), listener())
	peer, end := l.wire(i)
	if _, err := peer.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	l.on(i.Close)
	if r := end.wait(t); r.Code != abi.Closed {
		t.Errorf("it ended with %v", r)
	}
	if n.log.counts["closed"] != 0 {
		t.Error("a closed instance was called")
	}
}

// Every connection is opened, ended and closed once, as the guest hears it.
func TestCallbacksOverSockets(t *testing.T) {
	n := newTenant(t, 0)
	l := newLoop(t)
	i := n.start(callbacks(""), listener())
	counted := func(name string) int64 {
		n.log.mu.Lock()
		defer n.log.mu.Unlock()
		return n.log.counts[name]
	}
	for k := range int64(50) {
		peer, end := l.wire(i)
		if _, err := peer.Write([]byte("some data")); err != nil {
			t.Fatal(err)
		}
		peer.Close()
		until(t, "csa_eof comes", func() bool { return counted("eof") == k+1 })
		if k%2 == 0 {
			l.on(func() { l.Each(func(c *csa.CSA) { c.ProducerFinished() }) })
		} else {
			l.on(func() { l.Each(func(c *csa.CSA) { c.ShutdownMicroprocess(csa.Orderly) }) })
		}
		end.wait(t)
	}
	l.on(i.Stop)
	l.on(i.Close)
	if counted("open") != 50 || counted("data") != 50 || counted("eof") != 50 || counted("closed") != 50 || counted("stop") != 1 {
		t.Errorf("it counted %v", n.log.counts)
	}
}

// chronicle is a guest that logs every callback by its name, echoes, and does
// one more thing with each piece of data: what its first byte says.
func chronicle() *w.Module {
	m, f := w.Handler([2]string{"log", "iii:i"}, [2]string{"send", "iii:i"}, [2]string{"control", "ii:i"}, [2]string{"timer", "iii:i"}, [2]string{"receive", "ii:i"})
	at := 0
	note := func(name string) []byte {
		m.Data(at, name)
		at += len(name)
		return w.Cat(w.I32Const(1), w.I32Const(int32(at-len(name))), w.I32Const(int32(len(name))), w.Call(f[0]), w.Drop)
	}
	when := func(c byte, do ...[]byte) []byte {
		return w.Cat(w.I32Const(w.WindowAt), w.I32Load8U(0), w.I32Const(int32(c)), w.I32Eq, w.If(do...))
	}
	control := func(what int32) []byte { return w.Cat(w.LocalGet(0), w.I32Const(what), w.Call(f[2]), w.Drop) }
	m.Func("csa_open", "i:i", "", note("csa_open"), w.I32Const(0))
	m.Func("csa_data", "ii:i", "i", note("csa_data"),
		when('p', control(abi.ProducerFinished)),
		when('s', control(abi.ShutdownMicroprocess)),
		when('f', control(abi.FinishSending)),
		when('t', w.LocalGet(0), w.I32Const(1), w.I32Const(0), w.Call(f[3]), w.Drop),
		when('r', w.LocalGet(0), w.I32Const(0), w.Call(f[4]), w.Drop, w.LocalGet(0), w.I32Const(2), w.I32Const(1), w.Call(f[3]), w.Drop),
		when('n', w.I32Const(int32(abi.Denied)), w.Return),
		when('k', w.I32Const(0), w.Return),
		w.LocalGet(0), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(f[1]), w.LocalTee(2),
		w.I32Const(0), w.I32LtS, w.IfElse('i', w.I32Const(0), w.LocalGet(2)))
	m.Func("csa_writable", "i:", "", note("csa_writable"))
	m.Func("csa_timer", "ii:", "", note("csa_timer"), w.LocalGet(0), w.I32Const(1), w.Call(f[4]), w.Drop)
	m.Func("csa_eof", "i:", "", note("csa_eof"), w.LocalGet(0), w.I32Const(3), w.I32Const(0), w.Call(f[3]), w.Drop,
		w.LocalGet(0), w.I32Const(w.WindowAt), w.I32Const(9), w.Call(f[1]), w.Drop, control(abi.ProducerFinished))
	m.Func("csa_closed", "ii:", "", note("csa_closed"))
	return m
}

// The callbacks of a connection come in the legal order, whatever the guest
// and the peer do.
func TestLegalOrder(t *testing.T) {
	n := newTenant(t, 0)
	l := newLoop(t)
	l.set.Inbox = 100
	l.set.IdleTimeout, l.set.Linger = 20*time.Millisecond, 20*time.Millisecond
	li := listener()
	li.LogLines = 1 << 30
	i := n.start(chronicle(), li)
	r := rand.New(rand.NewPCG(3, 4))
	for k := range 200 {
		peer, end := l.wire(i)
		for range r.IntN(4) {
			p := make([]byte, 1+r.IntN(300))
			p[0] = "psftrnkxxxxxx"[r.IntN(13)]
			if _, err := peer.Write(p); err != nil {
				break
			}
			if r.IntN(2) == 0 {
				_ = peer.SetReadDeadline(time.Now().Add(time.Millisecond))
				_, _ = peer.Read(make([]byte, 1000))
			}
		}
		switch r.IntN(3) {
		case 0:
			peer.Close()
		case 1:
			closeWrite(t, peer)
		}
		end.wait(t)
		// The guest may hear of it later than everybody else.
		until(t, "nothing waits", func() (ok bool) { l.on(func() { ok = !i.suspended }); return ok })
		var order abi.Order
		var log []string
		n.log.mu.Lock()
		for _, line := range n.log.lines {
			log = append(log, line.Text)
		}
		n.log.lines = nil
		n.log.mu.Unlock()
		for _, name := range log {
			for e := abi.EventOpen; e <= abi.EventClosed; e++ {
				if e.String() == name {
					if err := order.Step(e); err != nil {
						t.Errorf("connection %d: %v in %v", k, err, log)
					}
				}
			}
		}
		if !order.Done() {
			t.Errorf("connection %d has no end: %v", k, log)
		}
	}
	l.on(i.Close)
}
