package csa

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/internal/awaittest"
	"bulkhead/selector"

	"golang.org/x/sys/unix"
)

// guests is the Peers of a test.
type guests struct {
	b       *bench
	handler Handler
	make    func() Handler // one for each peer, if there is no handler
	most    int            // 0: no limit
	open    int
	lost    [Losses]int
	reasons []Reason
	broken  error
	refuse  bool
}

func (g *guests) Admit(netip.AddrPort) (w Wiring, a Admission) {
	switch {
	case g.refuse:
		return w, TurnedAway
	case g.most > 0 && g.open == g.most:
		return w, Full
	}
	g.open++
	h := g.handler
	if h == nil {
		h = g.make()
	}
	return Wiring{Handler: h, Settings: g.b.set, Budget: g.b.acct, Creator: g}, Admitted
}

func (g *guests) Lost(why Loss, n int) { g.lost[why] += n }
func (g *guests) Broken(err error)     { g.broken = err }

func (g *guests) SocketShutdown(c *CSA, r Reason) {
	g.open--
	g.reasons = append(g.reasons, r)
}

// udp makes a datagram socket on a loop and says where it is.
func (b *bench) udp(network, address string, g *guests) (*DatagramSocket, string) {
	b.t.Helper()
	g.b = b
	conn, err := net.ListenPacket(network, address)
	if err != nil {
		b.t.Skip(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.UDPConn).SyscallConn()
	if err != nil {
		b.t.Fatal(err)
	}
	fd := -1
	if cerr := raw.Control(func(have uintptr) { fd, err = unix.FcntlInt(have, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil || err != nil {
		b.t.Fatal(cerr, err)
	}
	var s *DatagramSocket
	b.on(func() { s, err = b.loop.NewDatagramSocket(fd, g, b.acct) })
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		b.on(func() { s.Close(Orderly) })
		b.on(func() {
			if n := len(s.peers); n != 0 || s.young.first != nil || g.open != 0 {
				b.t.Errorf("%d peers are left, %d open, young %v", n, g.open, s.young.first)
			}
		})
	})
	return s, conn.LocalAddr().String()
}

// client is somebody who sends datagrams.
func (b *bench) client(addr string) *net.UDPConn {
	b.t.Helper()
	conn, err := net.Dial("udp", addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(awaittest.Deadline())
	return conn.(*net.UDPConn)
}

func tell(t testing.TB, c net.Conn, what string) {
	t.Helper()
	if _, err := c.Write([]byte(what)); err != nil {
		t.Fatal(err)
	}
}

func hear(t testing.TB, c net.Conn, want string) {
	t.Helper()
	buf := make([]byte, 1<<16)
	n, err := c.Read(buf)
	if err != nil || string(buf[:n]) != want {
		if n > 100 {
			n = 100
		}
		t.Fatalf("heard %q, %v; want %.100q", buf[:n], err, want)
	}
}

// mirror sends back what it gets, a datagram for each.
func mirror(window int) *script {
	return &script{window: make([]byte, window), data: func(c *CSA, p []byte) int {
		n, code := c.Send(p)
		if code != abi.OK {
			return 0
		}
		return n
	}}
}

func TestDatagramsKeepTheirBoundaries(t *testing.T) {
	b := newBench(t)
	h := mirror(64 << 10)
	g := &guests{handler: h}
	_, addr := b.udp("udp4", "127.0.0.1:0", g)
	c := b.client(addr)
	for _, what := range []string{"one", "", "three", strings.Repeat("x", 4095), strings.Repeat("y", 4096), strings.Repeat("z", 65507), "last"} {
		tell(t, c, what)
		hear(t, c, what)
	}
	// Several at once come as several, in order.
	for i := range 50 {
		tell(t, c, fmt.Sprint(i))
	}
	for i := range 50 {
		hear(t, c, fmt.Sprint(i))
	}
	b.on(func() {
		if len(h.log) != 1+7+50 || h.log[0] != "open" {
			t.Errorf("it was told %d things, beginning with %q", len(h.log), h.log[0])
		}
		p := b.loop.first
		received, sent := p.Traffic()
		if want := int64(3 + 5 + 4095 + 4096 + 65507 + 4 + 90); received != want || sent != want {
			t.Errorf("counted %d in, %d out; want %d", received, sent, want)
		}
		if p.Transport() != "udp" || p.Local() != addr || p.Peer() != c.LocalAddr().String() {
			t.Errorf("%s from %s to %s", p.Transport(), p.Peer(), p.Local())
		}
	})
}

func TestManyPeersOfOneSocket(t *testing.T) {
	b := newBench(t)
	g := &guests{handler: mirror(4096)}
	s, addr := b.udp("udp4", "127.0.0.1:0", g)
	var all []*net.UDPConn
	for i := range 100 {
		c := b.client(addr)
		all = append(all, c)
		tell(t, c, fmt.Sprint("peer ", i))
	}
	for round := range 3 {
		for i, c := range all {
			hear(t, c, fmt.Sprint("peer ", i))
			if round < 2 {
				tell(t, c, fmt.Sprint("peer ", i))
			}
		}
	}
	b.on(func() {
		if s.Len() != 100 || b.loop.Len() != 100 {
			t.Errorf("%d peers, %d connections", s.Len(), b.loop.Len())
		}
		if s.young.first != nil {
			t.Error("somebody counts as young after three datagrams")
		}
	})
}

// Replies leave from the address that was addressed, on a socket that has all of them.
func TestRepliesComeFromWhereTheDatagramWentTo(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems choose the address")
	}
	for _, network := range []string{"udp4", "udp", "udp6"} {
		b := newBench(t)
		h := mirror(4096)
		s, addr := b.udp(network, ":0", &guests{handler: h})
		_, port, _ := net.SplitHostPort(addr)
		hosts := []string{"127.0.0.1", "127.0.0.2", "127.1.2.3"}
		if network == "udp6" {
			hosts = []string{"::1"}
		}
		for _, host := range hosts {
			// Connected: from elsewhere nothing is heard.
			c := b.client(net.JoinHostPort(host, port))
			tell(t, c, "hello, "+host)
			hear(t, c, "hello, "+host)
			b.on(func() {
				if got := b.loop.first.Local(); got != net.JoinHostPort(host, port) {
					t.Errorf("addressed at %s, it says %s", host, got)
				}
			})
		}
		// What was broadcast is answered from an address of the machine.
		if network != "udp6" {
			pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			_ = pc.SetDeadline(awaittest.Deadline())
			to, _ := strconv.Atoi(port)
			if _, err := pc.WriteTo([]byte("anybody?"), &net.UDPAddr{IP: net.IPv4(127, 255, 255, 255), Port: to}); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 10)
			if n, from, err := pc.ReadFrom(buf); err != nil || string(buf[:n]) != "anybody?" || from.String() != "127.0.0.1:"+port {
				t.Errorf("%s: a broadcast is answered with %q from %v, %v", network, buf[:n], from, err)
			}
			pc.Close()
		}
		// One peer who speaks to two addresses has two connections.
		if network == "udp4" {
			pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer pc.Close()
			_ = pc.SetDeadline(awaittest.Deadline())
			for _, host := range hosts[:2] {
				to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(host + ":" + port))
				if _, err := pc.WriteTo([]byte("x"), to); err != nil {
					t.Fatal(err)
				}
				buf := make([]byte, 10)
				if _, from, err := pc.ReadFrom(buf); err != nil || from.String() != to.String() {
					t.Errorf("the answer came from %v, %v; want %v", from, err, to)
				}
			}
			b.on(func() {
				if s.Len() != len(hosts)+3 {
					t.Errorf("%d peers", s.Len())
				}
			})
		}
		b.on(func() { s.Close(Orderly) })
	}
}

