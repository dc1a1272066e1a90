package plugins

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// shipped reads one of the examples.
func shipped(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile("../examples/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The shipped handlers start and answer.
func TestShippedHandlers(t *testing.T) {
	if testing.Short() {
		t.Skip("compiling takes a second, and waits for nothing")
	}
	for file, talk := range map[string][2]string{
		"echo/echo.wasm": {"hello", "hello"},
		"chat/chat.wasm": {"ann\r\n/who\r\n", ""},
	} {
		if underRace && file != "echo/echo.wasm" {
			continue
		}
		n := newTenant(t, 0).share()
		l := newLoop(t)
		m, err := n.r.Load(file, shipped(t, file), Events)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		i, err := m.Instantiate(listener())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(i.Close)
		peer, end := l.wire(i)
		if _, err := io.WriteString(peer, talk[0]); err != nil {
			t.Fatal(err)
		}
		closeWrite(t, peer)
		got, err := io.ReadAll(peer)
		if err != nil || len(got) == 0 || talk[1] != "" && string(got) != talk[1] {
			t.Errorf("%s answers %q, %v", file, got, err)
		}
		end.wait(t)
		l.on(i.Close)
	}
}

// The shipped command is a real toolchain's: it uses most of WASI.
func TestShippedCommand(t *testing.T) {
	if underRace || testing.Short() {
		t.Skip("compiling it takes too long")
	}
	noLeaks(t)
	n := newTenant(t, 0).share()
	l := newLoop(t)
	m, err := n.r.Load("rot13.wasm", shipped(t, "rot13-stdio/rot13.wasm"), Stdio)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	p, err := m.Stdio(listener())
	if err != nil {
		t.Fatal(err)
	}
	peer, end := l.wire(p)
	// It streams: the answer comes before the end.
	if _, err := io.WriteString(peer, "Uryyb, jbeyq!\n"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 14)
	if _, err := io.ReadFull(peer, got); err != nil || string(got) != "Hello, world!\n" {
		t.Errorf("it answers %q, %v", got, err)
	}
	go func() {
		_, _ = peer.Write(bytes.Repeat([]byte("nop"), 200_000))
		closeWrite(t, peer)
	}()
	rest, err := io.ReadAll(peer)
	if err != nil || !bytes.Equal(rest, bytes.Repeat([]byte("abc"), 200_000)) {
		t.Errorf("then it answers %d bytes, %v", len(rest), err)
	}
	if r := end.wait(t); r.Code != 0 {
		t.Errorf("it ended with %v", r)
	}
	p.awaitEnd(t)
	if text := n.log.text(); text != "" {
		t.Errorf("the log is %q", text)
	}
}

// What csa_write of csa.h takes is sent, all of it and in order, whatever room the inbox
// has at each time, and what csa_finish was told comes behind it.
func TestQueuedWritesOfC(t *testing.T) {
	code := shipped(t, "testdata/answers.wasm")
	const size = 1000
	for seed := range uint64(20) {
		n := newTenant(t, 0)
		i, err := n.load(code, Events).Instantiate(listener())
		if err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(seed, 1))
		f := &fake{}
		h := open(i, f)
		asked, left := 0, 0
		writable := func() { i.deliver(event{call: callWritable, handle: h, conn: f}) }
		for range 200 {
			f.room = random.IntN(3 * size)
			offered := left + size*random.IntN(3)
			if offered > 0 {
				used := i.data(h, f, int(offered))
				if used < 0 || used%size != 0 {
					t.Fatalf("of %d bytes it consumed %d", offered, used)
				}
				asked, left = asked+used/size, offered-used
			}
			f.room += random.IntN(size)
			writable()
		}
		f.room = 1 << 20
		writable()
		f.room = 2
		i.eof(h, f)
		if len(f.did) > 0 {
			t.Errorf("with something in its queue it says %v", f.did)
		}
		f.room = 1 << 20
		writable()
		writable()
		var want []byte
		for k := range uint32(asked) {
			want = append(binary.LittleEndian.AppendUint32(want, k), make([]byte, size-4)...)
		}
		if want = append(want, "over"...); !bytes.Equal(f.sent, want) {
			t.Errorf("of %d bytes it sent %d, or they differ", len(want), len(f.sent))
		}
		if !slices.Equal(f.did, []string{"producerFinished"}) {
			t.Errorf("at the end it says %v", f.did)
		}
		if c := n.log.counts; c["waits"] == 0 || c["full"] == 0 {
			t.Errorf("it has not waited: %v", c)
		}
		i.Close()
	}
}
