package main_test

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
)

// zone has a name with more than fits into a plain datagram, and one with more than fits into any.
func zone() string {
	records := []string{`"@ SOA ns1 hostmaster 7 7200 3600 1209600 300"`, `"@ NS ns1"`, `"ns1 A 127.0.0.1"`,
		`"www A 192.0.2.80"`, `"www AAAA 2001:db8::80"`, `"alias CNAME www"`, `"@ MX 10 mail"`, `'text TXT "two words" more'`}
	for i := range 60 {
		records = append(records, fmt.Sprintf(`"some A 198.51.100.%d"`, i))
	}
	for i := range 250 {
		records = append(records, fmt.Sprintf(`"many A 203.0.113.%d"`, i))
	}
	return "zone = \"example.test\"\nrecords = [" + strings.Join(records, ", ") + "]\n"
}

// serve serves the shipped module as quickstart.toml does: over UDP and TCP, on one port.
func serve(t *testing.T) (addr string, h *host.Host) {
	t.Helper()
	plugin, err := filepath.Abs("dns.wasm")
	if err != nil {
		t.Fatal(err)
	}
	const listener = `
[[listener]]
name = "dns-%s"
tenant = "names"
address = "%s://%s"
plugin = %q
instance = "loop"
  [listener.config]
  %s
`
	head := fmt.Sprintf("[host]\nstate = %q\nloops = 2\n[tenant.names]\naccept_rate = 10000\n", hosttest.State())
	addr = freePort(t)
	return addr, hosttest.Serve(t, head+fmt.Sprintf(listener, "udp", "udp", addr, plugin, zone())+fmt.Sprintf(listener, "tcp", "tcp", addr, plugin, zone()), host.Options{})
}

// freePort is an address that nobody has over UDP or TCP.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		pc, err := net.ListenPacket("udp", ln.Addr().String())
		ln.Close()
		if err == nil {
			pc.Close()
			return ln.Addr().String()
		}
	}
	t.Fatal("there is no port that is free over both")
	return ""
}

// dig asks with Debian's dnsutils, and is a reason to skip where that is not.
func dig(t *testing.T, addr string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("dig")
	if err != nil {
		t.Skip("there is no dig; apt-get install dnsutils")
	}
	ip, port, _ := net.SplitHostPort(addr)
	out, err := exec.Command(path, append([]string{"-r", "@" + ip, "-p", port, "+time=10", "+tries=2"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("dig %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestDig(t *testing.T) {
	addr, h := serve(t)
	for _, how := range []string{"+notcp", "+tcp"} {
		for ask, want := range map[string]string{
			"www.example.test A":     "192.0.2.80",
			"www.example.test AAAA":  "2001:db8::80",
			"alias.example.test A":   "www.example.test.\n192.0.2.80",
			"example.test MX":        "10 mail.example.test.",
			"text.example.test TXT":  `"two words" "more"`,
			"example.test SOA":       "ns1.example.test. hostmaster.example.test. 7 7200 3600 1209600 300",
			"nobody.example.test A":  "",
			"example.test NS":        "ns1.example.test.",
			"NS1.Example.TEST A":     "127.0.0.1",
			"www.example.test ANY":   `"RFC8482" ""`,
			"www.example.test HINFO": "",
		} {
			name, kind, _ := strings.Cut(ask, " ")
			if got := strings.TrimSpace(dig(t, addr, "+short", how, name, kind)); got != want {
				t.Errorf("dig %s %s: %q, want %q", how, ask, got, want)
			}
		}
	}
	for name, status := range map[string]string{"nobody.example.test": "NXDOMAIN", "www.example.org": "REFUSED", "www.example.test": "NOERROR"} {
		out := dig(t, addr, name)
		if !strings.Contains(out, "status: "+status) || !strings.Contains(out, "(UDP)") {
			t.Errorf("dig %s does not say %s over UDP:\n%s", name, status, out)
		}
	}
	// An id that EDNS carries, and sizes.
	if out := dig(t, addr, "+nocookie", "+bufsize=4096", "www.example.test"); !strings.Contains(out, "EDNS: version: 0, flags:; udp: 1232") {
		t.Errorf("there is no EDNS:\n%s", out)
	}
	if st := h.Stats().Listeners; st[0].Accepted == 0 || len(st[0].DatagramsLost) > 0 {
		t.Errorf("%+v", st)
	}
}

// What does not fit into 512 bytes, or what EDNS says, is cut, with TC; dig asks again over TCP.
func TestDigAsksAgainOverTCP(t *testing.T) {
	addr, h := serve(t)
	for _, c := range []struct {
		name, how string
		cut       bool
		n         int
	}{
		{"some.example.test", "+noedns", true, 60},
		{"some.example.test", "+bufsize=600", true, 60},
		{"some.example.test", "+bufsize=1232", false, 60},
		{"many.example.test", "+bufsize=4096", true, 250},
		{"www.example.test", "+noedns", false, 1},
	} {
		before := h.Stats().Listeners[1].Accepted
		cut := dig(t, addr, c.how, "+ignore", c.name)
		if got := strings.Contains(cut, ";; flags: qr aa tc"); got != c.cut || !strings.Contains(cut, "(UDP)") {
			t.Errorf("%s %s: cut is %v, want %v\n%s", c.how, c.name, got, c.cut, cut)
		}
		lines := strings.Fields(dig(t, addr, c.how, "+short", c.name))
		lines = slices.DeleteFunc(lines, func(s string) bool { return net.ParseIP(s) == nil })
		if len(lines) != c.n {
			t.Errorf("%s %s: %d answers, want %d", c.how, c.name, len(lines), c.n)
		}
		if again := h.Stats().Listeners[1].Accepted > before; again != c.cut {
			t.Errorf("%s %s: asked again over TCP is %v", c.how, c.name, again)
		}
	}
}

// Go's own client, which asks again over TCP as well.
func TestGoResolver(t *testing.T) {
	addr, _ := serve(t)
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	ctx := t.Context()
	for name, n := range map[string]int{"www.example.test.": 2, "alias.example.test.": 2, "some.example.test.": 60, "many.example.test.": 250} {
		if got, err := r.LookupHost(ctx, name); err != nil || len(got) != n {
			t.Errorf("%s has %d addresses, %v; want %d", name, len(got), err, n)
		}
	}
	if got, err := r.LookupTXT(ctx, "text.example.test."); err != nil || !slices.Equal(got, []string{"two wordsmore"}) {
		t.Errorf("text is %q, %v", got, err)
	}
	if mx, err := r.LookupMX(ctx, "example.test."); err != nil || len(mx) != 1 || mx[0].Host != "mail.example.test." {
		t.Errorf("MX is %v, %v", mx, err)
	}
	var missing *net.DNSError
	if _, err := r.LookupHost(ctx, "nobody.example.test."); err == nil {
		t.Error("nobody has an address")
	} else if missing, _ = err.(*net.DNSError); missing == nil || !missing.IsNotFound {
		t.Error(err)
	}
}
