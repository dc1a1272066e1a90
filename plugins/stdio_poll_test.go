package plugins

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"testing"

	"bulkhead/csa"
	w "bulkhead/internal/wasmtest"
)

// subscribeTo writes a subscription of poll_oneoff: to standard input (kind 1), standard output
// (2), or the monotonic clock (0) for so many nanoseconds. Its number is its kind.
func subscribeTo(at int32, kind int32, ns int64) []byte {
	fd := map[int32]int32{0: 1, 1: 0, 2: 1}[kind] // of a clock, which
	return w.Cat(
		w.I32Const(at), w.I64Const(int64(kind)), w.I64Store(0),
		w.I32Const(at), w.I32Const(kind), w.I32Store8(8),
		w.I32Const(at), w.I32Const(fd), w.I32Store(16),
		w.I32Const(at), w.I64Const(ns), w.I64Store(24))
}

const polled, happened = 2000, 3000

// ticker echoes its input, five bytes at a time, and writes a point for each millisecond without
// any. poll says of an event that there is input.
func ticker() *w.Module {
	m, f := program()
	m.Data(1000, ".")
	say := func(ptr int32, length []byte) []byte {
		return w.Cat(vector(vectors, ptr, 0), w.I32Const(vectors), length, w.I32Store(4),
			w.I32Const(1), w.I32Const(vectors), w.I32Const(1), w.I32Const(moved), w.Call(f[1]), w.If(w.Unreachable))
	}
	m.Func("_start", ":", "", w.Loop(
		subscribeTo(polled, 1, 0), subscribeTo(polled+48, 0, 1e6),
		w.I32Const(polled), w.I32Const(happened), w.I32Const(2), w.I32Const(moved), w.Call(f[3]), w.If(w.Unreachable),
		w.I32Const(moved), w.I32Load(0), w.I32Const(1), w.I32Ne, w.If(w.Unreachable),
		w.I32Const(happened), w.I32Load8U(10), w.I32Const(0), w.I32Ne,
		w.IfElse(0, w.Cat(
			vector(vectors, buffer, 5),
			w.I32Const(0), w.I32Const(vectors), w.I32Const(1), w.I32Const(moved), w.Call(f[0]), w.If(w.Unreachable),
			// nothing is the end: then the event has said so
			w.I32Const(moved), w.I32Load(0), w.I32Const(0), w.I32Ne,
			w.IfElse(0, say(buffer, w.Cat(w.I32Const(moved), w.I32Load(0))), w.Cat(
				w.I32Const(happened), w.I32Load8U(24), w.I32Const(1), w.I32Ne, w.If(w.Unreachable),
				w.I32Const(0), w.Call(f[2])))),
			say(1000, w.I32Const(1))),
		w.Br(0)))
	return m
}

// A program that waits for input and for a time gets both. It got no time: it waited for input
// alone.
func TestCommandPolls(t *testing.T) {
	noLeaks(t)
	n := newTenant(t, 0)
	l := newLoop(t)
	p := n.command(ticker(), listener())
	peer, end := l.wire(p)
	hear := func(want string) {
		t.Helper()
		var got []byte
		one := make([]byte, 1)
		for len(got) < len(want) {
			if _, err := io.ReadFull(peer, one); err != nil {
				t.Fatal(err)
			}
			if one[0] != '.' || want == "." {
				got = append(got, one[0])
			}
		}
		if string(got) != want {
			t.Fatalf("it says %q, want %q", got, want)
		}
	}
	for _, text := range []string{".", "hello", ".", "x", ".", "a longer line"} {
		if text != "." {
			if _, err := peer.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		hear(text)
	}
	sent := make([]byte, 20_000)
	for i := range sent {
		sent[i] = 'a' + byte(rand.IntN(26))
	}
	go func() {
		for rest := sent; len(rest) > 0; {
			k := min(len(rest), 1+rand.IntN(3000))
			if _, err := peer.Write(rest[:k]); err != nil {
				return
			}
			rest = rest[k:]
		}
		_ = peer.(*net.UnixConn).CloseWrite()
	}()
	got, err := io.ReadAll(peer)
	if got = bytes.ReplaceAll(got, []byte("."), nil); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes went and %d came, or others; %v", len(sent), len(got), err)
	}
	if r := end.wait(t); r != csa.Orderly {
		t.Errorf("it ended with %v", r)
	}
	p.awaitEnd(t)
}

