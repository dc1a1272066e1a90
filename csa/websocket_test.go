package csa

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/internal/websocket"

	"github.com/gobwas/ws"
)

// speaks is a handler whose connection speaks WebSocket at once, or over TLS.
type speaks struct {
	*script
	c       *CSA
	over    *Handshake // nil: without TLS
	request websocket.Request
}

func (s *speaks) Open(c *CSA) {
	s.c = c
	if s.over != nil {
		c.MakeSSL(*s.over)
		return
	}
	s.start(c)
}

func (s *speaks) Secured(c *CSA, code abi.Code) {
	if code == abi.OK {
		s.start(c)
	}
}

func (s *speaks) start(c *CSA) {
	c.StartWebSocket(&s.request)
	s.script.Open(c)
}

// Data tells empty messages from others in the log.
func (s *speaks) Data(c *CSA, p []byte) int {
	s.log = append(s.log, c.WebSocketInfo(abi.InfoMessage))
	return s.script.Data(c, p)
}

func newSpeaks() *speaks { return &speaks{script: &script{window: make([]byte, 64<<10)}} }

func (b *bench) webSocket(s *speaks) net.Conn {
	_, peer := b.tcp(s)
	return peer
}

// frame is a client's. Bits 0x80 of first is the last of its message; the rest is the opcode.
func frame(first byte, payload string) string {
	mask := [4]byte{1, 2, 3, byte(len(payload))}
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	p := []byte(payload)
	ws.Cipher(p, mask, 0)
	return string(append(append(b, mask[:]...), p...))
}

const (
	fin  = 0x80
	cont = 0x0
	text = 0x1
	bin  = 0x2
	shut = 0x8
	ping = 0x9
	pong = 0xa
)

func closing(code uint16, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, code)) + reason
}

// readFrame reads one frame of a server's.
func readFrame(r io.Reader) (f ws.Frame, err error) {
	if f.Header, err = ws.ReadHeader(r); err == nil {
		f.Payload = make([]byte, f.Header.Length)
		_, err = io.ReadFull(r, f.Payload)
	}
	return f, err
}

// heard reads a server's frames to the end of the stream: each as its opcode and its payload, a
// close frame as its code.
func heard(t testing.TB, r io.Reader) (all []string) {
	t.Helper()
	for {
		f, err := readFrame(r)
		if err != nil {
			if err != io.EOF {
				all = append(all, err.Error())
			}
			return all
		}
		if f.Header.Masked || !f.Header.Fin || f.Header.Rsv != 0 {
			t.Errorf("the server has sent a frame with %+v", f.Header)
		}
		switch {
		case f.Header.OpCode == ws.OpClose && len(f.Payload) == 0:
			all = append(all, "close")
		case f.Header.OpCode == ws.OpClose:
			all = append(all, fmt.Sprint("close ", binary.BigEndian.Uint16(f.Payload)))
		default:
			all = append(all, fmt.Sprintf("%x %s", f.Header.OpCode, f.Payload))
		}
	}
}

