package conformance

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
	"bulkhead/internal/play"
)

// longInbox is for a listener whose connections hold more than the system does of what a client
// does not read.
const longInbox = "inbox = \"1MiB\"\nsend_buffer = \"4KiB\"\n"

// filled has the guest send so many bytes at a time to a connection that reads nothing, until a
// send answers so. It returns how many were taken.
func filled(x *terminal, connection, length int, answer string) (taken int) {
	x.t.Helper()
	for range 10_000 {
		x.does(fmt.Sprintf("send #%d *%d", connection, length))
		var n int
		for {
			line := x.line()
			if line == "send = "+answer {
				return taken
			}
			if _, err := fmt.Sscanf(line, "send = %d", &n); err == nil {
				break
			}
			if !strings.HasPrefix(line, "writable ") {
				x.t.Fatalf("the guest tells %q", line)
			}
		}
		taken += n
	}
	x.t.Fatalf("no send answers %s", answer)
	return 0
}

// A send for which there is no room at all is answered AGAIN, and csa_writable follows once there
// is.
func TestNoRoomAtAll(t *testing.T) {
	t.Parallel()
	h := serve(t, "tcp://127.0.0.1:0", "", `send_buffer = "4KiB"`)
	x := first(t, h, stream)
	b := x.second(t, h, stream)
	taken := filled(x, 2, 65536, "AGAIN")
	for taken > 0 {
		p, err := b.hear()
		if err != nil {
			t.Fatal(err)
		}
		taken -= len(p)
	}
	x.does("", "writable 2")
	x.does("send #2 more", "send = 4")
	b.heard("more")
}

// A tenant that has no memory left holds no more bytes.
func TestNoMemoryForUnsentBytes(t *testing.T) {
	t.Parallel()
	h := serve(t, "tcp://127.0.0.1:0", `memory = "3MiB"`, "inbox = \"16MiB\"\nsend_buffer = \"4KiB\"")
	x := first(t, h, stream)
	x.second(t, h, stream)
	filled(x, 2, 65536, "QUOTA")
}

// What is in the inbox is dropped where a connection ends at once: its peer gets what has left
// before.
func TestUnsentBytesAreDropped(t *testing.T) {
	t.Parallel()
	h := serve(t, "tcp://127.0.0.1:0", "", longInbox)
	x := first(t, h, stream)
	number := 1
	next := func() *terminal {
		number++
		b := stream(t, h.Addr("it"))
		x.does("", fmt.Sprintf("open %d", number))
		return b
	}
	fewer := func(b *terminal, than int) {
		t.Helper()
		for {
			p, err := b.hear()
			if than -= len(p); err != nil {
				break
			}
		}
		if than <= 0 {
			t.Error("the peer has got all")
		}
	}
	for what, reason := range []string{1: "OK", 3: "INVALID"} {
		if reason == "" {
			continue
		}
		b := next()
		taken := filled(x, number, 65536, "AGAIN")
		x.does(fmt.Sprintf("control #%d %d", number, what), "control = OK", fmt.Sprintf("closed %d %s", number, reason))
		fewer(b, taken)
	}
	for code, reason := range map[int]string{-5: "DENIED", -99: "INVALID"} {
		b := next()
		taken := filled(x, number, 65536, "AGAIN")
		x.orders(fmt.Sprintf("on data #%d return %d", number, code))
		b.sends("a")
		x.does("", fmt.Sprintf("data %d a", number), fmt.Sprintf("closed %d %s", number, reason))
		fewer(b, taken)
	}
}

// Who is to get last bytes has the listener's linger for that.
func TestLastBytesInTime(t *testing.T) {
	t.Parallel()
	h := serve(t, "tcp://127.0.0.1:0", "", longInbox+"linger = \"50ms\"")
	x := first(t, h, stream)
	x.second(t, h, stream)
	filled(x, 2, 65536, "AGAIN")
	x.does("control #2 0", "control = OK", "closed 2 TIMEOUT")
}

// A callback that does not end is stopped, and with it all that its instance serves.
func TestACallbackThatIsLong(t *testing.T) {
	t.Parallel()
	h := serve(t, "tcp://127.0.0.1:0", "", `event_timeout = "20ms"`)
	x := first(t, h, stream)
	b := x.second(t, h, stream)
	x.does("spin")
	x.ended()
	b.ended()
	// The next ones have another instance.
	first(t, h, stream)
}

func TestMetricsOfATenant(t *testing.T) {
	t.Parallel()
	var lines strings.Builder
	lines.WriteString("< start\n< open 1\n")
	for n := range 101 {
		fmt.Fprintf(&lines, "> count 1 n%d\n", n)
	}
	lines.WriteString("> count 1 n0\n")
	lines.WriteString(strings.Repeat("< count = OK\n", 100) + "< count = QUOTA\n< count = OK\ncount n0 2\n")
	says(t, play.Handler{Plugin: guest, Instance: "listener"}, lines.String())
}

// Who is not on the list is not dialled, and no more are than the tenant may have.
func TestDialsOfATenant(t *testing.T) {
	t.Parallel()
	h := serve(t, "tcp://127.0.0.1:0", "connect = [\"127.0.0.1:*\"]\nupstreams = 1", "")
	x := stream(t, h.Addr("it"))
	x.does("connect tcp://127.0.0.2:80; connect tcp://localhost:80; connect udp://127.0.0.1:80; connect unix:///run/x",
		"start", "open 1", "connect = DENIED", "connect = DENIED", "connect = DENIED", "connect = DENIED")
	to := "tcp://" + h.Addr("it") // which is a client then
	x.does("connect "+to, "connect = 2")
	for range 2 {
		if line := x.line(); line != "open 2" && line != "open 3" {
			t.Fatalf("the guest tells %q", line)
		}
	}
	x.does("connect "+to, "connect = QUOTA")
	x.does("control #2 1", "control = OK", "closed 2 OK")
}

// A guest hears that the host drains, and goes on until it has ended its connections.
func TestTheHostDrains(t *testing.T) {
	t.Parallel()
	h, err := host.New(configured(t, "tcp://127.0.0.1:0", "", ""), host.Options{Log: hosttest.NewLines(t).Log()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	x := first(t, h, stream)
	cancel()
	x.does("", "stop")
	x.does("control #1 0") // from here on it is told nothing
	x.ended()
	x.end()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A dial that is given up in the event that has begun it is never open, however fast it is.
func TestADialThatIsGivenUp(t *testing.T) {
	t.Parallel()
	h := serve(t, "tcp://127.0.0.1:0", `connect = ["127.0.0.1:*"]`, "")
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	x := stream(t, h.Addr("it"))
	x.sends("connect tcp://" + server.Addr().String() + "\ncontrol #2 1\n")
	x.does("", "start", "open 1", "connect = 2", "control = OK", "closed 2 OK")
}
