package main

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"bulkhead/sdk/go"
	"bulkhead/sdk/go/guesttest"
)

const config = `{"zone": "Example.com", "ttl": 3600, "records": [
	"@ SOA ns1 hostmaster 7 7200 3600 1209600 300",
	"@ 7200 IN NS ns1",
	"@ 7200 NS ns.example.net.",
	"ns1 A 192.0.2.53",
	"www 60 A 192.0.2.80",
	"www 60 A 192.0.2.81",
	"WWW AAAA 2001:db8::80",
	"@ MX 10 mail.example.net.",
	"@ TXT \"v=spf1 -all\" second \"a \\\" quote\" \"\"",
	"alias CNAME www",
	"alias2 CNAME alias.example.com.",
	"away CNAME www.example.net.",
	"dead CNAME nothing",
	"deep.below.here A 192.0.2.1"%
]}`

// many is a name with more than fits into any datagram.
func many(n int) string {
	s := ""
	for i := range n {
		s += fmt.Sprintf(`, "many A 192.0.%d.%d"`, i/250, i%250)
	}
	return s
}

func start(t testing.TB, more string) *guesttest.Host {
	t.Helper()
	return guesttest.New(t, &server{}, guesttest.Options{Config: strings.Replace(config, "%", more, 1)})
}

// wire writes a name as a message has it.
func wire(name string) string {
	s := ""
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label != "" {
			s += string([]byte{byte(len(label))}) + label
		}
	}
	return s + "\x00"
}

func u16(n int) string { return string([]byte{byte(n >> 8), byte(n)}) }

// ask is a question with an id of 0xbeef and RD, and what is in the additional section.
func ask(name string, kind int, additional ...string) string {
	return "\xbe\xef\x01\x00\x00\x01\x00\x00\x00\x00" + u16(len(additional)) + wire(name) + u16(kind) + "\x00\x01" + strings.Join(additional, "")
}

// edns is OPT for a size and flags.
func edns(size int, flags string) string { return "\x00\x00\x29" + u16(size) + flags + "\x00\x00" }

const plainFlags = "\x00\x00\x00\x00"

// message is an answer taken apart, by a reader that shares nothing with the code.
type message struct {
	id, flags int
	name      string // of the question
	question  string // "name type class"
	answers   []string
	authority []string
	opt       string // "size extended-code version flags"
}

func (m *message) code() int { return m.flags & 0xf }

// read fails the test unless p is a message from its first byte to its last.
func read(t testing.TB, p string) *message {
	t.Helper()
	if len(p) < 12 {
		t.Fatalf("%q is no message", p)
	}
	at := 12
	take := func(n int) string {
		if n > len(p)-at {
			t.Fatalf("%q ends too early", p)
		}
		at += n
		return p[at-n : at]
	}
	number := func(s string) (n int) {
		for _, c := range []byte(s) {
			n = n<<8 | int(c)
		}
		return n
	}
	name := func() string {
		s, back := "", 0
		for limit := at; ; {
			n := number(take(1))
			if n >= 0xc0 {
				to := n&0x3f<<8 | number(take(1))
				if to >= limit {
					t.Fatalf("%q has a pointer that does not lead back", p)
				}
				if back == 0 {
					back = at
				}
				at, limit = to, to
				continue
			}
			if n == 0 {
				break
			}
			s += take(n) + "."
		}
		if back > 0 {
			at = back
		}
		return s
	}
	m := &message{id: number(p[:2]), flags: number(p[2:4])}
	if number(p[4:6]) == 1 {
		m.name = name()
		m.question = m.name + fmt.Sprint(" ", number(take(2)), " ", number(take(2)))
	}
	for section := range 3 {
		for range number(p[6+2*section : 8+2*section]) {
			owner := name()
			kind, class, ttl, size := number(take(2)), number(take(2)), number(take(4)), number(take(2))
			end := at + size
			data := ""
			switch kind {
			case 1, 28:
				data = fmt.Sprintf("%x", take(size))
			case 2, 5:
				data = name()
			case 15:
				data = fmt.Sprint(number(take(2)), " ", name())
			case 6:
				data = name() + " " + name()
				for range 5 {
					data += fmt.Sprint(" ", number(take(4)))
				}
			default:
				data = fmt.Sprintf("%q", take(size))
			}
			if at != end {
				t.Fatalf("%q: the data of a record of type %d is not as long as it says", p, kind)
			}
			if kind == 41 {
				m.opt = fmt.Sprint(class, " ", ttl>>24, " ", ttl>>16&0xff, " ", ttl&0xffff)
				if owner != "" || section != 2 || m.opt == "" {
					t.Errorf("OPT of %q in section %d", owner, section)
				}
				continue
			}
			text := fmt.Sprint(owner, " ", ttl, " ", kind, " ", data)
			switch {
			case class != 1 || section == 2:
				t.Errorf("%s in class %d, section %d", text, class, section)
			case section == 0:
				m.answers = append(m.answers, text)
			default:
				m.authority = append(m.authority, text)
			}
		}
	}
	if at != len(p) {
		t.Fatalf("%q goes on behind its end", p)
	}
	return m
}

