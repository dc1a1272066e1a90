package tlsrecord

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
)

// A connection goes on where crypto/tls was, whichever side it is: with each suite, anew and
// resumed, with a client's certificate and without. The other side stays crypto/tls's.
func TestTakeOver(t *testing.T) {
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			for _, asClient := range []bool{false, true} {
				client, server := w.shake(t)
				if asClient && w.resumed && w.version == tls.VersionTLS12 {
					// Nobody tells a client the secret. It stays crypto/tls's.
					if _, err := TakeOver(client.tls.ConnectionState(), true, &client.log, client.out.all, client.in.all); err != errNoSecrets {
						t.Fatal(err)
					}
					continue
				}
				ours, theirs := server, client
				if asClient {
					ours, theirs = client, server
				}
				c := ours.takeOver(t, asClient)
				converse(t, c, ours, theirs)
			}
		})
	}
}

// converse has both sides send, in records of many sizes, and end.
func converse(t *testing.T, c *Conn, ours, theirs *side) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 16 {
		n := random.IntN(1 << random.IntN(18))
		sent := make([]byte, n)
		for i := range sent {
			sent[i] = byte(random.Uint32())
		}
		if i%7 == 3 {
			c.Sleep()
		}
		sealed := c.Seal(nil, sent)
		if len(sealed) > c.Sealed(n) {
			t.Fatalf("%d bytes are %d sealed, and Sealed says %d", n, len(sealed), c.Sealed(n))
		}
		ours.Write(sealed)
		if got, err := theirs.readAll(); err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes of %d came: %v", len(got), n, err)
		}
		if n > 0 {
			if _, err := theirs.tls.Write(sent); err != nil {
				t.Fatal(err)
			}
		}
		if got, _, err := openAll(c, ours.take()); err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes of %d came to us: %v", len(got), n, err)
		}
	}
	ours.Write(c.Close(nil))
	if _, err := theirs.readAll(); err != io.EOF {
		t.Fatalf("after close_notify: %v", err)
	}
	if b := c.Seal(nil, []byte("x")); b != nil {
		t.Error("something is sealed after close_notify")
	}
	if _, err := theirs.tls.Write([]byte("last")); err != nil {
		t.Fatal(err)
	}
	if err := theirs.tls.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, kinds, err := openAll(c, ours.take())
	if string(got) != "last" || !slices.Equal(kinds, []Got{Data, Closed}) || err != nil {
		t.Errorf("%q, %v, %v", got, kinds, err)
	}
	if _, _, err := c.Open(nil, []byte{typeData, 3, 3, 0, 0}); err == nil {
		t.Error("a record is opened after close_notify")
	}
}

// A side that goes over to new keys after each so many records is understood, and so is one that is
// asked for them in between.
func TestNewKeys(t *testing.T) {
	for _, w := range ways() {
		if w.version != tls.VersionTLS13 || w.resumed {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			client, server := w.shake(t)
			ours := server.takeOver(t, false)
			few := *ours.suite
			few.most = 3
			ours.suite = &few
			peer := client.takeOver(t, true) // crypto/tls asks for none
			skipTickets(t, peer, client)
			for i := range 50 {
				sent := []byte{byte(i)}
				if i%5 == 0 {
					peer.askForKeys(client)
					_, got, err := openAll(ours, server.take())
					if err != nil || !slices.Equal(got, []Got{Asked}) {
						t.Fatalf("asked for keys: %v, %v", got, err)
					}
					server.Write(ours.Answer(nil))
					if again := ours.Answer(nil); again != nil {
						t.Fatal("it answers twice")
					}
				}
				server.Write(ours.Seal(nil, sent))
				if got, _, err := openAll(peer, client.take()); err != nil || !bytes.Equal(got, sent) {
					t.Fatalf("%d: %v, %v", i, got, err)
				}
				client.Write(peer.Seal(nil, sent))
				if got, _, err := openAll(ours, server.take()); err != nil || !bytes.Equal(got, sent) {
					t.Fatalf("%d: %v, %v", i, got, err)
				}
			}

			// crypto/tls as the peer follows, too.
			client, server = w.shake(t)
			ours = server.takeOver(t, false)
			ours.suite = &few
			for i := range 20 {
				server.Write(ours.Seal(nil, []byte{byte(i)}))
				if got, err := client.readAll(); err != nil || !bytes.Equal(got, []byte{byte(i)}) {
					t.Fatalf("%d: %v, %v", i, got, err)
				}
			}
		})
	}
}

