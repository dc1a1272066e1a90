package load

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// relayTo is a server that relays to an address, having gone through the steps, if any.
func relayTo(t *testing.T, to string, steps []Step) string {
	return server(t, func(c net.Conn) {
		for _, s := range steps {
			if _, err := io.ReadFull(c, make([]byte, len(s.Send))); err != nil {
				return
			}
			if _, err := c.Write(append(append([]byte(nil), s.Expect...), make([]byte, s.Ignore)...)); err != nil {
				return
			}
		}
		d, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer d.Close()
		done := make(chan struct{})
		go func() {
			io.Copy(d, c)
			d.(*net.TCPConn).CloseWrite()
			close(done)
		}()
		io.Copy(c, d)
		c.(*net.TCPConn).CloseWrite()
		<-done
	})
}

// free is an address that nobody listens on.
func free(t *testing.T) string {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// The generator is what the relay connects to.
func TestThroughARelay(t *testing.T) {
	backend := free(t)
	steps := []Step{{Send: []byte("hello"), Expect: []byte("yes"), Ignore: 4}, {Send: []byte("go"), Expect: []byte("on")}}
	plain, stepped := relayTo(t, backend, nil), relayTo(t, backend, steps)
	for _, j := range []Job{
		{Kind: Echo, Address: plain, Conns: 5, Size: 64, Pipeline: 1},
		{Kind: Echo, Address: plain, Conns: 3, Size: 1 << 20, Pipeline: 4},
		{Kind: Churn, Address: plain, Conns: 5, Size: 64},
		{Kind: Churn, Address: plain, Conns: 5, Message: []byte("a message of its own")},
		{Kind: Churn, Address: stepped, Conns: 5, Size: 64, Steps: steps},
		{Kind: Stream, Address: plain, Conns: 3},
		{Kind: Stream, Address: plain, Conns: 3, Upload: true},
	} {
		j.PID, j.Backend, j.Warmup, j.Duration, j.Timeout = os.Getpid(), backend, short/5, short, time.Minute
		a := jobs(t, j)[0]
		if r := a.Result; a.Error != "" || r.Failures.Any() || r.Messages == 0 || r.ServerCPU <= 0 {
			t.Errorf("%+v:\n%+v", j, a)
		}
	}
}

// A relay that changes, cuts or withholds bytes is found out.
func TestBadRelays(t *testing.T) {
	backend := free(t)
	with := func(spoil func(p []byte) []byte) string {
		return server(t, func(c net.Conn) {
			d, err := net.Dial("tcp", backend)
			if err != nil {
				return
			}
			defer d.Close()
			b := make([]byte, 64<<10)
			for {
				n, err := d.Read(b)
				if err != nil {
					return
				}
				p := spoil(b[:n])
				if p == nil {
					return
				}
				if _, err := c.Write(p); err != nil {
					return
				}
			}
		})
	}
	for name, address := range map[string]string{
		"not those that were sent": with(func(p []byte) []byte { p[0] ^= 1; return p }),
		"cut":                      with(func(p []byte) []byte { return nil }),
		"nothing came through":     with(func(p []byte) []byte { return p[:0] }),
	} {
		j := Job{Kind: Stream, Address: address, Backend: backend, Conns: 2, Duration: short, Timeout: 300 * time.Millisecond}
		a := jobs(t, j)[0]
		cut := name == "cut" && a.Result.Failures.Cut > 0 // by a read or by a write
		if !cut && !strings.Contains(a.Result.Failures.First, name) {
			t.Errorf("want a failure with %q: %+v", name, a)
		}
	}
	steps := []Step{{Send: []byte("hello"), Expect: []byte("yes")}}
	wrong := relayTo(t, backend, []Step{{Send: []byte("hello"), Expect: []byte("nay")}})
	j := Job{Kind: Churn, Address: wrong, Backend: backend, Conns: 1, Size: 10, Steps: steps, Duration: short, Timeout: time.Minute}
	if a := jobs(t, j)[0]; a.Result.Failures.Wrong == 0 {
		t.Errorf("a step with another answer: %+v", a)
	}
	for _, j := range []Job{
		{Kind: Stream, Address: "127.0.0.1:1", Conns: 1, Timeout: time.Second},                                         // no backend
		{Kind: Idle, Address: "127.0.0.1:1", Conns: 1, Timeout: time.Second, Backend: "127.0.0.1:2"},                   // not for it
		{Kind: Stream, Address: "127.0.0.1:1", Conns: 1, Timeout: time.Second, Backend: "elsewhere"},                   // no address
		{Kind: Echo, Address: "127.0.0.1:1", Conns: 1, Size: 1, Pipeline: 1, Timeout: time.Second, Backend: "[::1]:1"}, // IPv6
		{Kind: "dance", Address: "127.0.0.1:1", Conns: 1, Size: 1, Timeout: time.Second},
	} {
		if a := jobs(t, j)[0]; a.Error == "" {
			t.Errorf("%+v: no error", j)
		}
	}
}

// secureServer echoes over TLS; spoil may change what it sends back.
func secureServer(t *testing.T, spoil func([]byte), tickets bool) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, SessionTicketsDisabled: !tickets}
	return server(t, func(c net.Conn) {
		s := tls.Server(c, config)
		defer s.Close()
		b := make([]byte, 64<<10)
		for {
			n, err := s.Read(b)
			if err != nil {
				return
			}
			spoil(b[:n])
			if _, err := s.Write(b[:n]); err != nil {
				return
			}
		}
	})
}

