package tlstest

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/internal/certstest"
	"bulkhead/internal/hosttest"
)

// What a guest is told of a connection.
func TestInfo(t *testing.T) {
	each(t, func(t *testing.T, version string) {
		s := one(t, `client_ca = "DIR/ca.pem"
client_auth = "verify"
alpn = ["mail", "chat"]`)
		name := "TLS 1." + version[len(version)-1:]
		if got, want := fmt.Sprintf("%q", s.lets(version, "-alpn", "x,chat,mail")[:3]), fmt.Sprintf("%q", []string{"host.test", "mail", name}); got != want {
			t.Errorf("info says %s; want %s", got, want)
		}
		cert, key := s.auth.Write(t, s.dir, "client", "client.test", "192.0.2.7", "other.test")
		got := s.lets(version, "-noservername", "-cert", cert, "-key", key)
		raw, err := os.ReadFile(cert)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(raw)
		sum := sha256.Sum256(block.Bytes)
		want := []string{"", "", name, got[3], "CN=client.test", "DNS:client.test\nDNS:other.test\nIP:192.0.2.7", hex.EncodeToString(sum[:])}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("info says %q; want %q", got, want)
		}
		s.gone()
	})
}

func TestCiphers(t *testing.T) {
	hosttest.Need(t, "openssl", "openssl")
	s := one(t, "")
	for cipher, want := range map[string]string{
		"ECDHE-ECDSA-AES128-GCM-SHA256": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
		"ECDHE-ECDSA-AES256-GCM-SHA384": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
		"ECDHE-ECDSA-CHACHA20-POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
		"ECDHE-ECDSA-AES128-SHA":        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
	} {
		if got := s.lets("-tls1_2", "-cipher", cipher)[3]; got != want {
			t.Errorf("%s is %s; want %s", cipher, got, want)
		}
	}
	for _, cipher := range []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"} {
		if got := s.lets("-tls1_3", "-ciphersuites", cipher)[3]; got != cipher {
			t.Errorf("%s is %s", cipher, got)
		}
	}
	for _, cipher := range []string{"AES128-SHA", "DHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "NULL-SHA256@SECLEVEL=0"} {
		s.refuses("alert handshake failure", "-tls1_2", "-cipher", cipher)
	}
	for _, group := range []string{"X25519", "P-256", "P-384", "P-521"} {
		s.lets("-groups", group)
	}
	s.gone()
}

func TestVersions(t *testing.T) {
	hosttest.Need(t, "openssl", "openssl")
	s := one(t, "")
	for _, version := range []string{"-tls1", "-tls1_1"} {
		s.refuses("alert protocol version", version, "-cipher", "DEFAULT:@SECLEVEL=0")
	}
	if got := s.lets()[2]; got != "TLS 1.3" {
		t.Errorf("the best that both have is %s", got)
	}
	s.gone()
	s = one(t, `min_version = "1.3"`)
	s.refuses("alert protocol version", "-tls1_2")
	if got := s.lets()[2]; got != "TLS 1.3" {
		t.Errorf("the best that both have is %s", got)
	}
	s.gone()
}

// The certificate is the one for the name that a client asks for.
func TestServerNames(t *testing.T) {
	each(t, func(t *testing.T, version string) {
		s := serve(t, [][]string{{"host.test"}, {"*.wild.test"}, {"own.wild.test"}, {"a.two.test", "b.two.test"}}, "")
		for name, want := range map[string]string{
			"host.test": "host.test", "own.wild.test": "own.wild.test", "any.wild.test": "*.wild.test", "ANY.Wild.test": "*.wild.test", "b.two.test": "a.two.test",
		} {
			r := s.run("Q\n", version, "-servername", name, "-verify_hostname", name)
			if r.Code != 0 || !strings.Contains(r.Out, "subject=CN="+want+"\n") {
				t.Errorf("%s: %v; want %s", name, r, want)
			}
		}
		for _, args := range [][]string{{"-noservername"}, {"-servername", "wild.test"}, {"-servername", "a.b.wild.test"}, {"-servername", "nobody.test"}} {
			r := s.run("Q\n", append(args, version)...)
			if r.Code != 0 || !strings.Contains(r.Out, "subject=CN=host.test\n") {
				t.Errorf("%v: %v; want the first", args, r)
			}
		}
		s.gone()
	})
}

