package egress

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
)

// answers is a Resolver that knows one answer a lookup, the last of which
// holds for ever, and notes what it was asked.
type answers struct {
	mu    sync.Mutex
	each  [][]string
	err   error
	asked []string
}

func (r *answers) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, network+" "+host)
	if r.err != nil {
		return nil, r.err
	}
	now := r.each[0]
	if len(r.each) > 1 {
		r.each = r.each[1:]
	}
	return addrs(now...), nil
}

func answer(all ...string) *answers { return &answers{each: [][]string{all}} }

func addrs(all ...string) []netip.Addr {
	var as []netip.Addr
	for _, s := range all {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}

// resolve is what a name or literal leads to, as text.
func resolve(t *testing.T, p *Policy, r Resolver, s string) (string, error) {
	t.Helper()
	got, err := p.Resolve(t.Context(), r, target(t, s))
	if err != nil {
		checkText(t, err)
		if got != nil {
			t.Errorf("%s: addresses %v with the error %v", s, got, err)
		}
	}
	return join(got), err
}

func join(all []netip.AddrPort) string {
	var texts []string
	for _, a := range all {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, " ")
}

// A name that is not listed must not reach the DNS: the query itself would
// carry what a guest wants to tell.
func TestNoQueryForWhatIsNotListed(t *testing.T) {
	r := answer("93.184.216.34")
	p := policy(t, "a.example.com:443", "*.example.org:443", "10.0.0.0/8:*", "0.0.0.0/0:*", "unix:///run/*")
	for _, s := range []string{
		"tcp://secret.evil.example:443", "tcp://a.example.com:80", "tls://a.example.com:444", "tcp://example.org:443", "tcp://x.a.example.com:443", "tcp://b.example.com:443", "tcp://evil-example.org:443",
		"tcp://localhost:443", "tcp://127.0.0.1:443", "tcp://[::1]:443", "tcp://10.0.0.1.example.net:443",
	} {
		if got, err := resolve(t, p, r, s); KindOf(err) != Denied {
			t.Errorf("%s: %s %v", s, got, err)
		}
	}
	// These are listed, and are no names.
	for _, s := range []string{"tcp://10.0.0.1:443", "tcp://93.184.216.34:1"} {
		if got, err := resolve(t, p, r, s); err != nil || "tcp://"+got != s {
			t.Errorf("%s: %s %v", s, got, err)
		}
	}
	if _, err := resolve(t, p, r, "unix:///run/x"); KindOf(err) != Invalid {
		t.Errorf("a socket was looked up: %v", err)
	}
	if len(r.asked) != 0 {
		t.Errorf("the resolver was asked for %q", r.asked)
	}
	if got, err := resolve(t, p, r, "tls://A.Example.com.:443"); err != nil || got != "93.184.216.34:443" || !slices.Equal(r.asked, []string{"ip a.example.com"}) {
		t.Errorf("%s %v; asked %q", got, err, r.asked)
	}
}

func TestForbiddenAnswers(t *testing.T) {
	p := policy(t, "a.example.com:80", "localhost:80", "0.0.0.0/0:*", "[::/0]:*", "127.0.0.1:81", "169.254.169.254:81")
	for kind, all := range forbidden {
		for _, s := range all {
			if got, err := resolve(t, p, answer(s), "tcp://a.example.com:80"); KindOf(err) != Denied {
				t.Errorf("%s: %s is dialled as %q: %v", kind, s, got, err)
			}
		}
	}
	if _, err := resolve(t, p, answer("127.0.0.1", "::1"), "tcp://localhost:80"); KindOf(err) != Denied ||
		!strings.Contains(err.Error(), `127.0.0.1 is a loopback address, which the tenant's connect list does not name by itself; add "127.0.0.1:80" to permit it`) {
		t.Errorf("localhost: %v", err)
	}
	// A zone, or no address at all, is no resolver's to give.
	for _, bad := range []netip.Addr{{}, netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("2606:4700::1%eth0")} {
		r := lookup(func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{bad}, nil })
		if got, err := resolve(t, p, r, "tcp://a.example.com:80"); KindOf(err) != Denied {
			t.Errorf("%q is dialled as %q: %v", bad, got, err)
		}
	}
}