func TestSecure(t *testing.T) {
	good := secureServer(t, func([]byte) {}, true)
	for _, j := range []Job{
		{Kind: SecureEcho, Conns: 3, Size: 64},
		{Kind: SecureEcho, Conns: 3, Size: 100_000},
		{Kind: SecureEcho, Conns: 2, Size: 64, Oldest: true},
		{Kind: Handshakes, Conns: 3, Size: 64},
		{Kind: Handshakes, Conns: 3, Size: 64, Resume: true},
	} {
		j.Address, j.PID, j.Warmup, j.Duration, j.Timeout = good, os.Getpid(), short, 20*short, time.Minute
		a := jobs(t, j)[0]
		if r := a.Result; a.Error != "" || r.Failures.Any() || r.Messages == 0 || r.P50 <= 0 {
			t.Errorf("%+v:\n%+v", j, a)
		}
	}
	idle := jobs(t,
		Job{Kind: SecureIdle, Address: good, Conns: 20, Timeout: time.Minute},
		Job{Kind: Touch, Size: 64, Timeout: time.Minute},
		Job{Kind: Touch, Size: 1000, Timeout: time.Minute},
		Job{Kind: Release})
	for k, a := range idle {
		if a.Error != "" || a.Result.Failures.Any() || k < 3 && a.Result.Conns != 20 || (k == 1 || k == 2) && a.Result.Messages != 20 {
			t.Errorf("idle job %d: %+v", k, a)
		}
	}
	wrong := secureServer(t, func(p []byte) { p[0] ^= 1 }, true)
	a := jobs(t, Job{Kind: SecureEcho, Address: wrong, Conns: 2, Size: 64, Duration: short, Timeout: time.Minute})[0]
	if a.Result.Failures.Wrong != 2 {
		t.Errorf("wrong echoes: %+v", a)
	}
	forgetful := secureServer(t, func([]byte) {}, false)
	a = jobs(t, Job{Kind: Handshakes, Address: forgetful, Conns: 1, Size: 64, Resume: true, Duration: 2 * short, Timeout: time.Minute})[0]
	if !strings.Contains(a.Result.Failures.First, "was not resumed") {
		t.Errorf("sessions that are not resumed: %+v", a)
	}
	clear := server(t, goodEcho)
	a = jobs(t, Job{Kind: SecureIdle, Address: clear, Conns: 2, Timeout: 10 * time.Second})[0]
	if a.Result.Failures.Connect != 2 {
		t.Errorf("a server without TLS: %+v", a)
	}
}
