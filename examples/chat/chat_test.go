package main

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"bulkhead/sdk/go"
	"bulkhead/sdk/go/guesttest"
)

const prompt = "* what is your name?\n"

func start(t testing.TB, o guesttest.Options) (*guesttest.Host, *hall) {
	t.Helper()
	hall := newHall()
	h := guesttest.New(t, hall, o)
	t.Cleanup(func() {
		// Whatever a test has done, nobody is left behind.
		if n := len(hall.everyone); n != h.Connections() {
			t.Errorf("the hall knows %d connections, the host %d", n, h.Connections())
		}
		for key, r := range hall.rooms {
			if len(r.members) == 0 {
				t.Errorf("the room %s is empty", key)
			}
		}
		if got := h.Counted("chat_members"); got != int64(len(hall.names)) {
			t.Errorf("the metric says %d members, and there are %d", got, len(hall.names))
		}
	})
	return h, hall
}

// enter has a new peer say its name, and reads what it is told.
func enter(t testing.TB, h *guesttest.Host, name string) *guesttest.Peer {
	t.Helper()
	p := h.Connect()
	p.Send(name + "\n")
	if got := p.Receive(); !strings.HasPrefix(got, prompt+"* hello, "+name+". ") || !strings.Contains(got, "\n* you are in lobby, with ") {
		t.Fatalf("%s is greeted with %q", name, got)
	}
	return p
}

func TestTwoTalk(t *testing.T) {
	h, _ := start(t, guesttest.Options{})
	ann := enter(t, h, "ann")
	bob := enter(t, h, "bob")
	ann.Expect("* bob joined\n")
	bob.Send("hello\r\n")
	ann.Expect("bob: hello\n")
	bob.Expect("")
	ann.Send("one\n\n\ntwo\nthr")
	bob.Expect("ann: one\nann: two\n")
	ann.Send("ee\n")
	bob.Expect("ann: three\n")
	bob.Send("/who\n")
	bob.Expect("* in lobby: ann, bob\n")
	bob.Send("/nick x\n")
	bob.Expect("* there is no /nick; there is /join ROOM, /who, /quit\n")
	bob.Send("/quit\nnever said\n")
	bob.Expect("* good-bye\n")
	bob.ExpectClosed(nil)
	ann.Expect("* bob left\n")
	ann.Send("alone\n")
	ann.Expect("")
}

func TestNames(t *testing.T) {
	h, _ := start(t, guesttest.Options{})
	enter(t, h, "Ann")
	p := h.Connect()
	p.Expect(prompt)
	refused := "* a name is 1 to 20 letters, digits, - and _; what is yours?\n"
	for _, name := range []string{"", "two words", "näme", "a/b", strings.Repeat("n", 21), "\xff", "/who", "*"} {
		p.Send(name + "\n")
		p.Expect(refused)
	}
	p.Send("aNN\n")
	p.Expect("* aNN is taken; what else may we call you?\n")
	p.Send(" b\x07ob\r\n") // the bell is no part of it
	if got := p.Receive(); !strings.HasPrefix(got, "* hello, bob.") {
		t.Errorf("greeted with %q", got)
	}
	p.Send("/quit\n")
	enter(t, h, "bob") // a name is free when its member is gone
}

func TestNobodyStaysWithoutAName(t *testing.T) {
	h, _ := start(t, guesttest.Options{})
	p := h.Connect()
	named := enter(t, h, "named")
	h.Advance(nameWithin - guest.Millisecond)
	if _, closed := p.Closed(); closed {
		t.Fatal("closed too early")
	}
	h.Advance(guest.Millisecond)
	p.Expect(prompt + "* you have no name, so good-bye\n")
	p.ExpectClosed(nil)
	h.Advance(guest.Hour)
	if _, closed := named.Closed(); closed {
		t.Error("a member with a name was closed as well")
	}
}