type lookup func(ctx context.Context, host string) ([]netip.Addr, error)

func (f lookup) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	return f(ctx, host)
}

func TestListedAnswers(t *testing.T) {
	p := policy(t, "db.internal:5432", "10.0.0.0/8:5432", "127.0.0.1:5432", "[fd12::/16]:5432", "metadata.google.internal:80", "169.254.169.254:80")
	for _, c := range []struct{ target, answer, want string }{
		{"tcp://db.internal:5432", "10.1.2.3", "10.1.2.3:5432"},
		{"tcp://db.internal:5432", "::ffff:10.1.2.3", "10.1.2.3:5432"},
		{"tcp://db.internal:5432", "127.0.0.1", "127.0.0.1:5432"},
		{"tcp://db.internal:5432", "127.0.0.2", ""},
		{"tcp://db.internal:5432", "192.168.0.1", ""},
		{"tcp://db.internal:5432", "fd12::5", "[fd12::5]:5432"},
		{"tcp://db.internal:5432", "fd13::5", ""},
		{"tcp://db.internal:5432", "64:ff9b::10.1.2.3", ""},
		{"tcp://db.internal:5432", "93.184.216.34", "93.184.216.34:5432"},
		{"tcp://metadata.google.internal:80", "169.254.169.254", "169.254.169.254:80"},
		{"tcp://metadata.google.internal:80", "10.1.2.3", ""}, // listed with another port
	} {
		got, err := resolve(t, p, answer(c.answer), c.target)
		if got != c.want || c.want == "" && KindOf(err) != Denied {
			t.Errorf("%s at %s: %q %v, want %q", c.target, c.answer, got, err, c.want)
		}
	}
}

func TestMixedAnswers(t *testing.T) {
	p := policy(t, "a.example.com:80")
	r := answer("10.0.0.1", "93.184.216.34", "::1", "169.254.169.254", "2606:4700::1111", "::ffff:127.0.0.1", "1.1.1.1", "1.1.1.1", "::ffff:1.1.1.1")
	if got, err := resolve(t, p, r, "tcp://a.example.com:80"); err != nil || got != "93.184.216.34:80 [2606:4700::1111]:80 1.1.1.1:80" {
		t.Errorf("%s %v", got, err)
	}
	if got, err := resolve(t, p, answer(), "tcp://a.example.com:80"); KindOf(err) != NotFound {
		t.Errorf("no addresses: %q %v", got, err)
	}
}

// A name that is another name's alias is judged by the addresses at the end,
// even when the other name is listed.
func TestAlias(t *testing.T) {
	alias := map[string]string{"a.example.com": "www.example.net", "www.example.net": "db.internal"}
	host := map[string]string{"db.internal": "10.0.0.1"}
	r := lookup(func(_ context.Context, name string) ([]netip.Addr, error) {
		for alias[name] != "" {
			name = alias[name]
		}
		return addrs(host[name]), nil
	})
	p := policy(t, "*.example.com:80", "db.internal:80", "10.0.0.1:5432")
	if got, err := resolve(t, p, r, "tcp://a.example.com:80"); KindOf(err) != Denied {
		t.Errorf("%q %v", got, err)
	}
	if got, err := resolve(t, policy(t, "*.example.com:80", "10.0.0.1:80"), r, "tcp://a.example.com:80"); got != "10.0.0.1:80" {
		t.Errorf("%q %v", got, err)
	}
}