// A name with a final dot is none (RFC 6066, section 3): the client hears so, and the log.
func TestServerNameWithAFinalDot(t *testing.T) {
	each(t, func(t *testing.T, version string) {
		s := one(t, "")
		s.refuses("alert decode error", version, "-servername", "host.test.")
		s.log.Wait("cause=handshake_failed", "a server name with a final dot")
		s.gone()
	})
}

func TestALPN(t *testing.T) {
	each(t, func(t *testing.T, version string) {
		s := one(t, `alpn = ["b", "a"]`)
		for offer, want := range map[string]string{"a": "a", "b": "b", "a,b": "b", "x,a": "a"} {
			if got := s.lets(version, "-alpn", offer)[1]; got != want {
				t.Errorf("of %s it takes %q; want %q", offer, got, want)
			}
		}
		if got := s.lets(version)[1]; got != "" {
			t.Errorf("of nothing it takes %q", got)
		}
		s.refuses("alert no application protocol", version, "-alpn", "x,y")
		s.gone()
		if got := one(t, "").lets(version, "-alpn", "x,y")[1]; got != "" {
			t.Errorf("without a list it takes %q", got)
		}
	})
}

// clientCertificates are the arguments that show one, or none, by what it is.
func clientCertificates(t *testing.T, s *server) map[string][]string {
	t.Helper()
	all := map[string][]string{"none": nil}
	other := certstest.NewAuthority(t)
	show := func(what, cert, key string) { all[what] = []string{"-cert", cert, "-key", key} }
	cert, key := s.auth.Write(t, s.dir, "good", "client.test")
	show("good", cert, key)
	cert, key = other.Write(t, s.dir, "wrong", "client.test")
	show("of another authority", cert, key)
	cert, key = s.auth.WriteWith(t, s.dir, "expired", certstest.Expired, "client.test")
	show("expired", cert, key)
	cert, key = s.auth.WriteWith(t, s.dir, "server-only", func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}, "client.test")
	show("for servers", cert, key)
	return all
}

func TestClientCertificates(t *testing.T) {
	each(t, func(t *testing.T, version string) {
		for auth, refused := range map[string]map[string]string{
			"require": {"none": "alert certificate required", "of another authority": "alert", "expired": "alert", "for servers": "alert"},
			"verify":  {"of another authority": "alert", "expired": "alert", "for servers": "alert"},
			"off":     {},
		} {
			settings := fmt.Sprintf("client_auth = %q", auth)
			if auth != "off" {
				settings += "\nclient_ca = \"DIR/ca.pem\""
			}
			s := one(t, settings)
			for what, args := range clientCertificates(t, s) {
				args := append([]string{version}, args...)
				if alert, no := refused[what]; no {
					if version == "-tls1_2" {
						alert = "alert" // it has no word for it
					}
					s.refuses(alert, args...)
					continue
				}
				want := ""
				if what == "good" && auth != "off" {
					want = "CN=client.test"
				}
				if got := s.lets(args...)[4]; got != want {
					t.Errorf("%s, %s: the guest hears of %q; want %q", auth, what, got, want)
				}
			}
			s.gone()
		}
	})
}

