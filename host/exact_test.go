package host_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/crc64"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/host"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/certstest"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// chunks is how many chunks the byte-exactness test moves in the clear; it moves a tenth of
// that each through TLS, and a thirtieth of larger ones through each kind of relay. CI moves
// a million under the race detector.
var chunks = flag.Int("chunks", 100_000, "chunks that TestByteExactness moves")

// Random data in random pieces goes both ways at once through the Wasm echo,
// with half-closes and slow readers: what comes back is what was sent, to the
// byte, and nothing is missing at the end.
func TestByteExactness(t *testing.T) {
	for _, instance := range []string{"loop", "connection", "listener"} {
		t.Run(instance, func(t *testing.T) {
			h := hosttest.Serve(t, echoConfig(t, instance, `inbox = "16KiB"`), host.Options{})
			exact(t, *chunks/3, 24<<10, func() (duplex, error) { return dialDuplex(h.Addr("echo")) })
		})
	}
}

// The same through TLS.
func TestByteExactnessOverTLS(t *testing.T) {
	h, config := exactHost(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			config := config.Clone()
			config.MinVersion, config.MaxVersion = version, version
			exact(t, *chunks/10, 24<<10, func() (duplex, error) { return dialTLS(h.Addr("tls"), config) })
		})
	}
}

// The same in TLS that a conversation in the clear has asked for.
func TestByteExactnessOverSTARTTLS(t *testing.T) {
	h, config := exactHost(t)
	exact(t, *chunks/10, 24<<10, func() (duplex, error) {
		c, err := dialDuplex(h.Addr("starttls"))
		if err == nil {
			err = ask(c, "STARTTLS", "go")
		}
		return tls.Client(c, config), err
	})
}

// The same through a relay: with the kernel's pipes, which carry what comes in bulk, and with
// TLS on one side of it, on the other, and on both.
func TestByteExactnessOverSplice(t *testing.T) {
	h, config := exactHost(t)
	for name, way := range map[string]struct {
		secure bool // the client's side
		to     string
	}{
		"plain":         {false, "tcp://" + h.Addr("echo")},
		"TLS to plain":  {true, "tcp://" + h.Addr("echo")},
		"plain to TLS":  {false, "tls://" + h.Addr("tls")},
		"TLS on either": {true, "tls://" + h.Addr("tls")},
	} {
		t.Run(name, func(t *testing.T) {
			dial := func() (c duplex, err error) {
				if way.secure {
					c, err = dialTLS(h.Addr("relay-over-tls"), config)
				} else {
					c, err = dialDuplex(h.Addr("relay"))
				}
				if err == nil {
					err = ask(c, way.to, "=A")
				}
				return c, err
			}
			exact(t, *chunks/30, 192<<10, dial)
			if name == "plain" && runtime.GOOS == "linux" {
				usesPipes(t, h, dial)
			}
		})
	}
}

// usesPipes wants a relay to hold bytes in a pipe when its client sends and does not read.
func usesPipes(t *testing.T, h *host.Host, dial func() (duplex, error)) {
	c, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		for b := make([]byte, 64<<10); err == nil; {
			_, err = c.Write(b)
		}
	}()
	hosttest.Eventually(t, "a pipe is used", func() bool { return h.Stats().Pipes > 0 })
	c.Close()
	<-over
	hosttest.Eventually(t, "no pipe is used any more", func() bool { return h.Stats().Pipes == 0 })
}

// exactHost echoes in the clear, in TLS, and after STARTTLS, and relays.
func exactHost(t *testing.T) (*host.Host, *tls.Config) {
	t.Helper()
	ca, dir := certstest.NewAuthority(t), t.TempDir()
	cert, key := ca.Write(t, dir, "server", "host.test", "127.0.0.1")
	secure := fmt.Sprintf("[listener.tls]\ncert = %q\nkey = %q\nhandshake_timeout = \"1m\"\n", cert, key)
	toml := fmt.Sprintf("[host]\nstate = %q\n[tenant.acme]\nconnect = [\"127.0.0.1:*\"]\naccept_rate = 100000\nbandwidth = \"10GiB/s\"\n", hosttest.State())
	for _, l := range []struct{ name, plugin, more string }{
		{"echo", plugin(t, "echo/echo.wasm"), ""},
		{"tls", plugin(t, "echo/echo.wasm"), secure},
		{"starttls", writeModule(t, asks()), secure + "starttls = true\n"},
		{"relay", writeModule(t, dialler(true)), ""},
		{"relay-over-tls", writeModule(t, dialler(true)), secure},
	} {
		toml += fmt.Sprintf("[[listener]]\nname = %q\ntenant = \"acme\"\naddress = \"tcp://127.0.0.1:0\"\nplugin = %q\ninbox = \"16KiB\"\nconnect_timeout = \"1m\"\n%s",
			l.name, l.plugin, l.more)
	}
	return hosttest.Serve(t, toml, host.Options{RootCAs: ca.Pool()}), &tls.Config{RootCAs: ca.Pool(), ServerName: "host.test"}
}

