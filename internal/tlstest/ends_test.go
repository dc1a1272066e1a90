package tlstest

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"bulkhead/internal/hosttest"
)

// connect is crypto/tls's client, for what no other lets one do.
func (s *server) connect(version uint16) (*tls.Conn, *net.TCPConn) {
	s.t.Helper()
	raw := hosttest.Dial(s.t, s.addr)
	c := tls.Client(raw, &tls.Config{RootCAs: s.auth.Pool(), ServerName: "host.test", MinVersion: version, MaxVersion: version})
	if err := c.Handshake(); err != nil {
		s.t.Fatal(err)
	}
	return c, raw
}

func versions(t *testing.T, test func(t *testing.T, version uint16)) {
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(v), func(t *testing.T) { test(t, v) })
	}
}

// A client that has said in TLS that it has finished gets all that is still to come, and
// then the end, said in TLS too.
func TestHalfClose(t *testing.T) {
	versions(t, func(t *testing.T, version uint16) {
		s := one(t, "")
		c, _ := s.connect(version)
		want := make([]byte, 4<<20)
		_, _ = rand.NewChaCha8([32]byte{1}).Read(want)
		want[0] = '0'
		for i, b := range want { // nothing that the guest knows
			if b == 'i' || b == 'G' || b == 'f' {
				want[i] = '1'
			}
		}
		sent := make(chan error, 1)
		go func() {
			_, err := c.Write(want)
			sent <- errors.Join(err, c.CloseWrite())
		}()
		got, err := io.ReadAll(c) // an end that was not said is io.ErrUnexpectedEOF
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes of %d came back, or they differ: %v", len(got), len(want), err)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		s.gone()
		s.log.Wait("connection closed", "code=OK")
	})
}

// A TCP connection that ends without a word in TLS may have been cut by anybody.
func TestTruncation(t *testing.T) {
	versions(t, func(t *testing.T, version uint16) {
		s := one(t, "")
		c, raw := s.connect(version)
		hosttest.Say(t, c, "0 hello")
		hosttest.Hear(t, c, "0 hello")
		if err := raw.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if p, _ := io.ReadAll(raw); len(p) > 0 {
			t.Logf("it says %d bytes more", len(p))
		}
		s.log.Wait("connection closed", "code=TLS", "the peer ended the connection without a TLS close: what came may be incomplete")
		s.gone()
	})
}

// In the middle of a record, too, and in the middle of a handshake.
func TestTruncatedRecord(t *testing.T) {
	s := one(t, "")
	c, raw := s.connect(tls.VersionTLS13)
	hosttest.Say(t, c, "0 hello")
	hosttest.Hear(t, c, "0 hello")
	if _, err := raw.Write([]byte{23, 3, 3, 1, 0, 'x', 'y'}); err != nil {
		t.Fatal(err)
	}
	_ = raw.CloseWrite()
	s.log.Wait("connection closed", "code=TLS", "without a TLS close")
	for _, begin := range []string{"", "\x16", "\x16\x03\x01\x02", "\x16\x03\x01\x02\x00\x01\x00\x01"} {
		raw := hosttest.Dial(t, s.addr)
		hosttest.Say(t, raw, begin)
		_ = raw.CloseWrite()
		if p, err := io.ReadAll(raw); err != nil || len(p) > 7 {
			t.Errorf("%q: it says %q, %v", begin, p, err)
		}
		s.gone()
	}
}

// Bytes that somebody has changed end the connection, and do not get to the guest.
func TestTampering(t *testing.T) {
	versions(t, func(t *testing.T, version uint16) {
		s := one(t, "")
		c, raw := s.connect(version)
		hosttest.Say(t, c, "0 hello")
		hosttest.Hear(t, c, "0 hello")
		if _, err := raw.Write(append([]byte{23, 3, 3, 0, 40}, make([]byte, 40)...)); err != nil {
			t.Fatal(err)
		}
		if p, err := io.ReadAll(c); err == nil || len(p) > 0 {
			t.Errorf("it says %q, %v", p, err)
		}
		s.log.Wait("connection closed", "code=TLS", "bad record MAC")
		s.gone()
	})
}

// A client that is silent, or never gets done, has to go in time, and keeps nobody out
// meanwhile.
func TestHandshakeTimeout(t *testing.T) {
	s := one(t, `handshake_timeout = "300ms"`)
	for what, more := range map[string]func(c *net.TCPConn) error{
		"silent": func(*net.TCPConn) error { return nil },
		"half a record": func(c *net.TCPConn) error {
			_, err := c.Write([]byte{22, 3, 1, 1, 0, 1, 0})
			return err
		},
		"a byte now and then": func(c *net.TCPConn) error {
			for _, b := range append([]byte{22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3}, make([]byte, 200)...) {
				if _, err := c.Write([]byte{b}); err != nil {
					return nil // it was closed, which is what is wanted
				}
				time.Sleep(10 * time.Millisecond)
			}
			return errors.New("it takes bytes for ever")
		},
	} {
		t.Run(what, func(t *testing.T) {
			began := time.Now()
			c := hosttest.Dial(t, s.addr)
			done := make(chan error, 1)
			go func() { done <- more(c) }()
			ok, _ := s.connect(tls.VersionTLS13)
			hosttest.Say(t, ok, "0 hello")
			hosttest.Hear(t, ok, "0 hello")
			_, _ = io.Copy(io.Discard, c)
			if took := time.Since(began); took < 200*time.Millisecond {
				t.Errorf("it has to go after %v", took)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			hosttest.Say(t, ok, "1 still here")
			hosttest.Hear(t, ok, "1 still here")
			_ = ok.Close()
			s.log.Wait("connection closed", "code=TIMEOUT", "the TLS handshake took too long")
			s.gone()
		})
	}
}