// What the handler leaves of a datagram is gone, and so is one that does not fit.
func TestDatagramsAreHandedOverOnce(t *testing.T) {
	b := newBench(t)
	h := &script{window: make([]byte, 4096), data: func(c *CSA, p []byte) int {
		c.Want(3000)
		c.Receive(true)
		return min(len(p), 1)
	}}
	g := &guests{handler: h}
	_, addr := b.udp("udp4", "127.0.0.1:0", g)
	c := b.client(addr)
	tell(t, c, "abc")
	tell(t, c, strings.Repeat("x", 4097))
	tell(t, c, "def")
	b.until("the last has come", func() bool { return slices.Contains(h.log, "data def") })
	b.turns()
	b.on(func() {
		if got := strings.Join(h.log, ","); got != "open,data abc,data def" {
			t.Errorf("told %s", got)
		}
		if g.lost != [Losses]int{LostTooLong: 1} {
			t.Errorf("lost %v", g.lost)
		}
	})
}

// While its handler takes none, a peer's datagrams wait, in order and a few; then
// they come one by one.
func TestDatagramsWaitForTheHandler(t *testing.T) {
	b := newBench(t)
	h := &script{window: make([]byte, 4096)}
	h.data = func(c *CSA, p []byte) int {
		if string(p) == "0" {
			c.Receive(false)
		}
		return len(p)
	}
	g := &guests{handler: h}
	_, addr := b.udp("udp4", "127.0.0.1:0", g)
	c, other := b.client(addr), b.client(addr)
	for i := range mostWaiting + 5 {
		tell(t, c, fmt.Sprint(i))
	}
	b.until("those above the cap are lost", func() bool { return g.lost[LostWaiting] == 4 })
	tell(t, other, "other")
	b.until("another peer is served", func() bool { return slices.Contains(h.log, "data other") })
	b.on(func() {
		if held := b.acct.held.Load(); held != smallestBuffer {
			t.Errorf("%d bytes are charged for them", held)
		}
		h.log = nil
		for c := b.loop.first; c != nil; c = c.next {
			c.Receive(true)
		}
		if len(h.log) != 0 {
			t.Error("it was called at once")
		}
	})
	b.until("they have come", func() bool { return len(h.log) == mostWaiting })
	b.on(func() {
		for i, got := range h.log {
			if want := fmt.Sprint("data ", i+1); got != want {
				t.Errorf("number %d is %q", i+1, got)
			}
		}
		if held := b.acct.held.Load(); held != 0 {
			t.Errorf("%d bytes are still charged", held)
		}
	})
	// Without memory none waits.
	b.on(func() {
		b.acct.limit.Store(1)
		for c := b.loop.first; c != nil; c = c.next {
			c.Receive(false)
		}
	})
	tell(t, c, "lost")
	b.until("it is lost", func() bool { return g.lost[LostWaiting] == 5 })
	b.on(func() { b.acct.limit.Store(0) })
}