// What a server has to do with what clients may send, as Autobahn's cases ask for it: each whole,
// and byte by byte, to an echo.
func TestWebSocketProtocol(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 126)
	longer := strings.Repeat("y", 65536)
	for _, x := range []struct {
		name, send, want string
		end              Cause
	}{
		{"a text", frame(fin|text, "hello"), "1 hello|close", Finished},
		{"bytes", frame(fin|bin, "\xff\xfe"), "2 \xff\xfe|close", Finished},
		{"an empty text", frame(fin|text, ""), "1 |close", Finished},
		{"an empty message of bytes", frame(fin|bin, ""), "2 |close", Finished},
		{"a length of two bytes", frame(fin|text, long), "1 " + long + "|close", Finished},
		{"a length of eight bytes", frame(fin|bin, longer), "2 " + longer + "|close", Finished},
		{"two in one piece", frame(fin|text, "a") + frame(fin|text, "b"), "1 a|1 b|close", Finished},
		{"fragments", frame(text, "a") + frame(cont, "b") + frame(fin|cont, "c"), "1 abc|close", Finished},
		{"empty fragments", frame(text, "") + frame(cont, "") + frame(fin|cont, ""), "1 |close", Finished},
		{"an empty last fragment", frame(bin, "ab") + frame(fin|cont, ""), "2 ab|close", Finished},
		{"a ping", frame(fin|ping, "p"), "a p|close", Finished},
		{"an empty ping", frame(fin|ping, ""), "a |close", Finished},
		{"the longest ping", frame(fin|ping, long[:125]), "a " + long[:125] + "|close", Finished},
		{"a pong nobody asked for", frame(fin|pong, "p"), "close", Finished},
		{"a ping between fragments", frame(text, "a") + frame(fin|ping, "p") + frame(fin|cont, "b"), "a p|1 ab|close", Finished},
		{"a close between fragments", frame(text, "a") + frame(fin|shut, closing(1000, "")), "close 1000", Finished},
		{"a character across fragments", frame(text, "\xc3") + frame(fin|cont, "\xa9"), "1 é|close", Finished},

		{"a ping that is too long", frame(fin|ping, long), "close 1002", WebSocketBroken},
		{"a fragmented ping", frame(ping, "p"), "close 1002", WebSocketBroken},
		{"the first reserved bit", frame(fin|0x40|text, "a"), "close 1002", WebSocketBroken},
		{"the second reserved bit", frame(fin|0x20|text, "a"), "close 1002", WebSocketBroken},
		{"the third reserved bit of a ping", frame(fin|0x10|ping, ""), "close 1002", WebSocketBroken},
		{"opcode 3", frame(fin|3, ""), "close 1002", WebSocketBroken},
		{"opcode 7 behind a text", frame(fin|text, "a") + frame(fin|7, "b"), "1 a|close 1002", WebSocketBroken},
		{"opcode 11", frame(fin|11, ""), "close 1002", WebSocketBroken},
		{"opcode 15", frame(fin|15, "x"), "close 1002", WebSocketBroken},
		{"no mask", "\x81\x01a", "close 1002", WebSocketBroken},
		{"a continuation of nothing", frame(fin|cont, "a"), "close 1002", WebSocketBroken},
		{"a text in a text", frame(text, "a") + frame(fin|text, "b"), "close 1002", WebSocketBroken},
		{"a length with its highest bit", "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04", "close 1002", WebSocketBroken},

		{"text that is no UTF-8", frame(fin|text, "a\xff"), "close 1007", WebSocketBroken},
		{"text that ends in a character", frame(fin|text, "\xc3"), "close 1007", WebSocketBroken},
		{"fragments that are no UTF-8", frame(text, "a\xed") + frame(fin|cont, "\xa0\x80"), "close 1007", WebSocketBroken},
		{"a surrogate", frame(fin|text, "\xed\xa0\x80"), "close 1007", WebSocketBroken},

		{"close", frame(fin|shut, ""), "close", Finished},
		{"close 1000", frame(fin|shut, closing(1000, "")), "close 1000", Finished},
		{"close 1001 with a reason", frame(fin|shut, closing(1001, "é")), "close 1001", Finished},
		{"close 3000", frame(fin|shut, closing(3000, "")), "close 3000", Finished},
		{"close 4999", frame(fin|shut, closing(4999, "")), "close 4999", Finished},
		{"nothing counts behind a close", frame(fin|shut, "") + frame(fin|text, "a") + "rubbish", "close", Finished},
		{"close of one byte", frame(fin|shut, "x"), "close 1002", WebSocketBroken},
		{"close 999", frame(fin|shut, closing(999, "")), "close 1002", WebSocketBroken},
		{"close 1005", frame(fin|shut, closing(1005, "")), "close 1002", WebSocketBroken},
		{"close 1006", frame(fin|shut, closing(1006, "")), "close 1002", WebSocketBroken},
		{"close 1100", frame(fin|shut, closing(1100, "")), "close 1002", WebSocketBroken},
		{"close 5000", frame(fin|shut, closing(5000, "")), "close 1002", WebSocketBroken},
		{"a reason that is no UTF-8", frame(fin|shut, closing(1000, "\xff")), "close 1007", WebSocketBroken},
		{"the peer found us wrong", frame(fin|shut, closing(1002, "you")), "close 1002", WebSocketBroken},
		{"the peer's server part failed", frame(fin|shut, closing(1011, "")), "close 1011", WebSocketBroken},

		{"one byte too many", frame(fin|bin, longer+"y"), "close 1009", MessageTooLong},
		{"one byte too many, in fragments", frame(bin, longer) + frame(fin|cont, "y"), "close 1009", MessageTooLong},
		{"as many frames as may be", frame(bin, "") + strings.Repeat(frame(cont, ""), 254) + frame(fin|cont, "z"), "2 z|close", Finished},
		{"one frame too many", frame(bin, "") + strings.Repeat(frame(cont, ""), 256), "close 1008", MessageFrames},
		{"too many pongs", strings.Repeat(frame(fin|pong, ""), 101), "close 1008", WebSocketFlood},
	} {
		for name, cut := range map[string]int{"whole": 1 << 30, "in pieces": 1, "in threes": 3} {
			if cut < len(x.send) && strings.HasSuffix(x.send, "rubbish") {
				continue // what comes when all is over resets the connection
			}
			if cut == 1 && len(x.send) > 10_000 {
				cut = 1 + rand.IntN(9000)
			}
			b := newBench(t)
			b.set.Inbox = 128 << 10
			s := newSpeaks()
			s.data = echo
			peer := b.webSocket(s)
			sent := x.send
			if x.end == Finished && !strings.Contains(x.name, "close") {
				sent += frame(fin|shut, "")
			}
			go func() {
				for rest := sent; rest != ""; {
					n := min(cut, len(rest))
					if _, err := io.WriteString(peer, rest[:n]); err != nil {
						return // it was told to go
					}
					rest = rest[n:]
				}
			}()
			if got := strings.Join(heard(t, peer), "|"); got != x.want {
				t.Errorf("%s, %s: the client heard %.200q, want %.200q", x.name, name, got, x.want)
			}
			_ = peer.Close()
			b.until("it ends", func() bool { return s.ends[2] > 0 })
			b.on(func() {
				if s.reason.Cause != x.end {
					t.Errorf("%s, %s: it ended by %s (%s), want %s", x.name, name, s.reason.Cause.Info().Name, s.reason.Why, x.end.Info().Name)
				}
			})
		}
	}
}

