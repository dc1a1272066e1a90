package csa

import (
	"crypto/tls"
	"io"
	"testing"
	"time"

	"bulkhead/internal/awaittest"
)

// A handshake goes on when the bandwidth has come back. It used to read no more after it
// had been slowed down once, and failed for want of time.
func TestTLSHandshakeSurvivesTheBandwidth(t *testing.T) {
	eachLayer(t, testTLSHandshakeSurvivesTheBandwidth)
}

func testTLSHandshakeSurvivesTheBandwidth(t *testing.T) {
	b := newBench(t)
	for _, wait := range []func(){ // before the first byte is read, and after it
		func() { b.acct.waitIn.Store(int64(time.Second)) },
		func() { b.acct.waitAfter.Store(int64(time.Second)) },
	} {
		w := newWraps(Handshake{Config: serverConfig()})
		c, peer := b.tcp(w)
		wait()
		conn := tls.Client(peer, clientConfig())
		done := make(chan error, 1)
		go func() {
			_, err := conn.Write([]byte("x"))
			done <- err
		}()
		b.until("it is slowed down", func() bool { return c.is(slowIn) })
		b.turns()
		b.acct.waitIn.Store(0)
		b.clock.Advance(time.Second)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		wantRead(t, conn, "x")
		_ = conn.Close()
		b.ended(w.script, Orderly)
	}
}

// A peer's part of the handshake may be longer than what is read ahead. It used to be waited
// for in vain when the handshake had nothing to say in between.
func TestTLSHandshakeOfALongCertificate(t *testing.T) {
	eachLayer(t, testTLSHandshakeOfALongCertificate)
}

func testTLSHandshakeOfALongCertificate(t *testing.T) {
	b := newBench(t)
	server := serverConfig()
	server.ClientAuth = tls.RequestClientCert
	w := newWraps(Handshake{Config: server})
	_, peer := b.tcp(w)
	config := clientConfig()
	own := serverConfig().Certificates[0]
	long := own
	for size := 0; size < 120_000; size += len(own.Certificate[0]) {
		long.Certificate = append(long.Certificate[:len(long.Certificate):len(long.Certificate)], own.Certificate[0])
	}
	config.Certificates = []tls.Certificate{long}
	_ = peer.SetDeadline(awaittest.Deadline())
	c := tls.Client(peer, config)
	send(t, c, "x")
	wantRead(t, c, "x")
	_ = c.Close()
	b.ended(w.script, Orderly)
}

// lastWords has the peer say something and its close_notify in one segment, without
// closing its socket.
func lastWords(t *testing.T, b *bench, s *script) (*CSA, func(), io.Closer) {
	t.Helper()
	c, peer := b.tcp(&wraps{script: s, h: Handshake{Config: serverConfig()}})
	over := &through{Conn: peer}
	conn := tls.Client(over, clientConfig())
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	b.until("it is up", func() bool { return c.isSecure() })
	return c, func() {
		held := &holdBack{Conn: peer}
		over.hold = held
		send(t, conn, "bye")
		_ = conn.CloseWrite()
		_ = peer.SetWriteDeadline(time.Time{}) // CloseWrite has set one
		send(t, peer, held.b.String())
	}, peer
}

// A close_notify that came with the last bytes is not forgotten while the bandwidth is used
// up. It used to be waited for once more, until the connections were idle for too long.
func TestSpliceTLSEndsWithTheBandwidthUsedUp(t *testing.T) {
	b := newBench(t)
	ca, say, pa := lastWords(t, b, &script{})
	cb, pb := b.tcp(&script{})
	b.on(func() { Splice(ca, cb) })
	b.acct.waitAfter.Store(int64(time.Second))
	say()
	b.until("it is slowed down", func() bool { return ca.is(slowIn) })
	wantRead(t, pb, "bye")
	b.clock.Advance(time.Second)
	wantEOF(t, pb)
	_, _ = pa.Close(), pb.Close()
	b.until("both are gone", func() bool { return b.loop.Len() == 0 })
}

// The same, of a connection that is finishing: it ends when the peer has said goodbye, and
// not when the time to linger is over.
func TestTLSFinishesWithThePeersGoodbye(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Second} {
		b := newBench(t)
		s := &script{}
		c, say, peer := lastWords(t, b, s)
		b.on(func() { c.ProducerFinished() })
		b.until("it has said so", func() bool { return c.is(writeShut) })
		b.acct.waitAfter.Store(int64(wait))
		say()
		if wait > 0 {
			b.until("it is slowed down", func() bool { return c.is(slowIn) })
			b.clock.Advance(wait)
		}
		b.ended(s, Orderly)
		_ = peer.Close()
	}
}

// A peer that has sent all, its close_notify and its end while the handshake was still being
// worked on has said so. It used to be taken for one that was cut off, as the end of the
// socket was known before the close_notify was read.
func TestTLSWholeConversationBehindTheHandshake(t *testing.T) {
	eachLayer(t, testTLSWholeConversationBehindTheHandshake)
}

func testTLSWholeConversationBehindTheHandshake(t *testing.T) {
	for name, version := range versions {
		b := newBench(t)
		share := NewHandshakeShare(nil, nil)
		w := newWraps(Handshake{Config: serverConfig(), Share: share})
		c, peer := b.tcp(w)
		config := clientConfig()
		config.MinVersion, config.MaxVersion = version, version
		held := &holdBack{Conn: peer}
		over := &through{Conn: peer}
		conn := tls.Client(over, config)
		if version == tls.VersionTLS13 {
			over.first = held // what is behind the ClientHello
		}
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		over.hold = held
		send(t, conn, "hello")
		_ = conn.CloseWrite()
		if version == tls.VersionTLS13 {
			b.until("it waits for its peer", func() bool { return c.transport.tls().running && len(share.slots) == 0 })
			for range cap(share.slots) {
				share.slots <- struct{}{}
			}
		}
		_ = peer.SetWriteDeadline(time.Time{})
		send(t, peer, held.b.String())
		_ = peer.CloseWrite()
		if version == tls.VersionTLS13 {
			b.until("the end has come", func() bool { return c.transport.tls().cut })
			for range cap(share.slots) {
				<-share.slots
			}
		}
		if got, err := io.ReadAll(conn); string(got) != "hello" || err != nil {
			t.Errorf("TLS %s: it answers %q, %v", name, got, err)
		}
		b.ended(w.script, Orderly)
	}
}