// Large ones are bounded by their bytes.
func TestBytesThatWaitAreBounded(t *testing.T) {
	b := newBench(t)
	h := &script{window: make([]byte, 64<<10), open: func(c *CSA) { c.Receive(false) }}
	g := &guests{handler: h}
	_, addr := b.udp("udp4", "127.0.0.1:0", g)
	c := b.client(addr)
	for range 5 {
		tell(t, c, strings.Repeat("x", 30_000))
	}
	b.until("three are lost", func() bool { return g.lost[LostWaiting] == 3 })
	b.on(func() {
		if held := b.acct.held.Load(); held > mostWaitingBytes {
			t.Errorf("%d bytes are held", held)
		}
	})
}

// How many of a peer wait, and how many bytes, is for the settings to say; what is more than
// any peer may have is shared.
func TestSettingsBoundWhatWaits(t *testing.T) {
	b := newBench(t)
	b.set.WaitingDatagrams, b.set.WaitingBytes = 60, 200_000
	h := &script{window: make([]byte, 64<<10), open: func(c *CSA) { c.Receive(false) }}
	g := &guests{handler: h}
	s, addr := b.udp("udp4", "127.0.0.1:0", g)
	say := func(n, size, lost int) {
		t.Helper()
		var before, kept int
		b.on(func() { before, kept = g.lost[LostWaiting], s.waiting })
		c := b.client(addr)
		for k := range n { // one at a time, since the system's buffer may be small
			tell(t, c, strings.Repeat("x", size))
			b.until("it has come", func() bool {
				return s.waiting-kept+(g.lost[LostWaiting]-before)*(size+frameHeader) >= (k+1)*(size+frameHeader)
			})
		}
		b.on(func() {
			if got := g.lost[LostWaiting] - before; got != lost {
				t.Errorf("of %d of %d bytes %d are lost, want %d", n, size, got, lost)
			}
		})
	}
	say(70, 10, 10)
	say(25, 9000, 3) // 22 are 198,088 bytes
	// Of 1,600,000 bytes that all have together, 8 times WaitingBytes, it is 198,928 by now.
	for range 7 {
		say(22, 9000, 0)
	}
	// What is left is for nobody to take: a peer has 64 KiB of its own.
	say(22, 9000, 15)
	say(16, 10, 0)
	say(17, 10, 1)
	b.on(func() { s.Close(Orderly) })
	b.on(func() {
		if s.waiting != 0 {
			t.Errorf("%d bytes are still counted", s.waiting)
		}
	})
}

// A queue that is always nearly full moves its bytes now and then, and not for each datagram.
func TestACrowdedQueue(t *testing.T) {
	var f fifo
	l := &Loop{}
	n := 1000
	for f.append(l, Unlimited{}, make([]byte, n)) && len(f.b) < 1<<20 || int(f.end)+n <= len(f.b) {
	}
	moves, taken := 0, 0
	for range 5000 {
		f.discard(l, Unlimited{}, n)
		if f.crowded(n) {
			continue
		}
		before := f.start
		f.append(l, Unlimited{}, make([]byte, n))
		taken++
		if f.start < before {
			moves++
		}
	}
	if len(f.b) != 1<<20 || moves > 20 || taken < 2000 {
		t.Errorf("of %d bytes, %d moves for %d datagrams", len(f.b), moves, taken)
	}
}

func TestTheCapOnPeers(t *testing.T) {
	b := newBench(t)
	h := &script{window: make([]byte, 4096)}
	h.data = func(c *CSA, p []byte) int {
		c.Send(p)
		if string(p) == "busy" {
			c.Receive(false)
		}
		return len(p)
	}
	g := &guests{handler: h, most: 3}
	s, addr := b.udp("udp4", "127.0.0.1:0", g)
	known := b.client(addr)
	for range 2 {
		tell(t, known, "known")
		hear(t, known, "known")
	}
	// A flood of new ones: each takes the place of the one before, never a known one's.
	var last *net.UDPConn
	for i := range 40 {
		last = b.client(addr)
		tell(t, last, fmt.Sprint(i))
		hear(t, last, fmt.Sprint(i))
		if i%10 == 0 {
			tell(t, known, "still")
			hear(t, known, "still")
		}
	}
	b.on(func() {
		if s.Len() != 3 || g.open != 3 {
			t.Errorf("%d peers, %d open", s.Len(), g.open)
		}
		if len(g.reasons) != 38 || g.reasons[0].Code != abi.Timeout {
			t.Errorf("%d gave way, the first with %v", len(g.reasons), g.reasons)
		}
		if g.lost != [Losses]int{} {
			t.Errorf("lost %v", g.lost)
		}
	})
	// Where all are known, there is no place.
	tell(t, last, "again")
	hear(t, last, "again")
	second := b.client(addr)
	for range 2 {
		tell(t, second, "second")
		hear(t, second, "second")
	}
	tell(t, b.client(addr), "late")
	b.until("there is no place", func() bool { return g.lost[LostConnections] == 1 })
	// One that has something under way keeps its place, too.
	b.on(func() { g.most = 4 })
	busy := b.client(addr)
	tell(t, busy, "busy")
	hear(t, busy, "busy")
	b.on(func() {
		p := s.young.first
		if p == nil || !p.keep([]byte("waits")) {
			t.Error("it is not young")
		}
		if s.MakeRoom() {
			t.Error("it gave its place away")
		}
	})
	tell(t, b.client(addr), "late")
	b.until("there is no place", func() bool { return g.lost[LostConnections] == 2 })
	b.on(func() { g.refuse = true })
	tell(t, b.client(addr), "refused")
	b.until("nobody is admitted", func() bool { return g.lost[LostPeerRefused] == 1 })
	b.on(func() {
		if g.open != 4 {
			t.Errorf("%d open", g.open)
		}
	})
}