func TestRooms(t *testing.T) {
	h, hall := start(t, guesttest.Options{})
	ann, bob, eve := enter(t, h, "ann"), enter(t, h, "bob"), enter(t, h, "eve")
	ann.Receive()
	bob.Receive()
	bob.Send("/join Attic\n")
	bob.Expect("* you are in Attic, with 0 others\n")
	ann.Expect("* bob went to Attic\n")
	eve.Expect("* bob went to Attic\n")
	eve.Send("/join  attic \n")
	eve.Expect("* you are in Attic, with 1 other\n")
	bob.Expect("* eve joined\n")
	ann.Receive()
	bob.Send("psst\n")
	eve.Expect("bob: psst\n")
	ann.Expect("")
	bob.Send("/join ATTIC\n/join\n/join a b\n")
	refused := "* a room is 1 to 20 letters, digits, - and _\n"
	bob.Expect("* you are in Attic already\n" + refused + refused)
	if len(hall.rooms) != 2 {
		t.Errorf("there are %d rooms", len(hall.rooms))
	}
	bob.Send("/quit\n")
	eve.Expect("* bob left\n")
	eve.Break()
	if len(hall.rooms) != 1 {
		t.Errorf("there are %d rooms when two are in the lobby's", len(hall.rooms))
	}
}

func TestLeavesAreAnnounced(t *testing.T) {
	for name, leave := range map[string]func(p *guesttest.Peer){
		"quits":       func(p *guesttest.Peer) { p.Send("/quit\n") },
		"hangs up":    func(p *guesttest.Peer) { p.CloseWrite() },
		"breaks off":  func(p *guesttest.Peer) { p.Break() },
		"times out":   func(p *guesttest.Peer) { p.Drop(guest.Timeout) },
		"mid-line":    func(p *guesttest.Peer) { p.Send("half a li"); p.Break() },
		"quits twice": func(p *guesttest.Peer) { p.Send("/quit\n/quit\n"); p.CloseWrite(); p.Break() },
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := start(t, guesttest.Options{})
			ann, bob := enter(t, h, "ann"), enter(t, h, "bob")
			ann.Receive()
			leave(bob)
			ann.Expect("* bob left\n")
			if _, closed := bob.Closed(); !closed {
				t.Error("bob is still connected")
			}
		})
	}
}

// The last line counts without its end, as printf and many a program send it.
func TestLastLineWithoutItsEnd(t *testing.T) {
	h, _ := start(t, guesttest.Options{})
	ann, bob, eve := enter(t, h, "ann"), enter(t, h, "bob"), enter(t, h, "eve")
	ann.Receive()
	bob.Receive()
	bob.Send("one\ntwo")
	ann.Expect("bob: one\n")
	bob.CloseWrite()
	ann.Expect("bob: two\n* bob left\n")
	eve.Send("/quit\r")
	eve.CloseWrite()
	ann.Expect("* eve left\n")
	zed := h.Connect()
	zed.Send("zed")
	zed.CloseWrite()
	ann.Expect("* zed joined\n* zed left\n")
	h.Connect().CloseWrite() // says nothing at all
	ann.Expect("")
}

func TestLongLines(t *testing.T) {
	refused := "* that line is longer than 512 bytes, so nobody has seen it; please make it shorter\n"
	for _, chunk := range []int{1, 7, 511, 512, 513, 514, 1 << 20} {
		for _, end := range []string{"\n", "\r\n"} {
			t.Run(fmt.Sprintf("%d%q", chunk, end), func(t *testing.T) {
				h, _ := start(t, guesttest.Options{})
				ann, bob := enter(t, h, "ann"), enter(t, h, "bob")
				ann.Receive()
				for _, n := range []int{511, 512} {
					line := strings.Repeat("x", n)
					bob.SendChunks(line+end, chunk)
					ann.Expect("bob: " + line + "\n")
				}
				for _, n := range []int{513, 514, 515, 1024, 3000} {
					bob.SendChunks(strings.Repeat("y", n)+end+"in sync"+end, chunk)
					bob.Expect(refused)
					ann.Expect("bob: in sync\n")
				}
				// Longer than a window, and the member is none the worse for it.
				bob.SendChunks(strings.Repeat("z", guest.DefaultWindow+100)+end+"ok"+end, max(chunk, 500))
				bob.Expect(refused)
				ann.Expect("bob: ok\n")
			})
		}
	}
}

