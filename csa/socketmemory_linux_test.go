package csa

import (
	"io"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/abi"
)

// socketShare is a SocketShare that counts.
type socketShare struct{ limit, used, refused atomic.Int64 }

func (s *socketShare) TakeSocketMemory(n, held int) bool {
	if n > s.SocketRoom(held) {
		s.refused.Add(1)
		return false
	}
	s.used.Add(int64(n))
	return true
}
func (s *socketShare) ReturnSocketMemory(n int) { s.used.Add(-int64(n)) }
func (s *socketShare) SocketRoom(int) int       { return int(s.limit.Load() - s.used.Load()) }

// A connection whose share has nothing keeps small buffers, and nothing of what it sends is lost.
// They are the system's again when there is room; other settings are other shares, and
// the end gives all back.
func TestSocketMemory(t *testing.T) {
	b := newBench(t)
	share := &socketShare{}
	b.set.SocketMemory = share
	const total = 8 << 20
	sent, piece := 0, make([]byte, 48<<10)
	fill := func(c *CSA) {
		for sent < total {
			n, code := c.Send(piece)
			if sent += n; code != abi.OK {
				return
			}
		}
	}
	h := &script{writabl: fill}
	c, peer := b.tcp(h)
	if err := peer.SetReadBuffer(64 << 10); err != nil { // so that what it does not read waits here
		t.Fatal(err)
	}
	look := func() (w memoryInfo) {
		b.on(func() { b.loop.sockets.memory(int(c.fd), &w) })
		return w
	}
	b.on(func() {
		c.peer = netip.MustParseAddrPort("192.0.2.1:1") // as one over TCP has
		b.loop.Event(func() { fill(c) })
	})
	b.until("it was refused", func() bool { return share.refused.Load() > 0 && c.is(blocked) })
	if w := look(); w.sendBuffer > 2*freeOut {
		t.Errorf("its buffer for sending is %d bytes; want some %d", w.sendBuffer, freeOut)
	}
	if c.memory == nil || !c.memory.keptOut || !c.memory.keptIn || share.used.Load() != 0 {
		t.Errorf("it is kept small as %+v, with %d bytes taken", c.memory, share.used.Load())
	}
	if _, err := io.CopyN(io.Discard, peer, total/2); err != nil {
		t.Fatal(err)
	}
	share.limit.Store(1 << 30)
	b.clock.Advance(time.Duration(memoryEvery))
	b.until("it may grow again", func() bool {
		c.lookAtMemory() // as each second
		return !c.memory.keptOut && !c.memory.keptIn && !b.loop.sockets.sendBufferSet(int(c.fd))
	})
	b.until("what is held is charged", func() bool {
		c.lookAtMemory()
		return share.used.Load() > 0
	})
	before, now := share, &socketShare{}
	now.limit.Store(1 << 30)
	b.on(func() {
		set := *b.set
		set.SocketMemory = now
		c.SetSettings(&set)
	})
	if before.used.Load() != 0 || now.used.Load() == 0 {
		t.Errorf("%d bytes are taken of the share before, and %d of the new one", before.used.Load(), now.used.Load())
	}
	if _, err := io.CopyN(io.Discard, peer, total/2); err != nil {
		t.Fatal(err)
	}
	b.on(func() { c.ProducerFinished() })
	peer.Close()
	b.until("it has ended", func() bool { return c.is(dead) })
	if now.used.Load() != 0 {
		t.Errorf("%d bytes are still taken", now.used.Load())
	}
}

// A buffer for sending that was set is as it was when the share has room again.
func TestSocketMemorySet(t *testing.T) {
	b := newBench(t)
	c, _ := b.tcp(&script{})
	b.on(func() {
		k, fd := b.loop.sockets, int(c.fd)
		k.setSendBuffer(fd, 200<<10)
		var w memoryInfo
		if k.memory(fd, &w); w.sendBuffer != 200<<10 || !k.sendBufferSet(fd) {
			t.Errorf("it is %d bytes", w.sendBuffer)
		}
		share := &socketShare{}
		m := &socketMemory{share: share}
		m.chargeOut(k, fd, &memoryInfo{queued: 200 << 10, sendBuffer: 200 << 10}, 0)
		if k.memory(fd, &w); w.sendBuffer != freeOut {
			t.Errorf("kept small it is %d bytes", w.sendBuffer)
		}
		share.limit.Store(1 << 20)
		m.chargeOut(k, fd, &memoryInfo{sendBuffer: freeOut}, memoryEvery)
		if k.memory(fd, &w); w.sendBuffer != 200<<10 || !k.sendBufferSet(fd) {
			t.Errorf("it is %d bytes afterwards", w.sendBuffer)
		}
		c.ShutdownMicroprocess(Orderly)
	})
}