const (
	soa    = "example.com. 300 6 ns1.example.com. hostmaster.example.com. 7 7200 3600 1209600 300"
	header = 0x8000 | 0x0100 // an answer, RD
	ours   = 0x0400
)

func TestAnswers(t *testing.T) {
	h := start(t, "")
	p := h.ConnectUDP()
	for question, want := range map[string][]string{
		"ns1.example.com 1":   {"ns1.example.com. 3600 1 c0000235"},
		"www.example.com 1":   {"www.example.com. 60 1 c0000250", "www.example.com. 60 1 c0000251"},
		"www.example.com 28":  {"www.example.com. 3600 28 20010db8000000000000000000000080"},
		"WwW.eXample.COM 28":  {"WwW.eXample.COM. 3600 28 20010db8000000000000000000000080"},
		"example.com 15":      {"example.com. 3600 15 10 mail.example.net."},
		"example.com 2":       {"example.com. 7200 2 ns1.example.com.", "example.com. 7200 2 ns.example.net."},
		"example.com 16":      {`example.com. 3600 16 "\vv=spf1 -all\x06second\ta \" quote\x00"`},
		"example.com 6":       {strings.Replace(soa, " 300 6", " 3600 6", 1)},
		"alias.example.com 5": {"alias.example.com. 3600 5 www.example.com."},
		"alias.example.com 28": {"alias.example.com. 3600 5 www.example.com.",
			"www.example.com. 3600 28 20010db8000000000000000000000080"},
		"alias2.example.com 1": {"alias2.example.com. 3600 5 alias.example.com.", "alias.example.com. 3600 5 www.example.com.",
			"www.example.com. 60 1 c0000250", "www.example.com. 60 1 c0000251"},
		"away.example.com 1":  {"away.example.com. 3600 5 www.example.net."},
		"www.example.com 255": {`www.example.com. 3600 13 "\aRFC8482\x00"`},
		"example.com 255":     {`example.com. 3600 13 "\aRFC8482\x00"`},
	} {
		name, kind, _ := strings.Cut(question, " ")
		n := 0
		_, _ = fmt.Sscan(kind, &n)
		p.Send(ask(name, n))
		m := read(t, p.ReceiveDatagram())
		got := m.answers
		if strings.Contains(name, "WwW") { // the case of the question comes back
			if m.question != "WwW.eXample.COM. 28 1" {
				t.Errorf("the question was %s", m.question)
			}
		}
		if m.id != 0xbeef || m.flags != header|ours || !slices.Equal(got, want) || m.authority != nil || m.opt != "" {
			t.Errorf("%s: %+v, want %q", question, m, want)
		}
	}
}

