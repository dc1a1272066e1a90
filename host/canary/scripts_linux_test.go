package canary

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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
	clock   *selector.Manual
	log     *hosttest.Lines
	inmates []*inmate
	peers   map[string]string // by the secrets of guests
	read    []byte            // from memory
}

// Scripts of two tenants run on one engine, and the connections of each end in every way. No secret
// is ever in another instance's memory, in another's answer or in another's line of the log.
func TestScripts(t *testing.T) {
	toml := hostTable(1)
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
config = { secret = %[3]q }
`, in.name, script, in.secret)
		}
	}
	p.h = hosttest.Serve(t, toml, host.Options{Log: p.log.Log(), Clock: p.clock})
	for _, in := range p.inmates {
		in.standing = p.dial(in, "stays")
		p.say(in, in.standing, "stay")
	}
	// To load a script may take longer than what spins is to have.
	cfg, err := config.Load(hosttest.WriteConfig(t, strings.ReplaceAll(toml, `"1m"`, `"40ms"`)))
	if err == nil {
		err = p.h.Reload(t.Context(), cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
	for n, ending := range scriptEndings {
		for _, in := range p.inmates {
			p.end(in, ending, n)
		}
		p.sleep()
		for _, in := range p.inmates {
			p.say(in, in.standing, "")
		}
	}
	p.judgeLog()
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

// has is all that a guest's script may have.
func (p *prison) has(in *inmate, g *guest) string {
	return strings.Join([]string{in.secret, g.secret, g.secret, g.secret}, " ") + "\n"
}

// end has a connection come, leave its secret, and end.
func (p *prison) end(in *inmate, ending string, n int) {
	p.t.Helper()
	g := p.dial(in, fmt.Sprint("guest", n))
	p.say(in, g, "stay")
	p.search(g.secret)
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
	hosttest.Eventually(p.t, in.name+", "+ending+": its instance is gone, and its secret with it", func() bool {
		return p.instances(in) == 1 && !slices.Contains(p.search(g.secret), g.secret)
	})
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
		p.clock.Advance(time.Second)
		for _, tenant := range p.h.Stats().Tenants {
			if tenant.Asleep != tenant.Instances {
				return false
			}
		}
		return true
	})
	p.search("")
}

// search looks through the memory of all instances, alive, asleep or ready to be taken. Each may
// have the secrets of one tenant, and of one connection of that. It returns those of connections.
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
			if !slices.ContainsFunc(secrets, func(whole string) bool { return strings.HasPrefix(whole, s) }) {
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

// copies are the contents of all memories that are copies of snapshots, with what they have
// grown by, until the next call. Each begins with a mapping of its image's beginning.
func (p *prison) copies() (all [][]byte) {
	t := p.t
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	p.read = p.read[:0]
	var end uint64 // of the last one's last mapping
	for line := range strings.Lines(string(maps)) {
		var from, to, offset uint64
		var may string
		if _, err := fmt.Sscanf(line, "%x-%x %s %x", &from, &to, &may, &offset); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		image := strings.Contains(line, "memfd:bulkhead-snapshot")
		first, more := image && offset == 0, from == end && may == "rw-p"
		if !first && !more {
			continue
		}
		at, n := len(p.read), int(to-from)
		p.read = slices.Grow(p.read, n)[:at+n]
		b := p.read[at:]
		if _, err := mem.ReadAt(b, int64(from)); err != nil {
			p.read = p.read[:at]
			continue // it is unmapped by now
		}
		if first {
			all = append(all, b)
		} else {
			all[len(all)-1] = append(all[len(all)-1], b...)
		}
		end = to
	}
	return all
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