func TestDatagramPeersIdle(t *testing.T) {
	b := newBench(t)
	b.set.IdleTimeout = 30 * time.Second
	g := &guests{handler: mirror(4096)}
	s, addr := b.udp("udp4", "127.0.0.1:0", g)
	a, c := b.client(addr), b.client(addr)
	tell(t, a, "a")
	hear(t, a, "a")
	tell(t, c, "c")
	hear(t, c, "c")
	b.clock.Advance(20 * time.Second)
	b.turns()
	tell(t, a, "a")
	hear(t, a, "a")
	b.clock.Advance(15 * time.Second)
	b.until("one is idle", func() bool { return s.Len() == 1 })
	b.on(func() {
		if len(g.reasons) != 1 || g.reasons[0].Code != abi.Timeout {
			t.Errorf("ended with %v", g.reasons)
		}
	})
	tell(t, a, "still")
	hear(t, a, "still")
	b.clock.Advance(31 * time.Second)
	b.until("the other is", func() bool { return s.Len() == 0 })
	tell(t, a, "new") // is a connection again
	hear(t, a, "new")
}

// A peer whose datagram waits for the host is not idle: it may have no processor time for the
// handler, or to read the socket. One whose handler has paused is.
func TestDatagramsThatWaitForTheHostKeepTheirPeer(t *testing.T) {
	const idle = 30 * time.Second
	b := newBench(t)
	b.set.IdleTimeout = idle
	h := &script{window: make([]byte, 4096)}
	g := &guests{handler: h}
	s, addr := b.udp("udp4", "127.0.0.1:0", g)
	c := b.client(addr)
	heard := func(what string) func() bool {
		return func() bool { return slices.Contains(h.log, "data "+what) }
	}
	there := func(when string) {
		t.Helper()
		b.turns()
		b.on(func() {
			if s.Len() != 1 || len(g.reasons) != 0 {
				t.Errorf("%s there are %d peers; ended: %v", when, s.Len(), g.reasons)
			}
		})
		if t.Failed() {
			t.FailNow()
		}
	}
	receive := func(on bool) {
		b.on(func() { b.loop.first.Receive(on) })
	}
	tell(t, c, "at once")
	b.until("the first is heard", heard("at once"))

	b.on(func() { h.none = true })
	tell(t, c, "later")
	b.until("it waits", func() bool { return peerOf(b.loop.first).waiting == 1 })
	for range 3 {
		b.clock.Advance(idle)
		there("while a datagram waits for the handler")
	}
	b.on(func() { h.none = false })
	receive(true)
	b.until("it is heard", heard("later"))
	b.clock.Advance(idle - time.Second)
	there("when the handler has had less time than idle_timeout for its answer")

	b.on(func() { b.acct.rest.Store(int64(idle) * 3 / 2) })
	tell(t, c, "before the rest")
	b.until("the tenant rests", func() bool { return s.slowIn })
	tell(t, c, "after the rest")
	b.clock.Advance(idle + time.Second)
	there("while the tenant rests")
	b.on(func() { b.acct.rest.Store(0) })
	b.clock.Advance(idle)
	b.until("what came meanwhile is heard", heard("after the rest"))
	there("after the rest")

	receive(false)
	tell(t, c, "never")
	b.until("it waits", func() bool { return peerOf(b.loop.first).waiting == 1 })
	b.clock.Advance(idle + time.Second)
	b.until("the peer of a handler that has paused is idle", func() bool { return s.Len() == 0 })
	b.on(func() {
		if g.lost[LostPeerRefused] != 1 {
			t.Errorf("lost: %v; want the one that waited", g.lost)
		}
	})
}

