package csa

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/internal/awaittest"
)

// forger is a TLS 1.3 peer that makes its records by hand, as crypto/tls's would not: with
// the keys that a handshake of its has left in a key log.
type forger struct {
	net.Conn
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

// forge makes the handshake with the connection that a test has wired.
func forge(t *testing.T, peer net.Conn) *forger {
	t.Helper()
	log := &strings.Builder{}
	config := clientConfig()
	config.MinVersion, config.KeyLogWriter = tls.VersionTLS13, log
	conn := tls.Client(peer, config)
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	if suite := conn.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skipf("the suite is %s", tls.CipherSuiteName(suite))
	}
	for line := range strings.Lines(log.String()) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(f[2])
			if err != nil {
				t.Fatal(err)
			}
			g := &forger{Conn: peer}
			g.use(t, secret)
			return g
		}
	}
	t.Fatal("the key log has no secret of the client's")
	return nil
}

// use derives the keys of a secret (RFC 8446, 7.3).
func (g *forger) use(t *testing.T, secret []byte) {
	block, err := aes.NewCipher(expand(t, secret, "key", 16))
	if err != nil {
		t.Fatal(err)
	}
	if g.aead, err = cipher.NewGCM(block); err != nil {
		t.Fatal(err)
	}
	g.secret, g.iv, g.seq = secret, expand(t, secret, "iv", 12), 0
}

func expand(t *testing.T, secret []byte, label string, n int) []byte {
	label = "tls13 " + label
	info := string([]byte{byte(n >> 8), byte(n), byte(len(label))}) + label + "\x00"
	key, err := hkdf.Expand(sha256.New, secret, info, n)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// record seals some bytes of a kind.
func (g *forger) record(kind byte, p []byte) []byte {
	n := len(p) + 1 + g.aead.Overhead()
	head := []byte{23, 3, 3, byte(n >> 8), byte(n)}
	nonce := append([]byte(nil), g.iv...)
	binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^g.seq)
	g.seq++
	return g.aead.Seal(head, nonce, append(append([]byte(nil), p...), kind), head)
}

const (
	kindAlert       = 21
	kindHandshake   = 22
	kindApplication = 23
)

// newKeys asks for new keys of the other side, and takes new ones itself.
func (g *forger) newKeys(t *testing.T) []byte {
	r := g.record(kindHandshake, []byte{24, 0, 0, 1, 1})
	g.use(t, expand(t, g.secret, "traffic upd", sha256.Size))
	return r
}

// What a peer may do after the handshake that no honest one does to excess: each is either
// borne or ends the connection, and nothing grows without bound.
func TestTLSAfterTheHandshake(t *testing.T) {
	hello := func(size int) []byte {
		return append([]byte{1, byte(size >> 16), byte(size >> 8), byte(size)}, make([]byte, size)...)
	}
	for name, try := range map[string]struct {
		send func(g *forger) []byte
		want abi.Code // abi.OK: "x" is echoed
	}{
		"a few new keys": {func(g *forger) []byte {
			return append(append(g.newKeys(t), g.newKeys(t)...), g.record(kindApplication, []byte("x"))...)
		}, abi.OK},
		"a key update in pieces": {func(g *forger) []byte {
			a := g.record(kindHandshake, []byte{24, 0})
			b := g.record(kindHandshake, []byte{0, 1, 0})
			g.use(t, expand(t, g.secret, "traffic upd", 32))
			return append(append(a, b...), g.record(kindApplication, []byte("x"))...)
		}, abi.OK},
		"nothing but new keys":   {func(g *forger) []byte { return repeat(40, func() []byte { return g.newKeys(t) }) }, abi.TLS},
		"empty records":          {func(g *forger) []byte { return repeat(40, func() []byte { return g.record(kindApplication, nil) }) }, abi.TLS},
		"warnings":               {func(g *forger) []byte { return repeat(40, func() []byte { return g.record(kindAlert, []byte{1, 90}) }) }, abi.TLS},
		"renegotiation":          {func(g *forger) []byte { return g.record(kindHandshake, hello(100)) }, abi.TLS},
		"a message that is huge": {func(g *forger) []byte { return g.record(kindHandshake, hello(1 << 20)[:1000]) }, abi.TLS},
		"a message within another": {func(g *forger) []byte {
			return append(g.record(kindHandshake, []byte{24, 0}), g.record(kindApplication, []byte("x"))...)
		}, abi.TLS},
		"a record of no kind": {func(g *forger) []byte { return g.record(99, []byte("x")) }, abi.TLS},
		"a record too long":   {func(g *forger) []byte { return []byte{23, 3, 3, 0xff, 0xff} }, abi.TLS},
		"a fatal alert":       {func(g *forger) []byte { return g.record(kindAlert, []byte{2, 80}) }, abi.TLS},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			w := newWraps(Handshake{Config: serverConfig()})
			_, peer := b.tcp(w)
			g := forge(t, peer)
			_ = peer.SetDeadline(awaittest.Deadline())
			send(t, peer, string(try.send(g)))
			if try.want == abi.OK {
				b.until("it is handed over", func() bool { return strings.HasSuffix(w.log[len(w.log)-1], "data x") })
				send(t, peer, string(g.record(kindAlert, []byte{1, 0})))
			}
			_, _ = io.ReadAll(peer)
			_ = peer.Close()
			b.ended(w.script, Reason{Code: try.want})
		})
	}
}

func repeat(n int, f func() []byte) (all []byte) {
	for range n {
		all = append(all, f()...)
	}
	return all
}

// A peer that asks for new keys again and again, with a byte of data between so that it
// seems to get on, and does not read the answers, has them pile up. There was no bound.
func TestTLSAnswersThatNobodyReads(t *testing.T) {
	b := newBench(t)
	s := &script{window: make([]byte, 64<<10)}
	c, peer := b.tcp(&wraps{script: s, h: Handshake{Config: serverConfig()}})
	g := forge(t, peer)
	b.set.WriteTimeout = time.Hour
	_ = peer.SetReadBuffer(64 << 10)
	b.fill(c)
	_ = peer.SetDeadline(awaittest.Deadline())
	most := 0
	var err error
	for n := 0; n < 10_000 && err == nil; n++ {
		_, err = peer.Write(append(repeat(10, func() []byte { return g.newKeys(t) }), g.record(kindApplication, []byte("x"))...))
		b.clock.Advance(time.Second) // more at once would be too many
		if n%50 == 0 {
			b.on(func() { most = max(most, c.secure.sealed.len()) })
		}
	}
	b.ended(s, TLSFlood.Because("the peer asks for new keys again and again, and does not read the answers"))
	if most == 0 || most > 2*mostUnasked {
		t.Errorf("%d bytes of answers waited at most", most)
	}
}
