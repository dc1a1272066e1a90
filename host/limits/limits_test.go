package limits_test

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"bulkhead/host/conns"
	"bulkhead/host/limits"
	"bulkhead/internal/hosttest"
	"bulkhead/internal/recordtest"
)

// proof is how one line of docs/LIMITS.md is provoked, and where it has to be seen.
type proof struct {
	line string // what its line begins with
	key  string // that it has to be seen by
	// tenant and listener are keys of its own tenant and listener. routes says that the guest is on
	// a route, udp that the listener is one of UDP, and ws that it is one of WebSocket.
	tenant, listener string
	routes, udp, ws  bool
	// relays says that the guest is relay, and linux that the limit holds on Linux alone.
	relays, linux bool
	// do provokes it.
	do func(p *place)
	// metric is what counts it, with the tenant's name as a label; "": it ends connections, or
	// loses datagrams, which listeners count by key.
	metric string
	// ends says that it ends a connection, which has a line of the access log then.
	ends bool
	// fails says that it is a handler's failure, which listeners count.
	fails bool
	// waits says that the page's tenant waits by the key, where no listener counts it.
	waits bool
	// throttles are words in the list of connections: those that it waits by, or states. Nil: the
	// status has it.
	throttles []string
	// first says that all of this is looked for before others are provoked. Beside tenants with
	// many cores, one with few waits until it has a core again for thousands of times as long as
	// its last call took, and does not wait for its own quota meanwhile.
	first bool
}

// here reports whether it can be provoked on this system.
func (p *proof) here() bool { return !p.linux || runtime.GOOS == "linux" }

const selfSigned = "\n[listener.tls]\nself_signed = [\"a.test\"]\n"

// upgrade is a client's request for WebSocket.
const upgrade = "GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// proofs are by the name of the tenant and the listener.
var proofs map[string]proof

