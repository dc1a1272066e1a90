package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
)

// serve runs the shipped program, as quickstart.toml does.
func serve(t *testing.T) *served {
	t.Helper()
	plugin, err := filepath.Abs("rot13.wasm")
	if err != nil {
		t.Fatal(err)
	}
	h := hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
[tenant.hobby]
bandwidth = "100GiB/s"
[[listener]]
name = "rot13"
tenant = "hobby"
address = "tcp://127.0.0.1:0"
plugin = %q
shape = "stdio"
`, hosttest.State(), plugin), host.Options{})
	return &served{h, h.Stats().Tenants[0].Memory}
}

// served is a host with what its tenant holds when nobody is there: the program's native code.
type served struct {
	*host.Host
	idle int64
}

// over waits until no connection and no program is left.
func over(t *testing.T, h *served) {
	t.Helper()
	hosttest.Eventually(t, "the programs have ended", func() bool {
		st := h.Stats()
		return st.Connections == 0 && st.Listeners[0].Instances == 0 && st.Tenants[0].Memory == h.idle
	})
}

// Each answer comes before more is asked; the end of input is the end.
func TestConversation(t *testing.T) {
	h := serve(t)
	conn := hosttest.Dial(t, h.Addr("rot13"))
	for range 50 {
		hosttest.Say(t, conn, "Hello, world!\n")
		hosttest.Hear(t, conn, "Uryyb, jbeyq!\n")
	}
	hosttest.Say(t, conn, "good-bye")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	hosttest.Hear(t, conn, "tbbq-olr")
	hosttest.HearEnd(t, conn)
	over(t, h)
}

func TestNothingSaid(t *testing.T) {
	h := serve(t)
	conn := hosttest.Dial(t, h.Addr("rot13"))
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	hosttest.HearEnd(t, conn)
	over(t, h)
}

// Each connection has a program of its own: one that waits holds nobody up.
func TestTwoAtOnce(t *testing.T) {
	h := serve(t)
	a, b := hosttest.Dial(t, h.Addr("rot13")), hosttest.Dial(t, h.Addr("rot13"))
	for range 10 {
		hosttest.Say(t, a, "a")
		hosttest.Say(t, b, "bb")
		hosttest.Hear(t, b, "oo")
		hosttest.Hear(t, a, "n")
	}
	if n := h.Stats().Listeners[0].Instances; n != 2 {
		t.Errorf("%d programs run for two connections", n)
	}
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	hosttest.HearEnd(t, a)
	hosttest.Say(t, b, "still here")
	hosttest.Hear(t, b, "fgvyy urer")
}

// A mebibyte through a program that copies it, with the ends on different
// goroutines.
func TestMuch(t *testing.T) {
	h := serve(t)
	conn := hosttest.Dial(t, h.Addr("rot13"))
	text := strings.Repeat("The quick brown fox jumps. ", 40_000)
	want := strings.Repeat("Gur dhvpx oebja sbk whzcf. ", 40_000)
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, text)
		sent <- errors.Join(err, conn.CloseWrite())
	}()
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, []byte(want)) {
		t.Errorf("%d bytes of %d came back, or they differ (%v)", len(got), len(want), err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	over(t, h)
}

// A peer that breaks off, wherever its program is, leaves no goroutine.
func TestReset(t *testing.T) {
	h := serve(t)
	before := runtime.NumGoroutine()
	for name, talk := range map[string]func(conn *net.TCPConn){
		"at once":         func(*net.TCPConn) {},
		"while it reads":  func(conn *net.TCPConn) { hosttest.Say(t, conn, "x"); hosttest.Hear(t, conn, "k") },
		"while it writes": func(conn *net.TCPConn) { fill(t, conn) },
	} {
		conn := hosttest.Dial(t, h.Addr("rot13"))
		talk(conn)
		_ = conn.SetLinger(0)
		conn.Close()
		over(t, h)
		hosttest.Eventually(t, "the goroutines are gone: "+name, func() bool { return runtime.NumGoroutine() <= before })
	}
	// The one that was reset at once may be accepted after it has gone.
	hosttest.Eventually(t, "all three are accepted", func() bool { return h.Stats().Listeners[0].Accepted == 3 })
	over(t, h)
	if n := h.Stats().Listeners[0].Traps; n != 0 {
		t.Errorf("%d traps; want none", n)
	}
	conn := hosttest.Dial(t, h.Addr("rot13"))
	hosttest.Say(t, conn, "next")
	hosttest.Hear(t, conn, "arkg")
}

// fill sends, and does not read, until nothing more is taken: the program
// waits in a write then.
func fill(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	_ = conn.SetReadBuffer(64 << 10)
	_ = conn.SetWriteBuffer(64 << 10)
	_ = conn.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	n, err := conn.Write(make([]byte, 64<<20)) // more than all kernel buffers together
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes were taken from a client that does not read (%v)", n, err)
	}
}
