package csa

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"bulkhead/abi"
)

// joined are two peers whose connections are spliced.
type joined struct {
	*bench
	a, b   *script
	ca, cb *CSA
	pa, pb *net.TCPConn
}

func newJoined(t *testing.T) *joined {
	b := newBench(t)
	j := &joined{bench: b, a: &script{}, b: &script{}}
	j.ca, j.pa = b.tcp(j.a)
	j.cb, j.pb = b.tcp(j.b)
	return j
}

func (j *joined) splice() {
	j.t.Helper()
	var code abi.Code
	j.on(func() { code = Splice(j.ca, j.cb) })
	if code != abi.OK {
		j.t.Fatalf("it is refused with %v", code)
	}
}

// gone waits for the end of both, and for nothing to be left.
func (j *joined) gone() {
	j.t.Helper()
	j.until("both are gone", func() bool { return j.loop.Len() == 0 })
	j.on(func() {
		if j.loop.relays != 0 {
			j.t.Errorf("%d relays are left", j.loop.relays)
		}
	})
}

func (j *joined) wantReason(c *CSA, want Reason) {
	j.t.Helper()
	j.on(func() {
		if c.reason != want {
			j.t.Errorf("it ended with %v; want %v", c.reason, want)
		}
	})
}

func randomBytes(n int, seed uint64) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(p)
	return p
}

