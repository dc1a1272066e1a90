//go:build !wasip1

package guest

import (
	"strings"
	"testing"

	"bulkhead/sdk/go/internal/seam"
)

// stub is a host that does what a test says and allocates nothing. What it has no method for
// is not called.
type stub struct {
	seam.Functions
	send     func(p []byte) int32
	controls []int32
	logged   []string
	connects int32 // what Connect answers
}

func (s *stub) Send(_ int32, p []byte) int32    { return s.send(p) }
func (s *stub) Control(_, what int32) int32     { s.controls = append(s.controls, what); return 0 }
func (s *stub) Receive(_, _ int32) int32        { return 0 }
func (s *stub) Want(_, _ int32) int32           { return 0 }
func (s *stub) Info(_, _ int32, _ []byte) int32 { return int32(Invalid) }
func (s *stub) Config([]byte) int32             { return 0 }
func (s *stub) Timer(_, _, _ int32) int32       { return 0 }
func (s *stub) Clock(int32) int64               { return 0 }
func (s *stub) Random([]byte) int32             { return 0 }
func (s *stub) Log(_ int32, p []byte) int32     { s.logged = append(s.logged, string(p)); return 0 }
func (s *stub) Count(_ []byte, _ int64) int32   { return 0 }
func (s *stub) Connect([]byte) int32            { return s.connects }
func (s *stub) Splice(_, _ int32) int32         { return 0 }

type echo struct{ Base }

func (echo) Data(c *Conn, p []byte) (int, error) { return c.Send(p) }

type writer struct{ Base }

func (writer) Data(c *Conn, p []byte) (int, error) { return c.Write(p) }

func startWith(t *testing.T, h Handler, s *stub) {
	t.Helper()
	restore := seam.Swap(h)
	seam.Host = s
	t.Cleanup(func() {
		seam.Host = nil
		restore()
	})
	if code := g.start(); code != 0 {
		t.Fatal(code)
	}
}

// A guest's collector is the host's time: events must leave it nothing to do.
func TestEventsAllocateNothing(t *testing.T) {
	for name, test := range map[string]struct {
		handler Handler
		send    func(p []byte) int32
	}{
		"echo":            {echo{}, func(p []byte) int32 { return int32(len(p)) }},
		"echo, full":      {echo{}, func([]byte) int32 { return int32(Again) }},
		"write":           {writer{}, func(p []byte) int32 { return int32(len(p)) }},
		"write, in parts": {writer{}, func(p []byte) int32 { return int32((len(p) + 1) / 2) }},
	} {
		t.Run(name, func(t *testing.T) {
			startWith(t, test.handler, &stub{send: test.send})
			for h := range int32(10) {
				g.open(h + 1)
			}
			if n := testing.AllocsPerRun(1000, func() {
				for h := range int32(10) {
					g.data(h+1, 100)
					g.writable(h + 1)
					g.timer(h+1, 1)
				}
			}); n != 0 {
				t.Errorf("%v allocations in ten events", n)
			}
		})
	}
}

// A queue that goes full and empty over and over settles on its memory.
func TestQueueAllocatesLittle(t *testing.T) {
	full := true
	s := &stub{send: func(p []byte) int32 {
		if full {
			return int32(Again)
		}
		return int32(min(len(p), 7))
	}}
	startWith(t, writer{}, s)
	g.open(1)
	if n := testing.AllocsPerRun(1000, func() {
		full = true
		g.data(1, 100)
		full = false
		g.writable(1)
	}); n != 0 {
		t.Errorf("%v allocations to queue 100 bytes", n)
	}
	if c := g.conns[1]; c.Queued() != 0 || cap(c.queue.buf) > keep {
		t.Errorf("%d bytes queued, %d kept", c.Queued(), cap(c.queue.buf))
	}
	full = true
	g.data(1, 60_000)
	full = false
	g.writable(1)
	if c := g.conns[1]; cap(c.queue.buf) != 0 {
		t.Errorf("an empty queue keeps %d bytes", cap(c.queue.buf))
	}
}

// over is a stub whose connections are over another transport.
type over struct {
	stub
	transport string
}

func (o *over) Info(_, key int32, p []byte) int32 {
	if key != infoTransport {
		return int32(Invalid)
	}
	copy(p, o.transport)
	return int32(len(o.transport))
}

// What is queued stays the messages that were written, where the transport has messages: each is a
// send, also an empty one, and what a send leaves of one is another. Elsewhere it is a stream.
func TestQueueKeepsMessages(t *testing.T) {
	const asStream, asMessages = "one t|wothr|eethr|ee", "one| two|||three|three"
	for transport, want := range map[string]string{"ws": asMessages, "udp": asMessages, "tcp": asStream, "unix": asStream} {
		full := true
		var sent []string
		o := &over{transport: transport, stub: stub{send: func(p []byte) int32 {
			if full {
				return int32(Again)
			}
			n := min(len(p), 5)
			sent = append(sent, string(p[:n]))
			return int32(n)
		}}}
		startWith(t, writer{}, &o.stub)
		seam.Host = o
		g.open(1)
		c := g.conns[1]
		for _, text := range []string{"one", " two", "", "", "threethree"} {
			if n, err := c.WriteString(text); n != len(text) || err != nil {
				t.Errorf("%s: of %q %d bytes were taken, %v", transport, text, n, err)
			}
		}
		full = false
		g.writable(1)
		if got := strings.Join(sent, "|"); got != want || c.Queued() != 0 {
			t.Errorf("over %s %q was sent, and %d bytes wait; want %q", transport, got, c.Queued(), want)
		}
	}
}

