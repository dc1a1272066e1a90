package tlsrecord

import (
	"bytes"
	"crypto/fips140"
	"crypto/tls"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// What asks for nothing is passed over, and data go on behind it.
func TestNothing(t *testing.T) {
	const v12, v13 = tls.VersionTLS12, tls.VersionTLS13
	for _, n := range []struct {
		name    string
		version uint16
		make    func(peer *Conn) []byte
		want    []Got
	}{
		{"an empty record", v12, func(p *Conn) []byte { return p.seal(nil, typeData, nil) }, []Got{Nothing}},
		{"an empty record", v13, func(p *Conn) []byte { return p.seal(nil, typeData, nil) }, []Got{Nothing}},
		{"a warning", v12, func(p *Conn) []byte { return p.seal(nil, typeAlert, []byte{alertWarning, 41}) }, []Got{Nothing}},
		{"user_canceled", v13, func(p *Conn) []byte { return p.seal(nil, typeAlert, []byte{alertWarning, alertUserCanceled}) }, []Got{Nothing}},
		{"padding", v13, func(p *Conn) []byte { return p.seal(nil, 0, append([]byte("x\x17"), make([]byte, 500)...)) }, []Got{Data}},
		{"new keys, byte by byte", v13, func(p *Conn) (b []byte) {
			for _, one := range keyUpdate {
				b = p.sealNext(b, typeHandshake, []byte{one})
			}
			p.out.next(p.suite)
			return b
		}, []Got{Nothing, Nothing, Nothing, Nothing, Nothing}},
		{"two requests for keys", v13, func(p *Conn) (b []byte) {
			for range 2 {
				b = p.seal(b, typeHandshake, []byte{messageKeyUpdate, 0, 0, 1, 1})
				p.out.next(p.suite)
			}
			return b
		}, []Got{Asked, Asked}},
	} {
		t.Run(tls.VersionName(n.version)+" "+n.name, func(t *testing.T) {
			client, server := plainWay(n.version).shake(t)
			ours, peer := server.takeOver(t, false), client.takeOver(t, true)
			skipTickets(t, peer, client)
			_, got, err := openAll(ours, n.make(peer))
			if err != nil || !slices.Equal(got, n.want) {
				t.Fatalf("%v, %v", got, err)
			}
			if plain, _, err := openAll(ours, peer.Seal(nil, []byte("on"))); string(plain) != "on" || err != nil {
				t.Fatalf("%q, %v", plain, err)
			}
			if plain, _, err := openAll(peer, ours.Seal(ours.Answer(nil), []byte("on"))); string(plain) != "on" || err != nil {
				t.Fatalf("and back: %q, %v", plain, err)
			}
		})
	}
}

// The peer's alert ends the connection, and says so.
func TestRemote(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client, server := plainWay(version).shake(t)
		ours, peer := server.takeOver(t, false), client.takeOver(t, true)
		_, _, err := openAll(ours, peer.Alert(nil, &Error{Alert: 48}))
		var remote *Remote
		if !errors.As(err, &remote) || remote.Alert != 48 {
			t.Errorf("%v", err)
		}
		if _, _, err := ours.Open(nil, peer.Seal(nil, []byte("x"))); err == nil {
			t.Error("it goes on")
		}
	}
}

// Data come where the caller wants them if there is room, and else where the record was.
func TestOpenInto(t *testing.T) {
	client, server := plainWay(tls.VersionTLS13).shake(t)
	ours, peer := server.takeOver(t, false), client.takeOver(t, true)
	for _, room := range []int{0, 5, 6, 100} { // five bytes and their kind
		record := peer.Seal(nil, []byte("hello"))
		dst := make([]byte, 0, room)
		plain, _, err := ours.Open(dst, record)
		if err != nil || string(plain) != "hello" {
			t.Fatalf("%q, %v", plain, err)
		}
		if room >= 6 != (room > 0 && &plain[0] == &dst[:1][0]) {
			t.Errorf("with room for %d the data are elsewhere", room)
		}
	}
}

