package canary

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"bulkhead/csa"
	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"
	"bulkhead/selector"
)

// mark is what each secret of a script begins with, and '>' its end.
const mark = "canary<"

// inmate is a tenant with a script, and its clients. Its own secret is in all of its instances,
// and that of a client in one.
type inmate struct {
	name     string // also the tenant's and the listener's
	secret   string
	standing *guest // stays while others come and go
}

// guest is a client of a script, which keeps what it is given, and says all that it has.
type guest struct {
	conn    net.Conn
	answers *bufio.Reader
	secret  string
}

// scriptLanguages are the endings of testdata/canary.
var scriptLanguages = []string{"js", "lua", "py"}

// scriptEndings are how a connection ends: by its client, or by what the script is told to do.
var scriptEndings = []string{"the client closes", "the client resets", "close", "abort", "throw", "spin", "hog", "recursion", "later"}

// prison is a host of two tenants for each language.
type prison struct {
	t       *testing.T
	h       *host.Host
	loop    *csa.Loop // its only one
	clock   *selector.Manual
	log     *hosttest.Lines
	inmates []*inmate
	peers   map[string]string // by the secrets of guests
	read    []byte            // from memory
}

// Scripts of two tenants run on one engine, and the connections of each end in every way. No secret
// is ever in another instance's memory, in another's answer or in another's line of the log.
func TestScripts(t *testing.T) {
	toml := hostTable(1) + `
[tenant.warden]
[[listener]]
name = "warden"
tenant = "warden"
address = "tcp://127.0.0.1:0"
`
	p := &prison{t: t, clock: &selector.Manual{}, log: hosttest.NewLines(t), peers: make(map[string]string)}
	for _, ending := range scriptLanguages {
		script, err := filepath.Abs("testdata/canary." + ending)
		if err != nil {
			t.Fatal(err)
		}
		for _, which := range []string{"a", "b"} {
			in := &inmate{name: ending + "-" + which}
			in.secret = mark + in.name + ">"
			p.inmates = append(p.inmates, in)
			toml += fmt.Sprintf(`
[tenant.%s]
memory = "8MiB"
stack = "256KiB"
accept_rate = 10000
[[listener]]
name = %[1]q
tenant = %[1]q
address = "tcp://127.0.0.1:0"
plugin = %[2]q
event_timeout = "1m"
idle_timeout = "100h"
config = { secret = %[3]q }
`, in.name, script, in.secret)
		}
	}
	loop := make(chan *csa.Loop, 2) // of the configuration, and of that after the reload
	warden := func(l *csa.Loop) csa.Handler { loop <- l; return hosttest.NewEcho(l) }
	goroutines := runtime.NumGoroutine()
	p.h = hosttest.ServeConfig(t, p.load(toml), host.Options{
		Log: p.log.Log(), Clock: p.clock, Native: map[string]host.Native{"warden": warden},
	}, goroutines)
	p.loop = <-loop
	for _, in := range p.inmates {
		in.standing = p.dial(in, "stays")
		p.say(in, in.standing, "stay")
	}
	// To load a script may take longer than what spins is to have.
	if err := p.h.Reload(t.Context(), p.load(strings.ReplaceAll(toml, `"1m"`, `"40ms"`))); err != nil {
		t.Fatal(err)
	}
	for n, ending := range scriptEndings {
		for _, in := range p.inmates {
			p.end(in, ending, n)
		}
		p.sayAll()
		p.sleep()
		p.sayAll()
	}
	p.judgeLog()
}

// load reads a configuration whose listener "warden" is the test's.
func (p *prison) load(toml string) *config.Config {
	p.t.Helper()
	cfg, err := config.LoadNative(hosttest.WriteConfig(p.t, toml), "warden")
	if err != nil {
		p.t.Fatal(err)
	}
	return cfg
}

// dial connects a guest, whose secret has its name.
func (p *prison) dial(in *inmate, name string) *guest {
	g := &guest{conn: hosttest.Dial(p.t, p.h.Addr(in.name)), secret: mark + in.name + "-" + name + ">"}
	g.answers = bufio.NewReader(g.conn)
	p.peers[g.secret] = g.conn.LocalAddr().String()
	return g
}

