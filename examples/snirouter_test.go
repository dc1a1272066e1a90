package examples_test

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/internal/certstest"
	"bulkhead/internal/hosttest"
)

// quiet is for servers whose clients are meant to fail.
var quiet = log.New(io.Discard, "", 0)

// startTLS serves HTTP/2 and HTTP/1.1 with a certificate for a name.
func startTLS(t *testing.T, site *website, ca *certstest.Authority, name string) {
	t.Helper()
	site.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Pair(t, name)}, NextProtos: []string{"h2", "http/1.1"}}
	site.EnableHTTP2 = true
	site.StartTLS()
	t.Cleanup(site.Close)
}

// router is the shipped module before sites with certificates of their own.
type router struct {
	*host.Host
	addr     string
	ca       string // the authority's certificate
	one, two *website
}

// serveRouter has the routes one.test and *.two.test; more is added to the config.
func serveRouter(t *testing.T, more func(one, two string) string) *router {
	t.Helper()
	plugin, err := filepath.Abs("sni-router/sni-router.wasm")
	if err != nil {
		t.Fatal(err)
	}
	ca := certstest.NewAuthority(t)
	r := &router{ca: ca.WriteCA(t, t.TempDir(), "ca.pem"), one: newWebsite(64 << 20), two: newWebsite(1 << 20)}
	startTLS(t, r.one, ca, "one.test")
	startTLS(t, r.two, ca, "*.two.test")
	one, two := r.one.Listener.Addr().String(), r.two.Listener.Addr().String()
	end := ""
	if more != nil {
		end = more(one, two)
	}
	r.Host = hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
[tenant.web]
memory = "256MiB"
bandwidth = "10GiB/s"
connect = [%q, %q, "127.0.0.1:1"]
[[listener]]
name = "sni-router"
tenant = "web"
address = "tcp://127.0.0.1:0"
plugin = %q
  [listener.config.routes]
  "one.test" = { to = "tcp://%s" }
  "*.two.test" = { to = "tcp://%s" }
  "deaf.test" = { to = "tcp://127.0.0.1:1" }
  "far.test" = { to = "tcp://127.0.0.1:2" }
%s
`, hosttest.State(), one, two, plugin, one, two, end), host.Options{})
	r.addr = r.Addr("sni-router")
	return r
}

// curl asks the router for a URL, whatever its host is.
func (r *router) curl(t *testing.T, args ...string) hosttest.Ran {
	t.Helper()
	return curl(t, append([]string{"--cacert", r.ca, "--connect-to", "::" + r.addr}, args...)...)
}

func TestSNIRouterCurl(t *testing.T) {
	hosttest.Need(t, "curl", "curl")
	r := serveRouter(t, nil)
	empty := fmt.Sprintf("0 %x <nil>", sha256.Sum256(nil))
	_, port, err := net.SplitHostPort(r.addr)
	if err != nil {
		t.Fatal(err)
	}
	for name, site := range map[string]*website{"one.test": r.one, "a.two.test": r.two, "ONE.test": r.one} {
		for _, version := range [][]string{{"--tlsv1.2", "--tls-max", "1.2"}, {"--tlsv1.3"}} {
			before := site.requests.Load()
			if got := r.curl(t, append(version, "https://"+name+"/")...); got.Code != 0 || !strings.EqualFold(got.Out, "GET "+name+" "+empty) || site.requests.Load() != before+1 {
				t.Errorf("%s, %s: %v", name, version[0], got)
			}
		}
		// With a name that curl is told the address of.
		if got := curl(t, "--cacert", r.ca, "--resolve", name+":"+port+":127.0.0.1", "https://"+name+":"+port+"/"); got.Code != 0 {
			t.Error(got)
		}
	}
	// The server's certificate is the site's, and what the two agree on is theirs.
	for _, c := range []struct{ option, want string }{{"--http2", "2"}, {"--http1.1", "1.1"}, {"--no-alpn", "1.1"}} {
		if got := r.curl(t, c.option, "--write-out", "\n%{http_version}", "https://one.test/"); got.Code != 0 || !strings.HasSuffix(got.Out, "\n"+c.want) {
			t.Errorf("%s: %v", c.option, got)
		}
	}
	// Whom no route is for, or whose site cannot be reached.
	before := r.one.requests.Load() + r.two.requests.Load()
	for url, alert := range map[string]string{
		"https://three.test/":             "unrecognized name",
		"https://two.test/":               "unrecognized name",
		"https://one.test.evil.test/":     "unrecognized name",
		"https://127.0.0.1:" + port + "/": "unrecognized name", // no SNI
		"https://deaf.test/":              "internal error",
		"https://far.test/":               "internal error", // its tenant may not
		"http://one.test/":                "",
	} {
		if got := r.curl(t, url); got.Code == 0 || !strings.Contains(got.Err, alert) {
			t.Errorf("%s: %v; want %s", url, got, alert)
		}
	}
	if n := r.one.requests.Load() + r.two.requests.Load(); n != before {
		t.Error("a site was asked")
	}
	hosttest.Eventually(t, "nothing is open", func() bool { return r.Stats().Connections == 0 })
	if counts := r.Stats().Tenants[0].Counts; counts["sni_unknown"] != 4 || counts["sni_failed"] != 2 {
		t.Errorf("counted %v", counts)
	}
}

// A large file, down and up: through the pipe, byte for byte.
func TestSNIRouterCurlBig(t *testing.T) {
	hosttest.Need(t, "curl", "curl")
	r := serveRouter(t, nil)
	file := filepath.Join(t.TempDir(), "big")
	for _, version := range []string{"--http2", "--http1.1"} {
		if got := r.curl(t, version, "https://one.test/big", "--output", file); got.Code != 0 {
			t.Error(got)
		}
		sameFile(t, file, r.one.big)
		want := fmt.Sprintf("POST a.two.test %d %x <nil>", len(r.one.big), sha256.Sum256(r.one.big))
		if got := r.curl(t, version, "--data-binary", "@"+file, "--header", "Expect:", "https://a.two.test/up"); got.Code != 0 || got.Out != want {
			t.Errorf("%v; want %s", got, want)
		}
	}
	// Many at once, each on a connection of its own.
	if got := r.curl(t, "--http1.1", "--parallel", "--parallel-immediate", "--parallel-max", "20", "https://a.two.test/big?[1-40]", "--output", filepath.Join(t.TempDir(), "#1")); got.Code != 0 {
		t.Error(got)
	}
	hosttest.Eventually(t, "nothing is open", func() bool {
		st := r.Stats()
		return st.Connections == 0 && st.Listeners[0].Instances == 0
	})
}

func TestSNIRouterOpenSSL(t *testing.T) {
	hosttest.Need(t, "openssl", "openssl")
	r := serveRouter(t, func(one, two string) string {
		return fmt.Sprintf("  [listener.config.default]\n  to = %q\n", "tcp://"+two)
	})
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		for _, c := range []struct {
			args []string
			want []string
		}{
			{[]string{"-servername", "one.test", "-verify_hostname", "one.test"}, []string{"subject=CN=one.test", "Verify return code: 0 (ok)", "No ALPN negotiated"}},
			{[]string{"-servername", "x.two.test", "-verify_hostname", "x.two.test", "-alpn", "h2,http/1.1"}, []string{"subject=CN=*.two.test", "Verify return code: 0 (ok)", "ALPN protocol: h2"}},
			{[]string{"-servername", "one.test", "-alpn", "http/1.1"}, []string{"subject=CN=one.test", "ALPN protocol: http/1.1"}},
			{[]string{"-noservername"}, []string{"subject=CN=*.two.test"}}, // the default
			{[]string{"-servername", "nobody.test"}, []string{"subject=CN=*.two.test"}},
		} {
			args := append([]string{"s_client", "-connect", r.addr, "-CAfile", r.ca, "-nameopt", "rfc2253", version}, c.args...)
			got := hosttest.Run(t, "Q\n", "openssl", args...)
			for _, want := range c.want {
				if got.Code != 0 || !strings.Contains(got.Out, want) {
					t.Errorf("%v: %v; want %s", args[7:], got, want)
				}
			}
		}
	}
	// A ClientHello of several records and segments, as big as they get.
	args := []string{"s_client", "-connect", r.addr, "-CAfile", r.ca, "-nameopt", "rfc2253", "-servername", "one.test", "-split_send_frag", "512", "-max_send_frag", "512", "-alpn", strings.Repeat("protocol-that-nobody-speaks,", 60) + "http/1.1"}
	if got := hosttest.Run(t, "Q\n", "openssl", args...); got.Code != 0 || !strings.Contains(got.Out, "subject=CN=one.test") {
		t.Error(got)
	}
	// What openssl says and the site answers goes through, and so does the end.
	got := hosttest.Run(t, "GET / HTTP/1.0\r\nHost: one.test\r\n\r\n", "openssl", "s_client", "-connect", r.addr, "-CAfile", r.ca, "-verify_return_error", "-servername", "one.test", "-quiet")
	if got.Code != 0 || !strings.Contains(got.Out, "GET one.test 0 ") {
		t.Error(got)
	}
	hosttest.Eventually(t, "nothing is open", func() bool { return r.Stats().Connections == 0 })
}