// What crypto/tls has not said, or was not said of this connection, is not taken over.
func TestNotTakenOver(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client, server := plainWay(version).shake(t)
		state := server.tls.ConnectionState()
		var none KeyLog
		if _, err := TakeOver(state, false, &none, server.out.all, server.in.all); err != errNoSecrets {
			t.Errorf("without secrets: %v", err)
		}
		cut := server.out.all[:len(server.out.all)-1]
		if _, err := TakeOver(state, false, &server.log, cut, server.in.all); err != errTranscript {
			t.Errorf("without the last byte: %v", err)
		}
		_, other := plainWay(version).shake(t)
		c, err := TakeOver(state, false, &other.log, server.out.all, server.in.all)
		if version == tls.VersionTLS12 {
			if err != errTranscript {
				t.Errorf("with another connection's secret: %v", err)
			}
		} else if c.out.seq != 0 { // the ticket cannot be told from the handshake then
			t.Error("with another connection's secret a ticket opens")
		}
		state.CipherSuite = tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA
		if _, err := TakeOver(state, false, &server.log, server.out.all, server.in.all); err != ErrNot {
			t.Errorf("a suite without an AEAD: %v", err)
		}
		_ = client
	}
}

// Where FIPS 140 holds, records stay with what was validated.
func TestFIPS(t *testing.T) {
	if !fips140.Enabled() {
		test := exec.Command(os.Args[0], "-test.run", "^TestFIPS$", "-test.v")
		test.Env = append(os.Environ(), "GODEBUG=fips140=on")
		if out, err := test.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestFIPS") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	_, server := plainWay(tls.VersionTLS13).shake(t)
	if _, err := TakeOver(server.tls.ConnectionState(), false, &server.log, server.out.all, server.in.all); err != ErrNot {
		t.Errorf("it is taken over: %v", err)
	}
}

func TestKeyLog(t *testing.T) {
	var l KeyLog
	for line, ok := range map[string]bool{
		"CLIENT_TRAFFIC_SECRET_0 00 0102\n":       true,
		"SERVER_HANDSHAKE_TRAFFIC_SECRET 00 ff\n": true, // not needed
		"CLIENT_RANDOM 00\n":                      false,
		"":                                        false,
		"CLIENT_RANDOM 00 0g\n":                   false,
		"SERVER_TRAFFIC_SECRET_0 00 " + string(bytes.Repeat([]byte("0"), 98)): false,
	} {
		if n, err := l.Write([]byte(line)); (err == nil) != ok || ok && n != len(line) {
			t.Errorf("%q: %d, %v", line, n, err)
		}
	}
	if !bytes.Equal(l.client.bytes(), []byte{1, 2}) || l.server.n != 0 || l.master.n != 0 {
		t.Errorf("it has %v", l)
	}
	l.Wipe()
	if l != (KeyLog{}) {
		t.Error("it is not wiped")
	}
}

// An idle connection is a few hundred bytes, and a record costs no allocation.
func TestSmall(t *testing.T) {
	if n := unsafe.Sizeof(Conn{}); n > 320 {
		t.Errorf("a connection has %d bytes", n)
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client, server := plainWay(version).shake(t)
		ours, peer := server.takeOver(t, false), client.takeOver(t, true)
		p, b := make([]byte, 100), make([]byte, 0, 200)
		plain := make([]byte, 0, 200)
		if n := testing.AllocsPerRun(100, func() {
			b = peer.Seal(b[:0], p)
			if _, _, err := ours.Open(plain, b); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations a record", tls.VersionName(version), n)
		}
	}
}

// FuzzOpen gives a server what a client has sealed: kinds and data are the fuzzer's, and so are
// bytes of the wire. It ends at the first error, and never otherwise.
func FuzzOpen(f *testing.F) {
	f.Add(true, []byte{23, 1, 'x', 22, 5, 24, 0, 0, 1, 1, 21, 2, 1, 0}, []byte{})
	f.Add(false, []byte{23, 0, 21, 2, 1, 41, 21, 2, 2, 40}, []byte{0})
	f.Add(true, []byte{22, 3, 24, 0, 0, 22, 2, 1, 0, 23, 0}, []byte{21, 3, 3, 0, 2, 1, 0})
	type pair struct{ ours, peer Conn }
	var made [2]pair
	for i, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client, server := plainWay(version).shake(f)
		c, err := TakeOver(server.tls.ConnectionState(), false, &server.log, server.out.all, server.in.all)
		if err != nil {
			f.Fatal(err)
		}
		received := client.in.all[:len(client.in.all)-len(client.in.b)]
		p, err := TakeOver(client.tls.ConnectionState(), true, &client.log, client.out.all, received)
		if err != nil {
			f.Fatal(err)
		}
		made[i] = pair{*c, *p}
	}
	f.Fuzz(func(t *testing.T, newer bool, script, wire []byte) {
		with := made[0]
		if newer {
			with = made[1]
		}
		ours, peer := with.ours, with.peer
		for len(script) >= 2 {
			kind, n := script[0], min(int(script[1]), len(script)-2)
			p := script[2:][:n]
			script = script[2+n:]
			plain, got, err := openAll(&ours, peer.seal(nil, kind, p))
			if err != nil {
				if ours.failed {
					return
				}
				t.Fatalf("%v, and it goes on", err)
			}
			switch {
			case slices.Contains(got, Data) != (len(plain) > 0):
				t.Fatalf("%v with %d bytes", got, len(plain))
			case slices.Contains(got, Asked):
				peer.out.next(peer.suite)
				if _, _, err := openAll(&peer, ours.Answer(nil)); err != nil && !peer.failed {
					t.Fatal(err)
				}
			case slices.Contains(got, Closed):
				return
			case kind == typeHandshake && !ours.message.partial() && newer:
				peer.out.next(peer.suite) // new keys without a request
			}
		}
		if _, _, err := openAll(&ours, wire); err == nil && len(wire) > 0 {
			t.Fatal("bytes that nobody has sealed are a record")
		}
	})
}

// FuzzTakeOver gives TakeOver transcripts that are none.
func FuzzTakeOver(f *testing.F) {
	var states [2]tls.ConnectionState
	var logs [2]KeyLog
	for i, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		_, server := plainWay(version).shake(f)
		states[i], logs[i] = server.tls.ConnectionState(), server.log
		f.Add(i == 1, false, server.out.all, server.in.all)
		f.Add(i == 1, true, server.in.all, server.out.all)
	}
	f.Fuzz(func(t *testing.T, newer, client bool, sent, received []byte) {
		i := 0
		if newer {
			i = 1
		}
		before := slices.Clone(sent)
		c, err := TakeOver(states[i], client, &logs[i], sent, received)
		if (c == nil) != (err != nil) {
			t.Fatalf("%v, %v", c, err)
		}
		if !bytes.Equal(before, sent) {
			t.Fatal("what was sent is changed")
		}
	})
}