func TestNothing(t *testing.T) {
	h := start(t, "")
	p := h.ConnectUDP()
	for question, want := range map[string]struct {
		code    int
		answers []string
	}{
		"nothing.example.com 1":        {3, nil},
		"www.www.example.com 1":        {3, nil},
		"nothing.example.com 255":      {3, nil},
		"deep.example.com 1":           {3, nil},
		"www.example.com 16":           {0, nil},
		"www.example.com 2":            {0, nil},
		"here.example.com 1":           {0, nil}, // exists, as something is below it
		"below.here.example.com 255":   {0, nil},
		"x.below.here.example.com 255": {3, nil},
		"alias.example.com 15":         {0, []string{"alias.example.com. 3600 5 www.example.com."}},
		"dead.example.com 1":           {3, []string{"dead.example.com. 3600 5 nothing.example.com."}},
	} {
		name, kind, _ := strings.Cut(question, " ")
		n := 0
		_, _ = fmt.Sscan(kind, &n)
		p.Send(ask(name, n))
		m := read(t, p.ReceiveDatagram())
		if m.flags != header|ours|want.code || !slices.Equal(m.answers, want.answers) || !slices.Equal(m.authority, []string{soa}) {
			t.Errorf("%s: %+v", question, m)
		}
	}
}

func TestRefused(t *testing.T) {
	h := start(t, "")
	p := h.ConnectUDP()
	for name, question := range map[string]string{
		"another zone":     ask("www.example.net", 1),
		"above it":         ask("com", 1),
		"the root":         ask("", 2),
		"a label like it":  "\xbe\xef\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + "\x0dx\x07example\x03com\x00" + "\x00\x01\x00\x01",
		"a longer label":   ask("evilexample.com", 1),
		"another class":    strings.TrimSuffix(ask("www.example.com", 16), "\x01") + "\x03",
		"a zone transfer":  ask("example.com", 252),
		"part of a zone":   ask("example.com", 251),
		"ANY of elsewhere": ask("example.net", 255),
	} {
		p.Send(question)
		m := read(t, p.ReceiveDatagram())
		if m.flags != header|5 || m.answers != nil || m.authority != nil || m.question == "" {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func TestMalformed(t *testing.T) {
	h := start(t, "")
	p := h.ConnectUDP()
	good := ask("www.example.com", 1)
	for name, question := range map[string]string{
		"nothing behind the header": good[:12],
		"half a name":               good[:20],
		"no type":                   good[:len(good)-4],
		"half a class":              good[:len(good)-1],
		"bytes behind":              good + "\x00",
		"a pointer to itself":       good[:12] + "\xc0\x0c\x00\x01\x00\x01",
		"a pointer forward":         good[:12] + "\xc0\x20\x00\x01\x00\x01",
		"a pointer behind a label":  good[:12] + "\x03www\xc0\x0c\x00\x01\x00\x01",
		"a label of 64":             good[:12] + "\x40" + strings.Repeat("a", 64) + "\x00\x00\x01\x00\x01",
		"a name of 256":             good[:12] + strings.Repeat("\x01a", 127) + "\x00" + "\x00\x01\x00\x01" + "\x00",
		"a name too long":           good[:12] + strings.Repeat("\x03aaa", 64) + "\x00\x00\x01\x00\x01",
		"no question":               good[:4] + "\x00\x00" + good[6:12],
		"two questions":             good[:4] + "\x00\x02" + good[6:] + good[12:],
		"an answer in it":           good[:6] + "\x00\x01" + good[8:],
		"authority in it":           good[:8] + "\x00\x01" + good[10:],
		"a record less":             good[:10] + "\x00\x01" + good[12:],
		"65535 records":             good[:10] + "\xff\xff" + good[12:] + edns(512, plainFlags),
		"two OPT":                   ask("www.example.com", 1, edns(512, plainFlags), edns(512, plainFlags)),
		"OPT of a name":             ask("www.example.com", 1, "\x01a"+edns(512, plainFlags)),
		"half an OPT":               ask("www.example.com", 1, edns(512, plainFlags)[:8]),
		"OPT beyond the end":        ask("www.example.com", 1, "\x00\x00\x29\x02\x00\x00\x00\x00\x00\x00\x05abcd"),
		"an odd label type":         ask("www.example.com", 1, "\x80\x00"+edns(512, plainFlags)),
	} {
		p.Send(question)
		got := p.ReceiveDatagram()
		if m := read(t, got); m.id != 0xbeef || m.code() != 1 || m.answers != nil || len(got) > len(question)+11 {
			t.Errorf("%s: %+v", name, m)
		}
	}
	p.Send("\xbe\xef\x29\x00" + good[4:]) // a notify
	if m := read(t, p.ReceiveDatagram()); m.code() != 4 || m.flags&0x7800 != 0x2800 {
		t.Errorf("another opcode: %+v", m)
	}
}

// What is no question is not answered: two servers would answer each other for ever.
func TestDropped(t *testing.T) {
	h := start(t, "")
	p := h.ConnectUDP()
	good := ask("www.example.com", 1)
	for _, text := range []string{"x", good[:11], good[:2] + "\x81" + good[3:], good[:2] + "\xff\xff" + good[4:]} {
		p.Send(text)
		p.Expect("")
	}
	if h.Counted("dns_dropped") != 4 || h.Counted("dns_queries") != 0 {
		t.Errorf("%d are counted as dropped", h.Counted("dns_dropped"))
	}
	p.Send(good)
	reply := p.ReceiveDatagram()
	p.Send(reply) // and its own answers not either
	p.Expect("")
	if _, closed := p.Closed(); closed {
		t.Error("the peer was closed for it")
	}
}

func TestEDNS(t *testing.T) {
	h := start(t, "")
	p := h.ConnectUDP()
	for opt, want := range map[string]string{
		edns(4096, plainFlags):         "1232 0 0 0",
		edns(0, plainFlags):            "1232 0 0 0",
		edns(1232, "\x00\x00\x80\x00"): "1232 0 0 32768", // DO
		"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x0c\x00\x0a\x00\x08cookie!!": "1232 0 0 0",
	} {
		p.Send(ask("www.example.com", 28, opt))
		if m := read(t, p.ReceiveDatagram()); m.opt != want || len(m.answers) != 1 || m.code() != 0 {
			t.Errorf("%q: %+v, want %s", opt, m, want)
		}
	}
	p.Send(ask("www.example.com", 28, edns(4096, "\x00\x01\x00\x00")))
	if m := read(t, p.ReceiveDatagram()); m.opt != "1232 1 0 0" || m.answers != nil || m.code() != 0 {
		t.Errorf("another version: %+v", m)
	}
	p.Send(ask("nothing.example.com", 1, edns(4096, plainFlags)))
	if m := read(t, p.ReceiveDatagram()); m.opt != "1232 0 0 0" || m.code() != 3 || len(m.authority) != 1 {
		t.Errorf("nothing: %+v", m)
	}
	// Another record comes first.
	p.Send(ask("www.example.com", 28, wire("key.example")+"\x00\xfa\x00\xff"+plainFlags+"\x00\x02ab", edns(4096, plainFlags)))
	if m := read(t, p.ReceiveDatagram()); m.opt != "1232 0 0 0" || len(m.answers) != 1 {
		t.Errorf("behind another record: %+v", m)
	}
}

// An answer that is too long for the client says so, and has nothing in it.
func TestTruncated(t *testing.T) {
	for n, want := range map[int]map[int]bool{ // of how many records, for which size
		28: {0: false, 512: false, 1232: false}, // 33 bytes, and 16 each
		30: {0: true, 512: true, 513: true, 1232: false},
		75: {512: true, 1232: true, 65535: true},
	} {
		h := start(t, many(n))
		p := h.ConnectUDP()
		for size, cut := range want {
			q := ask("many.example.com", 1)
			if size > 0 {
				q = ask("many.example.com", 1, edns(size, plainFlags))
			}
			p.Send(q)
			got := p.ReceiveDatagram()
			m := read(t, got)
			if (m.flags&0x0200 != 0) != cut || cut && m.answers != nil || !cut && len(m.answers) != n || len(got) > max(512, min(size, 1232)) || (m.opt != "") != (size > 0) {
				t.Errorf("%d records, size %d: %d bytes, %+v", n, size, len(got), m)
			}
		}
		q := h.Connect() // over TCP there is room
		q.Send(u16(len(ask("many.example.com", 1))) + ask("many.example.com", 1))
		if got := q.Receive(); len(read(t, got[2:]).answers) != n {
			t.Errorf("over TCP: %q", got)
		}
	}
}

func TestTCP(t *testing.T) {
	one, two := ask("www.example.com", 28), ask("nothing.example.com", 1)
	stream := u16(len(one)) + one + u16(len(two)) + two
	for _, chunk := range []int{1, 2, 3, 50, 1000} {
		h := start(t, "")
		p := h.Connect()
		p.SendChunks(stream, chunk)
		got := p.Receive()
		for _, code := range []int{0, 3} {
			n := int(binary.BigEndian.Uint16([]byte(got)))
			if m := read(t, got[2:2+n]); m.code() != code {
				t.Errorf("%+v", m)
			}
			got = got[2+n:]
		}
		if got != "" {
			t.Errorf("%q is too much", got)
		}
		p.CloseWrite()
		p.ExpectClosed(nil)
	}
	for _, bad := range []string{"\x10\x01", "\x00\x00", "\x00\x0bhello world", u16(len(one)) + one[:2] + "\x80" + one[3:]} {
		h := start(t, "")
		p := h.Connect()
		p.Send(bad)
		p.ExpectClosed(guest.Invalid)
	}
}

// Who asks and does not read is not answered for ever, and misses nothing over TCP.
func TestUnreadAnswers(t *testing.T) {
	h := guesttest.New(t, &server{}, guesttest.Options{Config: strings.Replace(config, "%", "", 1), Inbox: 100})
	p := h.Connect()
	q := ask("www.example.com", 28)
	p.Send(strings.Repeat(u16(len(q))+q, 500))
	got, n := p.Receive(), 0
	for got != "" {
		size := int(binary.BigEndian.Uint16([]byte(got)))
		read(t, got[2:2+size])
		got = got[2+size:]
		n++
	}
	if n != 500 {
		t.Errorf("%d of 500 questions were answered", n)
	}
	u := h.ConnectUDP()
	for range 5 {
		u.Send(q)
	}
	if a, b := u.ReceiveDatagram(), u.ReceiveDatagram(); len(read(t, a).answers) != 1 || b != "" {
		t.Errorf("of five datagrams there is room for one: %q, %q", a, b)
	}
}

func TestBadZones(t *testing.T) {
	base := []string{`"@ SOA a b 1 2 3 4 5"`, `"@ NS ns1"`}
	for _, test := range []struct{ record, want string }{
		{`"www"`, "a record is a name"},
		{`"www A"`, "a record is a name"},
		{`"www 60 IN"`, "it has no type"},
		{`"www 60 A"`, "of 1 words"},
		{`"www A 192.0.2.1 192.0.2.2"`, "of 1 words"},
		{`"www A 192.0.2"`, "is not an address"},
		{`"www A ::1"`, "is not an address"},
		{`"www AAAA 192.0.2.1"`, "is not an address"},
		{`"www AAAA fe80::1%eth0"`, "is not an address"},
		{`"www SRV 1 2 3 a"`, "is no type that is served"},
		{`"www MX 65536 a"`, "is no preference"},
		{`"www MX a"`, "of 2 words"},
		{`"* A 192.0.2.1"`, "is no name"},
		{`"a..b A 192.0.2.1"`, "is no name"},
		{`"` + strings.Repeat("a", 64) + ` A 192.0.2.1"`, "is no name"},
		{`"` + strings.Repeat("a.", 125) + `a A 192.0.2.1"`, "longer than a name"},
		{`"www.example.net. A 192.0.2.1"`, "not in the zone"},
		{`"@ CNAME a"`, "@ cannot be an alias"},
		{`"sub NS a"`, "zones below this one"},
		{`"@ SOA a b 1 2 3 4 6"`, "has one SOA"},
		{`"@ NS ns1"`, "there twice"},
		{`"@ 5 NS ns2"`, "have one TTL"},
		{`"a CNAME b", "a A 192.0.2.1"`, "no other records"},
		{`"a A 192.0.2.1", "a CNAME b"`, "no other records"},
		{`"a CNAME b", "b CNAME a"`, "in a circle"},
		{`"a CNAME a"`, "in a circle"},
		{`"a TXT \"open"`, "not closed"},
		{`"a TXT ` + strings.Repeat("t", 256) + `"`, "longer than 255"},
		{`"` + `sub SOA a b 1 2 3 4 5"`, "zones below this one"},
		{`"a SOA a b 1 2 3 4 99999999999"`, "no number of 32 bits"},
	} {
		refused(t, `{"zone":"example.com","records":[`+strings.Join(base, ",")+","+test.record+`]}`, test.want)
	}
	for config, want := range map[string]string{
		`{}`:                      "is no name",
		`{"zone":"."}`:            "is no name",
		`{"zone":"example.com"}`:  "a SOA and an NS",
		`{"zone":"a","ttl":-1}`:   "a number of seconds",
		`{"zone":"a","names":[]}`: "unknown field",
		`{"zone":"example.com","records":["@ NS a"]}`:                               "a SOA and an NS",
		`{"zone":"example.com","records":["@ SOA a b 1 2 3 4 5"]}`:                  "a SOA and an NS",
		`{"zone":"example.com","records":["@ NS a","@ SOA a b 1 2 3 4 5","x A y"]}`: "number 3, ",
	} {
		refused(t, config, want)
	}
	// As many aliases in a row as there may be.
	long := ""
	for i := range maxChain {
		long += fmt.Sprintf(`, "c%d CNAME c%d"`, i, i+1)
	}
	h := start(t, long+fmt.Sprintf(`, "c%d A 192.0.2.9"`, maxChain))
	p := h.ConnectUDP()
	p.Send(ask("c0.example.com", 1, edns(4096, plainFlags)))
	if m := read(t, p.ReceiveDatagram()); len(m.answers) != maxChain+1 || m.authority != nil {
		t.Errorf("%d answers", len(m.answers))
	}
	refused(t, strings.Replace(config, "%", long+fmt.Sprintf(`, "c%d CNAME c%d"`, maxChain, maxChain+1), 1), "more than 8 others")
}

func refused(t *testing.T, config, want string) {
	t.Helper()
	code, log := guesttest.Refused(t, &server{}, guesttest.Options{Config: config})
	if code != guest.Invalid || len(log) != 1 || !strings.Contains(log[0].Text, want) {
		t.Errorf("%s: %v, %v, want %s", config, code, log, want)
	}
}

// Whatever comes: an answer is a message, for this question, no longer than it may be,
// and nothing that is no question is answered.
func FuzzMessage(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > maxQuery {
			return
		}
		h := start(t, many(30))
		p := h.ConnectUDP()
		p.Send(text)
		got := p.ReceiveDatagram()
		if len(text) < 12 || text[2]&0x80 != 0 {
			if got != "" {
				t.Errorf("answered %q", got)
			}
			return
		}
		m := read(t, got)
		if got[:2] != text[:2] || m.flags&0x8000 == 0 || m.flags&0x7900 != int(text[2]&0x79)<<8 || m.flags&0x00f0 != 0 {
			t.Errorf("flags %x", m.flags)
		}
		limit := plainSize
		if m.opt != "" {
			limit = ourSize
		}
		if len(got) > limit || len(m.answers)+len(m.authority) > 0 && !strings.HasSuffix(strings.ToLower(m.name), "example.com.") {
			t.Errorf("%d bytes: %+v", len(got), m)
		}
		if m.question != "" && !strings.HasPrefix(text[12:], got[12:12+len(m.name)+1+4]) {
			t.Errorf("the question was %q, and is %q", text, m.question)
		}
		// The same over TCP, but for the length.
		q := h.Connect()
		q.SendChunks(u16(len(text))+text, 7)
		if over := q.Receive(); len(over) < 14 || read(t, over[2:]).code() != m.code() {
			t.Errorf("over TCP %q", over)
		}
	})
}

func TestFewAllocations(t *testing.T) {
	z, err := newZone("example.com", 60, []string{"@ SOA a b 1 2 3 4 5", "@ NS a", "www A 192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	v := &server{zone: z}
	ask := []byte(ask("www.example.com", 1, edns(1232, plainFlags)))
	if n := testing.AllocsPerRun(100, func() { _ = v.answer(ask, false) }); n > 4 {
		t.Errorf("%v allocations for an answer", n)
	}
}