func TestOrderAndNumberOfAddresses(t *testing.T) {
	p := policy(t, "a.example.com:80")
	var many, v4, v6 []string
	for i := range 1000 {
		v4 = append(v4, fmt.Sprintf("93.184.%d.%d", i/250, i%250+1))
		v6 = append(v6, fmt.Sprintf("2606:4700::%x", i+1))
	}
	many = append(append(many, v4...), v6...)
	for _, c := range []struct {
		name    string
		answer  []string
		n, have int // how many addresses, and how many of them IPv4
		first   string
	}{
		{"IPv4 first", many, MaxAddrs, MaxAddrs / 2, "93.184.0.1:80 [2606:4700::1]:80 93.184.0.2:80 [2606:4700::2]:80"},
		{"IPv6 first", append(slices.Clone(v6), v4...), MaxAddrs, MaxAddrs / 2, "[2606:4700::1]:80 93.184.0.1:80 [2606:4700::2]:80 93.184.0.2:80"},
		{"only IPv4", v4, MaxAddrs, MaxAddrs, "93.184.0.1:80 93.184.0.2:80"},
		{"few IPv6", append(slices.Clone(v4), v6[0]), MaxAddrs, MaxAddrs - 1, "93.184.0.1:80 [2606:4700::1]:80 93.184.0.2:80 93.184.0.3:80"},
		{"one", v6[:1], 1, 0, "[2606:4700::1]:80"},
	} {
		got, err := p.Resolve(t.Context(), answer(c.answer...), target(t, "tcp://a.example.com:80"))
		if err != nil || len(got) != c.n || !strings.HasPrefix(join(got), c.first) {
			t.Errorf("%s: %v %v", c.name, got, err)
		}
		have := 0
		for _, a := range got {
			if a.Addr().Is4() {
				have++
			}
		}
		if have != c.have {
			t.Errorf("%s: %d of %d are IPv4, want %d", c.name, have, len(got), c.have)
		}
	}
}

// A public address of this machine leads past its firewall.
func TestOwnAddresses(t *testing.T) {
	own := func() (all []netip.Prefix) {
		for _, s := range []string{"127.0.0.1/8", "93.184.216.34/24", "2606:4700::9/64", "10.0.0.9/8", "45.0.0.1/24"} {
			all = append(all, netip.MustParsePrefix(s))
		}
		return all
	}
	with := func(entries ...string) *Policy {
		p := policy(t, append(entries, "a.example.com:80")...)
		p.own = own
		p.loopback = func(mine netip.Prefix) bool { return mine.Addr().String() == "45.0.0.1" }
		return p
	}
	for _, c := range []struct {
		p            *Policy
		target, want string
	}{
		{with(), "tcp://a.example.com:80", "1.1.1.1:80"},
		{with("93.184.216.34:80"), "tcp://a.example.com:80", "93.184.216.34:80 1.1.1.1:80"},
		{with("93.184.216.34:81", "93.184.216.0/24:80"), "tcp://a.example.com:80", "1.1.1.1:80"},
		{with("0.0.0.0/0:80"), "tcp://93.184.216.34:80", ""},
		{with("93.184.216.34:80"), "tcp://93.184.216.34:80", "93.184.216.34:80"},
		{with("[::/0]:80"), "tcp://[2606:4700::9]:80", ""},
		{with("[2606:4700::9]:80"), "tcp://[2606:4700::9]:80", "[2606:4700::9]:80"},
		{with("10.0.0.0/8:80"), "tcp://10.0.0.9:80", "10.0.0.9:80"},                // the private network was asked for
		{with("93.184.216.0/24:80"), "tcp://93.184.216.35:80", "93.184.216.35:80"}, // a neighbour
		{with("0.0.0.0/0:80"), "tcp://45.0.0.1:80", ""},
		{with("0.0.0.0/0:80"), "tcp://45.0.0.77:80", ""}, // it is on loopback with all of its network
		{with("45.0.0.77:80"), "tcp://45.0.0.77:80", "45.0.0.77:80"},
		{with("0.0.0.0/0:80"), "tcp://45.0.1.1:80", "45.0.1.1:80"},
	} {
		got, err := resolve(t, c.p, answer("93.184.216.34", "1.1.1.1"), c.target)
		if got != c.want || c.want == "" && KindOf(err) != Denied {
			t.Errorf("%s: %q %v, want %q", c.target, got, err, c.want)
		}
	}
	p := &Policy{}
	all := p.ownAddrs()
	at := slices.IndexFunc(all, func(mine netip.Prefix) bool { return mine.Addr() == netip.MustParseAddr("127.0.0.1") })
	if at < 0 || !p.isLoopback(all[at]) || p.isLoopback(netip.MustParsePrefix("192.0.2.1/24")) {
		t.Errorf("this machine has no loopback address: %v", all)
	}
}