// Wherever what a client sends is cut in two, and the second part comes when the first was read, it
// is the same.
func TestWebSocketCutAnywhere(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("b", 126)
	all := frame(text, "h\xc3") + frame(fin|ping, "p") + frame(fin|cont, "\xa9") + frame(fin|bin, long) +
		frame(fin|text, "") + frame(fin|shut, closing(1000, "bye"))
	want := "a p|1 hé|2 " + long + "|1 |close 1000"
	b := newBench(t)
	for cut := 1; cut < len(all); cut++ {
		if cut > 40 && cut < len(all)-30 {
			continue // in the midst of the long one
		}
		s := newSpeaks()
		s.data = echo
		peer := b.webSocket(s)
		send(t, peer, all[:cut])
		b.until("the first part was read", func() bool { return s.c != nil && s.c.received == int64(cut) })
		send(t, peer, all[cut:])
		if got := strings.Join(heard(t, peer), "|"); got != want {
			t.Errorf("cut at byte %d: the client heard %q, want %q", cut, got, want)
		}
		_ = peer.Close()
		b.ended(s.script, Orderly)
	}
}

// Messages that came together are answered by one write: their answers are there when the first of
// them is.
func TestWebSocketAnswersTogether(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := newSpeaks()
	const messages = 10
	var unsent []int
	s.data = func(c *CSA, p []byte) int {
		unsent = append(unsent, c.inbox.len())
		return echo(c, p)
	}
	s.open = func(c *CSA) { c.Receive(false) }
	peer := b.webSocket(s)
	send(t, peer, strings.Repeat(frame(fin|bin, "x"), messages)+frame(fin|shut, ""))
	b.until("it is open", func() bool { return s.c != nil })
	b.turns()
	b.on(func() { s.c.Receive(true) })
	if got := heard(t, peer); len(got) != messages+1 {
		t.Errorf("the client heard %q", got)
	}
	_ = peer.Close()
	b.ended(s.script, Orderly)
	b.on(func() {
		for i, n := range unsent {
			if n != 3*i {
				t.Errorf("before message %d %d bytes of answers waited; want %d", i, n, 3*i)
			}
		}
		if len(unsent) != messages {
			t.Errorf("there were %d messages", len(unsent))
		}
	})
}

