package access

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bulkhead/csa"
	"bulkhead/host/conns"
	"bulkhead/host/dial"
	"bulkhead/internal/awaittest"
)

func end(number uint64, cause csa.Cause) *Line {
	e := &Line{
		At: time.Date(2026, 11, 30, 1, 2, 3, 4e6, time.UTC), Owner: &conns.Owner{Listener: "mail", Tenant: "acme", Generation: 7},
		Transport: "tcp", Peer: netip.MustParseAddrPort("192.0.2.1:5"), Reason: cause.Reason(),
	}
	e.Account.Number = number
	e.Account.FirstIn, e.Account.FirstOut = -1, -1
	return e
}

// A line is one line of JSON, with all that is known, in which text of others obeys nobody.
func TestLine(t *testing.T) {
	e := end(9, csa.EventTimeout)
	e.Owner.Route, e.Module, e.Sum = "smtp", "a.wasm", &[32]byte{0xab}
	e.Dialled, e.Local = true, netip.MustParseAddrPort("[fe80::1%eth0]:25")
	evil := "a\"b\\c\n\x1b[2J\u202e\x7f\xff\u2028\U000e0001é"
	e.TLS = &conns.TLS{Version: "TLS 1.3", Cipher: "X", ServerName: evil, ALPN: "h2", Resumed: true}
	e.Account = csa.Account{
		Number: 9, Age: 90*time.Second + 20*time.Microsecond, FirstIn: 0, FirstOut: 1500 * time.Millisecond,
		Received: 1, Sent: 2, Events: 3, Fuel: 4, CPU: 5 * time.Microsecond, Proxied: true,
	}
	e.Reason.Why, e.PeakMemory = evil, 65536
	e.Upstreams = &dial.Dialled{First: []dial.One{{Number: 10, Peer: netip.MustParseAddrPort("[2001:db8::1]:25")}, {Number: 11}}, More: 3}
	line := string(e.append(nil))
	want := `{"time":"2026-11-30T01:02:03.004Z","id":9,"listener":"mail","route":"smtp","tenant":"acme","generation":7,"module":"a.wasm","sha256":"ab` + strings.Repeat("00", 31) +
		`","dialled":true,"transport":"tcp","peer":"192.0.2.1:5","local":"[fe80::1%eth0]:25","proxied":true,"tls":{"version":"TLS 1.3","cipher":"X","server_name":`
	quoted := `"a\"b\\c\n\u001b[2J\u202e\u007f\ufffd\u2028\udb40\udc01é"`
	want += quoted + `,"alpn":"h2","resumed":true},"duration_seconds":90.00002,"first_in_seconds":0,"first_out_seconds":1.5,"in":1,"out":2,"events":3,"fuel":4,"cpu_seconds":0.000005,"peak_mem":65536,` +
		`"upstreams":[{"id":10,"peer":"[2001:db8::1]:25"},{"id":11}],"more_upstreams":3,"who":"limit","cause":"event_timeout","key":"event_timeout","code":"TIMEOUT","why":` + quoted + "}\n"
	if line != want {
		t.Errorf("the line is\n%swant\n%s", line, want)
	}
	var all map[string]any
	if err := json.Unmarshal([]byte(line), &all); err != nil || strings.Count(line, "\n") != 1 {
		t.Errorf("it is no line of JSON: %v", err)
	}
	least := string(end(1, csa.Finished).append(nil))
	if err := json.Unmarshal([]byte(least), &all); err != nil || strings.Contains(least, "first_in") || strings.Contains(least, "tls") || strings.Contains(least, "local") || strings.Contains(least, "peak_mem") || strings.Contains(least, "upstreams") {
		t.Errorf("the least line is %q: %v", least, err)
	}
}

