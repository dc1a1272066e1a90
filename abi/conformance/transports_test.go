package conformance

import (
	"net"
	"strings"
	"testing"

	"bulkhead/internal/awaittest"
)

// Over UDP the guest is told of peers and datagrams.
func TestDatagrams(t *testing.T) {
	t.Parallel()
	h := serve(t, "udp4://127.0.0.1:0", "", "")
	x := first(t, h, datagrams)
	b := datagrams(t, h.Addr("it"))
	b.sends("one")
	x.does("", "open 2", "data 2 one")
	b.sends("")
	b.sends("two")
	x.does("", "data 2 ", "data 2 two")
	// What is left is lost, and want means nothing.
	x.does("want #2 100", "want = OK")
	x.orders("on data #2 return 1")
	b.sends("three")
	x.does("", "data 2 three")
	x.does("receive #2 1", "receive = OK")
	b.sends("four")
	x.does("", "data 2 four")
	// A send is a datagram, whole, if it can be one.
	x.does("send #2 five; send #2; send #2 *65507; send #2 *65508", "send = 4", "send = 0", "send = 65507", "send = INVALID")
	b.heard("five")
	b.heard("")
	b.heard(strings.Repeat("x", 65507))
	// That was no bad data to send.
	x.does("makessl #2 0; splice #1 #2; info #2 4; info #2 12", "makessl = INVALID", "splice = INVALID", "info = 3 udp", "info = 0")
	// After a close its next datagram opens a connection.
	x.does("control #2 0", "control = OK", "closed 2 OK")
	b.sends("six")
	x.does("", "open 3", "data 3 six")
	// The peer has no end to tell.
	b.end()
	x.does("control #3 2; positive #3; send #3 x", "control = OK", "positive = 1", "send = CLOSED")
}

// Before a dialled peer is there nothing is taken for it, an empty datagram neither.
func TestDialledDatagrams(t *testing.T) {
	t.Parallel()
	peer, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	h := serve(t, "tcp://127.0.0.1:0", `connect = ["udp://127.0.0.1:*"]`, "")
	x := stream(t, h.Addr("it"))
	x.does("connect udp://"+peer.LocalAddr().String()+"; send #2", "start", "open 1", "connect = 2", "send = AGAIN", "open 2", "writable 2")
	x.does("send #2; send #2 one", "send = 0", "send = 3")
	_ = peer.SetReadDeadline(awaittest.Deadline())
	for _, want := range []string{"", "one"} {
		p := make([]byte, 100)
		if n, _, err := peer.ReadFrom(p); err != nil || string(p[:n]) != want {
			t.Errorf("a datagram is %q, %v; want %q", p[:n], err, want)
		}
	}
}

// Over WebSocket a message is an event.
func TestMessages(t *testing.T) {
	t.Parallel()
	h := serve(t, "ws://127.0.0.1:0/", "", "")
	x := first(t, h, messages)
	b := messages(t, h.Addr("it"))
	b.sends("one")
	x.does("", "open 2", "data 2 one")
	b.sends("")
	b.sends(strings.Repeat("y", 4096))
	x.does("", "data 2 ", "data 2 y * 4096")
	// What is left comes with the next message behind it, or when it is asked for.
	x.orders("on data #2 return 1")
	b.sends("two")
	x.does("", "data 2 two")
	x.orders("on data #2 return 1")
	b.sends("three")
	x.does("", "data 2 wothree")
	x.does("receive #2 1", "receive = OK", "data 2 othree")
	// A send is a message.
	x.does("send #2 five; send #2; send #2 *65536", "send = 4", "send = 0", "send = 65536")
	b.heard("five")
	b.heard("")
	b.heard(strings.Repeat("x", 65536))
	// One that is longer than the inbox goes in parts.
	x.does("send #2 *65537", "send = 65536", "writable 2")
	b.heard(strings.Repeat("x", 65536))
	x.does("makessl #2 0; splice #1 #2; info #2 4; info #2 13; info #2 14; info #2 15; info #2 16; send #2 x",
		"makessl = INVALID", "splice = INVALID", "info = 2 ws", "info = 4 text", "info = 1 /", "info = 0", "info = 0", "send = 1")
	b.heard("x")
	// The peer's close frame ends what it sends.
	x.orders("on eof #2 control #2 0")
	b.end()
	x.does("", "eof 2", "control = OK", "closed 2 OK")
}

// Room for a message is room for all of it: of one for which there is too little, nothing is taken.
func TestMessagesAreTakenWhole(t *testing.T) {
	t.Parallel()
	h := serve(t, "ws://127.0.0.1:0/", "", `send_buffer = "4KiB"`)
	x := first(t, h, messages)
	b := x.second(t, h, messages)
	taken := filled(x, 2, 40000, "AGAIN")
	if taken%40000 != 0 {
		t.Errorf("%d bytes are taken, by messages of 40000", taken)
	}
	for ; taken > 0; taken -= 40000 {
		b.heard(strings.Repeat("x", 40000))
	}
	x.does("", "writable 2")
}

func TestAMessageThatIsTooLong(t *testing.T) {
	t.Parallel()
	h := serve(t, "ws://127.0.0.1:0/", "", "")
	x := first(t, h, messages)
	b := messages(t, h.Addr("it"))
	b.sends(strings.Repeat("y", 4097))
	b.ended()
	x.does("", "open 2", "closed 2 RESET")
}
