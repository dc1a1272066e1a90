package host_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"hash/crc64"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/host"

	"bulkhead/host/hosttest"
)

// chunks is how many chunks the byte-exactness test moves; CI moves a
// million under the race detector.
var chunks = flag.Int("chunks", 100_000, "chunks that TestByteExactness moves")

// Random data in random pieces goes both ways at once through the Wasm echo,
// with half-closes and slow readers: what comes back is what was sent, to the
// byte, and nothing is missing at the end.
func TestByteExactness(t *testing.T) {
	for _, instance := range []string{"loop", "connection", "listener"} {
		t.Run(instance, func(t *testing.T) {
			h := hosttest.Serve(t, echoConfig(t, instance, `inbox = "16KiB"`), host.Options{})
			addr := h.Addr("echo")
			var left, connections atomic.Int64
			left.Store(int64(*chunks / 3))
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(i), 7))
					for left.Load() > 0 && !t.Failed() {
						exchange(t, addr, rng, &left)
						connections.Add(1)
					}
				})
			}
			wg.Wait()
			t.Logf("%d connections", connections.Load())
		})
	}
}

var crcTable = crc64.MakeTable(crc64.ECMA)

// exchange sends a random number of chunks on one connection, from one
// goroutine, and reads the echo in another.
func exchange(t *testing.T, addr string, rng *rand.Rand, left *atomic.Int64) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
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
		buf := make([]byte, 24<<10)
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
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
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
				time.Sleep(time.Duration(rng.IntN(2000)) * time.Microsecond) // a slow reader, not a wait
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
