package capture

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"bulkhead/internal/talk"

	"github.com/gopacket/gopacket/layers"
)

// body is the conversations of a capture without comments, which Parse must read.
func body(t testing.TB, file []byte, port uint16) string {
	t.Helper()
	traffic, err := Read(bytes.NewReader(file), port)
	if err != nil {
		t.Fatal(err)
	}
	if len(traffic.Connections) == 0 {
		return ""
	}
	text := traffic.Conversations("t.pcap")
	if _, err := talk.Parse("t.talk", text); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "# From") && !strings.HasPrefix(line, "# 2026") {
			lines = append(lines, line)
		}
	}
	return strings.TrimLeft(strings.Join(lines, ""), "\n")
}

// The same connection reads the same over each link, with each version of IP, in each form of file.
func TestLinks(t *testing.T) {
	t.Parallel()
	for _, link := range []layers.LinkType{layers.LinkTypeEthernet, layers.LinkTypeLinuxSLL, layers.LinkTypeLinuxSLL2, layers.LinkTypeNull, layers.LinkTypeRaw} {
		for _, ends := range [][2]string{{"10.0.0.7:40112", "10.0.0.1:5023"}, {"[2001:db8::7]:40112", "[2001:db8::1]:5023"}} {
			for _, vlan := range []bool{false, true} {
				if vlan && link != layers.LinkTypeEthernet {
					continue
				}
				w := newWire(t, link)
				w.vlan = vlan
				d := w.dial(ends[0], ends[1])
				d.says("xx\x00\xff")
				d.answers("ok\r\n")
				d.finish(false)
				d.finish(true)
				want := "== connection 1, " + ends[0] + "\n> x 78 78 00 ff\n< ok\n>EOF\n<EOF\n"
				var packed bytes.Buffer
				z := gzip.NewWriter(&packed)
				_, _ = z.Write(w.pcapng())
				_ = z.Close()
				for form, file := range map[string][]byte{"pcap": w.pcap(), "pcapng": w.pcapng(), "gzip": packed.Bytes()} {
					if got := body(t, file, 5023); got != want {
						t.Errorf("%v, VLAN %v, %s, %s: got\n%s", link, vlan, ends[0], form, got)
					}
					ports, _, err := Ports(bytes.NewReader(file))
					if err != nil || !reflect.DeepEqual(ports, []Port{{"tcp", 5023, 1, 8}}) {
						t.Errorf("%v, %s, %s: Ports: %v, %v", link, ends[0], form, ports, err)
					}
				}
			}
		}
	}
}