// asks is a guest that answers the first bytes with "go" and TLS, and then echoes.
func asks() *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"}, [2]string{"makessl", "iiii:i"})
	m.Data(100, "go")
	asked := m.Global('i', true, w.I32Const(0))
	m.Func("csa_data", "ii:i", "i",
		w.GlobalGet(asked), w.I32Const(0), w.I32Eq, w.If(
			w.I32Const(1), w.GlobalSet(asked),
			w.LocalGet(0), w.I32Const(100), w.I32Const(2), w.Call(f[0]), w.Drop,
			w.LocalGet(0), w.I32Const(abi.TLSServer), w.I32Const(0), w.I32Const(0), w.Call(f[1]), w.Drop,
			w.LocalGet(1), w.Return),
		w.LocalGet(0), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(f[0]), w.LocalTee(2),
		w.I32Const(0), w.I32LtS,
		w.IfElse('i', w.I32Const(0), w.LocalGet(2)))
	return m
}

// duplex is a connection that can be closed one way.
type duplex interface {
	net.Conn
	CloseWrite() error
}

func dialDuplex(addr string) (duplex, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), c.SetDeadline(awaittest.Deadline())
}

func dialTLS(addr string, config *tls.Config) (duplex, error) {
	c, err := dialDuplex(addr)
	if err != nil {
		return nil, err
	}
	return tls.Client(c, config), nil
}

// ask says something and wants an answer.
func ask(c net.Conn, what, answer string) error {
	if _, err := io.WriteString(c, what); err != nil {
		return err
	}
	got := make([]byte, len(answer))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != answer {
		return fmt.Errorf("%q is answered with %q, %v; want %q", what, got, err, answer)
	}
	return nil
}

// exact moves some chunks over connections of a kind, the longest of which are so long.
func exact(t *testing.T, n, longest int, dial func() (duplex, error)) {
	t.Helper()
	var left, connections atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 7))
			for left.Load() > 0 && !t.Failed() {
				exchange(t, dial, longest, rng, &left)
				connections.Add(1)
			}
		})
	}
	wg.Wait()
	t.Logf("%d connections", connections.Load())
}

var crcTable = crc64.MakeTable(crc64.ECMA)

// exchange sends a random number of chunks on one connection, from one
// goroutine, and reads the echo in another.
func exchange(t *testing.T, dial func() (duplex, error), longest int, rng *rand.Rand, left *atomic.Int64) {
	conn, err := dial()
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	n := int(min(int64(1+rng.IntN(2000)), max(1, left.Load())))
	left.Add(-int64(n))
	seed := rng.Uint64()
	slow := rng.IntN(4) == 0
	type sum struct {
		bytes int
		crc   uint64
	}
	sent := make(chan sum, 1)
	go func() {
		var s sum
		src := rand.New(rand.NewPCG(seed, 1))
		buf := make([]byte, longest)
		for range n {
			size := 1 + src.IntN(64)
			switch src.IntN(100) {
			case 0:
				size = 1 + src.IntN(len(buf))
			case 1, 2, 3, 4, 5:
				size = 1 + src.IntN(1500)
			}
			p := buf[:size]
			for i := 0; i+8 <= len(p); i += 8 {
				binary.LittleEndian.PutUint64(p[i:], src.Uint64())
			}
			w, err := conn.Write(p)
			s.crc = crc64.Update(s.crc, crcTable, p[:w])
			s.bytes += w
			if err != nil {
				t.Errorf("writing: %v", err)
				break
			}
		}
		if err := conn.CloseWrite(); err != nil {
			t.Errorf("half-closing: %v", err)
		}
		sent <- s
	}()
	var got sum
	buf := make([]byte, 8<<10)
	for {
		p := buf
		if slow {
			p = buf[:1+rng.IntN(len(buf))]
			if rng.IntN(64) == 0 {
				// This is a slow reader, not a wait.
				time.Sleep(time.Duration(rng.IntN(2000)) * time.Microsecond)
			}
		}
		r, err := conn.Read(p)
		got.crc = crc64.Update(got.crc, crcTable, p[:r])
		got.bytes += r
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Errorf("reading: %v", err)
			break
		}
	}
	if want := <-sent; got != want {
		t.Errorf("sent %d bytes (%x), got %d back (%x)", want.bytes, want.crc, got.bytes, got.crc)
	}
}

// One long message, far over every buffer, comes back whole.
func TestEchoOfALongMessage(t *testing.T) {
	h := hosttest.Serve(t, echoConfig(t, "connection", ""), host.Options{})
	conn := hosttest.Dial(t, h.Addr("echo"))
	long := bytes.Repeat([]byte("0123456789abcdef"), 1<<19) // 8 MiB
	go func() {
		_, _ = conn.Write(long)
		_ = conn.CloseWrite()
	}()
	back, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(back, long) {
		t.Errorf("%d bytes came back, %v; want %d", len(back), err, len(long))
	}
}
