package csa

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"testing"
)

// The Go that this is built with keeps the buffers of crypto/tls where they are looked
// for. If this fails, connections with TLS take twice the memory, and tls_library.go has to
// learn where they are now.
func TestBuffersOfTLSAreFound(t *testing.T) {
	if !tlsFields.known {
		t.Error("crypto/tls has no rawInput, input and hand of the known types any more")
	}
}

// An idle connection holds no buffer; connections take turns with the loop's, and part
// of a record keeps it from the others.
func TestTLSBuffersAreTheLoops(t *testing.T) {
	stays = true
	defer func() { stays = false }()
	for name, version := range versions {
		b := newBench(t)
		config := clientConfig()
		config.MinVersion, config.MaxVersion = version, version
		type end struct {
			c    *CSA
			peer net.Conn
			tls  *tls.Conn
			late *holding
		}
		var ends []end
		for range 3 {
			w := newWraps(Handshake{Config: serverConfig()})
			c, peer := b.tcp(w)
			late := &holding{Conn: peer}
			ends = append(ends, end{c, peer, tls.Client(late, config), late})
		}
		echo := func(e end, n int) {
			text := randomBytes(n, 5)
			if _, err := e.tls.Write(text); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, n)
			if _, err := io.ReadFull(e.tls, got); err != nil || !bytes.Equal(got, text) {
				t.Fatalf("TLS %s: other bytes came back, or %v", name, err)
			}
		}
		held := func(e end) (n int) {
			b.on(func() {
				s := e.c.transport.tls()
				raw, _, hand := tlsBuffers(s.conn)
				n = raw.Cap() + hand.Cap() + cap(s.layer.(*libraryRecords).early)
			})
			return n
		}
		for _, size := range []int{1, 16 << 10, 40} {
			for _, e := range ends {
				echo(e, size)
			}
		}
		for k, e := range ends {
			if n := held(e); n != 0 {
				t.Errorf("TLS %s: idle connection %d holds buffers of %d bytes", name, k, n)
			}
		}
		var shared int
		b.on(func() { shared = b.loop.records.Cap() })
		if shared == 0 || shared > 64<<10 {
			t.Errorf("TLS %s: the loop's buffer has %d bytes", name, shared)
		}
		// The first connection has half a record in it while the others go on.
		ends[0].late.hold(20)
		text := randomBytes(1000, 9)
		if _, err := ends[0].tls.Write(text); err != nil {
			t.Fatal(err)
		}
		b.until("part of a record is there", func() bool {
			raw, _, _ := tlsBuffers(ends[0].c.transport.tls().conn)
			return raw.Len() > 0
		})
		echo(ends[1], 3000)
		echo(ends[2], 20_000)
		if err := ends[0].late.release(); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(ends[0].tls, got); err != nil || !bytes.Equal(got, text) {
			t.Errorf("TLS %s: a record in two parts came back as something else, or %v", name, err)
		}
		if n := held(ends[0]); n != 0 {
			t.Errorf("TLS %s: after a record in two parts %d bytes are held", name, n)
		}
		for _, e := range ends {
			_ = e.tls.Close()
		}
		b.until("all are closed", func() bool { return b.loop.Len() == 0 })
	}
}

// holding keeps what is written behind the first bytes back.
type holding struct {
	net.Conn
	most int // 0: all goes
	kept []byte
}

func (h *holding) hold(most int) { h.most = most }

func (h *holding) release() error {
	h.most = 0
	_, err := h.Conn.Write(h.kept)
	return err
}

func (h *holding) Write(p []byte) (int, error) {
	if h.most == 0 {
		return h.Conn.Write(p)
	}
	first := p[:min(len(p), h.most)]
	h.kept = append(h.kept, p[len(first):]...)
	if _, err := h.Conn.Write(first); err != nil {
		return 0, err
	}
	return len(p), nil
}