// What was captured becomes lines.
func TestConversations(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, want string
		captured   func(w *wire, d *dialogue)
	}{
		{"text with line endings of its own", "eol lf\n> hello\n< HELLO\n", func(_ *wire, d *dialogue) {
			d.says("hello\n")
			d.answers("HELLO\n")
		}},
		{"a segment behind another, and an answer in two", "> a\n\n> b\n< 1\n< 2\n", func(_ *wire, d *dialogue) {
			d.says("a\r\n")
			d.says("b\r\n")
			d.answers("1\r\n2")
			d.answers("\r\n")
		}},
		{"packets that come in another order", "> one\n> two\n< 3\n", func(w *wire, d *dialogue) {
			d.says("one\r\n")
			first := w.last()
			d.says("two\r\n")
			w.again(first)
			d.answers("3\r\n")
		}},
		{"a packet that is sent twice, and one more that overlaps", "> \"ab\"\n< \"1\"\n> \"c\"\n", func(w *wire, d *dialogue) {
			d.says("ab")
			w.again(w.packets[len(w.packets)-1])
			d.answers("1")
			d.next[0] -= 2
			d.says("abc")
		}},
		{"bytes that are not in the capture", "> \"ab\"\n< \"1\"\n# 3 bytes that the client has sent next are not in the capture.\n> \"d\"\n", func(w *wire, d *dialogue) {
			d.says("ab")
			d.answers("1")
			d.says("cde")
			w.last()
			d.says("d")
		}},
		{"the server is silent until its timer", "wait 30s\n< \"bye\"\n<EOF\n>EOF\n", func(w *wire, d *dialogue) {
			w.pass(29*time.Second + 990*time.Millisecond) // and what a packet takes
			d.answers("bye")
			d.finish(true)
			d.finish(false)
		}},
		{"the client makes a pause", "> \"a\"\n< \"b\"\nwait 10s\n> \"c\"\n< \"d\"\n", func(w *wire, d *dialogue) {
			d.says("a")
			d.answers("b")
			w.pass(10*time.Second + 900*time.Millisecond)
			d.says("c")
			w.pass(500 * time.Millisecond)
			d.answers("d")
		}},
		{"the client goes on, while the server sends", "> \"a\"\n>EOF\n< \"b\"\n<EOF\n", func(_ *wire, d *dialogue) {
			d.says("a")
			d.finish(false)
			d.answers("b")
			d.finish(true)
		}},
		{"the client breaks off", "> \"a\"\n>RST\n", func(_ *wire, d *dialogue) {
			d.says("a")
			d.reset(false)
		}},
		{"the server breaks off, behind its end", "<EOF\n<RST\n", func(_ *wire, d *dialogue) {
			d.finish(true)
			d.reset(true)
		}},
		{"the client goes on behind the server's end", "<EOF\n> \"abc\"\n>EOF\n", func(_ *wire, d *dialogue) {
			d.finish(true)
			d.says("abc")
			d.finish(false)
		}},
		{"the client has more to say than the server listens to", "<EOF\n<RST\n# The client has sent 3 bytes behind the server's end, and was reset: they are not here.\n", func(_ *wire, d *dialogue) {
			d.finish(true)
			d.says("abc")
			d.reset(true)
		}},
		{"what looks like lines of a conversation", "> \"x 61\\r\\n\"\n< \"~ \\x24{a}\\r\\n\"\n", func(_ *wire, d *dialogue) {
			d.says("x 61\r\n")
			d.answers("~ ${a}\r\n")
		}},
	} {
		w := newWire(t, layers.LinkTypeEthernet)
		c.captured(w, w.dial("10.0.0.7:40112", "10.0.0.1:5023"))
		if got := body(t, w.pcap(), 5023); got != "== connection 1, 10.0.0.7:40112\n"+c.want {
			t.Errorf("%s: got\n%s", c.name, got)
		}
	}
}

// Each connection is told from others, also from an earlier one between the same ends.
func TestConnections(t *testing.T) {
	t.Parallel()
	w := newWire(t, layers.LinkTypeEthernet)
	a := w.dial("10.0.0.7:40112", "10.0.0.1:5023")
	b := w.dial("10.0.0.8:40112", "10.0.0.1:5023")
	b.says("b")
	a.says("a")
	a.reset(true)
	again := w.overhear("10.0.0.7:40112", "10.0.0.1:5023")
	again.next = [2]uint32{77, 99}
	again.packet(false, &layers.TCP{SYN: true}, nil)
	again.packet(true, &layers.TCP{SYN: true, ACK: true}, nil)
	again.says("c")
	refused := w.overhear("10.0.0.9:40112", "10.0.0.1:5023")
	refused.packet(false, &layers.TCP{SYN: true}, nil)
	refused.reset(true)
	open := w.overhear("10.0.0.10:40112", "10.0.0.1:5023")
	open.answers("it was open")
	open.says("yes")
	w.dial("10.0.0.1:5023", "10.0.0.7:443").says("another port")
	want := `== connection 1, 10.0.0.7:40112
> "a"
<RST

== connection 2, 10.0.0.8:40112
> "b"

== connection 3, 10.0.0.7:40112
> "c"

== connection 4, 10.0.0.10:40112
< "it was open"
> "yes"
`
	if got := body(t, w.pcap(), 5023); !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What is more than is kept is left out, and told.
func TestBounds(t *testing.T) {
	t.Parallel()
	w := newWire(t, layers.LinkTypeRaw)
	d := w.dial("10.0.0.7:40112", "10.0.0.1:5023")
	d.says("first")
	for range 60 {
		d.answers(strings.Repeat("\x00", 60000))
	}
	traffic, err := Read(bytes.NewReader(w.pcap()), 5023)
	if err != nil || !traffic.Cut || !traffic.Connections[0].Cut {
		t.Fatalf("Read: %v, cut %v", err, traffic.Cut)
	}
	text := traffic.Conversations("t.pcap")
	if _, err := talk.Parse("t.talk", text); err != nil || !bytes.Contains(text, []byte("\n# More was said than")) {
		t.Errorf("Parse: %v, of %d bytes", err, len(text))
	}

	w = newWire(t, layers.LinkTypeRaw)
	for i := range mostConnections + 1 {
		w.dial(fmt.Sprintf("10.0.0.7:%d", 10000+i), "10.0.0.1:5023").says("a")
	}
	traffic, err = Read(bytes.NewReader(w.pcap()), 5023)
	if err != nil || !traffic.Cut || len(traffic.Connections) != mostConnections {
		t.Errorf("Read: %v, cut %v, %d connections", err, traffic.Cut, len(traffic.Connections))
	}
}

// What cannot be read is said, and what is before it is there.
func TestBroken(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "hello, world, this is no capture", "\x1f\x8bno"} {
		if _, err := Read(strings.NewReader(text), 1); err == nil {
			t.Errorf("Read of %q reads it", text)
		}
	}
	if _, _, err := Ports(strings.NewReader("== no capture")); !errors.Is(err, ErrNoCapture) {
		t.Errorf("Ports: %v", err)
	}
	w := newWire(t, layers.LinkTypeEthernet)
	w.dial("10.0.0.7:40112", "10.0.0.1:5023").says("a")
	for form, file := range map[string][]byte{"pcap": w.pcap(), "pcapng": w.pcapng()} {
		whole, err := Read(bytes.NewReader(file), 5023)
		if err != nil || whole.Skipped.Broken != nil {
			t.Fatalf("%s: %v, %v", form, err, whole.Skipped.Broken)
		}
		traffic, err := Read(bytes.NewReader(file[:len(file)-6]), 5023)
		if err != nil || traffic.Skipped.Broken == nil || len(traffic.Connections) != 1 {
			t.Errorf("%s that ends in the middle: %v, %+v", form, err, traffic)
		}
	}
}