func TestDatagramPeersFinish(t *testing.T) {
	b := newBench(t)
	var made []*script
	g := &guests{make: func() Handler {
		h := &script{window: make([]byte, 4096), data: func(c *CSA, p []byte) int {
			c.Send([]byte("first"))
			c.Send([]byte("last"))
			switch string(p) {
			case "finish":
				c.ProducerFinished()
			case "half":
				c.FinishSending()
			case "kill":
				c.ShutdownMicroprocess(Orderly)
			case "lie":
				return len(p) + 1
			}
			if string(p) != "go on" {
				if n, code := c.Send([]byte("x")); n != 0 || code != abi.Closed {
					t.Errorf("sent %d, %v after the end", n, code)
				}
			}
			return len(p)
		}}
		made = append(made, h)
		return h
	}}
	s, addr := b.udp("udp4", "127.0.0.1:0", g)
	c := b.client(addr)
	for i := range 3 { // each is another connection
		tell(t, c, "finish")
		hear(t, c, "first")
		hear(t, c, "last")
		b.until("it is over", func() bool { return len(made) == i+1 && made[i].ends[0] == 1 })
	}
	tell(t, c, "half")
	hear(t, c, "first")
	hear(t, c, "last")
	tell(t, c, "more")
	b.until("it hears on", func() bool { return len(made) == 4 && slices.Contains(made[3].log, "data more") })
	b.on(func() {
		if s.Len() != 1 {
			t.Errorf("%d peers", s.Len())
		}
		b.loop.first.ProducerFinished()
	})
	tell(t, c, "kill")
	b.until("it is over", func() bool { return len(made) == 5 && made[4].ends[0] == 1 })
	b.on(func() {
		for i, h := range made {
			if h.ends[0] != 1 || h.reason != Orderly {
				t.Errorf("connection %d ended %d times, with %v", i, h.ends[0], h.reason)
			}
		}
		if len(g.reasons) != 5 {
			t.Errorf("the creator heard of %d", len(g.reasons))
		}
	})
	// Two in one batch, of which the first ends the connection: the second begins another.
	b.on(func() {
		tell(t, c, "finish")
		tell(t, c, "finish")
	})
	b.until("both are over", func() bool { return len(made) == 7 && g.open == 0 })
	for range 2 {
		hear(t, c, "first")
		hear(t, c, "last")
	}
}

func TestSendingTooMuchOverUDP(t *testing.T) {
	b := newBench(t)
	b.set.Inbox = 4096
	h := &script{window: make([]byte, 4096), data: func(c *CSA, p []byte) int {
		for n, want := range map[int]abi.Code{65507: abi.OK, 65508: abi.Invalid, 1 << 20: abi.Invalid, 0: abi.OK} {
			if taken, code := c.Send(make([]byte, n)); code != want || code == abi.OK && taken != n {
				t.Errorf("sending %d: %d, %v", n, taken, code)
			}
		}
		if code := c.MakeSSL(Handshake{}); code != abi.Invalid {
			t.Errorf("makessl: %v", code)
		}
		if code := Splice(c, c.loop.first.next); code != abi.Invalid {
			t.Errorf("splice: %v", code)
		}
		return len(p)
	}}
	g := &guests{handler: h}
	_, addr := b.udp("udp4", "127.0.0.1:0", g)
	before := b.client(addr)
	var h2 func(*CSA, []byte) int
	b.on(func() { h2, h.data = h.data, nil })
	tell(t, before, "x")
	b.until("it has come", func() bool { return len(h.log) == 2 })
	b.on(func() { h.data = h2 })
	c := b.client(addr)
	tell(t, c, "go")
	got := map[int]bool{}
	buf := make([]byte, 1<<16)
	for range 2 {
		n, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got[n] = true
	}
	if !got[0] || !got[65507] {
		t.Errorf("got %v", got)
	}
	b.on(func() {
		if c := b.loop.first; c.Over() {
			t.Errorf("it ended with %v", c.reason)
		}
	})
}

// Over the bandwidth nothing is sent, the inbox fills, and Writable comes when it goes on.
func TestDatagramsWaitForBandwidth(t *testing.T) {
	b := newBench(t)
	b.set.Inbox = 4096
	var codes []abi.Code
	h := &script{window: make([]byte, 4096)}
	h.data = func(c *CSA, p []byte) int {
		for range 5 {
			_, code := c.Send(bytes.Repeat([]byte("x"), 1000))
			codes = append(codes, code)
		}
		return len(p)
	}
	h.writabl = func(c *CSA) {
		if _, code := c.Send([]byte("at last")); code != abi.OK {
			t.Error(code)
		}
	}
	g := &guests{handler: h}
	_, addr := b.udp("udp4", "127.0.0.1:0", g)
	c := b.client(addr)
	b.acct.waitOut.Store(int64(time.Second))
	tell(t, c, "go")
	b.until("it has tried", func() bool { return len(codes) == 5 })
	b.on(func() {
		if !slices.Equal(codes, []abi.Code{abi.OK, abi.OK, abi.OK, abi.OK, abi.Again}) {
			t.Errorf("answers %v", codes)
		}
	})
	b.turns()
	b.on(func() {
		if slices.Contains(h.log, "writable") {
			t.Error("it can write already")
		}
	})
	b.acct.waitOut.Store(0)
	b.clock.Advance(time.Second)
	for range 4 {
		hear(t, c, strings.Repeat("x", 1000))
	}
	hear(t, c, "at last")
	// The other way nothing is read meanwhile.
	b.on(func() { h.data = nil })
	b.acct.waitIn.Store(int64(time.Second))
	tell(t, c, "one")
	tell(t, c, "two")
	b.turns()
	b.on(func() {
		if slices.Contains(h.log, "data two") {
			t.Error("it was read")
		}
	})
	b.acct.waitIn.Store(0)
	b.clock.Advance(time.Second)
	b.until("it is read", func() bool { return slices.Contains(h.log, "data two") })
	// The same while the tenant rests, being over its processor time.
	b.acct.rest.Store(int64(time.Second))
	tell(t, c, "three")
	tell(t, c, "four")
	b.turns()
	b.on(func() {
		if slices.Contains(h.log, "data four") {
			t.Error("it was read while its tenant rests")
		}
	})
	b.acct.rest.Store(0)
	b.clock.Advance(time.Second)
	b.until("it is read", func() bool { return slices.Contains(h.log, "data four") })
}