// Each message is one Data, however the segments are cut, and is told to be text or bytes.
func TestWebSocketMessagesAreOneDataEach(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := newSpeaks()
	peer := b.webSocket(s)
	send(t, peer, frame(fin|text, "one")+frame(bin, "t")+frame(fin|cont, "wo")+frame(fin|ping, "")+frame(fin|text, ""))
	send(t, peer, frame(fin|shut, ""))
	_ = heard(t, peer)
	_ = peer.Close()
	b.ended(s.script, Orderly)
	b.wantLog(s.script, "open", "text", "data one", "binary", "data two", "text", "data ", "eof", "closed")
}

// A handler that left bytes and waits for more has them joined with the next message; one that
// could not send, or had paused, is given each message by itself.
func TestWebSocketWhatIsLeft(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := newSpeaks()
	s.data = func(c *CSA, p []byte) int { return bytes.LastIndexByte(p, '\n') + 1 }
	peer := b.webSocket(s)
	send(t, peer, frame(fin|text, "a")+frame(fin|text, "b\nc"))
	b.until("it has both", func() bool { return len(s.log) == 5 })
	b.wantLog(s.script, "open", "text", "data a", "text", "data ab\nc")

	b.on(func() {
		s.log = nil
		s.data = func(c *CSA, p []byte) int {
			if len(s.log) == 2 {
				c.Receive(false)
				return 0
			}
			return len(p)
		}
	})
	send(t, peer, frame(fin|bin, "d")+frame(fin|bin, "e"))
	b.until("it has paused", func() bool { return len(s.log) == 2 })
	b.on(func() { s.c.Receive(true) })
	b.until("it has all", func() bool { return len(s.log) == 6 })
	b.wantLog(s.script, "binary", "data cd", "binary", "data cd", "binary", "data e")
	_ = peer.Close()
	b.ended(s.script, WebSocketCut.Reason())
}

// A handler that wants more than one message has is given a stream.
func TestWebSocketWant(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := newSpeaks()
	s.window = make([]byte, 4096)
	s.open = func(c *CSA) { c.Want(3000) }
	peer := b.webSocket(s)
	sent := strings.Repeat("0123456789", 900)
	for p := []byte(sent); len(p) > 0; p = p[900:] {
		send(t, peer, frame(fin|bin, string(p[:900])))
	}
	send(t, peer, frame(fin|shut, ""))
	_ = heard(t, peer)
	_ = peer.Close()
	b.ended(s.script, Orderly)
	b.on(func() {
		var got strings.Builder
		for _, line := range s.log {
			if p, is := strings.CutPrefix(line, "data "); is {
				got.WriteString(p)
			}
		}
		if got.String() != sent {
			t.Errorf("it was given %d bytes, or others, of %d", got.Len(), len(sent))
		}
	})
}

// A message that fits message_size and not the handler's window ends the connection by that.
func TestWebSocketMessageLongerThanTheWindow(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := newSpeaks()
	s.window = make([]byte, 4096)
	peer := b.webSocket(s)
	send(t, peer, frame(fin|bin, strings.Repeat("x", 4097)))
	if got := heard(t, peer); !slices.Equal(got, []string{"close 1009"}) {
		t.Errorf("the client heard %q", got)
	}
	_ = peer.Close()
	b.ended(s.script, Reason{abi.Reset, MessageTooLong, "the peer's message is longer than its handler's window"})
}

// A control frame, and a part of a message, do not ask the handler for its window, which would wake
// it.
func TestWebSocketAsksForNoWindowInVain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := &countsWindows{speaks: newSpeaks()}
	_, peer := b.tcp(s)
	send(t, peer, frame(fin|ping, "x")+frame(text, "half"))
	if f, err := readFrame(peer); err != nil || f.Header.OpCode != ws.OpPong {
		t.Fatal(f, err)
	}
	b.on(func() {
		if s.asked != 0 {
			t.Errorf("the handler was asked for its window %d times", s.asked)
		}
	})
	send(t, peer, frame(fin|cont, "!"))
	b.until("it has it", func() bool { return slices.Contains(s.log, "data half!") })
	_ = peer.Close()
	b.ended(s.script, WebSocketCut.Reason())
}

