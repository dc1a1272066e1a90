package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func policy(t testing.TB, entries ...string) *Policy {
	t.Helper()
	p, err := Parse(entries)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// cases has targets, and whether they are listed.
type cases map[string]bool

func (c cases) check(t *testing.T, p *Policy) {
	t.Helper()
	for s, want := range c {
		err := p.Check(target(t, s))
		if (err == nil) != want {
			t.Errorf("%s: %v; is listed: want %v", s, err, want)
		}
		if err != nil {
			if KindOf(err) != Denied {
				t.Errorf("%s: a %v error", s, KindOf(err))
			}
			checkText(t, err)
		}
	}
}

func TestNames(t *testing.T) {
	cases{
		"tcp://db.internal:5432":    true,
		"tls://db.internal:5432":    true,
		"tcp://DB.Internal.:5432":   true,
		"tcp://db.internal:5433":    false,
		"tcp://x.db.internal:5432":  false,
		"tcp://internal:5432":       false,
		"tcp://db.internal.x:5432":  false,
		"tcp://xdb.internal:5432":   false,
		"tcp://every.example:1":     true,
		"tcp://every.example:65535": true,
		"tcp://folded.example:80":   true,
		"tcp://two.example:80":      true,
		"tcp://two.example:81":      false,
		"tcp://two.example:90":      true,
	}.check(t, policy(t, "db.internal:5432", "every.example:*", "FOLDED.Example.:80", "two.example:80", "two.example:90-91"))
}

func TestWildcards(t *testing.T) {
	cases{
		"tcp://a.example.com:443":               true,
		"tcp://a.b.example.com:443":             true,
		"tcp://a.b.c.d.e.example.com:443":       true,
		"tcp://A.EXAMPLE.com.:443":              true,
		"tcp://_a.example.com:443":              true,
		"tcp://a.example.com:444":               false,
		"tcp://example.com:443":                 false,
		"tcp://example.com.:443":                false,
		"tcp://evil-example.com:443":            false,
		"tcp://evilexample.com:443":             false,
		"tcp://a.evil-example.com:443":          false,
		"tcp://a.example.com.evil.org:443":      false,
		"tcp://com:443":                         false,
		"tcp://b.com:443":                       false,
		"tcp://a.example.co:443":                false,
		"tcp://169.254.169.254.example.com:443": true, // a name like others; what it resolves to counts
		"tcp://deep.under.tld:1":                true,
		"tcp://tld:1":                           false,
	}.check(t, policy(t, "*.Example.com.:443", "*.tld:1"))
}

func TestAddresses(t *testing.T) {
	cases{
		"tcp://192.0.2.7:25":            true,
		"tcp://[::ffff:192.0.2.7]:25":   true,
		"tcp://192.0.2.7:26":            false,
		"tcp://192.0.2.8:25":            false,
		"tcp://10.255.0.1:443":          true,
		"tcp://11.0.0.1:443":            false,
		"tcp://[2001:db8::5]:8000":      true,
		"tcp://[2001:db8::5]:8100":      true,
		"tcp://[2001:db8::5]:7999":      false,
		"tcp://[2001:db8::5]:8101":      false,
		"tcp://[2001:db9::5]:8000":      false,
		"tcp://[2606:4700::1111]:53":    true,
		"tcp://[64:ff9b::10.0.0.1]:443": false, // only the IPv4 address is listed
		"tcp://[2002:a00:1::]:443":      false,
		"tcp://[::10.0.0.1]:443":        false,
		"tcp://localhost:443":           false,
		"tcp://127.0.0.1:443":           false,
	}.check(t, policy(t, "192.0.2.7:25", "10.0.0.0/8:443", "[2001:db8::/32]:8000-8100", "[2606:4700::1111]:53"))
}

// A network that is wider than a block of special addresses says nothing
// about them.
func TestWideNetworks(t *testing.T) {
	wide := policy(t, "0.0.0.0/0:*", "[::/0]:*", "169.0.0.0/8:*", "192.168.0.0/15:*")
	for kind, all := range forbidden {
		for _, s := range all {
			a := netip.MustParseAddr(s)
			if err := wide.Check(target(t, "tcp://"+netip.AddrPortFrom(a, 80).String())); KindOf(err) != Denied {
				t.Errorf("%s: %s may be dialled: %v", kind, a, err)
			}
		}
	}
	for _, s := range publics {
		if err := wide.Check(target(t, "tcp://"+netip.AddrPortFrom(netip.MustParseAddr(s), 80).String())); err != nil {
			t.Error(err)
		}
	}
	cases{
		"tcp://127.0.0.1:80":              true,
		"tcp://[::1]:80":                  true,
		"tcp://[::ffff:127.0.0.1]:80":     true,
		"tcp://192.168.1.1:80":            true,
		"tcp://100.64.0.1:80":             true,
		"tcp://100.100.100.200:80":        false, // in 100.64.0.0/10, but not by itself
		"tcp://169.254.1.1:80":            true,
		"tcp://169.254.169.254:80":        false,
		"tcp://[fd12::1]:80":              true,
		"tcp://[fd00:ec2::254]:80":        false,
		"tcp://[fd20:ce::254]:80":         true, // by itself
		"tcp://[64:ff9b::8.8.8.8]:80":     true,
		"tcp://[64:ff9b::10.0.0.1]:80":    false,
		"tcp://[64:ff9b::192.168.0.1]:80": true,
		"tcp://[64:ff9b::169.254.1.1]:80": false,
		"tcp://172.16.0.1:80":             true,
		"tcp://172.32.0.1:80":             false,
	}.check(t, policy(t, "127.0.0.0/8:80", "[::1]:80", "192.168.0.0/16:80", "100.64.0.0/10:80", "169.254.0.0/16:80", "[fc00::/7]:80", "[fd20:ce::254]:80", "[64:ff9b::/96]:80", "[64:ff9b::c0a8:0/112]:80", "172.16.5.0/24:80", "172.16.0.1:80"))
}

// The error says why it is of no use to list the address.
func TestNeverDialled(t *testing.T) {
	p := policy(t, "0.0.0.0/0:*", "[::/0]:*")
	for s, want := range map[string]string{
		"tcp://0.0.0.0:80":   "0.0.0.0 is an unspecified address, to which nothing may connect",
		"tcp://[::]:80":      ":: is the unspecified address, to which nothing may connect",
		"tcp://224.0.0.1:80": "224.0.0.1 is a multicast address, to which nothing may connect",
		"tcp://[fe80::1]:80": "fe80::1 is a link-local address, to which nothing may connect",
	} {
		if err := p.Check(target(t, s)); KindOf(err) != Denied || err.Error() != "connecting to "+s+": "+want {
			t.Errorf("%v; want %s", err, want)
		}
	}
}

// Names give nothing to addresses, and addresses nothing to names.
func TestKindsAreApart(t *testing.T) {
	cases{
		"tcp://1.2.3.4:80":      false,
		"tcp://a.example:81":    false,
		"unix:///run/a.example": false,
	}.check(t, policy(t, "a.example:80", "*.example:80", "1.2.3.4:81", "unix:///run/x"))
}

// An entry is for UDP, or for TCP and TLS: a list of old gives nobody anything over UDP.
func TestUDPIsListedByItself(t *testing.T) {
	cases{
		"udp://ns.example:53":       true,
		"tcp://ns.example:53":       false,
		"tls://ns.example:53":       false,
		"udp://ns.example:54":       false,
		"udp://a.zone.example:5000": true,
		"tcp://a.zone.example:5000": false,
		"udp://10.1.2.3:53":         true,
		"tcp://10.1.2.3:53":         false,
		"udp://[2001:db8::7]:123":   true,
		"udp://db.example:5432":     false,
		"tcp://db.example:5432":     true,
		"udp://10.9.9.9:443":        false,
		"tcp://10.9.9.9:443":        true,
		"udp://both.example:1":      true,
		"tls://both.example:1":      true,
		"udp://224.0.0.1:53":        false,
		"udp://255.255.255.255:53":  false,
		"udp://127.0.0.1:53":        false,
	}.check(t, policy(t, "udp://ns.example:53", "udp://*.zone.example:*", "udp://10.0.0.0/8:53", "udp://[2001:db8::7]:120-123",
		"db.example:5432", "10.0.0.0/8:443", "both.example:*", "udp://both.example:*", "udp://0.0.0.0/0:*"))
	// A name may stand for a private address only where that is listed for the same network.
	p := policy(t, "udp://inside.example:53", "10.0.0.0/8:*")
	if _, err := p.Resolve(t.Context(), answer("10.0.0.1"), target(t, "udp://inside.example:53")); KindOf(err) != Denied || !strings.Contains(err.Error(), `add "udp://10.0.0.1:53"`) {
		t.Errorf("%v", err)
	}
	if err := p.Check(target(t, "udp://10.0.0.1:53")); !strings.Contains(err.Error(), `add "udp://10.0.0.1:53"`) {
		t.Errorf("%v", err)
	}
	if _, err := policy(t, "udp://inside.example:53", "udp://10.0.0.0/8:*").Resolve(t.Context(), answer("10.0.0.1"), target(t, "udp://inside.example:53")); err != nil {
		t.Error(err)
	}
}

func TestPaths(t *testing.T) {
	cases{
		"unix:///run/db.sock":      true,
		"unix:///run/db.sock2":     false,
		"unix:///run/db":           false,
		"unix:///run/acme/a.sock":  true,
		"unix:///run/acme/*":       true, // a strange name, but one in the folder
		"unix:///run/acme/b/c":     false,
		"unix:///run/acme":         false,
		"unix:///run/acme2/a.sock": false,
		"unix:///top":              false,
		"unix:///RUN/db.sock":      false,
	}.check(t, policy(t, "unix:///run/db.sock", "unix:///run/acme/*"))
	cases{"unix:///top": true, "unix:///run/x": false}.check(t, policy(t, "unix:///*"))
}

func TestNothingIsListed(t *testing.T) {
	var none *Policy
	for name, p := range map[string]*Policy{"nil": none, "zero": {}, "empty": policy(t)} {
		for _, s := range []string{"tcp://a.example:80", "tcp://8.8.8.8:53", "tcp://[2606:4700::1]:53", "unix:///run/x", "tcp://localhost:1"} {
			if err := p.Check(target(t, s)); KindOf(err) != Denied {
				t.Errorf("%s policy, %s: %v", name, s, err)
			}
		}
	}
	if err := policy(t, "0.0.0.0/0:*").Check(Target{}); KindOf(err) != Invalid {
		t.Errorf("the zero Target: %v", err)
	}
}

func TestBadEntries(t *testing.T) {
	for _, c := range []struct{ entry, problem, mend string }{
		{"", "has no port", "write HOST:PORT"},
		{"db", "has no port", "write HOST:PORT"},
		{"10.0.0.0/8", "has no port", "write HOST:PORT"},
		{"[::1]", "has no port", "write HOST:PORT"},
		{"db:", `has a bad port ""`, "write a port from 1 to 65535, a range"},
		{"db:0", `has a bad port "0"`, "write a port"},
		{"db:0-80", `has a bad port "0"`, "write a port"},
		{"db:80-", `has a bad port ""`, "write a port"},
		{"db:80-65536", `has a bad port "65536"`, "write a port"},
		{"db:81-80", `has a range of ports "81-80" that ends before it begins`, "write a port"},
		{"db:80,81", `has a bad port "80,81"`, "write a port"},
		{"db:**", `has a bad port "**"`, "write a port"},
		{"db:080", `has a bad port "080"`, "write a port"},
		{"tcp://db:80", `has a network "tcp"`, `write "db:80"`},
		{"udp://udp://db:80", `has a network "udp"`, `write "db:80"`},
		{"udp://db", "", "udp:// before one of them"},
		{"udp://[::ffff:10.0.0.1]:53", "has an IPv4 address in IPv6 clothes", "write udp://10.0.0.1:53"},
		{"::1:80", "has an IPv6 address without brackets", "write HOST:PORT"},
		{"[::1%lo]:80", "has an IPv6 address with a zone", "write HOST:PORT"},
		{"[fe80::1%eth0]:80", "has an IPv6 address with a zone", "write HOST:PORT"},
		{"[::ffff:10.0.0.1]:80", "has an IPv4 address in IPv6 clothes", "write 10.0.0.1:80"},
		{"[::ffff:10.0.0.0/104]:80", "has an IPv4 network in IPv6 clothes", "write the network of 10.0.0.0"},
		{"[10.0.0.0/8]:80", `has a bad network "10.0.0.0/8"`, "write HOST:PORT"},
		{"2001:db8::/32:80", "has an IPv6 address without brackets", "write HOST:PORT"},
		{"10.0.0.0/33:80", `has a bad network "10.0.0.0/33"`, "write HOST:PORT"},
		{"10.0.0.0/08:80", `has a bad network`, "write HOST:PORT"},
		{"10.0.0/8:80", `has a bad network`, "write HOST:PORT"},
		{"10.0.0.1/8:80", `has a network "10.0.0.1/8" with bits set behind its mask`, "write 10.0.0.0/8, or 10.0.0.1 for the one address"},
		{"*:80", `has a "*" that is not a label of its own`, "write the names one by one"},
		{"*example.com:80", `has a "*" that is not a label of its own`, "write the names one by one"},
		{"*.:80", `has no name behind the "*."`, "write a name there"},
		{"*.*.example.com:80", `has no name behind the "*."`, "write a name there"},
		{"*.10.0.0.1:80", `has no name behind the "*."`, "or a network"},
		{"a.*.com:80", `with "*" in it`, "write HOST:PORT"},
		{"127.1:80", "neither a name nor an IPv4 address", "write HOST:PORT"},
		{"0x7f000001:80", "neither a name nor an IPv4 address", "write HOST:PORT"},
		{"2130706433:80", "neither a name nor an IPv4 address", "write HOST:PORT"},
		{"0177.0.0.1:80", "neither a name nor an IPv4 address", "write HOST:PORT"},
		{"user@db:80", `with "@" in it`, "write HOST:PORT"},
		{"db\n:80", `with "\n" in it`, "write HOST:PORT"},
		{"bücher.example:80", "other scripts in their xn-- form", "write HOST:PORT"},
		{":80", "has no host", "write HOST:PORT"},
		{"0.0.0.0:80", "has an unspecified address, to which nothing can connect", "write the address of a host"},
		{"0.0.0.0/8:80", "has an unspecified address", "write the address of a host"},
		{"[::]:80", "has the unspecified address", "write the address of a host"},
		{"224.0.0.0/4:80", "has a multicast address", "write the address of a host"},
		{"[ff02::1]:80", "has a multicast address", "write the address of a host"},
		{"255.255.255.255:80", "has the broadcast address", "write the address of a host"},
		{"[fe80::1]:80", "has a link-local address", "write the address of a host"},
		{"[64:ff9b::224.0.0.1]:80", "has a multicast address behind NAT64", "write the address of a host"},
		{"unix://run/db.sock", "has a path that does not begin with /", "write the whole path"},
		{"unix://@name", "has a path that does not begin with /", "write the whole path"},
		{"unix://", "has a path that does not begin with /", "write the whole path"},
		{"unix:///", "has a path that names no socket", "write the whole path"},
		{"unix:///run/../db", `has a path with ".", ".."`, "write the whole path"},
		{"unix:////*", `has a path with ".", ".."`, "write the whole path"},
		{"unix:///run/*/db", `has a "*" that is not its last name`, "write the whole path"},
		{"unix:///run/*.sock", `has a "*" that is not its last name`, "write the whole path"},
		{"unix:///run/a\x00b", "has a path with bytes that cannot be printed", "write the whole path"},
		{strings.Repeat("a", 513), "is longer than 512 bytes", "write HOST:PORT"},
	} {
		p, err := Parse([]string{"good.example:1", c.entry})
		bad, ok := errors.AsType[*EntryError](err)
		if p != nil || !ok {
			t.Errorf("%q: %v", c.entry, err)
			continue
		}
		if bad.Index != 1 || bad.Entry != c.entry || !strings.Contains(bad.Problem, c.problem) || !strings.HasPrefix(bad.Mend, c.mend) && !strings.Contains(bad.Mend, c.mend) {
			t.Errorf("%q: %v", c.entry, err)
		}
		checkText(t, err)
		if !strings.HasPrefix(err.Error(), "connect[1] = ") {
			t.Errorf("%q: the error does not begin with the entry: %v", c.entry, err)
		}
	}
}

func TestAllBadEntriesAreTold(t *testing.T) {
	_, err := Parse([]string{"a", "b:1", "c:x", "unix://d"})
	all, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatal(err)
	}
	var at []int
	for _, e := range all.Unwrap() {
		bad, ok := errors.AsType[*EntryError](e)
		if !ok {
			t.Fatalf("%v is no *EntryError", e)
		}
		at = append(at, bad.Index)
	}
	if fmt.Sprint(at) != "[0 2 3]" {
		t.Errorf("the bad entries are %v", at)
	}
}