func TestUnsentDatagramsOfAFinishedPeer(t *testing.T) {
	for linger, want := range map[time.Duration]abi.Code{0: abi.Timeout, time.Second: abi.Timeout} {
		b := newBench(t)
		b.set.Linger = linger
		h := &script{data: func(c *CSA, p []byte) int {
			c.Send(p)
			c.ProducerFinished()
			return len(p)
		}}
		g := &guests{handler: h}
		s, addr := b.udp("udp4", "127.0.0.1:0", g)
		b.acct.waitOut.Store(int64(time.Hour))
		tell(t, b.client(addr), "x")
		b.until("it has come", func() bool { return slices.Contains(h.log, "data x") })
		b.on(func() {
			if s.Len() != 0 {
				t.Error("it is still a peer")
			}
		})
		b.clock.Advance(2 * time.Second)
		b.until("it is over", func() bool { return h.ends[0] == 1 })
		if h.reason.Code != want {
			t.Errorf("linger %v: ended with %v", linger, h.reason)
		}
	}
}

// What cannot be sent is lost, and nobody else's.
func TestDatagramsToNowhere(t *testing.T) {
	b := newBench(t)
	h := mirror(4096)
	g := &guests{handler: h}
	s, addr := b.udp("udp4", "127.0.0.1:0", g)
	gone, c := b.client(addr), b.client(addr)
	tell(t, gone, "x")
	hear(t, gone, "x")
	gone.Close() // from here on the system answers with "port unreachable"
	b.on(func() {
		p := b.loop.first
		for range 3 {
			if _, code := p.Send([]byte("anybody there?")); code != abi.OK {
				t.Error(code)
			}
		}
	})
	for range 3 {
		tell(t, c, "good")
		hear(t, c, "good")
	}
	b.on(func() {
		if s.Len() != 2 || g.broken != nil {
			t.Errorf("%d peers, %v", s.Len(), g.broken)
		}
		// A peer that nothing can be sent to: an address that this machine has no
		// way to from a socket of loopback.
		for _, p := range s.peers {
			if p.c.peer.String() != c.LocalAddr().String() {
				p.key.setIP4(&p.key.ip, [4]byte{192, 0, 2, 1})
				for range 3 {
					p.c.Send([]byte("nowhere"))
				}
				p.c.Send(make([]byte, 5000))
			}
		}
	})
	b.until("it is lost", func() bool { return g.lost[LostUnsent] > 0 })
	tell(t, c, "good")
	hear(t, c, "good")
	b.on(func() {
		for _, p := range s.peers {
			if p.c.inbox.len() != 0 || p.queued[isOut] {
				t.Error("something is still in an inbox")
			}
		}
		s.peers = nil // their keys are not what they were
		for c := b.loop.first; c != nil; c = c.next {
			c.kill(Orderly)
		}
	})
}

// dialUDP dials a peer over UDP.
func (b *bench) dialUDP(to Address, h Handler, set *Settings, g *guests) *CSA {
	b.t.Helper()
	g.b = b
	to.UDP = true
	_, end := b.dial(time.Minute, to)
	b.over(end)
	if end.fd < 0 {
		b.t.Fatal(end.r)
	}
	fd := end.fd
	end.fd = -1 // the CSA's
	var c *CSA
	b.on(func() {
		g.open++
		var err error
		if c, err = b.loop.NewDatagramPeer(fd, end.to.IP, g, Wiring{Handler: h, Settings: set, Budget: b.acct, Creator: g}, Origin{}); err != nil {
			b.t.Error(err)
		}
	})
	return c
}

// packets is a UDP server of a test.
func packets(t *testing.T, network, address string) (net.PacketConn, Address) {
	t.Helper()
	server, err := net.ListenPacket(network, address)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { server.Close() })
	_ = server.SetDeadline(time.Now().Add(20 * time.Second))
	return server, Address{IP: server.LocalAddr().(*net.UDPAddr).AddrPort()}
}