type countsWindows struct {
	*speaks
	asked int
}

func (s *countsWindows) Window(c *CSA) []byte {
	s.asked++
	return s.speaks.Window(c)
}

// What is sent is text where the last message was, and bytes where it is no UTF-8, or where that is
// said.
func TestWebSocketSendsTheKindThatCame(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		as       MessageKind
		messages string
		want     string
	}{
		{AsReceived, frame(fin|text, "a") + frame(fin|bin, "b"), "1 open|1 a|2 b|close"},
		{TextMessage, frame(fin|bin, "b") + frame(fin|bin, "\xff"), "1 open|1 b|2 \xff|close"},
		{BinaryMessage, frame(fin|text, "a"), "2 open|2 a|close"},
	} {
		b := newBench(t)
		b.set.Messages.SendAs = x.as
		s := newSpeaks()
		s.open = func(c *CSA) { c.Send([]byte("open")) }
		s.data = echo
		peer := b.webSocket(s)
		send(t, peer, x.messages+frame(fin|shut, ""))
		if got := strings.Join(heard(t, peer), "|"); got != x.want {
			t.Errorf("as %d: the client heard %q, want %q", x.as, got, x.want)
		}
		_ = peer.Close()
		b.ended(s.script, Orderly)
	}
}

// A send is a whole message or none, whatever waits; what is longer than the inbox is several,
// which no character is cut in two by.
func TestWebSocketSendsAreWhole(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.set.Inbox, b.set.InboxOnly = 4096, true
	s := newSpeaks()
	long := strings.Repeat("é", 2500) // the inbox ends in the middle of one
	var sent []int
	s.open = func(c *CSA) {
		for _, p := range []string{strings.Repeat("a", 3000), strings.Repeat("b", 3000)} {
			n, code := c.Send([]byte(p))
			s.log = append(s.log, fmt.Sprint(n, " ", code))
		}
	}
	rest := "x" + long
	s.writabl = func(c *CSA) {
		for rest != "" {
			n, _ := c.Send([]byte(rest))
			if n == 0 {
				return
			}
			sent = append(sent, n)
			rest = rest[n:]
		}
		c.ProducerFinished()
	}
	peer := b.webSocket(s)
	all := heard(t, peer)
	_ = peer.Close()
	b.ended(s.script, Orderly)
	b.on(func() {
		if want := []string{"open", "3000 ok", "0 AGAIN"}; !slices.Equal(lower(s.log[:3]), lower(want)) {
			t.Errorf("it was told %q", s.log)
		}
		if want := []int{4095, 906}; !slices.Equal(sent, want) {
			t.Errorf("of the long message %v bytes were taken at a time, want %v", sent, want)
		}
	})
	if len(all) != 4 || all[0] != "1 "+strings.Repeat("a", 3000) || all[1][2:]+all[2][2:] != "x"+long || all[1][0] != '1' || all[3] != "close 1000" {
		t.Errorf("the client heard %d messages, %.40q", len(all), all)
	}
}

func lower(list []string) []string {
	list = slices.Clone(list)
	for i := range list {
		list[i] = strings.ToLower(list[i])
	}
	return list
}

