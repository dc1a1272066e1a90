package examples_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"
)

const inbox = 64 << 10

// serveEcho runs the shipped module with instances of a kind.
func serveEcho(t *testing.T, instance string) *host.Host {
	t.Helper()
	h, _ := serveOne(t, "echo", "echo/echo.wasm", fmt.Sprintf("instance = %q", instance), fmt.Sprintf(`inbox = "%dB"`, inbox))
	return h
}

func eachInstance(t *testing.T, test func(t *testing.T, h *host.Host)) {
	for _, instance := range []string{"connection", "loop", "listener"} {
		t.Run(instance, func(t *testing.T) { test(t, serveEcho(t, instance)) })
	}
}

func TestEcho(t *testing.T) {
	eachInstance(t, func(t *testing.T, h *host.Host) {
		a, b := hosttest.Dial(t, h.Addr("echo")), hosttest.Dial(t, h.Addr("echo"))
		for i := range 100 {
			hosttest.Say(t, a, fmt.Sprint("a", i))
			hosttest.Say(t, b, fmt.Sprint("b", i, "\x00\n"))
			hosttest.Hear(t, b, fmt.Sprint("b", i, "\x00\n"))
			hosttest.Hear(t, a, fmt.Sprint("a", i))
		}
		a.Close()
		hosttest.Say(t, b, "and still")
		hosttest.Hear(t, b, "and still")
	})
}

// A client that has finished gets all of its answer, and then the end.
func TestEchoHalfClose(t *testing.T) {
	eachInstance(t, func(t *testing.T, h *host.Host) {
		for _, text := range []string{"", "hello"} {
			conn := hosttest.Dial(t, h.Addr("echo"))
			hosttest.Say(t, conn, text)
			if err := conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			hosttest.Hear(t, conn, text)
			hosttest.HearEnd(t, conn)
		}
		hosttest.Eventually(t, "the connections are over", func() bool { return h.Stats().Connections == 0 })
		if st := h.Stats().Listeners[0]; st.Received != 5 || st.Sent != 5 {
			t.Errorf("the books say %d bytes in and %d out, want 5 and 5", st.Received, st.Sent)
		}
	})
}

func noise(n int, seed byte) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func TestEchoAMebibyte(t *testing.T) {
	eachInstance(t, func(t *testing.T, h *host.Host) {
		conn := hosttest.Dial(t, h.Addr("echo"))
		want := noise(1<<20, 1)
		sent := make(chan error, 1)
		go func() {
			_, err := conn.Write(want)
			sent <- errors.Join(err, conn.CloseWrite())
		}()
		got, err := io.ReadAll(conn)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes came back, which differ or are not all (%v)", len(got), err)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	})
}

// A client that sends and does not read is held back once the inbox is full,
// and gets every byte when it reads. Others notice nothing.
func TestEchoSlowReader(t *testing.T) {
	eachInstance(t, func(t *testing.T, h *host.Host) {
		other := hosttest.Dial(t, h.Addr("echo"))
		hosttest.Say(t, other, "x")
		hosttest.Hear(t, other, "x")
		before := h.Stats().Tenants[0].Memory

		slow := hosttest.Dial(t, h.Addr("echo"))
		_ = slow.SetReadBuffer(64 << 10)
		_ = slow.SetWriteBuffer(64 << 10)
		want := noise(64<<20, 3) // more than all kernel buffers together
		_ = slow.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		n, err := slow.Write(want)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%d bytes were taken from a client that does not read (%v)", n, err)
		}
		// Its inbox, one window that is not consumed, and an instance of its own.
		if held := h.Stats().Tenants[0].Memory - before; held > inbox+64<<10+128<<10+16<<10 {
			t.Errorf("the host holds %d bytes for it", held)
		}
		hosttest.Say(t, other, "and I?")
		hosttest.Hear(t, other, "and I?")

		_ = slow.SetDeadline(awaittest.Deadline())
		sent := make(chan error, 1)
		go func() {
			_, err := slow.Write(want[n:])
			sent <- errors.Join(err, slow.CloseWrite())
		}()
		got, err := io.ReadAll(slow)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes of %d came back, or they differ (%v)", len(got), len(want), err)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	})
}

// A peer that breaks off leaves nothing behind, whatever was on its way.
func TestEchoReset(t *testing.T) {
	eachInstance(t, func(t *testing.T, h *host.Host) {
		for _, n := range []int{0, 1, 100_000} {
			conn := hosttest.Dial(t, h.Addr("echo"))
			if n > 0 {
				if _, err := conn.Write(make([]byte, n)); err != nil {
					t.Fatal(err)
				}
				hosttest.Hear(t, conn, "\x00")
			}
			_ = conn.SetLinger(0)
			conn.Close()
		}
		hosttest.Eventually(t, "the connections are gone", func() bool {
			st := h.Stats()
			return st.Listeners[0].Accepted == 3 && st.Connections == 0
		})
		conn := hosttest.Dial(t, h.Addr("echo"))
		hosttest.Say(t, conn, "next")
		hosttest.Hear(t, conn, "next")
	})
}
