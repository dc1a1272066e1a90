package egress

import (
	"net/netip"
	"strings"
	"testing"
)

func target(t testing.TB, s string) Target {
	t.Helper()
	got, err := ParseTarget(s)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestParseTarget(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	name253 := strings.Join([]string{label63, label63, label63, strings.Repeat("b", 61)}, ".")
	for _, c := range []struct {
		in   string
		want Target
		text string // as String has it; "" is in
	}{
		{"tcp://db.internal:5432", Target{network: "tcp", name: "db.internal", port: 5432}, ""},
		{"tls://API.Example.COM.:443", Target{network: "tls", name: "api.example.com", port: 443}, "tls://api.example.com:443"},
		{"tcp://localhost:1", Target{network: "tcp", name: "localhost", port: 1}, ""},
		{"tcp://_srv._tcp.a-b.c:65535", Target{network: "tcp", name: "_srv._tcp.a-b.c", port: 65535}, ""},
		{"tcp://xn--bcher-kva.example:80", Target{network: "tcp", name: "xn--bcher-kva.example", port: 80}, ""},
		{"tcp://1.2.3.example:80", Target{network: "tcp", name: "1.2.3.example", port: 80}, ""},
		{"tcp://7f000001:80", Target{network: "tcp", name: "7f000001", port: 80}, ""},
		{"tcp://0x7f.1g:80", Target{network: "tcp", name: "0x7f.1g", port: 80}, ""},
		{"tcp://" + name253 + ":80", Target{network: "tcp", name: name253, port: 80}, ""},
		{"tcp://" + name253 + ".:80", Target{network: "tcp", name: name253, port: 80}, "tcp://" + name253 + ":80"},
		{"tcp://192.0.2.7:25", Target{network: "tcp", addr: netip.MustParseAddr("192.0.2.7"), port: 25}, ""},
		{"tls://[2001:DB8:0::1]:443", Target{network: "tls", addr: netip.MustParseAddr("2001:db8::1"), port: 443}, "tls://[2001:db8::1]:443"},
		{"tcp://[::ffff:127.0.0.1]:80", Target{network: "tcp", addr: netip.MustParseAddr("127.0.0.1"), port: 80}, "tcp://127.0.0.1:80"},
		{"tcp://[0:0:0:0:0:FFFF:7f00:1]:80", Target{network: "tcp", addr: netip.MustParseAddr("127.0.0.1"), port: 80}, "tcp://127.0.0.1:80"},
		{"udp://NS1.Example.com.:53", Target{network: "udp", name: "ns1.example.com", port: 53}, "udp://ns1.example.com:53"},
		{"udp://[::ffff:192.0.2.7]:53", Target{network: "udp", addr: netip.MustParseAddr("192.0.2.7"), port: 53}, "udp://192.0.2.7:53"},
		{"unix:///run/db.sock", Target{network: "unix", path: "/run/db.sock"}, ""},
		{"unix:///run/a%20b/*", Target{network: "unix", path: "/run/a%20b/*"}, ""},
	} {
		got, err := ParseTarget(c.in)
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.in, got, err, c.want)
			continue
		}
		if c.text == "" {
			c.text = c.in
		}
		if got.String() != c.text {
			t.Errorf("%s: its one spelling is %s, want %s", c.in, got, c.text)
		}
		if again := target(t, got.String()); again != got {
			t.Errorf("%s: %s is another target", c.in, got)
		}
	}
}

func TestTargetParts(t *testing.T) {
	tls := target(t, "tls://Mail.Example.com.:993")
	if tls.Network() != "tls" || tls.Host() != "mail.example.com" || tls.Port() != 993 || tls.Path() != "" || tls.ServerName() != "mail.example.com" {
		t.Errorf("%+v", tls)
	}
	if literal := target(t, "tls://[2001:db8::1]:1"); literal.ServerName() != "2001:db8::1" {
		t.Errorf("the server's name is %q", literal.ServerName())
	}
	if tcp := target(t, "tcp://a.example:1"); tcp.ServerName() != "" {
		t.Errorf("tcp has the server name %q", tcp.ServerName())
	}
	if udp := target(t, "udp://a.example:53"); udp.Network() != "udp" || udp.Host() != "a.example" || udp.Port() != 53 || udp.Path() != "" || udp.ServerName() != "" {
		t.Errorf("%+v", udp)
	}
	if unix := target(t, "unix:///a"); unix.Network() != "unix" || unix.Path() != "/a" || unix.Host() != "" || unix.Port() != 0 {
		t.Errorf("%+v", unix)
	}
}

