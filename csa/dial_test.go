package csa

import (
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"bulkhead/abi"

	"golang.org/x/sys/unix"
)

// dialled is how a dial has ended.
type dialled struct {
	times int
	fd    int
	to    Address
	r     Reason
}

// dial dials, and closes what comes of it when the test ends.
func (b *bench) dial(timeout time.Duration, to ...Address) (*Dial, *dialled) {
	b.t.Helper()
	end := &dialled{fd: -1}
	var d *Dial
	b.on(func() {
		d = b.loop.Dial(to, timeout, nil, func(fd int, to Address, r Reason) {
			end.times++
			end.fd, end.to, end.r = fd, to, r
		})
		if end.times != 0 {
			b.t.Error("it is over before Dial has returned")
		}
	})
	b.t.Cleanup(func() {
		if end.fd >= 0 {
			closeSocket(end.fd)
		}
	})
	return d, end
}

func (b *bench) over(end *dialled) {
	b.t.Helper()
	b.until("the dial is over", func() bool { return end.times > 0 })
	b.turns()
	if end.times != 1 {
		b.t.Errorf("it ended %d times", end.times)
	}
}

func listenTCP(t *testing.T) (net.Listener, Address) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln, Address{IP: ln.Addr().(*net.TCPAddr).AddrPort()}
}

// refusing is an address where nobody listens.
func refusing(t *testing.T) Address {
	t.Helper()
	ln, at := listenTCP(t)
	ln.Close()
	return at
}

// silent is an address where connections are never answered: its queue is full.
func silent(t *testing.T) Address {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSocket(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := Address{IP: AddrPortOf(sa)}
	for range 4 {
		c, err := newSocket(at)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeSocket(c) })
		if _, err := connectSocket(c, at); err != nil {
			t.Fatal(err)
		}
	}
	return at
}

func TestDial(t *testing.T) {
	b := newBench(t)
	ln, at := listenTCP(t)
	_, end := b.dial(time.Second, at)
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b.over(end)
	if end.r != Orderly || end.to != at {
		t.Fatalf("it ended with %v at %v", end.r, end.to)
	}
	if _, err := unix.Write(end.fd, []byte("hello")); err != nil {
		t.Error(err)
	}
	p := make([]byte, 5)
	if n, err := c.Read(p); string(p[:n]) != "hello" {
		t.Errorf("the other side reads %q, %v", p[:n], err)
	}
}

func TestDialUnix(t *testing.T) {
	b := newBench(t)
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, end := b.dial(time.Second, Address{Path: path})
	b.over(end)
	if end.r != Orderly {
		t.Errorf("it ended with %v", end.r)
	}
	_, end = b.dial(time.Second, Address{Path: path + "t"})
	b.over(end)
	if end.r.Code != abi.NotFound || end.fd >= 0 {
		t.Errorf("where nothing is it ended with %v", end.r)
	}
}

// The next address is tried as soon as one has failed, and the last failure is told.
func TestDialRefused(t *testing.T) {
	b := newBench(t)
	_, at := listenTCP(t)
	_, end := b.dial(time.Second, refusing(t), refusing(t), at)
	b.over(end)
	if end.r != Orderly || end.to != at {
		t.Errorf("it ended with %v at %v", end.r, end.to)
	}
	_, end = b.dial(time.Second, refusing(t), refusing(t))
	b.over(end)
	if end.r.Code != abi.Refused || end.fd >= 0 {
		t.Errorf("where nobody listens it ended with %v", end.r)
	}
	_, end = b.dial(time.Second)
	b.over(end)
	if end.r.Code != abi.NotFound {
		t.Errorf("without an address it ended with %v", end.r)
	}
	_, end = b.dial(time.Second, Address{IP: netip.MustParseAddrPort("255.255.255.255:9")})
	b.over(end)
	if end.r.Code == abi.OK {
		t.Error("the broadcast address is connected to")
	}
}

// One that does not answer holds the next up for 250 ms, and the whole up to its
// timeout.
func TestDialSilent(t *testing.T) {
	b := newBench(t)
	_, at := listenTCP(t)
	_, end := b.dial(time.Second, silent(t), at)
	b.turns()
	b.clock.Advance(attemptDelay - 1)
	b.turns()
	if end.times != 0 {
		t.Fatalf("it ended early with %v", end.r)
	}
	b.clock.Advance(1)
	b.over(end)
	if end.r != Orderly || end.to != at {
		t.Errorf("it ended with %v at %v", end.r, end.to)
	}

	d, end := b.dial(time.Second, silent(t))
	b.turns()
	b.clock.Advance(time.Second)
	b.over(end)
	if end.r.Code != abi.Timeout || len(d.attempts) != 0 {
		t.Errorf("it ended with %v, and %d attempts are left", end.r, len(d.attempts))
	}
}

// After Cancel nothing is told, and nothing is left.
func TestDialCancel(t *testing.T) {
	b := newBench(t)
	before := openFiles(t)
	for range 2 { // at once, and while it waits
		d, end := b.dial(time.Second, silent(t))
		b.on(d.Cancel)
		b.clock.Advance(time.Minute)
		b.turns()
		b.on(d.Cancel)
		if end.times != 0 {
			t.Errorf("it ended with %v", end.r)
		}
		before += 5 // of silent
	}
	if n := openFiles(t); n > before {
		t.Errorf("%d descriptors are open; want %d", n, before)
	}
}

// openFiles is how many descriptors this process has.
func openFiles(t *testing.T) (n int) {
	t.Helper()
	for fd := range 4096 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			n++
		}
	}
	return n
}