// Direct is for what Resolve would not refuse, whatever this machine's addresses are.
func TestDirect(t *testing.T) {
	p := policy(t, "93.184.216.34:80", "93.184.216.0/24:80-90", "127.0.0.0/8:80", "10.0.0.1:80", "[::/0]:80", "[2606:4700::9]:80", "a.example.com:80")
	p.own = func() []netip.Prefix { t.Error("Direct looked at the interfaces"); return nil }
	for s, want := range map[string]string{
		"tcp://93.184.216.34:80":   "93.184.216.34:80",
		"tls://93.184.216.34:80":   "93.184.216.34:80",
		"tcp://127.0.0.1:80":       "127.0.0.1:80",
		"tcp://10.0.0.1:80":        "10.0.0.1:80",
		"tcp://[2606:4700::9]:80":  "[2606:4700::9]:80",
		"tcp://93.184.216.34:81":   "", // listed with its neighbours alone
		"tcp://93.184.216.35:80":   "",
		"tcp://[2606:4700::10]:80": "",
		"tcp://a.example.com:80":   "",
		"unix:///run/x":            "",
	} {
		got, ok := p.Direct(target(t, s))
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("%s: %v, %v; want %q", s, got, ok, want)
		}
	}
	if _, ok := (*Policy)(nil).Direct(target(t, "tcp://127.0.0.1:80")); ok {
		t.Error("no policy lets one through")
	}
}

func TestLookupErrors(t *testing.T) {
	p := policy(t, "a.example.com:80")
	odd := errors.New("the resolver has a bad day")
	for _, c := range []struct {
		err  error
		want Kind
	}{
		{&net.DNSError{Err: "no such host", Name: "a.example.com", IsNotFound: true}, NotFound},
		{&net.DNSError{Err: "server misbehaving", Name: "a.example.com", IsTemporary: true}, Unreachable},
		{&net.DNSError{Err: "i/o timeout", Name: "a.example.com", IsTimeout: true}, Timeout},
		{context.DeadlineExceeded, Timeout},
		{context.Canceled, Timeout},
		{odd, Unreachable},
	} {
		_, err := resolve(t, p, &answers{err: c.err}, "tcp://a.example.com:80")
		if KindOf(err) != c.want || !errors.Is(err, c.err) || !strings.HasPrefix(err.Error(), "connecting to tcp://a.example.com:80: looking a.example.com up: ") {
			t.Errorf("%v: %v, a %v error", c.err, err, KindOf(err))
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	r := answer("1.1.1.1")
	if _, err := p.Resolve(gone, r, target(t, "tcp://a.example.com:80")); KindOf(err) != Timeout || len(r.asked) != 0 {
		t.Errorf("%v; asked %q", err, r.asked)
	}
}

// net.Resolver is a Resolver: this one asks a server of the test's own.
func TestNetResolver(t *testing.T) {
	server := newDNS(t)
	r := Share(&net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", server.addr)
	}}, 0)
	p := policy(t, "*.test-zone.example:80", "10.9.8.7:81", "*.test-zone.example:81")
	if got, err := resolve(t, p, r, "tcp://public.test-zone.example:80"); err != nil || got != "93.184.216.34:80" {
		t.Errorf("%q %v", got, err)
	}
	// alias.… is a CNAME of inside.…, which is at 10.9.8.7.
	if got, err := resolve(t, p, r, "tcp://alias.test-zone.example:80"); KindOf(err) != Denied || !strings.Contains(fmt.Sprint(err), "10.9.8.7 is a private address") {
		t.Errorf("%q %v", got, err)
	}
	if got, err := resolve(t, p, r, "tcp://alias.test-zone.example:81"); err != nil || got != "10.9.8.7:81" {
		t.Errorf("%q %v", got, err)
	}
	if got, err := resolve(t, p, r, "tcp://none.test-zone.example:80"); KindOf(err) != NotFound {
		t.Errorf("%q %v", got, err)
	}
	before := server.count()
	if before == 0 {
		t.Error("the server was not asked")
	}
	if _, err := resolve(t, p, r, "tcp://public.test-zone.example:82"); KindOf(err) != Denied || server.count() != before {
		t.Errorf("%v after %d more queries", err, server.count()-before)
	}
}