// badTargets are refused before anybody looks at a policy.
var badTargets = []string{
	// Numbers that some resolver takes for 127.0.0.1 or 169.254.169.254.
	"tcp://0177.0.0.1:80", "tcp://127.0.0.01:80", "tcp://0x7f.0.0.1:80", "tcp://0x7f000001:80", "tcp://0X7F000001:80",
	"tcp://2130706433:80", "tcp://017700000001:80", "tcp://127.1:80", "tcp://127.0.1:80", "tcp://1.2.3:80", "tcp://127.0.0.1.:80",
	"tcp://127.0.0.0x1:80", "tcp://0x7f.1:80", "tcp://0:80", "tcp://0x:80", "tcp://00.0.0.0:80", "tcp://256.0.0.1:80", "tcp://127.0.0.1.0:80",
	"tcp://2852039166:80", "tcp://0xa9fea9fe:80", "tcp://0251.0376.0251.0376:80", "tcp://169.254.43518:80", "tcp://localhost.1:80", "tcp://a.example.0x7f:80",
	"tcp://127。0。0。1:80", "tcp://①②⑦.0.0.1:80", "tcp://127.0.0.1%00:80", "tcp://%31%32%37.0.0.1:80",
	// IPv6 in other clothes.
	"tcp://::1:80", "tcp://[::1%lo]:80", "tcp://[::1%25lo]:80", "tcp://[fe80::1%eth0]:80", "tcp://[::ffff:127.0.0.1%1]:80", "tcp://[127.0.0.1]:80", "tcp://[localhost]:80",
	"tcp://[::1:80", "tcp://::1]:80", "tcp://[[::1]]:80", "tcp://[::1]80", "tcp://[::1]", "tcp://[]:80", "tcp://[::ffff:0177.0.0.1]:80", "tcp://[::1]x:80", "tcp://[::ffff:7f.1]:80",
	// More than a host and a port.
	"tcp://user@a.example:80", "tcp://user:pw@a.example:80", "tcp://a.example@127.0.0.1:80", "tcp://a.example:80/", "tcp://a.example/x:80", "tcp://a.example:80?x", "tcp://a.example:80#x", "tcp://a.example?:80",
	"tcp://a.example#@b:80", `tcp://a.example\@b:80`, "tcp:///a.example:80",
	// Bad names.
	"tcp://:80", "tcp://.:80", "tcp://..:80", "tcp://a..b:80", "tcp://.a:80", "tcp://a.example..:80", "tcp://-a.example:80", "tcp://a-.example:80", "tcp://a b:80", "tcp:// a:80", "tcp://a\x00.example:80",
	"tcp://a.example\n:80", "tcp://bücher.example:80", "tcp://a.exаmple:80", "tcp://*.example.com:80", "tcp://a*:80", "tcp://a,b:80", "tcp://a%2eb:80", "tcp://\u212a.example:80", "tcp://\u0130.example:80",
	"tcp://" + strings.Repeat("a", 64) + ".example:80", "tcp://" + strings.Repeat("a.", 127) + "b:80",
	// Bad ports.
	"tcp://a.example", "tcp://a.example:", "tcp://a.example:0", "tcp://a.example:65536", "tcp://a.example:080", "tcp://a.example:+80", "tcp://a.example:-1", "tcp://a.example:http", "tcp://a.example:8 0", "tcp://a.example:80:80", "tcp://a.example:0x50", "tcp://a.example:*", "tcp://a.example:80-81",
	// Bad networks.
	"", "a.example:80", "://a.example:80", "TCP://a.example:80", "UDP://a.example:80", "udp4://a.example:80", "udp://a.example", "udp://:53", "tcp4://127.0.0.1:80", "http://a.example:80", "tcp:/a.example:80", "tcp:a.example:80", " tcp://a.example:80", "tcp",
	// Bad paths.
	"unix://", "unix:///", "unix://run/db.sock", "unix://./db.sock", "unix://@abstract", "unix://\x00abstract", "unix:///run/\x00db", "unix:///run/../db.sock", "unix:///run/./db", "unix:////run/db", "unix:///run//db", "unix:///run/db/", "unix:///run/db/.", "unix:///..", "unix:///run/a\nb", "unix:///run/\xff", "unix:///run/\x1b[2J",
	"unix:///" + strings.Repeat("a", 512),
}

func TestBadTargets(t *testing.T) {
	for _, in := range badTargets {
		got, err := ParseTarget(in)
		if err == nil {
			t.Errorf("%q is taken for %s", in, got)
			continue
		}
		if KindOf(err) != Invalid || got != (Target{}) {
			t.Errorf("%q: %+v, a %v error", in, got, KindOf(err))
		}
		checkText(t, err)
	}
}

// checkText wants that an error may be written to a log.
func checkText(t *testing.T, err error) {
	t.Helper()
	text := err.Error()
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) || len(text) > 2000 {
		t.Errorf("an error unfit for a log: %q", text)
	}
}

func TestTargetErrorsSayTheMend(t *testing.T) {
	for in, want := range map[string]string{
		"tcp://127.1:80":         `connecting to "tcp://127.1:80": the target has a host "127.1" that is neither a name nor an IPv4 address in its usual form; write tcp://HOST:PORT, tls://HOST:PORT, udp://HOST:PORT or unix:///PATH, like "tcp://db.internal:5432" or "tls://[2001:db8::1]:443"`,
		"tcp://::1:80":           "the target has an IPv6 address without brackets; write",
		"tcp://[fe80::1%e]:80":   "has an IPv6 address with a zone",
		"tcp://user@a.b:80":      `with "@" in it`,
		"http://a.b:80":          `has an unknown network "http"`,
		"unix://@x":              "does not begin with /",
		"unix:///run/../x":       `has a path with ".", ".."`,
		"tcp://a.b:99999":        `has a bad port "99999"`,
		strings.Repeat("x", 513): "is longer than 512 bytes",
	} {
		if _, err := ParseTarget(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %s", in, err, want)
		}
	}
}