// The line of a connection that is open says so, and nothing of an end; the sample that its end may
// be left out by holds for it, and it is counted apart.
func TestOpenLine(t *testing.T) {
	out := new(held)
	l := New(out)
	if err := l.Set(Stdout, 0.25); err != nil {
		t.Fatal(err)
	}
	const many = 400
	for n := range uint64(many) {
		e := end(n+1, csa.Finished)
		e.Open, e.Reason, e.Account.Idle = true, csa.Reason{}, 1500*time.Millisecond
		l.Write(e)
		l.Write(end(n+1, csa.Finished))
	}
	l.Close()
	s := l.Stats()
	if s.Open == 0 || s.Open+s.Sampled != many {
		t.Errorf("%d have a line while they are open, and %d have none at the end; want %d together", s.Open, s.Sampled, many)
	}
	open := 0
	for line := range strings.Lines(out.text.String()) {
		var all map[string]any
		if err := json.Unmarshal([]byte(line), &all); err != nil {
			t.Fatalf("%q is no line of JSON: %v", line, err)
		}
		_, who := all["who"]
		if all["open"] != true {
			if _, idle := all["idle_seconds"]; !who || idle || all["open"] != nil {
				t.Fatalf("a line at the end is %q", line)
			}
			continue
		}
		open++
		for _, name := range []string{"who", "cause", "key", "code", "why"} {
			if _, has := all[name]; has {
				t.Fatalf("a line of an open connection has %s: %q", name, line)
			}
		}
		if all["idle_seconds"] != 1.5 {
			t.Fatalf("a line of an open connection is %q", line)
		}
	}
	if int64(open) != s.Open {
		t.Errorf("%d lines are of open connections, and %d were counted", open, s.Open)
	}
}

// Any text of a peer's leaves the line one line of JSON.
func FuzzLine(f *testing.F) {
	f.Add("host.test", "h2")
	f.Add("\"}\n{", "\xff\x00")
	f.Fuzz(func(t *testing.T, name, alpn string) {
		e := end(1, csa.Finished)
		e.TLS = &conns.TLS{ServerName: name, ALPN: alpn}
		line := e.append(nil)
		var all struct{ TLS conns.TLS }
		if err := json.Unmarshal(line, &all); err != nil || bytes.Count(line, []byte("\n")) != 1 || all.TLS.ServerName != strings.ToValidUTF8(name, "\ufffd") && strings.ToValidUTF8(name, "") == name {
			t.Errorf("%q is written as %q: %v", name, line, err)
		}
	})
}

// held is a reader that stands still until it is let go.
type held struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (h *held) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(p)
}

// The sample is about the share that was asked for of the orderly ends, the same ones each time,
// and all others are written.
func TestSample(t *testing.T) {
	out := new(held)
	l := New(out)
	if err := l.Set(Stdout, 0.25); err != nil {
		t.Fatal(err)
	}
	const many = 4000
	for n := range uint64(many) {
		l.Write(end(n+1, csa.Finished))
	}
	l.Write(end(many+1, csa.PeerReset))
	if s := l.Stats().Sampled; s < many*7/10 || s > many*8/10 {
		t.Errorf("%d of %d were left out", s, many)
	}
	sampled := l.Stats().Sampled
	for _, set := range []struct {
		share float64
		out   int64
	}{{1, 0}, {0, 1}} {
		before := l.Stats().Sampled
		if err := l.Set(Stdout, set.share); err != nil {
			t.Fatal(err)
		}
		l.Write(end(7, csa.HandlerEnded))
		if n := l.Stats().Sampled - before; n != set.out {
			t.Errorf("%d of 1 were left out of a share of %v", n, set.share)
		}
	}
	l.Close()
	l.Write(end(8, csa.PeerReset))
	if got := strings.Count(out.text.String(), "\n"); got != int(many-sampled)+2 {
		t.Errorf("there are %d lines, with %d left out of %d", got, sampled, many)
	}
	if !strings.Contains(out.text.String(), `"cause":"peer_reset"`) || l.On() || l.Stats().Lost != 0 {
		t.Errorf("the end that is not orderly is not there, or %+v", l.Stats())
	}
}

// leftOut is what a line says about those before it that are missing.
var leftOut = regexp.MustCompile(`"lines_left_out":(\d+)`)

