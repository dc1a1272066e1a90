package csa

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/recordtest"
)

// forge makes the handshake of a client that writes records by hand with the connection that a
// test has wired.
func forge(t *testing.T, peer net.Conn) *recordtest.Forger {
	t.Helper()
	g, err := recordtest.Forge(peer, clientConfig())
	if errors.Is(err, recordtest.ErrSuite) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// What a peer may do after the handshake that no honest one does to excess: each is either
// borne or ends the connection, and nothing grows without bound.
func TestTLSAfterTheHandshake(t *testing.T) { eachLayer(t, testTLSAfterTheHandshake) }

func testTLSAfterTheHandshake(t *testing.T) {
	hello := func(size int) []byte {
		return append([]byte{1, byte(size >> 16), byte(size >> 8), byte(size)}, make([]byte, size)...)
	}
	for name, try := range map[string]struct {
		send func(g *recordtest.Forger) []byte
		want abi.Code // abi.OK: "x" is echoed
	}{
		"a few new keys": {func(g *recordtest.Forger) []byte {
			return append(append(g.NewKeys(), g.NewKeys()...), g.Record(recordtest.Application, []byte("x"))...)
		}, abi.OK},
		"a key update in pieces": {func(g *recordtest.Forger) []byte {
			a := g.Record(recordtest.Handshake, []byte{24, 0})
			b := g.Record(recordtest.Handshake, []byte{0, 1, 0})
			g.TakeNewKeys()
			return append(append(a, b...), g.Record(recordtest.Application, []byte("x"))...)
		}, abi.OK},
		"nothing but new keys": {func(g *recordtest.Forger) []byte { return repeat(40, func() []byte { return g.NewKeys() }) }, abi.TLS},
		"empty records": {func(g *recordtest.Forger) []byte {
			return repeat(40, func() []byte { return g.Record(recordtest.Application, nil) })
		}, abi.TLS},
		"warnings": {func(g *recordtest.Forger) []byte {
			return repeat(40, func() []byte { return g.Record(recordtest.Alert, []byte{1, 90}) })
		}, abi.TLS},
		"renegotiation":          {func(g *recordtest.Forger) []byte { return g.Record(recordtest.Handshake, hello(100)) }, abi.TLS},
		"a message that is huge": {func(g *recordtest.Forger) []byte { return g.Record(recordtest.Handshake, hello(1 << 20)[:1000]) }, abi.TLS},
		"a message within another": {func(g *recordtest.Forger) []byte {
			return append(g.Record(recordtest.Handshake, []byte{24, 0}), g.Record(recordtest.Application, []byte("x"))...)
		}, abi.TLS},
		"a record of no kind": {func(g *recordtest.Forger) []byte { return g.Record(99, []byte("x")) }, abi.TLS},
		"a record too long":   {func(g *recordtest.Forger) []byte { return []byte{23, 3, 3, 0xff, 0xff} }, abi.TLS},
		"a fatal alert":       {func(g *recordtest.Forger) []byte { return g.Record(recordtest.Alert, []byte{2, 80}) }, abi.TLS},
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
				send(t, peer, string(g.Record(recordtest.Alert, []byte{1, 0})))
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
func TestTLSAnswersThatNobodyReads(t *testing.T) { eachLayer(t, testTLSAnswersThatNobodyReads) }

func testTLSAnswersThatNobodyReads(t *testing.T) {
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
		_, err = peer.Write(append(repeat(10, func() []byte { return g.NewKeys() }), g.Record(recordtest.Application, []byte("x"))...))
		b.clock.Advance(time.Second) // more at once would be too many
		if n%50 == 0 {
			b.on(func() { most = max(most, c.transport.tls().sealed.len()) })
		}
	}
	b.ended(s, TLSFlood.Because("the peer asks for new keys again and again, and does not read the answers"))
	if most == 0 || most > 2*mostUnasked {
		t.Errorf("%d bytes of answers waited at most", most)
	}
}