func init() { // since what provokes reads them
	proofs = map[string]proof{
		"memory":      {line: "memory of a tenant", key: "memory", tenant: `memory = "8MiB"`, do: says("m"), metric: "bulkhead_tenant_memory_refused_total", waits: true},
		"memory_step": {line: "memory of a tenant", key: "memory", tenant: `memory = "8MiB"`, do: says("M"), metric: "bulkhead_tenant_memory_refused_total", waits: true},
		"cpu":         {line: "CPU time of a tenant", key: "cpu", tenant: "cpu = 0.01", do: computes, metric: "bulkhead_tenant_events_deferred_total", waits: true, throttles: []string{"cpu"}, first: true},
		"event":       {line: "CPU time of one event", key: "event_timeout", listener: `event_timeout = "5ms"`, do: says("s"), ends: true},
		"working":     {line: "calls of a tenant beside the loops", key: "calls", tenant: "cpu = 64\nbandwidth = \"1GiB/s\"", do: computesLong, metric: "bulkhead_tenant_background_waits_total", waits: true, throttles: []string{"calls"}},
		"mappings":    {line: "memory mappings of a tenant", key: "mappings", tenant: "mappings = 30", do: keepsAwake, metric: "bulkhead_tenant_mappings_refused_total", ends: true, waits: true, throttles: []string{"mappings"}, linux: true},
		"pipes":       {line: "pipes of relays", key: "pipes", tenant: "bandwidth = \"1GiB/s\"\nconnect = [\"UPSTREAM\"]", listener: "write_timeout = \"0s\"\nmin_rate = \"0B/s\"", do: relays, metric: "bulkhead_tenant_pipes_refused_total", waits: true, relays: true, linux: true},
		"lowat":       {line: "bytes of a connection that the kernel has not sent", key: "", listener: "notsent_lowat = \"4KiB\"\nsend_buffer = \"16KiB\"", do: says("b"), throttles: []string{"blocked"}},
		"sockets":     {line: "kernel memory of a tenant's sockets", key: "socket_memory", tenant: "socket_memory = \"0B\"\nbandwidth = \"100GiB/s\"", listener: "write_timeout = \"0s\"\nmin_rate = \"0B/s\"", do: floodsSockets, metric: "bulkhead_tenant_socket_memory_refused_total", waits: true, linux: true},
		"lookups":     {line: "names that are looked up", key: "dials", tenant: "dials = 1\nconnect = [\"*.example:1\"]", do: looksUp, metric: "bulkhead_tenant_lookups_refused_total", waits: true},
		"kernel":      {line: "datagrams that the kernel is asked to hold", key: "receive_buffer", udp: true, tenant: "bandwidth = \"1KiB/s\"", do: overruns, linux: true},
		"stack":       {line: "stack of a call", key: "stack", tenant: `stack = "64KiB"`, do: says("r"), ends: true},
		"instances":   {line: "instances of a tenant", key: "instances", tenant: "instances = 1", do: another(false), metric: "bulkhead_tenant_instances_refused_total", ends: true, waits: true, throttles: []string{"instances"}},
		"connections": {line: "connections of a tenant", key: "connections", tenant: "connections = 1", listener: `first_byte_timeout = "0s"`, do: another(true), metric: "bulkhead_tenant_connections"},
		"source":      {line: "connections, and new ones a second", key: "per_source", listener: "per_source = 1", do: closed, ends: true},
		"source_rate": {line: "connections, and new ones a second", key: "per_source_rate", listener: "per_source_rate = 0.001", do: closed, ends: true},
		"accepts":     {line: "accepts a second", key: "accept_rate", tenant: "accept_rate = 0.1", listener: `first_byte_timeout = "0s"`, do: another(true), metric: "bulkhead_tenant_accept_waits_total", waits: true},
		"bandwidth":   {line: "bandwidth of a tenant", key: "bandwidth", tenant: `bandwidth = "1KiB/s"`, do: says(strings.Repeat("y", 30_000)), metric: "bulkhead_tenant_receive_waits_total", waits: true, throttles: []string{"bandwidth"}},
		"unsent":      {line: "unsent bytes of a connection", key: "inbox", do: says("b"), throttles: []string{"blocked"}},
		"unconsumed":  {line: "unconsumed bytes of a connection", key: "", do: says("p"), throttles: []string{"paused"}},
		"idle":        {line: "idle time", key: "idle_timeout", listener: `idle_timeout = "1m"`, do: says("y"), ends: true},
		"first_byte":  {line: "time to the first byte", key: "first_byte_timeout", do: says(""), ends: true},
		"rate":        {line: "least rate of a peer", key: "min_rate", do: says("x"), ends: true},
		"write":       {line: "time in which a peer takes none", key: "write_timeout", listener: `min_rate = "0B/s"`, do: says("b"), ends: true},
		"age":         {line: "age of a connection", key: "lifetime", listener: `lifetime = "1m"`, do: says("y"), ends: true},
		"generations": {line: "generations of a listener", key: "generations", listener: "generations = 1", do: reloads, ends: true},
		"old":         {line: "time that connections go on after a reload", key: "old_for", listener: `old_for = "0s"`, do: reloads, ends: true},
		"linger":      {line: "time to flush and part", key: "linger", listener: "min_rate = \"0B/s\"\nwrite_timeout = \"0s\"", do: says("f"), ends: true},
		"handshake":   {line: "time of a TLS handshake, of a dial", key: "handshake_timeout", listener: selfSigned, do: says(""), ends: true},
		"handshakes":  {line: "TLS handshakes of the host, of a tenant; dials", key: "handshakes", tenant: "handshakes = 1", listener: selfSigned + "handshake_timeout = \"10m\"", do: shakes, metric: "bulkhead_tenant_handshakes_refused_total", ends: true, waits: true},
		"dials":       {line: "TLS handshakes of the host, of a tenant; dials", key: "dials", tenant: "dials = 1\nconnect = [\"*.example:1\"]", do: dials, metric: "bulkhead_tenant_dials_refused_total", waits: true},
		"records":     {line: "TLS records without data", key: "tls", listener: selfSigned, do: floods, ends: true},
		"request":     {line: "a request for WebSocket", key: "request_size", ws: true, listener: `request_size = "512B"`, do: says("GET / HTTP/1.1\r\nCookie: " + strings.Repeat("x", 600)), ends: true},
		"request_in":  {line: "a request for WebSocket", key: "request_timeout", ws: true, do: says("GET / HTTP/1.1\r\n"), ends: true},
		"message":     {line: "a WebSocket client's message", key: "message_size", ws: true, listener: `message_size = "125B"`, do: says(upgrade + "\x82\xfe\x00\x7e\x00\x00\x00\x00"), ends: true},
		"frames":      {line: "a WebSocket client's message", key: "message_frames", ws: true, listener: "message_frames = 1", do: says(upgrade + "\x02\x80\x00\x00\x00\x00\x00\x80\x00\x00\x00\x00"), ends: true},
		"controls":    {line: "control frames of a WebSocket client", key: "control_rate", ws: true, listener: "control_rate = 1", do: says(upgrade + strings.Repeat("\x8a\x80\x00\x00\x00\x00", 2)), ends: true},
		"ping":        {line: "time in which a WebSocket client answers", key: "ping", ws: true, listener: "first_byte_timeout = \"0s\"", do: says(upgrade), ends: true},
		"proxy":       {line: "a ClientHello on a route, a PROXY header", key: "proxy_from", listener: `proxy_from = ["127.0.0.1"]`, do: says("no header\r\n\r\n"), ends: true},
		"route":       {line: "a ClientHello on a route, a PROXY header", key: "route_timeout", routes: true, do: says("A"), ends: true},
		"upstreams":   {line: "connections that a tenant has dialled", key: "upstreams", tenant: "upstreams = 1\nconnect = [\"*.example:1\"]", do: dials, metric: "bulkhead_tenant_upstreams_refused_total", waits: true},
		"waiting":     {line: "datagrams of a peer that wait", key: "waiting_datagrams", udp: true, listener: "waiting_datagrams = 1", do: loses},
		"timers":      {line: "timers of a connection, of a tenant", key: "timers", tenant: "timers = 1", do: says("t"), metric: "bulkhead_tenant_timers_refused_total", waits: true},
		"log":         {line: "log lines of an instance", key: "log_lines", do: says("l"), metric: "bulkhead_tenant_log_lines_dropped_total", waits: true},
		"counts":      {line: "metric names of a tenant", key: "counts", do: says("c"), metric: "bulkhead_tenant_counts_refused_total", waits: true},
		"trap":        {line: "a trap", key: "", do: says("!"), ends: true, fails: true},
	}
}