func TestControlCharactersAreStripped(t *testing.T) {
	h, _ := start(t, guesttest.Options{})
	ann, bob := enter(t, h, "ann"), enter(t, h, "bob")
	ann.Receive()
	for in, want := range map[string]string{
		"\x1b[31mred\x1b[0m":           "[31mred[0m",
		"a\tb":                         "a b",
		"bell\a nul\x00 del\x7f":       "bell nul del",
		"c1 \u009b31m":                 "c1 31m",
		"turned \u202e round \u2066x":  "turned  round x",
		"line\u2028end\u2029s":         "lineends",
		"fake\rann: hi":                "fakeann: hi",
		"grüße, 世界 👋":                  "grüße, 世界 👋",
		"broken \xff\xfe utf \xe4\xb8": "broken ?? utf ??",
	} {
		bob.Send(in + "\n")
		ann.Expect("bob: " + want + "\n")
	}
}

// A member that does not read is dropped when its share is used up; the others
// hear of it, and miss nothing.
func TestSlowMembersAreDropped(t *testing.T) {
	const inbox = 4 << 10
	h, hall := start(t, guesttest.Options{Inbox: inbox})
	ann, bob, eve := enter(t, h, "ann"), enter(t, h, "bob"), enter(t, h, "eve")
	ann.Receive()
	bob.Receive()
	text := strings.Repeat("n", 100)
	lines, announced := 0, 0
	for eveGone := false; !eveGone; lines++ {
		if lines > (inbox+maxUnsent)/len(text) {
			t.Fatalf("%d lines were said, and eve is still there", lines)
		}
		ann.Send(text + "\n")
		got := bob.Receive()
		if !strings.HasPrefix(got, "ann: "+text+"\n") {
			t.Fatalf("bob missed line %d: %q", lines, got)
		}
		announced += strings.Count(got, "* eve was too slow, and is gone\n")
		_, eveGone = eve.Closed()
	}
	if lines*len(text) < inbox+maxUnsent/2 {
		t.Errorf("eve was dropped after %d lines, which is too soon", lines)
	}
	if announced != 1 {
		t.Errorf("announced %d times", announced)
	}
	ann.Expect("* eve was too slow, and is gone\n")
	if hall.names["eve"] != nil || h.Counted("chat_dropped") != 1 {
		t.Error("eve is still known")
	}
	ann.Send("still here\n")
	bob.Expect("ann: still here\n")
}

func TestAWholeRoomOfSlowMembers(t *testing.T) {
	h, hall := start(t, guesttest.Options{Inbox: 4 << 10})
	ann := enter(t, h, "ann")
	for i := range 20 {
		enter(t, h, fmt.Sprint("slow", i))
	}
	ann.Receive()
	for range 300 {
		ann.Send(strings.Repeat("m", 200) + "\n")
	}
	got := ann.Receive()
	if n := strings.Count(got, "was too slow, and is gone\n"); n != 20 || len(hall.names) != 1 {
		t.Errorf("%d were announced as gone, %d are left: %q", n, len(hall.names), got)
	}
}

// Who asks and does not read the answers is not answered for ever.
func TestUnreadAnswersStopTheAsking(t *testing.T) {
	h, hall := start(t, guesttest.Options{Inbox: 4 << 10})
	p := enter(t, h, "ann")
	const n = 5000
	p.Send(strings.Repeat("/who\n", n))
	if m := hall.names["ann"]; m == nil || m.conn.Queued() > maxUnsent {
		t.Fatalf("ann is gone, or too much is queued")
	}
	if got := strings.Count(p.Receive(), "* in lobby: ann\n"); got != n {
		t.Errorf("%d of %d questions were answered once they were read", got, n)
	}
}

