package tlstest

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"bulkhead/internal/certstest"
	"bulkhead/internal/hosttest"
)

// curl checks names and chains by itself, and wants close_notify at the end of an answer
// that has no length.
func TestCurl(t *testing.T) {
	hosttest.Need(t, "curl", "curl")
	s := serve(t, [][]string{{"host.test"}, {"*.wild.test"}}, `alpn = ["http/1.1"]
client_ca = "DIR/ca.pem"
client_auth = "verify"`)
	for _, version := range [][]string{{"--tlsv1.2", "--tls-max", "1.2"}, {"--tlsv1.3"}} {
		name := "TLS 1." + version[0][len(version[0])-1:]
		for host, asked := range map[string]string{"host.test": "host.test", "any.wild.test": "any.wild.test", "HOST.test": "host.test"} {
			r := s.curl(append(version, "https://"+host+"/")...)
			if want := asked + ";http/1.1;" + name + ";TLS_"; r.Code != 0 || !strings.HasPrefix(strings.ToLower(r.Out), strings.ToLower(want)) {
				t.Errorf("%s: %v; want %s", host, r, want)
			}
		}
		if r := s.curl(append(version, "--no-alpn", "https://host.test/")...); r.Code != 0 || !strings.HasPrefix(r.Out, "host.test;;") {
			t.Error(r)
		}
		for what, show := range clientCertificates(t, s) {
			args := append([]string{"https://host.test/"}, version...)
			if show != nil {
				args = append(args, "--cert", show[1], "--key", show[3])
			}
			r := s.curl(args...)
			switch what {
			case "none", "good":
				if r.Code != 0 || strings.Contains(r.Out, ";CN=client.test;DNS:client.test;") != (what == "good") {
					t.Errorf("%s: %v", what, r)
				}
			default:
				// 60 is what curl makes of "certificate expired".
				if r.Code == 0 || !strings.Contains(r.Err, "alert") && r.Code != 60 {
					t.Errorf("%s: %v", what, r)
				}
			}
		}
		// Names and authorities that are not right are the client's to refuse.
		for what, args := range map[string][]string{
			"another name":      {"https://other.test/"},
			"no name":           {"https://127.0.0.1/"},
			"too deep":          {"https://a.b.wild.test/"},
			"another authority": {"https://host.test/", "--cacert", certstest.NewAuthority(t).WriteCA(t, s.dir, "other-ca.pem")},
		} {
			if r := s.curl(append(args, version...)...); r.Code != 60 {
				t.Errorf("%s: %v", what, r)
			}
		}
	}
	if r := s.curl("--tlsv1.1", "--tls-max", "1.1", "--ciphers", "DEFAULT:@SECLEVEL=0", "https://host.test/"); r.Code != 35 {
		t.Errorf("TLS 1.1: %v", r)
	}
	// In the clear.
	if r := s.curl("http://host.test/"); r.Code == 0 || r.Out != "" {
		t.Errorf("in the clear: %v", r)
	}
	s.log.Wait("connection closed", "code=TLS", "first record does not look like a TLS handshake")
	s.gone()
}

func TestCurlALPN(t *testing.T) {
	hosttest.Need(t, "curl", "curl")
	s := one(t, `alpn = ["mail"]`)
	if r := s.curl("https://host.test/"); r.Code != 35 || !strings.Contains(r.Err, "no application protocol") {
		t.Error(r)
	}
	if r := s.curl("--no-alpn", "https://host.test/"); r.Code != 0 {
		t.Error(r)
	}
	s.gone()
}

// A certificate of the server's that has run out is shown as it is: clients refuse it.
func TestCurlExpired(t *testing.T) {
	hosttest.Need(t, "curl", "curl")
	s := one(t, "")
	s.auth.WriteWith(t, s.dir, "host.test", certstest.Expired, "host.test")
	s.RefreshCertificates()
	if r := s.curl("https://host.test/"); r.Code != 60 || !strings.Contains(r.Err, "expired") {
		t.Error(r)
	}
	s.auth.WriteWith(t, s.dir, "host.test", func(c *x509.Certificate) {}, "host.test")
	s.RefreshCertificates()
	if r := s.curl("https://host.test/"); r.Code != 0 {
		t.Error(r)
	}
	s.gone()
}

// Many at once, each with a handshake of its own.
func TestCurlMany(t *testing.T) {
	hosttest.Need(t, "curl", "curl")
	s := one(t, "")
	dir := t.TempDir()
	if r := s.curl("--parallel", "--parallel-immediate", "--parallel-max", "50", "https://host.test/[1-200]", "--output", filepath.Join(dir, "#1")); r.Code != 0 {
		t.Error(r)
	}
	for i := range 200 {
		if got, err := os.ReadFile(filepath.Join(dir, strconv.Itoa(i+1))); err != nil || string(got) != "host.test;;TLS 1.3;TLS_AES_128_GCM_SHA256;;;;\n" {
			t.Errorf("%d is answered with %q, %v", i+1, got, err)
		}
	}
	if n := s.Stats().Listeners[0].Accepted; n != 200 {
		t.Errorf("%d connections", n)
	}
	s.gone()
}