// elsewhere are lines that another test provokes, by file and name, and where they are seen.
var elsewhere = map[string][3]string{
	"descriptors or memory of the system": {"limits/descriptors_linux_test.go", "TestNoDescriptorsAreSeen", inHost},
	"requests to the daemon itself":       {"admin/beside_test.go", "TestRefusalsAreFew", "metrics"},
	"looking up the line of a trap":       {"../plugins/compiler/locate_test.go", "TestHostileLines", "-"},
}

// Where limits are seen, as docs/LIMITS.md has it.
const (
	inAll   = "all"
	inHost  = "metrics, status, page"
	inConns = "conns, page"
)

// seenIn says where the proof wants it to be seen.
func (p *proof) seenIn() string {
	switch {
	case p.ends || p.udp:
		// Of a datagram that is lost the line of its connection says nothing.
		if p.udp {
			return inHost
		}
		return inAll
	case p.metric != "":
		return inHost
	}
	return inConns
}

var update = flag.Bool("update", false, "write the last column of docs/LIMITS.md anew")

// Each line of the table of limits has a proof here, or a test elsewhere that is there, and says
// where it is seen as the proofs do. Each limit that is counted has one.
func TestEveryLineHasAProof(t *testing.T) {
	const path = "../../docs/LIMITS.md"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := make(map[string]bool)
	lines := 0
	var anew strings.Builder
	for line := range strings.Lines(string(page)) {
		first, is := strings.CutPrefix(line, "| ")
		if !is || strings.HasPrefix(line, "| limit |") {
			anew.WriteString(line)
			continue
		}
		lines++
		var seen []string
		for name, p := range proofs {
			if strings.HasPrefix(first, p.line) {
				used[name], seen = true, append(seen, p.seenIn())
			}
		}
		for _, p := range hostProofs {
			if strings.HasPrefix(first, p.line) {
				used[p.line], seen = true, append(seen, inHost)
			}
		}
		for begin, at := range elsewhere {
			if strings.HasPrefix(first, begin) {
				used[begin], seen = true, append(seen, at[2])
			}
		}
		if seen == nil {
			t.Errorf("nothing provokes %.60q of docs/LIMITS.md: give it a proof", first)
			continue
		}
		slices.Sort(seen) // all, conns, metrics
		if slices.Contains(seen, inHost) && seen[0] == inConns {
			seen = seen[1:]
		}
		cells := strings.Split(strings.TrimSpace(line), "|")
		for len(cells) < 6 {
			cells = append(cells[:len(cells)-1], "", "")
		}
		cells[4] = " " + seen[0] + " "
		want := strings.Join(cells, "|") + "\n"
		anew.WriteString(want)
		if want != line && !*update {
			t.Errorf("docs/LIMITS.md does not say that it is seen in %q; -update writes it: %.60q", seen[0], first)
		}
	}
	if *update {
		if err := os.WriteFile(path, []byte(anew.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if lines < 40 {
		t.Errorf("docs/LIMITS.md has %d lines", lines)
	}
	proved := make(map[string]bool)
	for name, p := range proofs {
		if !used[name] {
			t.Errorf("the proof %q is of no line of docs/LIMITS.md", name)
		}
		proved[p.key] = true
	}
	for _, p := range hostProofs {
		if !used[p.line] {
			t.Errorf("the proof of %q is of no line of docs/LIMITS.md", p.line)
		}
		proved[p.key] = true
	}
	for _, l := range limits.Tenants {
		if !slices.ContainsFunc(strings.Split(l.Key, ", "), func(key string) bool { return proved[key] }) && l.Key != "log_bytes" {
			t.Errorf("nothing provokes %s of a tenant: give it a proof", l.Key)
		}
	}
	for _, l := range limits.Host {
		if !proved[l.Key] {
			t.Errorf("nothing provokes %s of the host: give it a proof", l.Key)
		}
	}
	for begin, at := range elsewhere {
		if !used[begin] {
			t.Errorf("%q is no line of docs/LIMITS.md", begin)
		}
		if text, err := os.ReadFile(filepath.Join("..", at[0])); err != nil || !strings.Contains(string(text), "func "+at[1]) {
			t.Errorf("%q has a test in %s, %q, which is not there: %v", begin, at[0], at[1], err)
		}
	}
}

// says has a client say something, and waits until that has come: time may pass then.
func says(what string) func(*place) {
	return func(p *place) {
		hosttest.Say(p.t, p.dial(), what)
		p.until("it has come", func() bool {
			p.h.Refresh(p.t.Context())
			l := p.listener()
			return len(l.Ended) > 0 || l.Received > 0 || p.tenant().Connections > 0 && (what == "" || proofs[p.name].routes)
		})
	}
}

// computes has clients that want something computed until it was looked for who waits.
func computes(p *place) {
	for range 4 {
		c := p.dial()
		go func() {
			for {
				if _, err := c.Write([]byte("w")); err != nil {
					return
				}
				select {
				case <-p.looked:
					return
				case <-time.After(time.Millisecond):
				}
			}
		}()
	}
}

// computesLong has more clients than there may be calls beside the loops, which want something
// computed for long until it was looked for who waits.
func computesLong(p *place) {
	for range 40 {
		c := p.dial()
		go func() {
			for {
				if _, err := c.Write([]byte("vy")); err != nil {
					return
				}
				select {
				case <-p.looked:
					return
				case <-time.After(time.Millisecond):
				}
			}
		}()
	}
}

// keepsAwake has clients come whose instances do not sleep, until one finds no mapping.
func keepsAwake(p *place) {
	for range 40 {
		hosttest.Say(p.t, p.dial(), "g")
	}
}

// relays has clients that do not read what is relayed to them.
func relays(p *place) {
	for range 3 {
		c := p.dial()
		hosttest.Say(p.t, c, "Ztcp://"+p.upstream)
		hosttest.Hear(p.t, c, "open")
		hosttest.Say(p.t, c, "x")
	}
}

// floodsSockets has a client that sends much, and reads for a while alone: so its connection has
// become fast.
func floodsSockets(p *place) {
	c := p.dial()
	go func() {
		for piece := make([]byte, 64<<10); ; {
			if _, err := c.Write(piece); err != nil {
				return // the test is over
			}
			select {
			case <-p.looked: // what it costs is counted, and more of it only takes a core
				return
			default:
			}
		}
	}()
	p.until("a socket is kept small", func() bool {
		_, _ = io.CopyN(io.Discard, c, 1<<20)
		return p.tenant().SocketMemoryRefused > 0
	})
}

// looksUp has a handler trap while it looks up a name for which there is no end, and another one
// dial.
func looksUp(p *place) {
	c := p.dial()
	hosttest.Say(p.t, c, "dtcp://stuck.example:1")
	p.until("it is looked up", func() bool { return p.tenant().Lookups == 1 })
	hosttest.Say(p.t, c, "!")
	p.until("the dial is given up, and the lookup is not over", func() bool { return p.tenant().Dials == 0 && p.tenant().Lookups == 1 })
	hosttest.Say(p.t, p.dial(), "dtcp://b.example:1")
}

// overruns sends a handler, which waits for bandwidth, more than the kernel holds.
func overruns(p *place) {
	c, err := net.Dial("udp", p.h.Addr(p.name))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	big := []byte(strings.Repeat("y", 8000))
	for range 500 {
		_, _ = c.Write(big)
	}
	go func() { // the next one that is taken says how many are lost
		for {
			select {
			case <-p.over:
				return
			case <-time.After(10 * time.Millisecond):
				_, _ = c.Write([]byte("x"))
			}
		}
	}()
}

// another has one client come and, once it is there, a second one. quiet: neither says anything.
func another(quiet bool) func(*place) {
	return func(p *place) {
		c := p.dial()
		if !quiet {
			hosttest.Say(p.t, c, "y")
			hosttest.Hear(p.t, c, "y")
		}
		p.until("it is there", func() bool { return p.tenant().Connections == 1 })
		c = p.dial()
		if !quiet {
			hosttest.Say(p.t, c, "y")
		}
	}
}

// shakes has two clients come that begin a handshake, and go no further.
func shakes(p *place) {
	const beginning = "\x16\x03\x01\x02\x00\x01"
	hosttest.Say(p.t, p.dial(), beginning)
	p.until("it is under way", func() bool { return p.tenant().Handshakes == 1 })
	hosttest.Say(p.t, p.dial(), beginning)
}

// closed has a client come while another is there, which is closed.
func closed(p *place) {
	first := p.dial()
	hosttest.Say(p.t, first, "y")
	hosttest.Hear(p.t, first, "y")
	_, _ = p.dial().Read(make([]byte, 1))
}

// reloads has a client, and then another generation.
func reloads(p *place) {
	c := p.dial()
	hosttest.Say(p.t, c, "y")
	hosttest.Hear(p.t, c, "y")
	p.reload()
	p.reload()
}

// dials has two clients whose handlers dial a name that nobody ever finds the address of.
func dials(p *place) {
	hosttest.Say(p.t, p.dial(), "dtcp://a.example:1")
	p.until("it is looked up", func() bool { return p.tenant().Dials == 1 })
	hosttest.Say(p.t, p.dial(), "dtcp://b.example:1")
}

// floods makes a handshake, and sends records that have nothing in them.
func floods(p *place) {
	c := p.dial()
	g, err := recordtest.Forge(c, &tls.Config{InsecureSkipVerify: true})
	if errors.Is(err, recordtest.ErrSuite) {
		p.t.Skip(err)
	} else if err != nil {
		p.t.Fatal(err)
	}
	for range 2000 {
		if _, err := c.Write(g.Record(recordtest.Application, nil)); err != nil {
			return
		}
	}
}

// loses has a peer send while its handler takes nothing.
func loses(p *place) {
	c, err := net.Dial("udp", p.h.Addr(p.name))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	hosttest.Say(p.t, c, "p")
	p.until("a datagram is lost", func() bool {
		_, _ = c.Write([]byte("y"))
		return len(p.listener().DatagramsLost) > 0
	})
}

// unknown never answers, until nobody asks any more, or, of stuck.example, until the test is over.
type unknown struct{ over chan struct{} }

func (u unknown) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	if host == "stuck.example" {
		<-u.over
		return nil, errors.New("the test is over")
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// Each limit is provoked, and is seen by its key wherever an operator may look. All are provoked
// first, since the page says what is new once a second. What connections do is looked for before
// time passes.
func TestLimitsAreSeen(t *testing.T) {
	s := newScene(t)
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(proofs)), func(name string) bool {
		p := proofs[name]
		return !p.here()
	})
	for _, name := range names {
		p, want := &place{scene: s, t: t, name: name}, proofs[name]
		if want.do(p); want.first {
			p.does(want.throttles)
			p.seen(&want)
		}
	}
	for _, name := range names { // before time passes, which ends connections
		if want := proofs[name]; !want.first {
			(&place{scene: s, t: t, name: name}).does(want.throttles)
		}
	}
	close(s.looked)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			want := proofs[name]
			(&place{scene: s, t: t, name: name}).seen(&want)
		})
	}
}

