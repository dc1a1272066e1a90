package host_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/internal/egresstest"
	"bulkhead/internal/hosttest"
)

// bait is a server that no guest may get to. It is told of by the test's end if one did.
type bait struct {
	port string
	hits atomic.Int64
}

// newBait listens with one port on addresses of this machine.
func newBait(t *testing.T, addresses ...string) *bait {
	t.Helper()
	b := &bait{port: "0"}
	for i, a := range addresses {
		ln, err := net.Listen("tcp", net.JoinHostPort(a, b.port))
		if err != nil && i > 0 {
			t.Logf("nobody can be hurt on %s: %v", a, err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		_, b.port, _ = net.SplitHostPort(ln.Addr().String())
		b.serve(t, ln)
	}
	return b
}

func (b *bait) serve(t *testing.T, ln net.Listener) {
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			b.hits.Add(1)
			t.Errorf("somebody got to %s", ln.Addr())
			c.Close()
		}
	}()
}

// dials has a guest dial, and returns its answer; see dialler. Then nothing is open.
func dials(t *testing.T, h *host.Host, to string) string {
	t.Helper()
	c := hosttest.Dial(t, h.Addr("dial"))
	defer func() {
		_ = c.Close()
		hosttest.Eventually(t, "nothing is open", func() bool { return h.Stats().Connections == 0 })
	}()
	hosttest.Say(t, c, to)
	p := make([]byte, 2)
	if _, err := io.ReadFull(c, p); err != nil {
		t.Fatalf("%q is answered with %q, %v", to, p, err)
	}
	return string(p)
}

// wide is a list of a tenant that may dial the whole internet, and every name under
// example.
const wide = `"0.0.0.0/0:*", "[::/0]:*", "[2002::/16]:*", "[64:ff9b::/96]:*", "*.example:*"`

// Whatever a guest writes for an address of this machine, its network or its cloud, it
// does not get there.
func TestEscapeBySpelling(t *testing.T) {
	b := newBait(t, "127.0.0.1", "::1", "0.0.0.0")
	h := served(t, dialler(false), "connection", wide, host.Options{Resolver: resolver{}})
	var all []string
	for _, addr := range []string{"127.0.0.1", "169.254.169.254", "10.0.0.1", "0.0.0.0"} {
		all = append(all, egresstest.Spellings(netip.MustParseAddr(addr))...)
	}
	all = append(append(all, egresstest.Loopback6()...), egresstest.Metadata6()...)
	answers := make(map[string]int)
	for i, spelling := range all {
		to := []string{"tcp://", "tls://"}[i%2] + spelling + ":" + b.port + []string{"", "?proxy=v1", "?proxy=v2"}[i%3]
		got := dials(t, h, to)
		if got != "?B" && got != "?F" { // INVALID, DENIED
			t.Errorf("%q is answered with %q", to, got)
		}
		answers[got]++
	}
	if answers["?F"] < 50 || answers["?B"] < 100 {
		t.Errorf("of %d spellings: %v", len(all), answers)
	}
}

// many is a resolver with several addresses of each name, which change from one question
// to the next.
type many struct {
	mu    sync.Mutex
	names map[string][][]string
	asked []string
}

func (m *many) LookupNetIP(_ context.Context, _, name string) ([]netip.Addr, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = strings.TrimSuffix(name, ".")
	m.asked = append(m.asked, name)
	each := m.names[name]
	if len(each) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	if len(each) > 1 {
		m.names[name] = each[1:]
	}
	var all []netip.Addr
	for _, s := range each[0] {
		all = append(all, netip.MustParseAddr(s))
	}
	return all, nil
}

func (m *many) questions() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.asked)
}