// While nobody reads, lines are counted as lost, and lines say how many; nobody waits. There are
// two such lines when the writer gets to run only after the first is lost.
func TestLost(t *testing.T) {
	out := new(held)
	out.mu.Lock()
	l := New(out)
	if err := l.Set(Stdout, 1); err != nil {
		t.Fatal(err)
	}
	for n := range uint64(20_000) {
		l.Write(end(n+1, csa.PeerReset))
	}
	lost := l.Stats().Lost
	if lost == 0 {
		t.Fatal("none is lost")
	}
	out.mu.Unlock()
	awaittest.Until(t, "lines say so", func() bool {
		out.mu.Lock()
		defer out.mu.Unlock()
		var said int64
		for _, found := range leftOut.FindAllSubmatch(out.text.Bytes(), -1) {
			n, err := strconv.ParseInt(string(found[1]), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			said += n
		}
		return said == lost
	})
	l.Close()
}

// A file is appended to, opened again by its path, and left for another; what waits is written
// first.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	path, moved, other := filepath.Join(dir, "a.log"), filepath.Join(dir, "b.log"), filepath.Join(dir, "c.log")
	l := New(nil)
	defer l.Close()
	if is, err := l.Reopen(); is || err != nil {
		t.Errorf("a log that is off is opened again: %v, %v", is, err)
	}
	if err := os.WriteFile(path, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	has := func(file string, number int) {
		t.Helper()
		awaittest.Until(t, fmt.Sprintf("%s has %d", file, number), func() bool {
			text, _ := os.ReadFile(file)
			return strings.Contains(string(text), fmt.Sprintf(`"id":%d,`, number))
		})
	}
	for _, err := range []error{Check(path), Check(other), l.Set(path, 1)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	l.Write(end(1, csa.PeerReset))
	has(path, 1)
	if err := os.Rename(path, moved); err != nil {
		t.Fatal(err)
	}
	l.Write(end(2, csa.PeerReset))
	has(moved, 2)
	if is, err := l.Reopen(); !is || err != nil {
		t.Fatal(is, err)
	}
	l.Write(end(3, csa.PeerReset))
	has(path, 3)
	l.Write(end(4, csa.PeerReset))
	if err := l.Set(other, 1); err != nil {
		t.Fatal(err)
	}
	l.Write(end(5, csa.PeerReset))
	has(other, 5)
	text, _ := os.ReadFile(path)
	if !strings.Contains(string(text), `"id":4,`) || strings.Contains(string(text), `"id":5,`) {
		t.Errorf("the file before has %q", text)
	}
	if info, err := os.Stat(other); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("it is %v, %v", info, err)
	}

	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for place, want := range map[string]string{
		pipe: "", dir: "is a directory", filepath.Join(dir, "none", "x"): "no such file", filepath.Join(other, "x"): "not a directory",
	} {
		if err := Check(place); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", place, err)
		}
		if err := l.Set(place, 1); err == nil {
			t.Errorf("%s is taken", place)
		}
	}
	l.Write(end(6, csa.PeerReset)) // and nothing has changed
	has(other, 6)
}

// A file that takes nothing more, as a terminal whose reader stands still, holds up neither those
// who have it opened again nor the end.
func TestAFileThatTakesNothingMore(t *testing.T) {
	r, stuck, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	path := filepath.Join(t.TempDir(), "a.log")
	l := New(nil)
	if err := l.Set(path, 1); err != nil {
		t.Fatal(err)
	}
	to := l.now.Load().file
	fill := func() {
		lost := l.Stats().Lost
		for n := uint64(1); l.Stats().Lost == lost; n++ {
			l.Write(end(n, csa.PeerReset))
		}
	}
	to.now.Swap(stuck).Close()
	fill()
	if is, err := l.Reopen(); !is || err != nil {
		t.Fatal(is, err)
	}
	awaittest.Until(t, "the new file has lines", func() bool {
		l.Write(end(1e9, csa.PeerReset)) // there may be no room at first
		text, _ := os.ReadFile(path)
		return strings.Contains(string(text), `"id":1000000000,`)
	})

	if r, stuck, err = os.Pipe(); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	to.now.Swap(stuck).Close()
	fill()
	l.Close()
	if _, err := stuck.Write([]byte("x")); err == nil {
		t.Error("the file is still open")
	}
}

// A line costs its loop no allocation.
func TestNoAllocation(t *testing.T) {
	l := New(new(held))
	if err := l.Set(filepath.Join(t.TempDir(), "a.log"), 1); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e := end(1, csa.PeerReset)
	for range 100 {
		l.Write(e)
	}
	// The queue grows now and then, and the race detector empties pools.
	if n := testing.AllocsPerRun(1000, func() { l.Write(e) }); n > 3 {
		t.Errorf("a line takes %v allocations", n)
	}
}

func BenchmarkWrite(b *testing.B) {
	l := New(new(held))
	if err := l.Set(filepath.Join(b.TempDir(), "a.log"), 1); err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	e := end(1, csa.PeerReset)
	b.ReportAllocs()
	for b.Loop() {
		l.Write(e)
	}
}