// When the host does not take what is queued there is nobody to wait for.
func TestQueueThatCannotBeSent(t *testing.T) {
	for code, logs := range map[Code]int{Quota: 1, Closed: 0} {
		answer := Again
		s := &stub{send: func([]byte) int32 { return int32(answer) }}
		startWith(t, writer{}, s)
		g.open(1)
		if n := g.data(1, 10); n != 10 {
			t.Fatalf("%v: consumed %d", code, n)
		}
		answer = code
		g.writable(1)
		if len(s.controls) != 1 || s.controls[0] != shutdownMicroprocess || len(s.logged) != logs {
			t.Errorf("%v: controls %v, logged %q", code, s.controls, s.logged)
		}
		if g.data(1, 10) != 10 || len(s.controls) != 1 {
			t.Errorf("%v: the handler is still served", code)
		}
	}
}

// talker writes more than may be queued.
type talker struct{ Base }

func (talker) Data(c *Conn, p []byte) (int, error) {
	n, err := c.Write(make([]byte, DefaultWriteLimit+1))
	return min(n, len(p)), err
}

// Who gives Write's error back is told in the log what to do about it.
func TestWriteLimitIsExplained(t *testing.T) {
	s := &stub{send: func([]byte) int32 { return int32(Again) }}
	startWith(t, talker{}, s)
	g.open(1)
	if got := g.data(1, 10); got != int32(Quota) {
		t.Errorf("Data is answered with %d", got)
	}
	if len(s.logged) != 1 || !strings.Contains(s.logged[0], "Data: csa: QUOTA: Write would queue more than SetWriteLimit allows") {
		t.Errorf("the log has %q", s.logged)
	}
}

func TestWriteErrors(t *testing.T) {
	answers := []int32{3, int32(Quota), 0}
	s := &stub{send: func([]byte) int32 {
		a := answers[0]
		answers = answers[1:]
		return a
	}}
	startWith(t, echo{}, s)
	g.open(1)
	if n, err := g.conns[1].WriteString("hello"); n != 3 || err != Quota {
		t.Errorf("wrote %d, %v", n, err)
	}
	if n, err := g.conns[1].Write(nil); n != 0 || err != nil {
		t.Errorf("wrote nothing: %d, %v", n, err)
	}
	if got := g.conns[1].Peer(); got != "" {
		t.Errorf("a peer that the host does not know is %q", got)
	}
}

// What a host should never do does no harm.
func TestEventsOutOfOrder(t *testing.T) {
	startWith(t, echo{}, &stub{send: func(p []byte) int32 { return int32(len(p)) }})
	g.writable(9)
	g.eof(9)
	g.closed(9, 0)
	g.timer(9, 0)
	if g.data(9, 1) != int32(Invalid) {
		t.Error("data for nobody was taken")
	}
	g.open(1)
	if g.data(1, -1) != int32(Invalid) || g.data(1, DefaultWindow+1) != int32(Invalid) {
		t.Error("more data than the window holds was taken")
	}
	c := g.conns[1]
	g.closed(1, -99)
	g.closed(1, 0)
	if c.Close() != BadHandle || len(g.conns) != 0 {
		t.Error("a closed connection is still there")
	}
}

// A handle that the host should not give does no harm either, and what belongs
// to a connection is gone with it.
func TestDialledHandles(t *testing.T) {
	s := &stub{send: func(p []byte) int32 { return int32(Again) }}
	startWith(t, writer{}, s)
	for handle, want := range map[int32]error{0: Invalid, int32(Denied): Denied, int32(Quota): Quota, -99: Code(-99)} {
		s.connects = handle
		if c, err := Connect("tcp://a:1"); c != nil || err != want {
			t.Errorf("a handle of %d is %v, %v", handle, c, err)
		}
	}
	s.connects = 7
	c, err := Connect("tcp://a:1")
	if err != nil || !c.Dialled() {
		t.Fatal(c, err)
	}
	for range 2 { // once is enough
		if code := g.open(7); code != 0 {
			t.Errorf("opening it answers %d", code)
		}
	}
	if g.conns[7] != c {
		t.Error("the connection that is up is not the one that was dialled")
	}
	g.secured(9, 0)
	g.secured(9, int32(TLS))
	g.secured(7, int32(TLS))
	g.secured(7, int32(TLS))
	if _, err := c.WriteString("x"); err != Closed {
		t.Errorf("writing after a handshake that failed: %v", err)
	}
	g.closed(7, int32(TLS))
	if len(g.conns) != 0 || !c.Dialled() {
		t.Errorf("%d connections are kept", len(g.conns))
	}
}

// What Data leaves when it splices is the host's to relay, and not thrown away as
// that of a connection that was closed.
func TestSplicedDataIsNotConsumed(t *testing.T) {
	var other *Conn
	startWith(t, &splicer{func(c *Conn) error { return Splice(c, other) }}, &stub{send: func(p []byte) int32 { return int32(len(p)) }})
	g.open(1)
	g.open(2)
	other = g.conns[2]
	if n := g.data(1, 10); n != 3 {
		t.Errorf("%d of 10 bytes are consumed, want 3", n)
	}
	if len(g.conns) != 0 || other.Abort() != BadHandle {
		t.Error("a spliced connection is still there")
	}
	g.closed(1, 0)
	g.writable(2)
	if g.data(2, 1) != int32(Invalid) {
		t.Error("data for a spliced connection was taken")
	}
}

type splicer struct{ splice func(c *Conn) error }

func (s *splicer) Open(*Conn) error                    { return nil }
func (s *splicer) Data(c *Conn, p []byte) (int, error) { return 3, s.splice(c) }
func (s *splicer) EOF(*Conn)                           { panic("a spliced connection ends") }
func (s *splicer) Closed(*Conn, error)                 { panic("a spliced connection is closed") }
func (s *splicer) Timer(*Conn, int32)                  {}