// An echo whose client does not read stops reading, and goes on message by message when it does.
func TestWebSocketBackPressure(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.set.Inbox = 16 << 10
	s := newSpeaks()
	s.data = echo
	peer := b.webSocket(s)
	const messages = 3000
	wrote := make(chan error, 1)
	go func() {
		for i := range messages {
			if _, err := io.WriteString(peer, frame(fin|bin, fmt.Sprintf("%06d", i)+strings.Repeat("z", 5000))); err != nil {
				wrote <- err
				return
			}
		}
		_, err := io.WriteString(peer, frame(fin|shut, ""))
		wrote <- err
	}()
	b.until("the inbox is full", func() bool { return s.c.is(blocked) })
	b.on(func() {
		if n := b.acct.held.Load(); n > 256<<10 {
			t.Errorf("%d bytes of buffers are held", n)
		}
	})
	for i := range messages {
		f, err := readFrame(peer)
		if err != nil || !strings.HasPrefix(string(f.Payload), fmt.Sprintf("%06d", i)) || len(f.Payload) != 5006 {
			t.Fatalf("message %d: %.20q, %v", i, f.Payload, err)
		}
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
	_ = peer.Close()
	b.ended(s.script, Orderly)
}

// Whoever ends the connection is told apart by the code that the client hears.
func TestWebSocketCloseCodes(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		end  func(c *CSA)
		want string
	}{
		{func(c *CSA) { c.ProducerFinished() }, "close 1000"},
		{func(c *CSA) { c.FinishSending() }, "close 1000"},
		{func(c *CSA) { c.ShutdownMicroprocess(HandlerEnded.Reason()) }, "close 1000"},
		{func(c *CSA) { c.ShutdownMicroprocess(Drained.Reason()) }, "close 1001"},
		{func(c *CSA) { c.ShutdownMicroprocess(HostStopped.Reason()) }, "close 1001"},
		{func(c *CSA) { c.ShutdownMicroprocess(HandlerRefused.Reason()) }, "close 1008"},
		{func(c *CSA) { c.ShutdownMicroprocess(IdleTimeout.Reason()) }, "close 1008"},
		{func(c *CSA) { c.ShutdownMicroprocess(Trapped.Reason()) }, "close 1011"},
		{func(c *CSA) { c.ShutdownMicroprocess(EventTimeout.Reason()) }, "close 1011"},
		{func(c *CSA) { c.ShutdownMicroprocess(MemoryFull.Reason()) }, "close 1013"},
	} {
		b := newBench(t)
		s := newSpeaks()
		peer := b.webSocket(s)
		b.until("it is open", func() bool { return len(s.log) > 0 })
		b.on(func() { x.end(s.c) })
		if got := strings.Join(heard(t, peer), "|"); got != x.want {
			t.Errorf("the client heard %q, want %q", got, x.want)
		}
		_ = peer.Close()
		b.until("it ends", func() bool { return s.ends[2] > 0 })
	}
}

// A handler that has finished sending goes on receiving until the client closes, too.
func TestWebSocketHalfClose(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := newSpeaks()
	s.open = func(c *CSA) { c.FinishSending() }
	peer := b.webSocket(s)
	if got := heard(t, peer); !slices.Equal(got, []string{"close 1000"}) {
		t.Errorf("the client heard %q", got)
	}
	send(t, peer, frame(fin|text, "late")+frame(fin|shut, closing(1000, "")))
	b.ended(s.script, Orderly)
	b.wantLog(s.script, "open", "text", "data late", "eof", "closed")
}

// A silent client is sent a ping, and is given up when it says nothing; one that answers stays, and
// that is no reason not to be idle.
func TestWebSocketPing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.set.Messages.Ping = 30 * time.Second
	b.set.IdleTimeout = 5 * time.Minute
	answers, silent := newSpeaks(), newSpeaks()
	peer, deaf := b.webSocket(answers), b.webSocket(silent)
	for range 9 {
		b.until("the timers are set", func() bool { return answers.c != nil && silent.c != nil })
		b.clock.Advance(30 * time.Second)
		if f, err := readFrame(peer); err != nil || f.Header.OpCode != ws.OpPing {
			t.Fatal(f, err)
		}
		before := int64(0)
		b.on(func() { before = answers.c.received })
		send(t, peer, frame(fin|pong, ""))
		b.until("the pong has come", func() bool { return answers.c.received > before })
	}
	b.ended(silent.script, PingTimeout.Reason())
	if got := heard(t, deaf); !slices.Equal(got, []string{"9 ", "close 1008"}) {
		t.Errorf("the silent client heard %q", got)
	}
	b.clock.Advance(30 * time.Second)
	b.ended(answers.script, IdleTimeout.Reason())
	_, _ = peer.Close(), deaf.Close()
}