// One who is dialled over UDP is sent to and heard, datagram by datagram, and nobody else is. With
// the connection its socket ends.
func TestADialledPeerOverUDP(t *testing.T) {
	for network, address := range map[string]string{"udp4": "127.0.0.1:0", "udp6": "[::1]:0"} {
		t.Run(network, func(t *testing.T) {
			server, at := packets(t, network, address)
			stranger, _ := packets(t, network, address)
			b := newBench(t)
			files := openFiles(t)
			h := &script{window: make([]byte, 1<<16)}
			var heard []string
			h.data = func(c *CSA, p []byte) int { heard = append(heard, string(p)); return len(p) }
			g := &guests{}
			c := b.dialUDP(at, h, b.set, g)
			var local netip.AddrPort
			b.on(func() {
				_, local = c.Addresses()
				if c.Transport() != "udp" || c.Peer() != server.LocalAddr().String() || local.Addr() != at.IP.Addr() {
					t.Errorf("%s, %s to %s", c.Transport(), local, c.Peer())
				}
			})
			buf := make([]byte, 1<<16)
			for _, what := range []string{"one", "", strings.Repeat("x", 5000), "four"} {
				b.on(func() {
					if n, code := c.Send([]byte(what)); n != len(what) || code != abi.OK {
						t.Errorf("sent %d: %v", n, code)
					}
				})
				n, from, err := server.ReadFrom(buf)
				if err != nil || string(buf[:n]) != what || from.String() != local.String() {
					t.Fatalf("%d bytes from %v: %v", n, from, err)
				}
				if _, err := stranger.WriteTo([]byte("forged"), from); err != nil {
					t.Fatal(err)
				}
				if _, err := server.WriteTo(buf[:n], from); err != nil {
					t.Fatal(err)
				}
				b.until("it is heard", func() bool { return len(heard) > 0 })
				b.on(func() {
					if len(heard) != 1 || heard[0] != what {
						t.Errorf("heard %.50q, want %.50q", heard, what)
					}
					heard = nil
				})
			}
			b.on(func() {
				c.Send([]byte("last"))
				c.ProducerFinished()
			})
			if n, _, err := server.ReadFrom(buf); err != nil || string(buf[:n]) != "last" {
				t.Errorf("%q: %v", buf[:n], err)
			}
			b.until("it is over", func() bool { return g.open == 0 })
			b.on(func() {
				if h.reason != Orderly || h.ends[0] != 1 {
					t.Errorf("it ended %d times with %v", h.ends[0], h.reason)
				}
			})
			if n := openFiles(t); n != files {
				t.Errorf("%d descriptors are open, %d were before", n, files)
			}
			if g.lost != [Losses]int{} {
				t.Errorf("lost: %v", g.lost)
			}
		})
	}
}

// Where nothing listens the connection ends with REFUSED, as soon as the peer's machine has said
// so.
func TestADialledPeerThatIsNotThere(t *testing.T) {
	server, at := packets(t, "udp4", "127.0.0.1:0")
	server.Close()
	for name, send := range map[string]func(c *CSA){
		"small": func(c *CSA) { c.Send([]byte("anybody?")) },
		"large": func(c *CSA) { c.Send(make([]byte, 20_000)); c.Send(make([]byte, 20_000)) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			h, g := &script{}, &guests{}
			c := b.dialUDP(at, h, b.set, g)
			b.on(func() { send(c) })
			b.until("it is over", func() bool { return g.open == 0 })
			b.on(func() {
				if r := h.reason; r.Code != abi.Refused || r.Cause != PeerUnreachable {
					t.Errorf("it ended with %v", r)
				}
			})
		})
	}
}

// A dialled peer ends when it has been silent for Settings.IdleTimeout, when its handler says so,
// and with the loop; its socket is gone with it, whatever waits.
func TestTheEndOfADialledPeer(t *testing.T) {
	_, at := packets(t, "udp4", "127.0.0.1:0")
	b := newBench(t)
	files := openFiles(t)
	for what, end := range map[string]func(c *CSA){
		"idle":  func(*CSA) { b.clock.Advance(2 * time.Minute) },
		"abort": func(c *CSA) { c.Send([]byte("waits")); c.ShutdownMicroprocess(HandlerEnded.Reason()) },
		"close": func(c *CSA) { c.Receive(false); c.ProducerFinished() },
	} {
		h, g := &script{}, &guests{}
		set := *b.set
		set.IdleTimeout = time.Minute
		c := b.dialUDP(at, h, &set, g)
		if what == "idle" {
			end(c)
		} else {
			b.on(func() { end(c) })
		}
		b.until(what, func() bool { return g.open == 0 })
		b.on(func() {
			want := map[string]Cause{"idle": PeerSilent, "abort": HandlerEnded, "close": Finished}[what]
			if h.reason.Cause != want || !peerOf(c).socket.closed {
				t.Errorf("%s: it ended with %v, closed: %v", what, h.reason, peerOf(c).socket.closed)
			}
		})
	}
	if n := openFiles(t); n != files {
		t.Errorf("%d descriptors are open, %d were before", n, files)
	}
}

