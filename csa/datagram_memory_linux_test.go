package csa

import (
	"testing"

	"golang.org/x/sys/unix"
)

// All that a UDP socket's buffers have room for is charged to its share, beyond what any socket may
// hold. With less in the share the buffers are smaller, and they follow when there is more, or when
// somebody sets them; another share pays from when it is named, and the end gives all back.
func TestDatagramSocketMemory(t *testing.T) {
	b := newBench(t)
	s, addr := b.udp("udp4", "127.0.0.1:0", &guests{})
	b.on(func() {
		set := func(option, n int) {
			if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, option, n); err != nil {
				t.Error(err)
			}
		}
		buffers := func() (in, out int) {
			var w memoryInfo
			if !b.loop.sockets.memory(s.fd, &w) {
				t.Skip("the system does not tell")
			}
			return w.readBuffer, w.sendBuffer
		}
		set(unix.SO_RCVBUF, 200<<10)
		set(unix.SO_SNDBUF, 100<<10)
		in, out := buffers()
		if in <= freeIn || out <= freeOut {
			t.Skipf("the system lets a socket hold %d and %d bytes", in, out)
		}
		want := func(what string, share *socketShare, used, wantIn, wantOut int) {
			t.Helper()
			if i, o := buffers(); i != wantIn || o != wantOut || int(share.used.Load()) != used {
				t.Errorf("%s: it holds %d and %d bytes, and %d are taken; want %d, %d, %d", what, i, o, share.used.Load(), wantIn, wantOut, used)
			}
		}
		all := in - freeIn + out - freeOut
		wide := &socketShare{}
		wide.limit.Store(10 << 20)
		s.ShareMemory(wide)
		want("with room", wide, all, in, out)
		s.ShareMemory(wide)
		want("again", wide, all, in, out)
		narrow := &socketShare{}
		narrow.limit.Store(32 << 10)
		s.ShareMemory(narrow)
		want("the wide share, which it has left", wide, 0, freeIn+32<<10, freeOut)
		want("with 32 KiB", narrow, 32<<10, freeIn+32<<10, freeOut)
		if narrow.refused.Load() == 0 {
			t.Error("nobody counts that it was refused")
		}
		set(unix.SO_RCVBUF, 300<<10) // as a reload does
		in, _ = buffers()
		s.ShareMemory(narrow)
		want("somebody wants more", narrow, 32<<10, freeIn+32<<10, freeOut)
		narrow.limit.Store(10 << 20)
		s.AskBudget()
		all = in - freeIn + out - freeOut
		want("the share has more", narrow, all, in, out)
		set(unix.SO_RCVBUF, 20<<10)
		small, _ := buffers()
		s.AskBudget()
		want("somebody wants less", narrow, out-freeOut, small, out)
		s.ShareMemory(nil)
		want("nobody's", narrow, 0, small, out)
		s.ShareMemory(narrow)
		s.Close(Orderly)
		if n := narrow.used.Load(); n != 0 {
			t.Errorf("%d bytes are taken by a socket that is closed", n)
		}
		s.ShareMemory(narrow)
		if n := narrow.used.Load(); n != 0 {
			t.Errorf("a socket that is closed takes %d bytes", n)
		}
	})
	_ = addr
}

// A peer that was dialled over UDP has a socket to itself, whose buffers its settings' share pays
// for.
func TestADialledPeersMemory(t *testing.T) {
	_, at := packets(t, "udp4", "127.0.0.1:0")
	b := newBench(t)
	share := &socketShare{}
	set := *b.set
	set.SocketMemory = share
	c := b.dialUDP(at, &script{}, &set, &guests{})
	b.on(func() {
		var w memoryInfo
		if !b.loop.sockets.memory(c.transport.(*datagramPeer).socket.fd, &w) {
			t.Skip("the system does not tell")
		}
		if w.readBuffer > freeIn || w.sendBuffer > freeOut {
			t.Errorf("with nothing in the share it holds %d and %d bytes", w.readBuffer, w.sendBuffer)
		}
		share.limit.Store(10 << 20)
		c.transport.(*datagramPeer).socket.AskBudget()
		c.kill(Orderly)
	})
	b.on(func() {
		if n := share.used.Load(); n != 0 {
			t.Errorf("%d bytes are taken when it is over", n)
		}
	})
}