// Over TLS it is the same: messages of all sizes, in pieces, and the close.
func TestWebSocketOverTLS(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := newSpeaks()
	s.over = &Handshake{Config: serverConfig()}
	s.data = echo
	peer := tls.Client(b.webSocket(s), clientConfig())
	const messages = 300
	text := string(bytes.Repeat([]byte("0123456789abcdef"), 4096))
	go func() {
		random := rand.New(rand.NewPCG(1, 2))
		var all strings.Builder
		for i := range messages {
			all.WriteString(frame(fin|bin, text[:(i*977)%60000]))
		}
		all.WriteString(frame(fin|shut, closing(1000, "")))
		for rest := all.String(); rest != ""; {
			n := min(len(rest), 1+random.IntN(40_000))
			if _, err := io.WriteString(peer, rest[:n]); err != nil {
				t.Error(err)
				return
			}
			rest = rest[n:]
		}
	}()
	for i := range messages {
		f, err := readFrame(peer)
		if err != nil || len(f.Payload) != (i*977)%60000 || !strings.HasPrefix(text, string(f.Payload)) {
			t.Fatalf("message %d: %d bytes, %v", i, len(f.Payload), err)
		}
	}
	if got := heard(t, peer); !slices.Equal(got, []string{"close 1000"}) {
		t.Errorf("then the client heard %q", got)
	}
	_ = peer.Close()
	b.ended(s.script, Orderly)
}

// A client that sends a message slower than min_rate is as late over TLS as without.
func TestWebSocketSlowMessage(t *testing.T) {
	t.Parallel()
	for _, over := range []bool{false, true} {
		b := newBench(t)
		b.set.MinRate = 100
		s := newSpeaks()
		var peer net.Conn
		if over {
			s.over = &Handshake{Config: serverConfig()}
			peer = tls.Client(b.webSocket(s), clientConfig())
		} else {
			peer = b.webSocket(s)
		}
		for i, piece := range frame(text, "slow") {
			if s.ends[2] > 0 {
				break
			}
			before := int64(0)
			b.on(func() {
				if s.c != nil {
					before = s.c.received
				}
			})
			if _, err := peer.Write([]byte{byte(piece)}); err != nil {
				break
			}
			// The client has done its part of the handshake when the host has yet to do its own.
			b.until("it has come", func() bool {
				return s.c != nil && (s.c.received > before && s.c.isSecure() == over || s.ends[2] > 0)
			})
			if i > 0 {
				b.clock.Advance(25 * time.Second)
			}
			b.turns()
		}
		b.ended(s.script, SlowSender.Reason())
		_ = peer.Close()
	}
}

// Splices and TLS need a stream.
func TestWebSocketIsNoStream(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s, plain := newSpeaks(), &script{}
	peer := b.webSocket(s)
	c, other := b.tcp(plain)
	b.on(func() {
		if code := Splice(s.c, c); code != abi.Invalid {
			t.Errorf("splice: %v", code)
		}
		if code := s.c.MakeSSL(Handshake{Config: serverConfig()}); code != abi.Invalid {
			t.Errorf("makessl: %v", code)
		}
		if s.c.Transport() != "ws" {
			t.Errorf("its transport is %q", s.c.Transport())
		}
	})
	_, _ = peer.Close(), other.Close()
	b.ended(s.script, WebSocketCut.Reason())
	b.ended(plain, Orderly)
}

// A handler that passes the loop on in Data is given the next message when it has consumed that
// one.
func TestWebSocketLongCall(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := newSpeaks()
	var kept []byte
	s.data = func(c *CSA, p []byte) int {
		if string(p) == "long" {
			kept = p
			b.loop.Pass()
			done := make(chan struct{})
			b.loop.Post(func() { close(done) })
			<-done
			b.loop.Post(func() { c.Consumed(kept, len(kept)) })
			runtime.Goexit()
		}
		return len(p)
	}
	peer := b.webSocket(s)
	send(t, peer, frame(fin|text, "long")+frame(fin|text, "next")+frame(fin|shut, ""))
	_ = heard(t, peer)
	_ = peer.Close()
	b.ended(s.script, Orderly)
	b.wantLog(s.script, "open", "text", "data long", "text", "data next", "eof", "closed")
}
