package plugins

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"bulkhead/abi"
	"bulkhead/csa"
	w "bulkhead/plugins/wasmtest"
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

// The callbacks of connections come in the legal order, whatever happens.
func TestOrderOverSockets(t *testing.T) {
	n := newTenant(t, 0)
	l := newLoop(t)
	i := n.start(callbacks(""), listener())
	for range 50 {
		peer, end := l.wire(i)
		if _, err := peer.Write([]byte("some data")); err != nil {
			t.Fatal(err)
		}
		peer.Close()
		end.wait(t)
	}
	l.on(func() { i.Stop() })
	l.on(i.Close)
	c := n.log.counts
	if c["open"] != 50 || c["closed"] != 50 || c["eof"] > 50 || c["stop"] != 1 {
		t.Errorf("it counted %v", c)
	}
}
