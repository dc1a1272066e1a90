package host_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/internal/certstest"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// leavesInput is a program that reads once, writes some 320 kB, and ends with an exit code that is
// what the first byte of its input says, less '0'.
func leavesInput() *w.Module {
	const vectors, moved, buffer, size = 0, 16, 4096, 64 << 10
	m := w.New()
	read := m.Import("wasi_snapshot_preview1", "fd_read", "iiii:i")
	write := m.Import("wasi_snapshot_preview1", "fd_write", "iiii:i")
	exit := m.Import("wasi_snapshot_preview1", "proc_exit", "i:")
	m.Memory(2)
	m.Func("_start", ":", "i",
		w.I32Const(vectors), w.I32Const(buffer), w.I32Store(0), w.I32Const(vectors), w.I32Const(100), w.I32Store(4),
		w.I32Const(0), w.I32Const(vectors), w.I32Const(1), w.I32Const(moved), w.Call(read), w.If(w.Unreachable),
		w.I32Const(vectors), w.I32Const(size), w.I32Store(4),
		w.I32Const(5), w.LocalSet(0),
		w.Loop(
			w.I32Const(1), w.I32Const(vectors), w.I32Const(1), w.I32Const(moved), w.Call(write), w.If(w.Unreachable),
			w.LocalGet(0), w.I32Const(1), w.I32Sub, w.LocalTee(0), w.BrIf(0)),
		w.I32Const(buffer), w.I32Load8U(0), w.I32Const('0'), w.I32Sub, w.Call(exit))
	return m
}

// All that a program has written arrives, and then the end, though it has ended with much of what
// its client has sent unread: a reset would take its last words away.
func TestAProgramThatLeavesItsInput(t *testing.T) {
	ca, dir := certstest.NewAuthority(t), t.TempDir()
	cert, key := ca.Write(t, dir, "server", "localhost")
	listener := func(name, more string) string {
		return fmt.Sprintf("[[listener]]\nname = %q\ntenant = \"acme\"\naddress = \"tcp://127.0.0.1:0\"\nplugin = %q\nshape = \"stdio\"\n%s", name, writeModule(t, leavesInput()), more)
	}
	h := hosttest.Serve(t, fmt.Sprintf("[host]\nstate = %q\n[tenant.acme]\n", hosttest.State())+listener("plain", "")+
		listener("tls", fmt.Sprintf("[listener.tls]\ncert = %q\nkey = %q\n", cert, key)), host.Options{})
	for _, name := range []string{"plain", "tls"} {
		for _, code := range []string{"0", "3"} {
			t.Run(name+"/"+code, func(t *testing.T) {
				raw, err := net.Dial("tcp", h.Addr(name))
				if err != nil {
					t.Fatal(err)
				}
				defer raw.Close()
				_ = raw.SetDeadline(time.Now().Add(2 * time.Minute))
				c := raw
				if name == "tls" {
					c = tls.Client(raw, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"})
				}
				written := make(chan error, 1)
				go func() {
					_, err := c.Write(append([]byte(code), bytes.Repeat([]byte("unread "), 30_000)...))
					written <- err
				}()
				got, err := io.ReadAll(c)
				if err != nil || len(got) != 5*64<<10 {
					t.Errorf("%d bytes came: %v", len(got), err)
				}
				if err := <-written; err != nil {
					t.Errorf("its client could not send on: %v", err)
				}
			})
		}
	}
	hosttest.Eventually(t, "nobody is left", func() bool { return h.Stats().Connections == 0 })
}