// A session is resumed, by a ticket or a key of the last one, and whom its client is has
// not been forgotten.
func TestResumption(t *testing.T) {
	each(t, func(t *testing.T, version string) {
		s := one(t, `client_ca = "DIR/ca.pem"
client_auth = "require"`)
		cert, key := s.auth.Write(t, s.dir, "client", "client.test")
		session := filepath.Join(s.dir, "session")
		talk := func(args ...string) string {
			k := s.start(append([]string{version, "-cert", cert, "-key", key}, args...)...)
			k.Hear("Verify return code: 0 (ok)", 1)
			k.Say("info\n")
			k.Hear("CN=client.test;", 1)
			k.Say("Q\n")
			return k.HearEnd()
		}
		if text := talk("-sess_out", session); !strings.Contains(text, "\nNew, TLSv1.") {
			t.Errorf("the first is no new one:\n%s", text)
		}
		for range 2 {
			if text := talk("-sess_in", session, "-sess_out", session); !strings.Contains(text, "\nReused, TLSv1.") {
				t.Errorf("it is not resumed:\n%s", text)
			}
		}
		// New certificates do not end it, other authorities do.
		s.auth.Write(t, s.dir, "host.test", "host.test")
		s.RefreshCertificates()
		if text := talk("-sess_in", session, "-sess_out", session); !strings.Contains(text, "\nReused, TLSv1.") {
			t.Errorf("it is not resumed after the certificate was renewed:\n%s", text)
		}
		ca := filepath.Join(s.dir, "ca.pem")
		old, err := os.ReadFile(ca)
		if err != nil {
			t.Fatal(err)
		}
		more, err := os.ReadFile(certstest.NewAuthority(t).WriteCA(t, s.dir, "more.pem"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(ca, append(old, more...), 0o600); err != nil {
			t.Fatal(err)
		}
		s.RefreshCertificates()
		if text := talk("-sess_in", session); !strings.Contains(text, "\nNew, TLSv1.") {
			t.Errorf("it is resumed although the authorities have changed:\n%s", text)
		}
		// Without its keys a ticket is nothing.
		if err := os.WriteFile(session, []byte("-----BEGIN SSL SESSION PARAMETERS-----\nrubbish\n-----END SSL SESSION PARAMETERS-----\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s.gone()
	})
}

func TestReconnect(t *testing.T) {
	hosttest.Need(t, "openssl", "openssl")
	s := one(t, "")
	r := s.run("", "-tls1_2", "-reconnect")
	if r.Code != 0 || strings.Count(r.Out, "\nReused, TLSv1.2") != 5 {
		t.Error(r)
	}
	s.gone()
}

// Keys are changed in mid-stream, on one side and on both, while bytes are on their way.
func TestKeyUpdate(t *testing.T) {
	hosttest.Need(t, "openssl", "openssl")
	s := one(t, "")
	k := s.start("-tls1_3")
	k.Hear("Verify return code: 0 (ok)", 1)
	for i := range 20 {
		line := fmt.Sprintf("%d before\n", i)
		k.Say(line)
		k.Hear(line, 1)
		k.Say([]string{"k\n", "K\n"}[i%2])
		k.Hear("KEYUPDATE", i+1)
		line = fmt.Sprintf("%d after\n", i)
		k.Say(line)
		k.Hear(line, 1)
	}
	// Several in a row, with nothing between them.
	for i := range 5 {
		k.Say("K\n")
		k.Hear("KEYUPDATE", 21+i)
	}
	k.Say("0 the end\n")
	k.Hear("0 the end", 1)
	k.Say("Q\n")
	k.HearEnd()
	s.gone()
}

// Nobody renegotiates. crypto/tls ends the connection, and that is all.
func TestRenegotiation(t *testing.T) {
	hosttest.Need(t, "openssl", "openssl")
	s := one(t, "")
	other := s.start("-tls1_2", "-quiet")
	other.Say("0 is there\n")
	other.Hear("0 is there", 1)
	for range 3 {
		k := s.start("-tls1_2")
		k.Hear("Secure Renegotiation IS supported", 1)
		k.Hear("Verify return code: 0 (ok)", 1)
		k.Say("0 hello\n")
		k.Hear("0 hello", 1)
		k.Say("R\n")
		k.Hear("RENEGOTIATING", 1)
		if text := k.HearEnd(); !strings.Contains(text, "alert") {
			t.Errorf("it is not told why:\n%s", text)
		}
	}
	s.log.Wait("connection closed", "code=TLS", "unexpected handshake message")
	other.Say("1 is still there\n")
	other.Hear("1 is still there", 1)
	other.Kill()
	s.gone()
}

// Many bytes both ways, in records of all sizes.
func TestBytes(t *testing.T) {
	each(t, func(t *testing.T, version string) {
		s := one(t, "")
		for _, size := range []string{"16384", "1000", "512"} {
			text := digits(1 << 20)
			k := s.start(version, "-quiet", "-max_send_frag", size)
			go k.Say(text)
			hosttest.Eventually(t, "all is back", func() bool { return strings.HasSuffix(k.Text(), text[len(text)-100:]) })
			if !strings.Contains(k.Text(), text) {
				t.Errorf("records of %s: other bytes come back", size)
			}
			k.Kill()
		}
		s.gone()
	})
}

// The end is said in TLS, by whoever ends first.
func TestCloseNotify(t *testing.T) {
	each(t, func(t *testing.T, version string) {
		s := one(t, "")
		// The guest ends: openssl is content, which it is not when close_notify is
		// missing.
		k := s.start(version, "-quiet", "-ign_eof")
		k.Say("0 hello\n")
		k.Hear("0 hello", 1)
		k.Say("f\n")
		if text := k.HearEnd(); strings.Contains(text, "unexpected eof") {
			t.Errorf("no close_notify:\n%s", text)
		}
		s.gone()
		s.log.Wait("connection closed", "reason=finished", "code=OK")
		// openssl ends.
		k = s.start(version)
		k.Hear("Verify return code: 0 (ok)", 1)
		k.Say("Q\n")
		if text := k.HearEnd(); !strings.Contains(text, "DONE") {
			t.Errorf("it ends otherwise:\n%s", text)
		}
		s.gone()
		if s.log.Has("without a TLS close") {
			t.Error("an end is taken for a cut")
		}
		// And is killed: nobody has said that this is all.
		k = s.start(version, "-quiet")
		k.Say("0 hello\n")
		k.Hear("0 hello", 1)
		k.Kill()
		s.log.Wait("connection closed", "code=TLS", "without a TLS close")
		s.gone()
	})
}

// A renewed certificate is for who comes next; a bad one is for nobody.
func TestReload(t *testing.T) {
	each(t, func(t *testing.T, version string) {
		s := one(t, "")
		old := s.start(version)
		old.Hear("subject=CN=host.test", 1)
		fingerprint := func() string {
			r := s.run("Q\n", version)
			from := strings.Index(r.Out, "-----BEGIN CERTIFICATE-----")
			if r.Code != 0 || from < 0 {
				t.Fatal(r)
			}
			return r.Out[from:strings.Index(r.Out, "-----END CERTIFICATE-----")]
		}
		first := fingerprint()
		s.auth.Write(t, s.dir, "host.test", "host.test")
		s.RefreshCertificates()
		second := fingerprint()
		if first == second {
			t.Error("the old certificate is shown")
		}
		s.log.Wait("the certificates have changed; new connections get the new ones")
		if err := os.WriteFile(filepath.Join(s.dir, "host.test.pem"), []byte("rubbish"), 0o600); err != nil {
			t.Fatal(err)
		}
		s.RefreshCertificates()
		s.log.Wait("level=ERROR", "the certificates have changed and cannot be used; the old ones stay in use", "host.test.pem")
		if fingerprint() != second {
			t.Error("another certificate is shown")
		}
		if err := os.Remove(filepath.Join(s.dir, "host.test.key")); err != nil {
			t.Fatal(err)
		}
		s.RefreshCertificates()
		if fingerprint() != second {
			t.Error("another certificate is shown")
		}
		s.auth.Write(t, s.dir, "host.test", "host.test")
		s.RefreshCertificates()
		if third := fingerprint(); third == first || third == second {
			t.Error("an old certificate is shown")
		}
		old.Say("0 still here\n")
		old.Hear("0 still here", 1)
		old.Say("Q\n")
		old.HearEnd()
		s.gone()
	})
}