// say has a guest's script keep its secret and do something; nothing: it is asked what it has. It
// has to have that and its tenant's secret, and nothing else.
func (p *prison) say(in *inmate, g *guest, do string) {
	p.t.Helper()
	_ = g.conn.SetDeadline(awaittest.Deadline())
	said := g.secret
	if do == "" {
		said, do = "", "stay"
	}
	hosttest.Say(p.t, g.conn, said+" "+do+"\n")
	if line, err := g.answers.ReadString('\n'); line != p.has(in, g) {
		p.t.Fatalf("%s, %s: its script has %q, %v; want %q", in.name, do, line, err, p.has(in, g))
	}
}

// sayAll asks all that stay what they have, and so wakes them. One that was to sleep while another
// connection had all the memory of its tenant is awake until it is used again.
func (p *prison) sayAll() {
	p.t.Helper()
	for _, in := range p.inmates {
		p.say(in, in.standing, "")
	}
}

// has is all that a guest's script may have.
func (p *prison) has(in *inmate, g *guest) string {
	return strings.Join([]string{in.secret, g.secret, g.secret, g.secret}, " ") + "\n"
}

// end has a connection come, leave its secret, and end.
func (p *prison) end(in *inmate, ending string, n int) {
	p.t.Helper()
	g := p.dial(in, fmt.Sprint("guest", n))
	p.say(in, g, "stay")
	if found := p.search(g.secret); !slices.Contains(found, g.secret) {
		p.t.Fatalf("%s, %s: no memory has %q, whose connection lives; they have %q", in.name, ending, g.secret, found)
	}
	switch ending {
	case "the client closes":
	case "the client resets":
		_ = g.conn.(*net.TCPConn).SetLinger(0)
	default:
		hosttest.Say(p.t, g.conn, " "+ending+"\n")
		// It may be told what the script has once more before it ends. Time goes on meanwhile.
		ended := make(chan string, 1)
		go func() {
			rest, err := g.answers.ReadString(0)
			if e, ok := err.(net.Error); ok && e.Timeout() {
				rest += "no end"
			}
			ended <- rest
		}()
		hosttest.Eventually(p.t, in.name+", "+ending+": the connection ends", func() bool {
			p.clock.Advance(time.Millisecond)
			return len(ended) > 0
		})
		if rest := <-ended; rest != "" && rest != p.has(in, g) {
			p.t.Fatalf("%s, %s: its script has %q; want %q", in.name, ending, rest, p.has(in, g))
		}
	}
	g.conn.Close()
	hosttest.Eventually(p.t, in.name+", "+ending+": its instance is gone", func() bool { return p.instances(in) == 1 })
	if found := p.search(g.secret); slices.Contains(found, g.secret) {
		p.t.Fatalf("a leak: %s, %s: its instance is gone, and a memory has %q", in.name, ending, g.secret)
	}
}

// instances is how many a tenant has.
func (p *prison) instances(in *inmate) int {
	for _, tenant := range p.h.Stats().Tenants {
		if tenant.Name == in.name {
			return tenant.Instances
		}
	}
	return -1
}

// sleep has all instances sleep, whose memory is used by others then, if they have any.
func (p *prison) sleep() {
	hosttest.Eventually(p.t, "all instances sleep", func() bool {
		p.clock.Advance(100 * time.Millisecond) // less than a day in all, however long it takes
		if err := p.h.Turn(p.t.Context()); err != nil {
			p.t.Fatal(err)
		}
		for _, tenant := range p.h.Stats().Tenants {
			if tenant.Asleep != tenant.Instances {
				return false
			}
		}
		return true
	})
	if found := p.search(""); len(found) > 0 {
		p.t.Fatalf("a leak: all instances sleep, and memories that wait for others have %q", found)
	}
}

// search looks through the memory of all instances, alive or ready to be taken. Each may have the
// secrets of one tenant, and of one connection of that. It returns those of connections.
func (p *prison) search(guest string) (found []string) {
	p.t.Helper()
	living := []string{guest}
	for _, in := range p.inmates {
		living = append(living, in.secret)
		if in.standing != nil {
			living = append(living, in.standing.secret)
		}
	}
	for _, memory := range p.copies() {
		secrets, cut := secretsIn(memory)
		slices.Sort(secrets)
		for _, s := range cut {
			if len(secrets) == 0 || p.isOthers(s, secrets) {
				p.t.Fatalf("a leak: the memory of one instance has %q, and %q", secrets, s)
			}
		}
		for n, s := range secrets {
			// A connection's secret, as "canary<js-a-stays>", sorts before its tenant's.
			own := strings.TrimSuffix(secrets[len(secrets)-1], ">")
			if !slices.Contains(living, s) && s != guest || !strings.HasPrefix(s, own) || n > 1 {
				p.t.Fatalf("a leak: the memory of one instance has %q, of which none but %q lives", secrets, living)
			}
			if strings.Count(s, "-") > 1 {
				found = append(found, s)
			}
		}
	}
	return found
}