// does waits until a connection does or waits for what these words say, in the list and on the
// page.
func (p *place) does(words []string) {
	p.t.Helper()
	if words == nil {
		return
	}
	has := func(text string) bool {
		return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
	}
	p.until("the list of connections has "+strings.Join(words, ", "), func() bool {
		list, err := p.h.Connections(p.t.Context(), conns.Query{Filter: conns.Filter{Tenant: p.name}})
		return err == nil && slices.ContainsFunc(list.Connections, func(c conns.Conn) bool { return has(strings.Join(slices.Concat(c.State, c.ThrottledBy), ", ")) })
	})
	p.until("so has the page", func() bool { return has(p.watcher.words(p.name)) })
}

// limitTime is how much of the host's clock a limit may take to hold.
const limitTime = 2 * time.Hour

// seen waits until the limit is seen in all places, and passes the time meanwhile.
func (p *place) seen(want *proof) {
	p.t.Helper()
	passed := time.Duration(0)
	pass := func() {
		if (want.ends || want.udp) && passed < limitTime && p.listener().ByKey()[p.keyOf(want)] == 0 {
			passed += 5 * time.Second
			p.clock.Advance(5 * time.Second)
			p.h.Refresh(p.t.Context()) // each loop has its turn
		}
	}
	counted := func(all map[string]int64) bool {
		for key, n := range all {
			if n > 0 && slices.Contains(strings.Split(key, ", "), want.key) {
				return true
			}
		}
		return false
	}
	if want.metric == "" && want.key != "" && want.throttles == nil {
		p.until("the listener counts it", func() bool { pass(); return counted(p.listener().ByKey()) })
		p.until("the metrics have it", func() bool {
			return p.scrape("bulkhead_listener_ended_total", want.key)+p.scrape("bulkhead_listener_datagrams_lost_total", want.key) > 0
		})
		p.until("the page has it", func() bool { return counted(p.watcher.limits(p.name)) })
		p.until("the status has it", func() bool {
			for _, l := range p.h.Status().Listeners {
				if l.Name == p.name && counted(l.ByKey) {
					return true
				}
			}
			return false
		})
	}
	if want.metric != "" {
		p.until("the metrics have it", func() bool { pass(); return p.scrape(want.metric, "") > 0 })
		p.until("the status has it", func() bool {
			for _, st := range p.h.Status().Tenants {
				if st.Name == p.name {
					_, limit := st.Limits[want.key]
					_, rate := st.Rates[want.key]
					return st.Metrics[want.metric] != "" && st.Metrics[want.metric] != "0" && (limit || rate || want.key == "counts")
				}
			}
			return false
		})
		if want.key != "" {
			if key := keyOfFamily(want.metric); !slices.Contains(strings.Split(key, ", "), want.key) {
				p.t.Errorf("%s is said to be about %q, and not %q", want.metric, key, want.key)
			}
			p.until("the page has it beside its limit, or as a wait", func() bool {
				return p.watcher.uses(p.name, want.key) || counted(p.watcher.waits(p.name))
			})
		}
	}
	if want.fails {
		p.until("the metrics count it", func() bool { return p.scrape("bulkhead_listener_traps_total", "") > 0 })
		p.until("so does the status", func() bool {
			for _, l := range p.h.Status().Listeners {
				if l.Name == p.name {
					return l.Metrics["bulkhead_listener_traps_total"] != "0"
				}
			}
			return false
		})
		p.until("so does the page", func() bool { return p.watcher.failed(p.name) > 0 })
	}
	if want.waits {
		p.until("the page says that the tenant waits", func() bool { return counted(p.watcher.waits(p.name)) })
	}
	if want.ends {
		p.until("the access log has it", func() bool {
			pass()
			return p.log.has(p.name, want.key)
		})
	}
}