// askForKeys takes new keys, and asks for new ones of the peer.
func (c *Conn) askForKeys(to *side) {
	to.Write(c.seal(nil, typeHandshake, []byte{messageKeyUpdate, 0, 0, 1, 1}))
	c.out.next(c.suite)
}

// skipTickets has a client open what the server has sent behind its handshake.
func skipTickets(t *testing.T, c *Conn, s *side) {
	t.Helper()
	if got, kinds, err := openAll(c, s.take()); err != nil || len(got) > 0 || slices.Contains(kinds, Data) {
		t.Fatalf("%q, %v, %v", got, kinds, err)
	}
}

// plainWay is one that all tests of faults can use.
func plainWay(version uint16) way {
	id := tls.TLS_AES_128_GCM_SHA256
	if version == tls.VersionTLS12 {
		id = tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
	}
	return way{name: tls.CipherSuiteName(id), version: version, suite: id}
}

// What the peer may not send ends the connection, with the alert that crypto/tls sends for it.
func TestFaults(t *testing.T) {
	type fault struct {
		name     string
		version  uint16
		make     func(peer *Conn) []byte
		want     tls.AlertError
		stricter bool // than crypto/tls
	}
	record := func(kind byte, p ...byte) func(*Conn) []byte {
		return func(peer *Conn) []byte { return peer.seal(nil, kind, p) }
	}
	spoiled := func(at int) func(*Conn) []byte {
		return func(peer *Conn) []byte {
			b := peer.Seal(nil, []byte("hello"))
			b[(at+len(b))%len(b)] ^= 1
			return b
		}
	}
	empty := func(peer *Conn) (b []byte) {
		for range mostUseless + 1 {
			b = peer.seal(b, typeData, nil)
		}
		return b
	}
	const v12, v13 = tls.VersionTLS12, tls.VersionTLS13
	for _, f := range []fault{
		{name: "a bit of the tag", version: v13, make: spoiled(-1), want: alertBadRecordMAC},
		{name: "a bit of the tag", version: v12, make: spoiled(-1), want: alertBadRecordMAC},
		{name: "a bit of the data", version: v13, make: spoiled(Header), want: alertBadRecordMAC},
		{name: "a bit of the nonce", version: v12, make: spoiled(Header), want: alertBadRecordMAC},
		{name: "another version", version: v13, make: spoiled(2), want: alertProtocolVersion},
		{name: "another version", version: v12, make: spoiled(2), want: alertProtocolVersion},
		{name: "another kind outside", version: v13, make: spoiled(0), want: alertBadRecordMAC},
		{name: "another kind outside", version: v12, make: spoiled(0), want: alertBadRecordMAC},
		{name: "a record twice", version: v13, make: func(peer *Conn) []byte { b := peer.Seal(nil, []byte("x")); return append(b, b...) }, want: alertBadRecordMAC},
		{name: "a record twice", version: v12, make: func(peer *Conn) []byte { b := peer.Seal(nil, []byte("x")); return append(b, b...) }, want: alertBadRecordMAC},
		{name: "a record left out", version: v13, make: func(peer *Conn) []byte { peer.Seal(nil, []byte("x")); return peer.Seal(nil, []byte("x")) }, want: alertBadRecordMAC},
		{name: "too short for a tag", version: v13, make: func(*Conn) []byte { return []byte{typeData, 3, 3, 0, 3, 1, 2, 3} }, want: alertBadRecordMAC},
		{name: "too short for a nonce", version: v12, make: func(*Conn) []byte { return []byte{typeData, 3, 3, 0, 3, 1, 2, 3} }, want: alertBadRecordMAC},
		{name: "empty outside", version: v13, make: func(*Conn) []byte { return []byte{typeData, 3, 3, 0, 0} }, want: alertBadRecordMAC},
		{name: "too long", version: v13, make: func(*Conn) []byte { return append([]byte{typeData, 3, 3, 0x41, 1}, make([]byte, 0x4101)...) }, want: alertRecordOverflow},
		{name: "too long", version: v12, make: func(*Conn) []byte { return append([]byte{typeData, 3, 3, 0x48, 1}, make([]byte, 0x4801)...) }, want: alertRecordOverflow},
		{name: "too much data", version: v13, make: record(typeData, make([]byte, MostPlain+1)...), want: alertRecordOverflow},
		{name: "too much data", version: v12, make: record(typeData, make([]byte, MostPlain+1)...), want: alertRecordOverflow},
		{name: "padding alone", version: v13, make: record(0), want: alertUnexpectedMessage},
		{name: "in the clear", version: v13, make: func(*Conn) []byte { return []byte{typeAlert, 3, 3, 0, 2, 1, 0} }, want: alertBadRecordMAC},
		{name: "in the clear", version: v12, make: func(*Conn) []byte { return []byte{typeAlert, 3, 3, 0, 2, 1, 0} }, want: alertBadRecordMAC},
		{name: "a change of cipher behind the handshake", version: v13, make: func(*Conn) []byte { return []byte{typeChangeCipherSpec, 3, 3, 0, 1, 1} }, want: alertUnexpectedMessage, stricter: true},
		{name: "a change of cipher that is sealed", version: v13, make: record(typeChangeCipherSpec, 1), want: alertUnexpectedMessage, stricter: true},
		{name: "a change of cipher that is sealed", version: v12, make: record(typeChangeCipherSpec, 1), want: alertUnexpectedMessage},
		{name: "an unknown kind", version: v13, make: record(99, 1), want: alertUnexpectedMessage},
		{name: "an unknown kind", version: v12, make: record(99, 1), want: alertUnexpectedMessage},
		{name: "an alert of one byte", version: v13, make: record(typeAlert, 1), want: alertUnexpectedMessage},
		{name: "an alert without a level", version: v12, make: record(typeAlert, 9, 40), want: alertUnexpectedMessage},
		{name: "an empty handshake", version: v13, make: record(typeHandshake), want: alertUnexpectedMessage},
		{name: "a second handshake", version: v12, make: record(typeHandshake, 1, 0, 0, 1, 0), want: alertUnexpectedMessage, stricter: true},
		{name: "a client's ticket", version: v13, make: record(typeHandshake, messageNewSessionTicket, 0, 0, 1, 0), want: alertUnexpectedMessage, stricter: true},
		{name: "a message of no kind", version: v13, make: record(typeHandshake, 77, 0, 0, 0), want: alertUnexpectedMessage},
		{name: "keys with another length", version: v13, make: record(typeHandshake, messageKeyUpdate, 0, 0, 2, 0, 0), want: alertDecodeError, stricter: true},
		{name: "keys without a length", version: v13, make: record(typeHandshake, messageKeyUpdate, 0, 0, 0), want: alertDecodeError, stricter: true},
		{name: "keys that ask for what is not", version: v13, make: record(typeHandshake, messageKeyUpdate, 0, 0, 1, 2), want: alertIllegalParameter, stricter: true},
		{name: "keys with something behind", version: v13, make: record(typeHandshake, messageKeyUpdate, 0, 0, 1, 0, messageKeyUpdate, 0, 0, 1, 0), want: alertUnexpectedMessage, stricter: true},
		{name: "17 empty records", version: v12, make: empty, want: alertUnexpectedMessage},
		{name: "17 empty records", version: v13, make: empty, want: alertUnexpectedMessage},
		{name: "data inside of a message", version: v13, make: func(peer *Conn) []byte {
			return peer.Seal(peer.seal(nil, typeHandshake, []byte{messageKeyUpdate, 0}), []byte("x"))
		}, want: alertUnexpectedMessage},
	} {
		t.Run(tls.VersionName(f.version)+" "+f.name, func(t *testing.T) {
			client, server := plainWay(f.version).shake(t)
			ours, peer := server.takeOver(t, false), client.takeOver(t, true)
			sent := f.make(peer)
			theirs := slices.Clone(sent) // for crypto/tls
			_, _, err := openAll(ours, sent)
			var fault *Error
			if !errors.As(err, &fault) || fault.Alert != f.want {
				t.Fatalf("%v, want the alert %v", err, f.want)
			}
			// The peer hears of it.
			skipTickets(t, peer, client)
			hears := func(b []byte) tls.AlertError {
				listening := *peer
				var said *Remote
				if _, _, err := openAll(&listening, b); !errors.As(err, &said) {
					t.Fatalf("the peer hears %v", err)
				}
				return said.Alert
			}
			if heard := hears(ours.Alert(nil, fault)); heard != f.want {
				t.Errorf("the peer hears %v", heard)
			}
			if b := ours.Seal(nil, []byte("x")); b != nil {
				t.Error("something is sealed after an alert")
			}
			if f.stricter {
				return
			}
			client.Write(theirs)
			if _, err := server.readAll(); err == nil {
				t.Fatal("crypto/tls takes it")
			}
			if heard := hears(client.take()); heard != f.want {
				t.Errorf("crypto/tls says %v", heard)
			}
		})
	}
}
