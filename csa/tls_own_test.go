package csa

import (
	"bytes"
	"crypto/tls"
	"io"
	"testing"
	"time"
)

// upTo gives a part of what it has as its window, and the rest is behind that.
type upTo struct {
	*wraps
	most int
}

func (u *upTo) Window(c *CSA) []byte { return u.wraps.Window(c)[:u.most] }

// A record that is larger than the room there is comes in parts, and what is behind it waits. It
// once went over the end of the room, and the rest was never read.
func TestTLSRecordsAreLargerThanTheRoom(t *testing.T) {
	eachLayer(t, testTLSRecordsAreLargerThanTheRoom)
}

func testTLSRecordsAreLargerThanTheRoom(t *testing.T) {
	for name, version := range versions {
		for _, most := range []int{1, 100, 5000, 16 << 10} {
			b := newBench(t)
			b.set.Inbox = 4 << 10
			w := newWraps(Handshake{Config: serverConfig()})
			w.window = make([]byte, 64<<10)
			largest := 0
			echo := w.data
			w.data = func(c *CSA, p []byte) int { largest = max(largest, len(p)); return echo(c, p) }
			_, peer := b.tcp(&upTo{w, most})
			config := clientConfig()
			config.MinVersion, config.MaxVersion, config.DynamicRecordSizingDisabled = version, version, true
			c := tls.Client(peer, config)
			size := 40_000
			if most == 1 {
				size = 300
			}
			text := randomBytes(size, 3)
			go func() { _, _ = c.Write(text); _ = c.CloseWrite() }()
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, text) {
				t.Errorf("TLS %s, %d at once: %d bytes of %d came back, or others; %v", name, most, len(got), len(text), err)
			}
			_ = c.Close()
			b.ended(w.script, Orderly)
			if largest > most {
				t.Errorf("TLS %s: %d bytes were handed over in a window of %d", name, largest, most)
			}
		}
	}
}

// An idle connection lets go of its ciphers and of all buffers, and makes them again; what is
// charged for it is little.
func TestTLSRests(t *testing.T) {
	for name, version := range versions {
		b := newBench(t)
		w := newWraps(Handshake{Config: serverConfig()})
		ca, peer := b.tcp(w)
		config := clientConfig()
		config.MinVersion, config.MaxVersion = version, version
		c := tls.Client(peer, config)
		for range 3 {
			send(t, c, "hello")
			wantRead(t, c, "hello")
			b.until("it is awake", func() bool { return ca.transport.tls().layer.(*ownRecords).awake })
			b.clock.Advance(time.Duration(restAfter) + time.Millisecond)
			b.until("it rests", func() bool {
				o := ca.transport.tls().layer.(*ownRecords)
				return !o.awake && o.held.len() == 0
			})
			if held := b.acct.held.Load(); held > ownOverhead+smallestBuffer {
				t.Errorf("TLS %s: %d bytes are charged", name, held)
			}
		}
		_ = c.Close()
		b.ended(w.script, Orderly)
	}
}

// A handshake that is longer than what is kept of one, and a suite that has no AEAD, leave the
// connection with crypto/tls.
func TestTLSStays(t *testing.T) {
	long := serverConfig()
	long.Certificates[0].Certificate = append([][]byte{}, long.Certificates[0].Certificate...)
	for range mostTranscript / len(long.Certificates[0].Certificate[0]) {
		long.Certificates[0].Certificate = append(long.Certificates[0].Certificate, long.Certificates[0].Certificate[0])
	}
	cbc := serverConfig()
	cbc.MaxVersion, cbc.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
	for name, server := range map[string]*tls.Config{"a long handshake": long, "a suite without an AEAD": cbc} {
		b := newBench(t)
		w := newWraps(Handshake{Config: server})
		ca, peer := b.tcp(w)
		config := clientConfig()
		config.CipherSuites = cbc.CipherSuites
		c := tls.Client(peer, config)
		send(t, c, "hello")
		wantRead(t, c, "hello")
		b.on(func() {
			if _, ok := ca.transport.tls().layer.(*libraryRecords); !ok {
				t.Errorf("%s: it is taken over", name)
			}
		})
		_ = c.Close()
		b.ended(w.script, Orderly)
	}
}
