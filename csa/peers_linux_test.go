package csa

import (
	"errors"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/selector"

	"golang.org/x/sys/unix"
)

var vanished = vanishedPeer

// watched is the kernel, and counts what would be taken for silence.
type watched struct {
	kernel
	silence       time.Duration
	looks, silent atomic.Int64
}

func (w *watched) look(fd int, x *peerInfo) {
	w.kernel.look(fd, x)
	w.looks.Add(1)
	if x.known && x.silent >= w.silence {
		w.silent.Add(1)
	}
}

// realBench is a bench whose clock is the machine's.
func realBench(t *testing.T, set Settings) (*bench, *watched) {
	sel, err := selector.New(selector.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, loop: NewLoop(sel), acct: &account{}, set: &set}
	w := &watched{kernel: b.loop.kernel, silence: set.UserTimeout}
	b.loop.kernel = w
	go sel.Run()
	t.Cleanup(func() {
		b.on(func() { b.loop.Each(func(c *CSA) { c.ShutdownMicroprocess(Orderly) }) })
		sel.Stop()
		<-sel.Done()
	})
	return b, w
}

// goAway has the peer's system drop everything that comes for it.
func goAway(t *testing.T, peer *net.TCPConn) {
	t.Helper()
	nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	raw, err := peer.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(raw.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing[0]})
	}), err); err != nil {
		t.Fatal(err)
	}
}

func answerAgain(t *testing.T, peer *net.TCPConn) {
	t.Helper()
	raw, err := peer.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) })
	if err != nil {
		t.Fatal(err)
	}
}

// The real system's words: who answers is alive, however long it reads nothing, and who does
// not has vanished.
func TestVanishedPeers(t *testing.T) {
	const limit = 400 * time.Millisecond
	for name, test := range map[string]func(t *testing.T, b *bench, w *watched){
		"with bytes on their way": func(t *testing.T, b *bench, w *watched) {
			s := &script{}
			c, peer := b.tcp(s)
			goAway(t, peer)
			start := time.Now()
			b.on(func() { c.Send([]byte("hello")) })
			b.ended(s, vanished)
			if took := time.Since(start); took < limit {
				t.Errorf("it had %v of %v", took, limit)
			}
		},
		"without room": func(t *testing.T, b *bench, w *watched) {
			s := &script{}
			c, peer := b.tcp(s)
			_ = peer.SetReadBuffer(32 << 10)
			b.until("bytes wait", func() bool { return sendMuch(c) })
			goAway(t, peer)
			b.ended(s, vanished)
		},
		"of a relay": func(t *testing.T, b *bench, w *watched) {
			ca, from := b.tcp(&script{})
			cb, peer := b.tcp(&script{})
			b.on(func() { Splice(ca, cb) })
			goAway(t, peer)
			send(t, from, "hello")
			b.until("both are gone", func() bool { return b.loop.Len() == 0 })
			b.on(func() {
				if cb.reason != vanished || ca.reason.Why != "the other end of its relay ended: "+vanished.Why {
					t.Errorf("they ended with %v and %v", cb.reason, ca.reason)
				}
			})
		},
		"through TLS": func(t *testing.T, b *bench, w *watched) {
			s := &script{}
			c, conn, peer := b.secured(s)
			_ = conn
			goAway(t, peer)
			b.on(func() { c.Send([]byte("hello")) })
			b.ended(s, vanished)
		},
		"or paused": func(t *testing.T, b *bench, w *watched) {
			s := &script{}
			c, peer := b.tcp(s)
			b.until("bytes wait", func() bool { return sendMuch(c) })
			// Its system is asked less and less often, so that it is silent for long.
			b.until("it has been silent, looked at", func() bool {
				time.Sleep(10 * time.Millisecond)
				return w.silent.Load() >= 3 || c.Over()
			})
			b.alive(c, "paused")
			go func() { _, _ = io.Copy(io.Discard, peer) }()
			b.until("all is sent", func() bool { return !c.unsent() && c.buffered.since == 0 || c.Over() })
			b.alive(c, "reading again")
		},
		"or back in time": func(t *testing.T, b *bench, w *watched) {
			b.set.UserTimeout = 20 * time.Second
			s := &script{}
			c, peer := b.tcp(s)
			goAway(t, peer)
			b.on(func() { c.Send([]byte("hello")) })
			b.until("it was asked in vain", func() bool {
				var x peerInfo
				b.loop.kernel.look(int(c.fd), &x)
				return x.asked >= 2
			})
			answerAgain(t, peer)
			wantRead(t, peer, "hello")
			b.until("all is well", func() bool { c.keepDeadlines(); return c.buffered.since == 0 })
			b.alive(c, "back again")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, w := realBench(t, Settings{UserTimeout: limit})
			test(t, b, w)
		})
	}
}

// sendMuch fills the socket, and what is behind it, and reports whether bytes wait.
func sendMuch(c *CSA) bool {
	for !c.is(blocked) && !c.Over() {
		c.Send(make([]byte, 64<<10))
	}
	return c.Over() || c.unsent()
}

// The network goes away under a connection, in a network namespace of its own: then the
// system says at once that nothing can be sent, and goes on trying all the same.
func TestVanishedNetwork(t *testing.T) {
	t.Parallel()
	type pair struct{ ours, peer *net.TCPConn }
	made, link, done := make(chan pair), make(chan bool), make(chan struct{})
	failed := make(chan error, 1)
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			failed <- err
			return
		}
		setLink(t, true)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			failed <- err
			return
		}
		defer ln.Close()
		peer, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			failed <- err
			return
		}
		ours, err := ln.Accept()
		if err != nil {
			failed <- err
			return
		}
		made <- pair{ours.(*net.TCPConn), peer.(*net.TCPConn)}
		for up := range link {
			setLink(t, up)
			link <- up
		}
	}()
	defer func() { close(link); <-done }()
	var p pair
	select {
	case err := <-failed:
		if errors.Is(err, unix.EPERM) {
			t.Skip("network namespaces are not allowed here: ", err)
		}
		t.Fatal(err)
	case p = <-made:
	}
	defer p.ours.Close()
	defer p.peer.Close()
	turn := func(up bool) { link <- up; <-link }

	b, _ := realBench(t, Settings{UserTimeout: 20 * time.Second})
	s := &script{}
	c := b.wire(dup(t, p.ours), s)
	turn(false)
	b.on(func() { c.Send([]byte("hello")) })
	b.until("it was asked in vain", func() bool {
		var x peerInfo
		b.loop.kernel.look(int(c.fd), &x)
		return x.asked >= 2 || c.Over()
	})
	b.alive(c, "away")
	turn(true)
	wantRead(t, p.peer, "hello")

	turn(false)
	b.on(func() {
		b.set.UserTimeout = 400 * time.Millisecond
		c.buffered.since = 0 // so that the new time is heeded
		c.Send([]byte("hello"))
	})
	b.ended(s, vanished)
}

func setLink(t *testing.T, up bool) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		t.Error(err)
		return
	}
	if up {
		r.SetUint16(unix.IFF_UP)
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r); err != nil {
		t.Error(err)
	}
}