// dns is a name server for one zone, over UDP.
type dns struct {
	addr string
	mu   sync.Mutex
	n    int
}

func (d *dns) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.n
}

func newDNS(t *testing.T) *dns {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &dns{addr: conn.LocalAddr().String()}
	ended := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-ended })
	go func() {
		defer close(ended)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			d.mu.Lock()
			d.n++
			d.mu.Unlock()
			if reply := replyTo(buf[:n]); reply != nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	return d
}

// replyTo answers a query for an A record of the zone; other types have none,
// and other names do not exist.
func replyTo(query []byte) []byte {
	if len(query) < 12 {
		return nil
	}
	var labels []string
	at := 12
	for at < len(query) && query[at] != 0 {
		next := at + 1 + int(query[at])
		if next > len(query) {
			return nil
		}
		labels = append(labels, string(query[at+1:next]))
		at = next
	}
	at += 5 // the root label, the type and the class
	if at > len(query) {
		return nil
	}
	header := func(rcode byte, answers int) []byte {
		reply := append([]byte(nil), query[:at]...)
		reply[2], reply[3] = 0x85, 0x80|rcode
		binary.BigEndian.PutUint16(reply[6:], uint16(answers))
		clear(reply[8:12])
		return reply
	}
	record := func(name []byte, kind byte, data ...byte) []byte {
		return append(append(slices.Clone(name), 0, kind, 0, 1, 0, 0, 0, 1, 0, byte(len(data))), data...)
	}
	asked := []byte{0xc0, 12} // a pointer to the question's name
	isA := query[at-3] == 1
	switch name := strings.Join(labels, "."); {
	case name == "public.test-zone.example" && isA:
		return append(header(0, 1), record(asked, 1, 93, 184, 216, 34)...)
	case name == "alias.test-zone.example" && isA:
		inside := []byte{6, 'i', 'n', 's', 'i', 'd', 'e', 0}
		reply := append(header(0, 2), record(asked, 5, inside...)...)
		return append(reply, record(inside, 1, 10, 9, 8, 7)...)
	case name == "public.test-zone.example", name == "alias.test-zone.example":
		return header(0, 0)
	}
	return header(3, 0)
}

func TestCheckAsksNobody(t *testing.T) {
	p := policy(t, "*.example.com:80", "10.0.0.0/8:80")
	p.own = func() []netip.Prefix { t.Error("Check looked at the interfaces"); return nil }
	for _, s := range []string{"tcp://a.example.com:80", "tcp://10.0.0.1:80"} {
		if err := p.Check(target(t, s)); err != nil {
			t.Error(err)
		}
	}
	tg := target(t, "tcp://a.b.c.example.com:80")
	if n := testing.AllocsPerRun(100, func() { _ = p.Check(tg) }); n != 0 {
		t.Errorf("a check that succeeds allocates %v times", n)
	}
}

// A name that changes its mind: what is answered is what was checked, by one question each time.
func TestRebinding(t *testing.T) {
	p := policy(t, "a.example.com:80", "127.0.0.1:80")
	r := &answers{each: [][]string{{"127.0.0.1"}, {"169.254.169.254"}, {"127.0.0.2"}}}
	name := target(t, "tcp://a.example.com:80")
	got, err := p.Resolve(t.Context(), r, name)
	if err != nil || len(got) != 1 || got[0].String() != "127.0.0.1:80" || len(r.asked) != 1 {
		t.Fatalf("%v, %v after the questions %q", got, err, r.asked)
	}
	for range 2 {
		if got, err := p.Resolve(t.Context(), r, name); KindOf(err) != Denied || got != nil {
			t.Errorf("%v, %v", got, err)
		}
	}
}