// Bytes go both ways, all of them and in order, few or many at a time, to a reader that
// is slow, and each direction ends by itself.
func TestSplice(t *testing.T) {
	for _, size := range []int{0, 1, 3000, 100_000, 20 << 20} {
		j := newJoined(t)
		j.splice()
		there, back := randomBytes(size, 1), randomBytes(size/2, 2)
		send := func(to *net.TCPConn, p []byte) {
			for rest := p; len(rest) > 0; {
				n := min(len(rest), 1+rand.IntN(300_000))
				if _, err := to.Write(rest[:n]); err != nil {
					t.Error(err)
					return
				}
				rest = rest[n:]
			}
			_ = to.CloseWrite()
		}
		go send(j.pa, there)
		go send(j.pb, back)
		got := make(chan []byte, 1)
		go func() {
			p, _ := io.ReadAll(j.pa)
			got <- p
		}()
		var all []byte
		p := make([]byte, 1<<20)
		for {
			n, err := j.pb.Read(p[:1+rand.IntN(len(p))])
			all = append(all, p[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(all, there) {
			t.Errorf("%d bytes went there; %d came, or others", len(there), len(all))
		}
		if came := <-got; !bytes.Equal(came, back) {
			t.Errorf("%d bytes went back; %d came, or others", len(back), len(came))
		}
		j.gone()
		j.wantReason(j.ca, Orderly)
		j.wantReason(j.cb, Orderly)
		j.on(func() {
			if slices.Contains(j.a.log, "closed") || slices.Contains(j.b.log, "closed") {
				t.Error("a handler heard of the end")
			}
			if j.a.ends[1] != 1 || j.b.ends[1] != 1 {
				t.Error("the creator was not told once")
			}
			if r, s := j.ca.Traffic(); r != int64(len(there)) || s != int64(len(back)) {
				t.Errorf("%d bytes in and %d out are booked", r, s)
			}
		})
	}
}

// What was sent and what was left unconsumed goes first, in order.
func TestSpliceLeftovers(t *testing.T) {
	j := newJoined(t)
	data := func(c *CSA, p []byte) int {
		if i := bytes.IndexByte(p, '|'); i >= 0 {
			j.cb.Send([]byte("sent;"))
			if code := Splice(c, j.cb); code != abi.OK {
				t.Errorf("it is refused with %v", code)
			}
			if code := Splice(c, j.cb); code != abi.Invalid {
				t.Errorf("again, it answers %v", code)
			}
			return i + 1
		}
		return 0
	}
	j.on(func() { j.a.data = data })
	write := func(text string) {
		if _, err := j.pa.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	write("head|rest;")
	write("more;")
	_ = j.pa.CloseWrite()
	if p, _ := io.ReadAll(j.pb); string(p) != "sent;rest;more;" {
		t.Errorf("it receives %q", p)
	}
	_ = j.pb.Close()
	j.gone()
}

// A handler that has passed the loop on in Data may splice; it begins when that is over.
func TestSpliceWhileHeld(t *testing.T) {
	j := newJoined(t)
	release := make(chan struct{})
	data := func(c *CSA, p []byte) int {
		held := bytes.Clone(p)
		c.Loop().Pass()
		c.Loop().Post(func() { Splice(c, j.cb) })
		<-release
		c.Loop().Post(func() { c.Consumed(held, 2) })
		runtime.Goexit()
		return 0
	}
	j.on(func() { j.a.data = data })
	if _, err := j.pa.Write([]byte("abcdef")); err != nil {
		t.Fatal(err)
	}
	j.until("it is spliced", func() bool { return j.ca.Spliced() })
	if _, err := j.pb.Write([]byte("early")); err != nil {
		t.Fatal(err)
	}
	j.turns()
	j.on(func() {
		if j.ca.transport.(*relayEnd).relay.on {
			t.Error("it relays before the event is over")
		}
	})
	close(release)
	p := make([]byte, 4)
	if _, err := io.ReadFull(j.pb, p); string(p) != "cdef" {
		t.Errorf("it receives %q, %v", p, err)
	}
	if _, err := io.ReadFull(j.pa, p); string(p) != "earl" {
		t.Errorf("it receives %q, %v", p, err)
	}
	_, _ = j.pa.Close(), j.pb.Close()
	j.gone()
}

// One that is reset resets the other.
func TestSpliceReset(t *testing.T) {
	j := newJoined(t)
	j.splice()
	_ = j.pa.SetLinger(0)
	_ = j.pa.Close()
	if _, err := io.ReadAll(j.pb); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the other reads %v", err)
	}
	j.gone()
	j.on(func() {
		if j.ca.reason.Code != abi.Reset || j.cb.reason.Code != abi.Reset {
			t.Errorf("they ended with %v and %v", j.ca.reason, j.cb.reason)
		}
	})
}

// The idle timeout is that of both together.
func TestSpliceIdle(t *testing.T) {
	b := newBench(t)
	b.set.IdleTimeout = time.Minute
	j := &joined{bench: b, a: &script{}, b: &script{}}
	j.ca, j.pa = b.tcp(j.a)
	j.cb, j.pb = b.tcp(j.b)
	j.splice()
	for range 4 {
		b.clock.Advance(50 * time.Second)
		b.turns()
		if _, err := j.pa.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(j.pb, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	b.on(func() {
		if b.loop.Len() != 2 {
			t.Error("one is closed though bytes move")
		}
	})
	b.clock.Advance(time.Minute)
	j.gone()
	j.on(func() {
		if j.ca.reason.Code != abi.Timeout || j.cb.reason.Code != abi.Timeout {
			t.Errorf("they ended with %v and %v", j.ca.reason, j.cb.reason)
		}
	})
}

// The bandwidth holds, in both directions, and going on afterwards loses nothing.
func TestSpliceBandwidth(t *testing.T) {
	j := newJoined(t)
	j.splice()
	for _, wait := range []func(int64){func(n int64) { j.acct.waitIn.Store(n) }, func(n int64) { j.acct.waitOut.Store(n) }} {
		text := randomBytes(3<<20, 3)
		wait(int64(time.Second))
		go func() { _, _ = j.pa.Write(text) }()
		j.turns()
		j.until("it is slowed down", func() bool { return j.ca.is(slowIn) || j.cb.is(slowOut) })
		wait(0)
		j.clock.Advance(time.Second)
		got := make([]byte, len(text))
		if _, err := io.ReadFull(j.pb, got); err != nil || !bytes.Equal(got, text) {
			t.Errorf("other bytes came, or %v", err)
		}
	}
	_, _ = j.pa.Close(), j.pb.Close()
	j.gone()
}

func TestSpliceRefused(t *testing.T) {
	j := newJoined(t)
	j.on(func() {
		if code := Splice(j.ca, j.ca); code != abi.Invalid {
			t.Errorf("with itself it answers %v", code)
		}
		j.ca.FinishSending()
		if code := Splice(j.ca, j.cb); code != abi.Closed {
			t.Errorf("with one that has finished it answers %v", code)
		}
	})
	_, _ = j.pa.Close(), j.pb.Close()
	j.gone()
}

// A pipe that is full of bytes for a peer that has gone leaves nothing behind.
func TestSpliceToNobody(t *testing.T) {
	before := openFiles(t)
	j := newJoined(t)
	j.splice()
	go func() { _, _ = j.pa.Write(make([]byte, 20<<20)) }()
	j.until("the way is full", func() bool { return j.cb.sent > 1<<20 && !j.cb.d.WriteReady() })
	_ = j.pb.Close()
	j.gone()
	_ = j.pa.Close()
	if n := openFiles(t); n > before+8 {
		t.Errorf("%d descriptors are open, %d before", n, before)
	}
}

// pipeShare is a PipeShare of most.
type pipeShare struct{ most, held, took, refused int }

func (s *pipeShare) TakePipe() bool {
	if s.held >= s.most {
		s.refused++
		return false
	}
	s.took++
	s.held++
	return true
}

func (s *pipeShare) ReturnPipe() { s.held-- }

// Relays that are refused a pipe copy, to the byte, and each pipe is given back, also by relays
// that are cut off with a full one.
func TestSplicePipesAreShared(t *testing.T) {
	if PipeDescriptors == 0 {
		t.Skip("there are no pipes here")
	}
	b := newBench(t)
	share := &pipeShare{most: 1}
	b.set.Pipes = share
	var all []*joined
	for range 3 {
		j := &joined{bench: b, a: &script{}, b: &script{}}
		j.ca, j.pa = b.tcp(j.a)
		j.cb, j.pb = b.tcp(j.b)
		j.splice()
		all = append(all, j)
	}
	bulk := randomBytes(20<<20, 5)
	for _, j := range all {
		go func() {
			_, _ = j.pa.Write(bulk)
			_ = j.pa.CloseWrite()
		}()
		j.until("the way is full", func() bool { return j.cb.sent > 0 && !j.cb.d.WriteReady() && j.cb.unsent() })
	}
	b.on(func() {
		if share.held != 1 || share.refused == 0 {
			t.Errorf("%d pipes are held, and %d were refused", share.held, share.refused)
		}
	})
	_ = all[2].pb.SetLinger(0)
	_ = all[2].pb.Close()
	for _, j := range all[:2] {
		if got, err := io.ReadAll(j.pb); err != nil || !bytes.Equal(got, bulk) {
			t.Errorf("%d bytes came of %d, or others, or %v", len(got), len(bulk), err)
		}
		_ = j.pb.Close()
	}
	all[0].gone()
	b.on(func() {
		if share.held != 0 || share.took == 0 {
			t.Errorf("%d pipes are held at the end, of %d", share.held, share.took)
		}
	})
	for _, j := range all {
		_ = j.pa.Close()
	}

	// A full pipe that is cut off is given back too.
	j := &joined{bench: b, a: &script{}, b: &script{}}
	j.ca, j.pa = b.tcp(j.a)
	j.cb, j.pb = b.tcp(j.b)
	j.splice()
	go func() { _, _ = j.pa.Write(bulk) }()
	j.until("a pipe is full", func() bool { return share.held == 1 && !j.cb.d.WriteReady() })
	_ = j.pb.SetLinger(0)
	_ = j.pb.Close()
	j.gone()
	_ = j.pa.Close()
	b.on(func() {
		if share.held != 0 {
			t.Error("the pipe of one that was cut off is not given back")
		}
	})
}