// isOthers reports whether a secret that is cut off is more like one that was ever given to others
// than like each of a memory's own. What is written over its end may look as if it went on.
func (p *prison) isOthers(cut string, own []string) bool {
	alike := func(secret string) int {
		n := 0
		for n < min(len(cut), len(secret)) && cut[n] == secret[n] {
			n++
		}
		return n
	}
	most := 0
	for _, secret := range own {
		most = max(most, alike(secret))
	}
	for _, in := range p.inmates {
		if alike(in.secret) > most {
			return true
		}
	}
	for secret := range p.peers {
		if alike(secret) > most {
			return true
		}
	}
	return false
}

// secretsIn are the secrets in a memory, and the beginnings of others that are cut off, as where
// memory that was freed is used again.
func secretsIn(b []byte) (whole, cut []string) {
	for {
		_, rest, ok := bytes.Cut(b, []byte(mark))
		if !ok {
			return whole, cut
		}
		n := 0
		for n < len(rest) && (rest[n] == '-' || rest[n] >= '0' && rest[n] <= '9' || rest[n] >= 'a' && rest[n] <= 'z') {
			n++
		}
		secret, all := mark+string(rest[:n]), &cut
		if n < len(rest) && rest[n] == '>' {
			secret, all = secret+">", &whole
		}
		if !slices.Contains(*all, secret) {
			*all = append(*all, secret)
		}
		b = rest
	}
}

// copies are the contents of all memories that are snapshots or copies of them, with what they
// have grown by, until the next call. They are read on the loop, which puts no memory back
// meanwhile: of a secret that is half overwritten some of it would be there.
func (p *prison) copies() (all [][]byte) {
	p.t.Helper()
	done := make(chan error, 1)
	if !p.loop.Post(func() {
		var err error
		all, err = p.readCopies()
		done <- err
	}) {
		p.t.Fatal("the loop has stopped")
	}
	if err := <-done; err != nil {
		p.t.Fatal(err)
	}
	return all
}

// readCopies is copies, on the loop.
func (p *prison) readCopies() (all [][]byte, err error) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, err
	}
	memories, err := memoriesIn(string(maps))
	if err != nil {
		return nil, err
	}
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		return nil, err
	}
	defer mem.Close()
	size := 0
	for _, m := range memories {
		size += int(m.to - m.from)
	}
	p.read = slices.Grow(p.read[:0], size)[:size]
	rest := p.read
	for _, m := range memories {
		n := int(m.to - m.from)
		if _, err := mem.ReadAt(rest[:n], int64(m.from)); err != nil {
			return nil, fmt.Errorf("reading a memory at %#x: %w", m.from, err)
		}
		all, rest = append(all, rest[:n]), rest[n:]
	}
	return all, nil
}

// stretch is addresses that follow on each other.
type stretch struct{ from, to uint64 }

// memoriesIn are the memories that are snapshots, or copies of them, in what /proc/self/maps says.
// A copy is a mapping that may be written to, and what it has grown by, which is right behind that.
// A snapshot may only be read, and does not grow. What is right behind it is somebody else's: Go's
// runtime has its own memory there at times, in which it keeps registers of goroutines that it has
// interrupted, with parts of whatever they were copying.
func memoriesIn(maps string) (all []stretch, err error) {
	grows := false // the last one
	for line := range strings.Lines(maps) {
		var from, to, offset uint64
		var may string
		if _, err := fmt.Sscanf(line, "%x-%x %s %x", &from, &to, &may, &offset); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		ofSnapshot := strings.Contains(line, "memfd:bulkhead-snapshot")
		last := len(all) - 1
		switch {
		case grows && from == all[last].to && may == "rw-p" && (offset > 0 || !ofSnapshot):
			all[last].to = to
		case ofSnapshot && offset == 0 && (may == "rw-p" || may == "r--s"):
			all = append(all, stretch{from, to})
			grows = may == "rw-p"
		case ofSnapshot:
			return nil, fmt.Errorf("%q is a snapshot's, and of no memory", line)
		default:
			grows = false
		}
	}
	return all, nil
}