// A program may read and write without waiting. O_NONBLOCK was refused.
func TestCommandDoesNotWait(t *testing.T) {
	noLeaks(t)
	n := newTenant(t, 0)
	l := newLoop(t)
	m, f := program()
	flags := m.Import("wasi_snapshot_preview1", "fd_fdstat_set_flags", "ii:i")
	// It says how its first read fails, writes until there is no room, and says that by ending
	// what it writes with "!", when there is room again. Then it echoes, asking again and again.
	m.Data(1000, "!")
	write := func(ptr, length int32) []byte {
		return w.Cat(vector(vectors, ptr, length), w.I32Const(1), w.I32Const(vectors), w.I32Const(1), w.I32Const(moved), w.Call(f[1]))
	}
	wait := w.Cat(w.I32Const(polled), w.I32Const(happened), w.I32Const(1), w.I32Const(moved), w.Call(f[3]), w.If(w.Unreachable))
	m.Func("_start", ":", "i",
		w.I32Const(0), w.I32Const(4), w.Call(flags), w.If(w.Unreachable),
		w.I32Const(1), w.I32Const(4), w.Call(flags), w.If(w.Unreachable),
		vector(vectors, buffer, 100), w.I32Const(0), w.I32Const(vectors), w.I32Const(1), w.I32Const(moved), w.Call(f[0]),
		w.I32Const(6), w.I32Ne, w.If(w.Unreachable),
		w.Loop(write(buffer, 100_000), w.LocalTee(0), w.I32Const(0), w.I32Ne, w.I32Const(1), w.I32Sub, w.BrIf(0)),
		w.LocalGet(0), w.I32Const(6), w.I32Ne, w.If(w.Unreachable),
		subscribeTo(polled, 2, 0), wait,
		write(1000, 1), w.If(w.Unreachable),
		w.Loop(
			vector(vectors, buffer, 100), w.I32Const(0), w.I32Const(vectors), w.I32Const(1), w.I32Const(moved), w.Call(f[0]), w.LocalTee(0),
			w.IfElse(0, w.Cat(w.LocalGet(0), w.I32Const(6), w.I32Ne, w.If(w.Unreachable), w.Br(1)), w.Cat(
				w.I32Const(moved), w.I32Load(0), w.I32Const(0), w.I32Ne, w.I32Const(1), w.I32Sub, w.If(w.I32Const(0), w.Call(f[2])),
				w.I32Const(vectors), w.I32Const(moved), w.I32Load(0), w.I32Store(4),
				w.I32Const(1), w.I32Const(vectors), w.I32Const(1), w.I32Const(moved), w.Call(f[1]), w.If(w.Unreachable),
				w.Br(1)))))
	p := n.command(m, listener())
	peer, end := l.wire(p)
	one := make([]byte, 1)
	for one[0] != '!' {
		if _, err := io.ReadFull(peer, one); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := peer.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(peer, got); err != nil || string(got) != "hello" {
		t.Fatalf("it says %q, %v", got, err)
	}
	closeWrite(t, peer)
	if r := end.wait(t); r != csa.Orderly {
		t.Errorf("it ended with %v", r)
	}
	p.awaitEnd(t)
}

// What a program is told about its connection, and by the configuration.
func TestCommandEnvironment(t *testing.T) {
	noLeaks(t)
	n := newTenant(t, 0)
	l := newLoop(t)
	li := listener()
	li.Name, li.Tenant, li.Config = "echo", "acme", []byte(`{"a":1}`)
	li.Args, li.Env = []string{"-v", "two words"}, []string{"TZ=UTC", "LISTENER=mine", "EMPTY="}
	m, f := program()
	var get [4]w.Func
	for i, name := range []string{"args_sizes_get", "args_get", "environ_sizes_get", "environ_get"} {
		get[i] = m.Import("wasi_snapshot_preview1", name, "ii:i")
	}
	var body []byte
	for i := range 2 {
		body = w.Cat(body,
			w.I32Const(polled), w.I32Const(polled+4), w.Call(get[2*i]), w.If(w.Unreachable),
			w.I32Const(happened), w.I32Const(buffer), w.Call(get[2*i+1]), w.If(w.Unreachable),
			vector(vectors, buffer, 0), w.I32Const(vectors), w.I32Const(polled+4), w.I32Load(0), w.I32Store(4),
			w.I32Const(1), w.I32Const(vectors), w.I32Const(1), w.I32Const(moved), w.Call(f[1]), w.If(w.Unreachable))
	}
	m.Func("_start", ":", "", body)
	p := n.command(m, li)
	peer, end := l.wire(p)
	got, err := io.ReadAll(peer)
	const want = "test.wasm\x00-v\x00two words\x00" +
		"SERVER_SOFTWARE=Bulkhead\x00TENANT=acme\x00CONFIG={\"a\":1}\x00TZ=UTC\x00LISTENER=mine\x00EMPTY=\x00"
	if err != nil || string(got) != want {
		t.Errorf("it was told\n%q, want\n%q; %v", got, want, err)
	}
	closeWrite(t, peer)
	end.wait(t)
	p.awaitEnd(t)
}