func TestFull(t *testing.T) {
	h, _ := start(t, guesttest.Options{})
	peers := make([]*guesttest.Peer, maxMembers)
	for i := range peers {
		peers[i] = h.Connect()
	}
	p := h.Connect()
	p.Expect("* the chat is full; try again later\n")
	p.ExpectClosed(nil)
	peers[0].Break()
	h.Connect().Expect(prompt)
}

func TestWhoIsBounded(t *testing.T) {
	h, _ := start(t, guesttest.Options{})
	for i := range maxListed + 7 {
		p := h.Connect()
		p.Send(fmt.Sprintf("member-%04d\n", i))
	}
	p := enter(t, h, "ann")
	p.Send("/who\n")
	if got := p.Receive(); !strings.HasSuffix(got, ", and 8 more\n") || strings.Count(got, ",") != maxListed {
		t.Errorf("/who answers %q", got)
	}
}

func TestStop(t *testing.T) {
	h, _ := start(t, guesttest.Options{})
	ann := enter(t, h, "ann")
	unnamed := h.Connect()
	h.Stop()
	ann.Expect("* the server stops; good-bye\n")
	ann.ExpectClosed(nil)
	unnamed.Expect(prompt + "* the server stops; good-bye\n")
	unnamed.ExpectClosed(nil)
}

// Anything at all may be sent, in any pieces: the guest keeps to its bounds, to
// lines, and the host to the legal order.
func FuzzChat(f *testing.F) {
	f.Fuzz(func(t *testing.T, seed uint64, text []byte) {
		if len(text) > 1<<16 {
			return
		}
		rng := rand.New(rand.NewPCG(seed, 0))
		h, hall := start(t, guesttest.Options{Inbox: 1 << 10})
		listener := enter(t, h, "listener")
		peers := []*guesttest.Peer{h.Connect(), h.Connect(), h.Connect()}
		heard := ""
		for len(text) > 0 {
			p := peers[rng.IntN(len(peers))]
			n := min(len(text), 1+rng.IntN(700))
			p.Send(string(text[:n]))
			text = text[n:]
			switch rng.IntN(8) {
			case 0:
				p.Receive()
			case 1:
				h.Advance(guest.Duration(rng.Int64N(int64(guest.Minute))))
			case 2:
				if rng.IntN(4) == 0 {
					p.Break()
				}
			}
			heard += listener.Receive()
			for m := range hall.everyone {
				if m.conn.Queued() > maxUnsent {
					t.Fatalf("%d bytes are queued", m.conn.Queued())
				}
			}
		}
		for line := range strings.Lines(heard) {
			if !strings.HasSuffix(line, "\n") || len(line) > maxName+2+maxLine+1 || strings.ContainsAny(line[:len(line)-1], "\x00\r\x1b\x7f") {
				t.Errorf("heard %q", line)
			}
			if name, _, said := strings.Cut(line, ": "); !strings.HasPrefix(line, "* ") && (!said || !validName(name)) {
				t.Errorf("heard %q, which nobody can have said", line)
			}
		}
		for _, p := range append(peers, listener) {
			p.Break()
			checkOrder(t, p)
		}
	})
}

// legal is the order of callbacks that the contract allows for one connection.
var legal = regexp.MustCompile(`^csa_open( csa_(data|writable|timer))*( csa_eof( csa_(writable|timer))*)? csa_closed$`)

func checkOrder(t testing.TB, p *guesttest.Peer) {
	t.Helper()
	if events := strings.Join(p.Events(), " "); !legal.MatchString(events) {
		t.Errorf("the callbacks were %s", events)
	}
}