// Of what is left of a secret, its own memory may have any part, and no other memory may have one
// that tells whose it was.
func TestIsOthers(t *testing.T) {
	p := &prison{
		inmates: []*inmate{{secret: "canary<lua-a>"}, {secret: "canary<lua-b>"}},
		peers:   map[string]string{"canary<lua-a-stays>": "", "canary<lua-a-guest1>": "", "canary<lua-b-guest1>": ""},
	}
	for _, c := range []struct {
		cut  string
		own  []string
		want bool
	}{
		{"canary<", []string{"canary<lua-a>"}, false},
		{"canary<lua-a", []string{"canary<lua-a>"}, false},
		{"canary<lua-azzz", []string{"canary<lua-a>"}, false}, // written over
		{"canary<lua-a-sta", []string{"canary<lua-a-stays>", "canary<lua-a>"}, false},
		{"canary<lua-a-sc", []string{"canary<lua-a-stays>", "canary<lua-a>"}, false}, // written over
		{"canary<lua-b", []string{"canary<lua-a-stays>", "canary<lua-a>"}, true},
		{"canary<lua-bc", []string{"canary<lua-a>"}, true},
		{"canary<lua-a-g", []string{"canary<lua-a-stays>", "canary<lua-a>"}, true},
		{"canary<lua-a-guesc", []string{"canary<lua-a-stays>", "canary<lua-a>"}, true},
		{"canary<lua-a-s", []string{"canary<lua-a>"}, true}, // of a connection that is gone
	} {
		if got := p.isOthers(c.cut, c.own); got != c.want {
			t.Errorf("isOthers(%q, %q) = %v", c.cut, c.own, got)
		}
	}
}

// What is mapped right behind a copy is what it has grown by. What is right behind a snapshot is no
// guest's, whatever it has in it.
func TestMemoriesIn(t *testing.T) {
	const maps = `
00400000-01a3c000 r-xp 00000000 fe:00 1234                               /tmp/canary.test
249200000000-249200100000 rw-p 00000000 00:01 81056                      /memfd:bulkhead-snapshot (deleted)
249201000000-2492010e0000 rw-p 00000000 00:01 81053                      /memfd:bulkhead-snapshot (deleted)
2492010e0000-2492010f0000 rw-p 00000000 00:00 0
2492010f0000-249201100000 ---p 00000000 00:00 0
249201800000-249201810000 rw-p 00000000 00:01 81054                      /memfd:bulkhead-snapshot (deleted)
249201810000-2492018e0000 rw-p 00010000 00:01 81054                      /memfd:bulkhead-snapshot (deleted)
2492018e0000-249202000000 rw-p 00000000 00:00 0
249202000000-2492020e0000 rw-p 00000000 00:01 81054                      /memfd:bulkhead-snapshot (deleted)
249204000000-249204010000 rw-p 00000000 00:00 0
7fd6a0d1f000-7fd6a0dff000 r--s 00000000 00:01 81054                      /memfd:bulkhead-snapshot (deleted)
7fd6a0dff000-7fd6a0edf000 r--s 00000000 00:01 81053                      /memfd:bulkhead-snapshot (deleted)
7fd6a83ae000-7fd6a84be000 r--s 00000000 00:01 80871                      /memfd:bulkhead-snapshot (deleted)
7fd6a84be000-7fd6a87fe000 rw-p 00000000 00:00 0
`
	want := []stretch{
		{0x249200000000, 0x249200100000},
		{0x249201000000, 0x2492010f0000},
		{0x249201800000, 0x249202000000},
		{0x249202000000, 0x2492020e0000},
		{0x7fd6a0d1f000, 0x7fd6a0dff000},
		{0x7fd6a0dff000, 0x7fd6a0edf000},
		{0x7fd6a83ae000, 0x7fd6a84be000},
	}
	if got, err := memoriesIn(maps[1:]); err != nil || !slices.Equal(got, want) {
		t.Errorf("the memories are at %x, %v; want %x", got, err, want)
	}
	lost := "249201810000-2492018e0000 rw-p 00010000 00:01 81054 /memfd:bulkhead-snapshot (deleted)\n"
	if got, err := memoriesIn(lost); err == nil {
		t.Errorf("a mapping of a snapshot's middle alone is the memories %x", got)
	}
}

// judgeLog wants each secret in lines of its own tenant and connection only.
func (p *prison) judgeLog() {
	p.t.Helper()
	for secret, peer := range p.peers {
		if !p.log.Has("text="+secret, " peer="+peer) {
			p.t.Errorf("the log does not have %s of %s", secret, peer)
		}
	}
}