// What a listed name resolves to is judged address by address, once, and the addresses
// that were judged are dialled.
func TestEscapeByName(t *testing.T) {
	good := echoServer(t, "tcp", "127.0.0.1:0").Addr().String()
	_, port, _ := net.SplitHostPort(good)
	b := &bait{port: port}
	for _, a := range []string{"127.0.0.2", "127.0.0.3", "::1"} {
		if ln, err := net.Listen("tcp", net.JoinHostPort(a, port)); err == nil {
			b.serve(t, ln)
		}
	}
	inside := []string{"127.0.0.2", "127.0.0.3", "::1", "::ffff:127.0.0.2", "10.0.0.1", "169.254.169.254", "fd00:ec2::254", "64:ff9b::127.0.0.2", "2002:7f00:2::", "0.0.0.0", "::", "fe80::1", "fe80::1%lo", "224.0.0.1", "255.255.255.255", "100.100.100.200"}
	names := map[string][][]string{
		// Public, or listed, and inside as well.
		"both.example":  {append(slices.Clone(inside), "127.0.0.1")},
		"other.example": {append([]string{"127.0.0.1"}, inside...)},
		// The time of check, and that of use.
		"rebind.example": {{"127.0.0.1"}, {"127.0.0.2"}, {"127.0.0.1"}, {"169.254.169.254"}, {"::1"}},
	}
	for i, a := range inside {
		names[fmt.Sprintf("n%d.example", i)] = [][]string{{a}}
	}
	names["all.example"] = [][]string{inside}
	r := &many{names: names}
	// The good one is listed by itself, which stands for a public address here.
	h := served(t, dialler(false), "connection", wide+fmt.Sprintf(", %q", good), host.Options{Resolver: r})
	for _, name := range []string{"both.example", "other.example", "BOTH.Example.", "rebind.example"} {
		before := r.questions()
		c := hosttest.Dial(t, h.Addr("dial"))
		hosttest.Say(t, c, "tcp://"+name+":"+port)
		hosttest.Hear(t, c, "=A")
		hosttest.Say(t, c, "hello")
		hosttest.Hear(t, c, "HELLO") // the good one, and no other
		_ = c.Close()
		if n := r.questions() - before; n != 1 {
			t.Errorf("%s: %d questions", name, n)
		}
	}
	for i, want := range []string{"!F", "=A", "!F", "!F"} {
		if got := dials(t, h, "tcp://rebind.example:"+port); got != want {
			t.Errorf("rebinding, %d: %q; want %q", i, got, want)
		}
	}
	for i, a := range inside {
		if got := dials(t, h, fmt.Sprintf("tcp://n%d.example:%s", i, port)); got != "!F" {
			t.Errorf("a name at %s is answered with %q", a, got)
		}
	}
	for _, name := range []string{"all.example", "ALL.EXAMPLE", "all.example."} {
		if got := dials(t, h, "tcp://"+name+":"+port); got != "!F" {
			t.Errorf("%s is answered with %q", name, got)
		}
	}
	// Names that are not listed are not even asked for: a question would tell their
	// owner something.
	before := r.questions()
	for _, to := range []string{"secret.evil.test", "example", "xexample", "all.example.evil.test", "localhost", "both.example%00.evil.test", "both.example#.test", "127.0.0.1.nip.test"} {
		if got := dials(t, h, "tcp://"+to+":"+port); got != "?F" && got != "?B" {
			t.Errorf("%s is answered with %q", to, got)
		}
	}
	if r.questions() != before {
		t.Errorf("somebody was asked: %q", r.asked[before:])
	}
}

