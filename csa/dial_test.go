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
		d = b.loop.Dial(b.acct, to, timeout, nil, func(fd int, to Address, r Reason) {
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

// A socket is connected to Via, and the address stays what it is.
func TestDialVia(t *testing.T) {
	b := newBench(t)
	ln, at := listenTCP(t)
	called := Address{IP: netip.MustParseAddrPort("[2001:db8::1]:80"), Via: at.IP}
	_, end := b.dial(time.Second, called)
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b.over(end)
	if end.r != Orderly || end.to != called {
		t.Errorf("it ended with %v at %v", end.r, end.to)
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

// What a dial takes of a loop's time is paid for by who has asked for it, a retry after a refusal
// likewise.
func TestTheTimeOfADialIsBooked(t *testing.T) {
	b := newBench(t)
	_, at := listenTCP(t)
	to := []Address{refusing(t), at}
	const work = int64(time.Millisecond)
	end := &dialled{fd: -1}
	b.on(func() {
		b.loop.Charge(Unlimited{}) // who pays for this event
		tune := func(int) {
			for began := nanotime(); nanotime()-began < work; {
			}
		}
		b.loop.Dial(b.acct, to, time.Minute, tune, func(fd int, _ Address, r Reason) {
			end.times++
			end.fd, end.r = fd, r
		})
	})
	b.over(end)
	defer closeSocket(end.fd)
	b.on(func() { b.loop.Charge(Unlimited{}) }) // has what is not booked yet booked
	b.until("both attempts are booked", func() bool { return b.acct.booked.Load() >= 2*work })
}

// A panic in a notice of a dial ends that dial: its sockets are closed, and who has asked for it is
// told, once, unless it has been cancelled meanwhile.
func TestFaultsAreTheDials(t *testing.T) {
	for _, cancelled := range []bool{false, true} {
		b := newBench(t)
		var faults int
		b.on(func() { b.loop.OnFault(func(f *Fault) bool { faults++; return f.Conn == nil }) })
		end, sockets := &dialled{fd: -1}, []int(nil)
		var d *Dial
		tune := func(fd int) {
			sockets = append(sockets, fd)
			if len(sockets) == 2 {
				if cancelled {
					b.loop.Post(d.Cancel)
				}
				panic("in tune")
			}
		}
		to := []Address{silent(t), silent(t), silent(t)}
		b.on(func() {
			d = b.loop.Dial(b.acct, to, time.Minute, tune, func(fd int, _ Address, r Reason) {
				end.times++
				end.fd, end.r = fd, r
			})
		})
		b.until("the first is tried", func() bool { return len(sockets) == 1 })
		b.clock.Advance(attemptDelay)
		b.until("there was a panic", func() bool { return faults == 1 })
		b.turns()
		b.on(func() {
			if want := (dialled{times: 1, fd: -1, r: HostBug.Reason()}); !cancelled && *end != want {
				t.Errorf("it ended with %v, want %v", *end, want)
			}
			if cancelled && end.times != 0 {
				t.Errorf("it ended with %v after it was cancelled", *end)
			}
			if !d.over || len(d.attempts) != 0 || len(sockets) != 2 {
				t.Errorf("over: %v, with %d attempts left of %d", d.over, len(d.attempts), len(sockets))
			}
			for _, fd := range sockets {
				if _, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err != unix.EBADF {
					t.Errorf("a socket is open after the dial (%v)", err)
				}
			}
		})
	}
}