// Datagrams are told of, and are in no conversation.
func TestDatagrams(t *testing.T) {
	t.Parallel()
	w := newWire(t, layers.LinkTypeRaw)
	w.datagram("10.0.0.7:40112", "10.0.0.1:53", "a question")
	w.datagram("10.0.0.1:53", "10.0.0.7:40112", "an answer")
	w.dial("10.0.0.7:40113", "10.0.0.1:53").says("a")
	traffic, err := Read(bytes.NewReader(w.pcap()), 53)
	if err != nil || traffic.Datagrams != 2 || len(traffic.Connections) != 1 {
		t.Errorf("Read: %v, %+v", err, traffic)
	}
	ports, _, err := Ports(bytes.NewReader(w.pcap()))
	if err != nil || !reflect.DeepEqual(ports, []Port{{"udp", 53, 1, 19}, {"tcp", 53, 1, 1}}) {
		t.Errorf("Ports: %v, %v", err, ports)
	}
}

// Packets of which the capture has the beginning, and pieces of packets, are counted.
func TestSkipped(t *testing.T) {
	t.Parallel()
	w := newWire(t, layers.LinkTypeRaw)
	d := w.dial("10.0.0.7:40112", "10.0.0.1:5023")
	d.says("whole")
	piece := bytes.Clone(w.packets[len(w.packets)-1])
	piece[6] |= 0x20 // more fragments
	w.again(piece)
	traffic, err := Read(bytes.NewReader(w.pcap()), 5023)
	if err != nil || traffic.Skipped.Fragments != 1 {
		t.Errorf("Read: %v, %+v", err, traffic.Skipped)
	}
}

// Whatever is in a file, reading it ends, keeps within its bounds, and what it makes is a file of
// conversations.
func FuzzRead(f *testing.F) {
	for _, link := range []layers.LinkType{layers.LinkTypeEthernet, layers.LinkTypeLinuxSLL, layers.LinkTypeNull} {
		w := newWire(f, link)
		w.vlan = true
		d := w.dial("[2001:db8::7]:40112", "[2001:db8::1]:5023")
		d.says("hello\r\n")
		d.answers("\x00\x01")
		w.pass(3 * time.Second)
		d.says("lost")
		w.last()
		d.says("found")
		d.finish(false)
		d.reset(true)
		w.datagram("10.0.0.7:40112", "10.0.0.1:5023", "datagram")
		f.Add(w.pcap())
		f.Add(w.pcapng())
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		ports, _, err := Ports(bytes.NewReader(file))
		if err != nil {
			return
		}
		for _, p := range ports[:min(len(ports), 3)] {
			body(t, file, p.Number)
		}
	})
}