// zone is a name server in which names of evil.example are other names for what is inside.
func zone(t *testing.T, aliases, addresses map[string]string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	wire := func(name string) (b []byte) {
		for label := range strings.SplitSeq(name, ".") {
			b = append(append(b, byte(len(label))), label...)
		}
		return append(b, 0)
	}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			at, labels := 12, []string(nil)
			for at < n && buf[at] != 0 && at+1+int(buf[at]) < n {
				labels = append(labels, string(buf[at+1:at+1+int(buf[at])]))
				at += 1 + int(buf[at])
			}
			if at += 5; at > n {
				continue
			}
			reply := slices.Clone(buf[:at])
			reply[2], reply[3] = 0x85, 0x80
			clear(reply[8:12])
			name, answers := strings.ToLower(strings.Join(labels, ".")), 0
			record := func(owner string, kind byte, data []byte) {
				reply = append(append(reply, wire(owner)...), 0, kind, 0, 1, 0, 0, 0, 0)
				reply = append(binary.BigEndian.AppendUint16(reply, uint16(len(data))), data...)
				answers++
			}
			for to, ok := aliases[name]; ok; to, ok = aliases[name] {
				record(name, 5, wire(to))
				name = to
			}
			if a, err := netip.ParseAddr(addresses[name]); err == nil {
				if a.Is4() && buf[at-3] == 1 {
					record(name, 1, a.AsSlice())
				} else if a.Is6() && buf[at-3] == 28 {
					record(name, 28, a.AsSlice())
				}
			} else {
				reply[3] |= 3
			}
			binary.BigEndian.PutUint16(reply[6:], uint16(answers))
			_, _ = conn.WriteTo(reply, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// The DNS itself sends a listed name somewhere else: what counts is where that is.
func TestEscapeByAlias(t *testing.T) {
	b := newBait(t, "127.0.0.1", "::1")
	good := echoServer(t, "tcp", "127.0.0.2:0").Addr().String()
	_, port, _ := net.SplitHostPort(good)
	r := zone(t, map[string]string{
		"a.evil.example": "db.inside.test", "b.evil.example": "c.evil.example", "c.evil.example": "metadata.inside.test",
		"d.evil.example": "six.inside.test", "e.evil.example": "localhost.inside.test", "fine.example": "good.inside.test",
	}, map[string]string{
		"db.inside.test": "10.0.0.1", "metadata.inside.test": "169.254.169.254", "six.inside.test": "::1", "localhost.inside.test": "127.0.0.1", "good.inside.test": "127.0.0.2",
	})
	h := served(t, dialler(false), "connection", wide+fmt.Sprintf(`, "db.inside.test:*", %q`, good), host.Options{Resolver: r})
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		if got := dials(t, h, "tcp://"+name+".evil.example:"+b.port); got != "!F" {
			t.Errorf("%s is answered with %q", name, got)
		}
	}
	if got := dials(t, h, "tcp://none.evil.example:"+b.port); got != "!H" {
		t.Errorf("a name that is not there is answered with %q", got)
	}
	if got := dials(t, h, "tcp://fine.example:"+port); got != "=A" {
		t.Errorf("an alias of what may be dialled is answered with %q", got)
	}
}

// Sockets outside the list, by whatever path.
func TestEscapeByPath(t *testing.T) {
	dir, err := os.MkdirTemp("", "esc") // short, since a socket's path has to be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	open, shut := filepath.Join(dir, "open"), filepath.Join(dir, "shut")
	for _, d := range []string{open, shut, filepath.Join(open, "below")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	echoServer(t, "unix", filepath.Join(open, "a"))
	b := &bait{}
	baits := []string{filepath.Join(shut, "db"), filepath.Join(open, "below", "b"), filepath.Join(dir, "c")}
	abstract := fmt.Sprintf("@bulkhead-test-%d", os.Getpid())
	for _, path := range append(baits, abstract) {
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Logf("nobody can be hurt on %s: %v", path, err)
			continue
		}
		b.serve(t, ln)
	}
	for at, to := range map[string]string{"to-db": shut + "/db", "up": "../shut/db", "dir": shut, "root": "/", "self": "/proc/self/root" + shut + "/db", "cwd": "/proc/self/cwd", "loop": "loop"} {
		if err := os.Symlink(to, filepath.Join(open, at)); err != nil {
			t.Fatal(err)
		}
	}
	h := served(t, dialler(false), "connection", fmt.Sprintf("%q", "unix://"+open+"/*"), host.Options{})
	for path, want := range map[string]string{
		open + "/a":                           "=A",
		shut + "/db":                          "?F",
		dir + "/c":                            "?F",
		open + "/below/b":                     "?F",
		open:                                  "?F",
		open + "/dir/db":                      "?F",
		open + "/root" + shut + "/db":         "?F",
		open + "/to-db":                       "!F",
		open + "/up":                          "!F",
		open + "/self":                        "!F",
		open + "/dir":                         "!F",
		open + "/root":                        "!F",
		open + "/loop":                        "!F",
		open + "/none":                        "!H",
		open + "/../shut/db":                  "?B",
		open + "/./a":                         "?B",
		open + "//a":                          "?B",
		open + "/a/":                          "?B",
		open + "/below/../../shut/db":         "?B",
		open + "/%2e%2e/shut/db":              "?F",
		open + "/..%2fshut%2fdb":              "!H", // a strange name, and not there
		open + "/a\x00":                       "?B",
		open + "/a\x00/../../shut/db":         "?B",
		open + "/a?proxy=v1/../x":             "?B",
		abstract:                              "?B",
		"\x00" + abstract[1:]:                 "?B",
		"@" + open + "/a":                     "?B",
		"":                                    "?B",
		"/":                                   "?B",
		"localhost" + open + "/a":             "?B",
		"." + open + "/a":                     "?B",
		"/proc/self/root" + open + "/a":       "?F",
		"/proc/self/fd/3":                     "?F",
		open + "/" + strings.Repeat("x", 200): "!H",
	} {
		if got := dials(t, h, "unix://"+path); got != want {
			t.Errorf("%q is answered with %q; want %q", path, got, want)
		}
	}
	// Over TCP's names.
	for _, to := range []string{"tcp://" + open + "/a", "tls://" + shut + "/db:80", "unix:" + open + "/a", "unixgram://" + open + "/a", "unixpacket://" + open + "/a", "UNIX://" + open + "/a"} {
		if got := dials(t, h, to); got != "?B" {
			t.Errorf("%q is answered with %q", to, got)
		}
	}
}

// Somebody swaps a link between what is listed and what is not as fast as he can, while
// guests dial it.
func TestEscapeBySwapping(t *testing.T) {
	dir, err := os.MkdirTemp("", "esc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"open", "shut"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	good, bad, path := filepath.Join(dir, "open/good"), filepath.Join(dir, "shut/bad"), filepath.Join(dir, "open/x")
	echoServer(t, "unix", good)
	ln, err := net.Listen("unix", bad)
	if err != nil {
		t.Fatal(err)
	}
	new(bait).serve(t, ln)
	if err := os.Symlink(good, path); err != nil {
		t.Fatal(err)
	}
	h := served(t, dialler(false), "connection", fmt.Sprintf("%q", "unix://"+dir+"/open/*"), host.Options{})
	stop := make(chan struct{})
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			next := filepath.Join(dir, "next")
			if os.Symlink([]string{good, bad}[i%2], next) != nil || os.Rename(next, path) != nil {
				t.Error("the links cannot be swapped")
				return
			}
			if i%64 == 0 {
				time.Sleep(100 * time.Microsecond) // the host runs on these CPUs, too
			}
		}
	})
	answers := make(map[string]int)
	for range 300 {
		answers[dials(t, h, "unix://"+path)]++
	}
	close(stop)
	swapper.Wait()
	t.Logf("answers: %v", answers)
	if answers["=A"]+answers["!F"] != 300 {
		t.Errorf("answers: %v", answers)
	}
}