// Handlers that pass the loop on keep nobody else, and their own datagrams wait.
func TestPassingOverUDP(t *testing.T) {
	for _, where := range []string{"open", "data", "window", "closed", "writable"} {
		t.Run(where, func(t *testing.T) {
			b := newBench(t)
			p := &holder{loop: b.loop, where: where, entered: make(chan struct{}, 1), leave: make(chan struct{}), more: make(map[*CSA]bool)}
			g := &guests{handler: p}
			_, addr := b.udp("udp4", "127.0.0.1:0", g)
			long, other := b.client(addr), b.client(addr)
			b.on(func() { // so that they are one batch
				tell(t, long, "long")
				for i := range 5 {
					tell(t, long, fmt.Sprint(i))
				}
				tell(t, other, "other")
			})
			switch where {
			case "closed":
				b.until("all is heard", func() bool { return len(p.heard) == 7 })
				b.on(func() { p.first.ShutdownMicroprocess(Orderly) })
			case "writable":
				b.until("all is heard", func() bool { return len(p.heard) == 7 })
				b.on(func() {
					p.first.set(blocked)
					peerOf(p.first).socket.dueLater(peerOf(p.first))
				})
			}
			<-p.entered
			b.until("the other is heard", func() bool { return slices.Contains(p.heard, "other") })
			tell(t, other, "again")
			b.until("and again", func() bool { return slices.Contains(p.heard, "again") })
			close(p.leave)
			b.until("all is heard", func() bool { return len(p.heard) == 8 })
			b.on(func() {
				own := slices.DeleteFunc(slices.Clone(p.heard), func(s string) bool { return s == "other" || s == "again" })
				if got := strings.Join(own, " "); got != "long 0 1 2 3 4" {
					t.Errorf("heard %s", got)
				}
			})
		})
	}
}

// holder passes the loop on in one call of the first of its connections.
type holder struct {
	script
	loop    *Loop
	where   string
	entered chan struct{}
	leave   chan struct{}
	first   *CSA
	off     bool // for the first
	passed  bool
	heard   []string
	buf     [4096]byte
	more    map[*CSA]bool
}

// pass passes the loop on if this is where, and does not return then.
func (p *holder) pass(c *CSA, where string, after func()) {
	if p.first == nil {
		p.first = c
	}
	if c != p.first || where != p.where || p.passed {
		return
	}
	p.passed, p.off = true, true
	p.loop.Pass()
	p.entered <- struct{}{}
	<-p.leave
	p.loop.Post(func() {
		p.off = false
		if after != nil {
			after()
		}
		if p.more[c] {
			c.Offer()
		}
	})
	runtime.Goexit()
}

func (p *holder) Open(c *CSA) { p.pass(c, "open", nil) }

func (p *holder) Window(c *CSA) []byte {
	if c == p.first && p.off {
		p.more[c] = true
		return nil
	}
	p.pass(c, "window", func() { c.Offer() })
	return p.buf[:]
}

func (p *holder) Data(c *CSA, b []byte) int {
	p.heard = append(p.heard, string(b))
	p.pass(c, "data", func() { c.Consumed(b, len(b)) })
	return len(b)
}

func (p *holder) Writable(c *CSA)         { p.pass(c, "writable", nil) }
func (p *holder) Closed(c *CSA, r Reason) { p.pass(c, "closed", nil) }

// Nothing is allocated for a datagram of a peer that is known.
func TestNoAllocationPerDatagram(t *testing.T) {
	b := newBench(t)
	h := &quietMirror{window: make([]byte, 4096)}
	_, addr := b.udp("udp4", ":0", &guests{handler: h})
	_, port, _ := net.SplitHostPort(addr)
	c := b.client("127.0.0.1:" + port)
	buf := make([]byte, 100)
	trip := func() {
		for range 10 {
			if _, err := c.Write(buf); err != nil {
				t.Fatal(err)
			}
		}
		for range 10 {
			if _, err := c.Read(buf); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 100 {
		trip()
	}
	if n := testing.AllocsPerRun(500, trip); n >= 1 {
		t.Errorf("%.2f allocations for ten datagrams there and back", n)
	}
}

type quietMirror struct {
	script
	window []byte
}

func (q *quietMirror) Window(*CSA) []byte        { return q.window }
func (q *quietMirror) Data(c *CSA, p []byte) int { c.Send(p); return len(p) }

func BenchmarkDatagrams(b *testing.B) {
	sel, err := selector.New(selector.Options{})
	if err != nil {
		b.Fatal(err)
	}
	bench := &bench{t: b, loop: NewLoop(sel), acct: &account{}, set: &Settings{}}
	go sel.Run()
	b.Cleanup(func() {
		sel.Stop()
		<-sel.Done()
	})
	_, addr := bench.udp("udp4", "127.0.0.1:0", &guests{handler: &quietMirror{window: make([]byte, 4096)}})
	c := bench.client(addr)
	buf := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		for range 32 {
			if _, err := c.Write(buf); err != nil {
				b.Fatal(err)
			}
		}
		for range 32 {
			if _, err := c.Read(buf); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// peerOf is what c is of a peer over UDP.
func peerOf(c *CSA) *datagramPeer { return c.transport.(*datagramPeer) }