// BenchmarkRecord is a record there and back, beside crypto/tls's.
func BenchmarkRecord(b *testing.B) {
	for _, n := range []int{64, 16 << 10} {
		p := make([]byte, n)
		name := map[int]string{64: "64", 16 << 10: "16K"}[n]
		b.Run(name+"/ours", func(b *testing.B) {
			client, server := plainWay(tls.VersionTLS13).shake(b)
			ours, _ := TakeOver(server.tls.ConnectionState(), false, &server.log, server.out.all, server.in.all)
			theirs, _ := TakeOver(client.tls.ConnectionState(), true, &client.log, client.out.all, client.in.all[:len(client.in.all)-len(client.in.b)])
			sealed, plain := make([]byte, 0, 1<<16), make([]byte, 0, 1<<15)
			for b.Loop() {
				sealed = theirs.Seal(sealed[:0], p)
				for rest := sealed; len(rest) > 0; {
					length, _ := ours.Length(rest)
					if _, _, err := ours.Open(plain, rest[:length]); err != nil {
						b.Fatal(err)
					}
					rest = rest[length:]
				}
			}
		})
		b.Run(name+"/crypto-tls", func(b *testing.B) {
			client, server := plainWay(tls.VersionTLS13).shake(b)
			got := make([]byte, 1<<15)
			for b.Loop() {
				client.out.all = client.out.all[:0]
				if _, err := client.tls.Write(p); err != nil {
					b.Fatal(err)
				}
				for have := 0; have < n; {
					m, err := server.tls.Read(got)
					if err != nil {
						b.Fatal(err)
					}
					have += m
				}
			}
		})
		b.Run(name+"/asleep", func(b *testing.B) {
			client, server := plainWay(tls.VersionTLS13).shake(b)
			ours, _ := TakeOver(server.tls.ConnectionState(), false, &server.log, server.out.all, server.in.all)
			sealed := make([]byte, 0, 1<<16)
			_ = client
			for b.Loop() {
				ours.Sleep()
				sealed = ours.Seal(sealed[:0], p)
			}
		})
	}
}
