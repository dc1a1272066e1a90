package page

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bulkhead/host/conns"
	"bulkhead/host/limits"
	"bulkhead/host/stats"
	"bulkhead/internal/awaittest"
)

// fake is a host that says what a test wants.
type fake struct {
	mu     sync.Mutex
	looks  int
	stats  stats.Host
	status stats.Status
	conns  conns.List
	err    error
}

func (f *fake) Refresh(context.Context) bool { return true }

func (f *fake) FillStats(st *stats.Host) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	*st = f.stats
	st.Tenants, st.Listeners, st.Generations = slices.Clone(f.stats.Tenants), slices.Clone(f.stats.Listeners), slices.Clone(f.stats.Generations)
	for i := range st.Listeners {
		st.Listeners[i].Ended = maps.Clone(st.Listeners[i].Ended)
	}
}

func (f *fake) Status() stats.Status { return f.status }

func (f *fake) Connections(context.Context, conns.Query) (conns.List, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.conns, f.err
}

func (f *fake) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

// servedFeed is a feed behind a server, whose frames come when the test says so.
type servedFeed struct {
	*Feed
	at    string
	ticks chan time.Time
}

func serve(t *testing.T, f *fake) *servedFeed {
	t.Helper()
	ticks := make(chan time.Time)
	s := &servedFeed{Feed: NewFeed(Source{Host: f, File: "/etc/a.toml", Version: "one", Ticks: ticks}), ticks: ticks}
	server := httptest.NewServer(s.Feed)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		awaittest.Until(t, "nobody watches", func() bool { return s.watching() == 0 })
		s.mu.Lock()
		made := s.made
		s.mu.Unlock()
		if made != nil {
			<-made
		}
	})
	s.at = server.URL
	return s
}

func (s *servedFeed) watching() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.watchers)
}

// event is one that a watcher has got.
type event struct {
	kind string
	body struct {
		Host       hostRow         `json:"host"`
		Findings   []finding       `json:"findings"`
		Tenants    []tenantRow     `json:"tenants"`
		Gone       []string        `json:"gone_tenants"`
		Listeners  []listenerRow   `json:"listeners"`
		Generation []generationRow `json:"generations"`
		Conns      []connRow       `json:"connections"`
		Problem    string          `json:"connections_problem"`
	}
}

// watch gives a function that reads the next event.
func (s *servedFeed) watch(t *testing.T) (next func() event, leave func()) {
	t.Helper()
	got, err := http.Get(s.at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { got.Body.Close() })
	if got.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(got.Body)
		t.Fatalf("%s: %s", got.Status, text)
	}
	lines := bufio.NewReader(got.Body)
	return func() (e event) {
		t.Helper()
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			switch name {
			case "event":
				e.kind = value
			case "data":
				if err := json.Unmarshal([]byte(value), &e.body); err != nil {
					t.Fatal(err)
				}
			case "":
				return e
			}
		}
	}, func() { got.Body.Close() }
}

func names(all []tenantRow) (names []string) {
	for _, t := range all {
		names = append(names, t.Name)
	}
	return names
}

// The first event has all, the next ones what is another; a tenant that is gone is said to be.
func TestEvents(t *testing.T) {
	f := &fake{stats: stats.Host{Tenants: []stats.Tenant{{Name: "a", MemoryLimit: 10}, {Name: "b", MemoryLimit: 10}, {Name: "c"}}}}
	s := serve(t, f)
	next, _ := s.watch(t)
	if e := next(); e.kind != "full" || !slices.Equal(names(e.body.Tenants), []string{"a", "b", "c"}) || e.body.Host.File != "/etc/a.toml" {
		t.Errorf("the first event is %+v", e)
	}
	f.change(func() {
		f.stats.Tenants = []stats.Tenant{{Name: "a", MemoryLimit: 10}, {Name: "b", MemoryLimit: 10, Memory: 5}}
	})
	s.ticks <- time.Now()
	e := next()
	if e.kind != "change" || !slices.Equal(names(e.body.Tenants), []string{"b"}) || !slices.Equal(e.body.Gone, []string{"c"}) {
		t.Errorf("the second event is %+v", e)
	}
	if one := e.body.Tenants[0]; one.Worst != "memory" || one.Share != 0.5 || one.Uses["memory"] != (use{5, 10}) {
		t.Errorf("its tenant is %+v", one)
	}
	s.ticks <- time.Now()
	if e := next(); e.kind != "change" || len(e.body.Tenants) != 0 || len(e.body.Gone) != 0 {
		t.Errorf("an event without news is %+v", e)
	}
	other, _ := s.watch(t) // it gets at once what the others have
	if e := other(); e.kind != "full" || len(e.body.Tenants) != 2 {
		t.Errorf("the first event of another is %+v", e)
	}
	s.ticks <- time.Now()
	if a, b := next(), other(); a.kind != "change" || b.kind != "change" {
		t.Errorf("with another it is %+v, and that one's %+v", a, b)
	}
}

// All who watch share one look, too many are refused, and nobody looks when nobody watches.
func TestWatchers(t *testing.T) {
	f := &fake{}
	s := serve(t, f)
	var nexts []func() event
	var leaves []func()
	for range MostWatchers {
		next, leave := s.watch(t)
		nexts, leaves = append(nexts, next), append(leaves, leave)
	}
	awaittest.Until(t, "all watch", func() bool { return s.watching() == MostWatchers })
	got, err := http.Get(s.at)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(got.Body)
	got.Body.Close()
	if got.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(text), "close one of theirs") {
		t.Errorf("one more is told %s: %s", got.Status, text)
	}
	for _, next := range nexts {
		next()
	}
	f.change(func() {
		if f.looks != 1 {
			t.Errorf("%d looks for one frame", f.looks)
		}
	})
	for _, leave := range leaves {
		leave()
	}
	awaittest.Until(t, "all have left", func() bool { return s.watching() == 0 })
	s.mu.Lock()
	made := s.made
	s.mu.Unlock()
	<-made
	next, _ := s.watch(t)
	if e := next(); e.kind != "full" {
		t.Errorf("after all had left it is %+v", e)
	}
}

// A watcher that takes nothing gets the newest frame as a whole when it takes something again, and
// none waits for it.
func TestSlowWatcher(t *testing.T) {
	f := NewFeed(Source{Host: &fake{}})
	w := &watcher{next: make(chan *frame, 1)}
	f.watchers[w] = true
	l := newLooker(f.source)
	for range 5 {
		f.show(t.Context(), l.look(t.Context(), time.Now()))
	}
	frame := <-w.next
	if frame.number != 5 || !strings.HasPrefix(string(frame.text(1)), "event: full\n") || !strings.HasPrefix(string(frame.text(4)), "event: change\n") {
		t.Errorf("it gets %d", frame.number)
	}
}

// A watcher that takes nothing for long is cut off.
func TestStuckWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFeed(Source{Host: &fake{}})
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.ServeHTTP(&stuck{header: make(http.Header)}, httptest.NewRequest(http.MethodGet, "/", nil).WithContext(t.Context()))
		}()
		<-done
		f.mu.Lock()
		made := f.made
		f.mu.Unlock()
		<-made
	})
}

// stuck is a connection whose peer takes nothing: a write ends at its deadline.
type stuck struct {
	header   http.Header
	deadline time.Time
}

func (s *stuck) Header() http.Header                 { return s.header }
func (s *stuck) WriteHeader(int)                     {}
func (s *stuck) SetWriteDeadline(at time.Time) error { s.deadline = at; return nil }
func (s *stuck) SetReadDeadline(time.Time) error     { return nil }
func (s *stuck) FlushError() error                   { return nil }
func (s *stuck) Write(p []byte) (int, error) {
	time.Sleep(time.Until(s.deadline))
	return 0, errors.New("the time is over")
}

// look makes two frames of a host with a second between them, and gives the later one.
func look2(t *testing.T, f *fake, change func()) (e event) {
	t.Helper()
	l := newLooker(Source{Host: f})
	at := time.Now()
	l.look(t.Context(), at)
	change()
	frame := l.look(t.Context(), at.Add(time.Second))
	text := string(frame.text(0))
	_, data, _ := strings.Cut(text, "data: ")
	if err := json.Unmarshal([]byte(data), &e.body); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return e
}

func (e *event) finds(t *testing.T, level, kind string, texts ...string) finding {
	t.Helper()
	for _, f := range e.body.Findings {
		if f.Kind == kind && f.Level == level {
			for _, want := range texts {
				if !strings.Contains(f.Text+" "+f.Mend, want) {
					t.Errorf("%s says %q, %q, and not %q", kind, f.Text, f.Mend, want)
				}
			}
			return f
		}
	}
	t.Errorf("no finding is %s, %s: %+v", level, kind, e.body.Findings)
	return finding{}
}

// What a tenant waits for is found, with the connection that uses the most of it.
func TestFindsWhoWaits(t *testing.T) {
	f := &fake{stats: stats.Host{
		Tenants:   []stats.Tenant{{Name: "acme", CPULimit: time.Second / 2, Bandwidth: 1000}, {Name: "calm", CPULimit: time.Second}},
		Listeners: []stats.Listener{{Name: "mail", Tenant: "acme"}, {Name: "mail/one", Tenant: "acme"}},
	}}
	e := look2(t, f, func() {
		f.stats.Tenants[0].CPU += time.Second / 2
		f.stats.Tenants[0].EventsDeferred += 7
		// Those of a route are its listener's, too.
		f.stats.Listeners[0].Accepted, f.stats.Listeners[1].Accepted = 4, 4
	})
	w := e.finds(t, act, "wait", "Tenant acme uses 0.50 of 0.50 cores (cpu)", "events that had to wait: 7.", "Raise cpu of [tenant.acme]")
	if w.Key != "cpu" || len(e.body.Findings) != 1 {
		t.Errorf("found %+v", e.body.Findings)
	}
	one := e.body.Tenants[0]
	if one.Worst != "cpu" || one.Share != 1 || one.Waits["cpu"] != 7 || one.Uses["accept_rate"][0] != 4 {
		t.Errorf("the tenant is %+v", one)
	}

	f = &fake{stats: stats.Host{Tenants: []stats.Tenant{{Name: "acme", Bandwidth: 1000}}}}
	conn := func(id uint64, by ...string) conns.Conn {
		return conns.Conn{ID: id, Tenant: "acme", Listener: "mail", Route: "r", Peer: "192.0.2.1:5", State: []string{"throttled"}, ThrottledBy: by}
	}
	f.conns = conns.List{Matched: 3, Connections: []conns.Conn{conn(5, "bandwidth"), conn(6, "bandwidth"), conn(7)}}
	e = look2(t, f, func() {
		f.conns.Connections = slices.Clone(f.conns.Connections)
		f.conns.Connections[0].In, f.conns.Connections[1].In = 5000, 10
		f.stats.Tenants[0].ReceiveWaits += 3
	})
	h := e.finds(t, act, "holds", "Connection 5 of mail/r (tenant acme, peer 192.0.2.1:5) holds back 1 other.", "connections 6 wait for that")
	if h.Connection != 5 || len(e.body.Findings) != 1 {
		t.Errorf("found %+v", e.body.Findings)
	}
	if rows := e.body.Conns; len(rows) != 3 || rows[0].ID != 5 || rows[0].HoldsBack == "" || rows[0].InRate < 4000 || rows[1].ID != 6 {
		t.Errorf("the connections are %+v", rows)
	}
}

// Who holds others back is said to for a while after they were seen to wait, and not when it is
// gone.
func TestHolderStays(t *testing.T) {
	f := &fake{stats: stats.Host{Tenants: []stats.Tenant{{Name: "acme", CPULimit: time.Second}}}}
	f.conns.Connections = []conns.Conn{{ID: 1, Tenant: "acme"}, {ID: 2, Tenant: "acme", ThrottledBy: []string{"cpu"}}}
	l := newLooker(Source{Host: f})
	at := time.Now()
	said := func(second int) bool {
		f.stats.Tenants[0].EventsDeferred++
		return strings.Contains(string(l.look(t.Context(), at.Add(time.Duration(second)*time.Second)).text(0)), "Connection 1 of")
	}
	said(0)
	f.conns.Connections = []conns.Conn{{ID: 1, Tenant: "acme", CPU: 1}, {ID: 2, Tenant: "acme", ThrottledBy: []string{"cpu"}}}
	if !said(1) {
		t.Error("it is not found")
	}
	f.conns.Connections = []conns.Conn{{ID: 1, Tenant: "acme", CPU: 1}, {ID: 2, Tenant: "acme"}}
	if !said(3) || said(8) {
		t.Error("it is not said for a while, or for too long")
	}
	f.conns.Connections = []conns.Conn{{ID: 1, Tenant: "acme", CPU: 9}, {ID: 2, Tenant: "acme", ThrottledBy: []string{"cpu"}}}
	if !said(9) {
		t.Error("it is not found again")
	}
	f.conns.Connections = f.conns.Connections[1:]
	if said(10) {
		t.Error("it is found, and gone")
	}
}

// Handlers that fail are found while they do, for a time after, and, from before anybody watched,
// as a note.
func TestFindsFailures(t *testing.T) {
	f := &fake{stats: stats.Host{Listeners: []stats.Listener{{Name: "mail", Tenant: "acme", Traps: 5, Ended: map[string]int64{"trap": 5, "finished": 9}}}}}
	e := look2(t, f, func() {})
	e.finds(t, note, "handler", "mail (tenant acme) have failed 5 times since the start", "5 trapped")
	e = look2(t, f, func() {
		f.stats.Listeners[0].LimitStops += 2
		f.stats.Listeners[0].Ended = map[string]int64{"event_timeout": 2}
	})
	e.finds(t, act, "handler", "mail (tenant acme) fail: 2 in the last 1 s", "2 stopped by event_timeout")

	l := newLooker(Source{Host: f})
	at := time.Now()
	l.look(t.Context(), at)
	f.stats.Listeners[0].Traps++
	l.look(t.Context(), at.Add(time.Second))
	var last *frame
	for n := range window + 2 {
		last = l.look(t.Context(), at.Add(time.Duration(n+2)*time.Second))
	}
	if text := string(last.text(0)); !strings.Contains(text, "have failed, the last one 3s ago") {
		t.Errorf("a while after it is %s", text)
	}
	if text := string(l.look(t.Context(), at.Add(failedFor+10*time.Second)).text(0)); !strings.Contains(text, "times since the start") {
		t.Errorf("long after it is %s", text)
	}
}

// A limit that ends connections now is found under its key; one that has done so before is not.
func TestFindsLimits(t *testing.T) {
	f := &fake{stats: stats.Host{
		Listeners: []stats.Listener{{Name: "mail", Tenant: "acme", Ended: map[string]int64{"slow_sender": 5, "lifetime": 3, "handshake_failed": 1}}},
		Tenants:   []stats.Tenant{{Name: "acme", DialLimit: 8, UpstreamLimit: 8}},
	}}
	e := look2(t, f, func() {
		f.stats.Listeners[0].Ended = map[string]int64{"slow_sender": 7, "lifetime": 3, "handshake_failed": 9}
		f.stats.Listeners[0].DatagramsLost = map[string]int64{"waiting": 1}
		f.stats.Tenants[0].DialsRefused, f.stats.Tenants[0].LookupsRefused, f.stats.Tenants[0].UpstreamsRefused, f.stats.Tenants[0].PipesRefused = 1, 2, 4, 8
	})
	of := func(key string) *event {
		one := e
		one.body.Findings = slices.DeleteFunc(slices.Clone(e.body.Findings), func(f finding) bool { return f.Key != key })
		return &one
	}
	of("min_rate").finds(t, note, "limit", "2 connections or datagrams of mail (tenant acme) ended or were lost by min_rate")
	of("waiting_datagrams, waiting_bytes, memory").finds(t, note, "limit", "1 connection or datagram of mail", "by waiting_datagrams, waiting_bytes, memory")
	of("dials").finds(t, look, "wait", "of 8 dials", "lookups of names: 3.", "Raise dials of [tenant.acme]")
	of("upstreams").finds(t, look, "wait", "of 8 upstreams", ": 4.")
	of("pipes").finds(t, note, "wait", "waits for pipes", ": 8.", "pipes of [host]")
	if len(e.body.Findings) != 5 {
		t.Errorf("found %+v", e.body.Findings)
	}
	if have, want := e.body.Listeners[0].Limits, map[string]int64{"min_rate": 7, "lifetime": 3, "tls": 9, "waiting_datagrams, waiting_bytes, memory": 1}; !maps.Equal(have, want) {
		t.Errorf("the listener's limits are %v, want %v", have, want)
	}
}

// The rest of what there is to find.
func TestFindsTheRest(t *testing.T) {
	now := time.Now()
	f := &fake{stats: stats.Host{
		Connections: 95, ConnectionLimit: 100, HostBugs: 1, Loops: []stats.Loop{{Lag: 2 * time.Second}},
		Tenants: []stats.Tenant{{Name: "full", Memory: 95, MemoryLimit: 100}},
		Listeners: []stats.Listener{
			{Name: "mail", Tenant: "acme", Quarantine: &stats.Quarantine{Cause: "no such file", Tries: 3, Wait: time.Minute}},
			{Name: "web", Tenant: "acme", CertificateEnds: now.Add(time.Hour)}, {Name: "old", Tenant: "acme", CertificateEnds: now.Add(-time.Hour)},
		},
	}, err: errors.New("a loop stands still")}
	f.status.Draining = true
	e := look2(t, f, func() {
		f.stats.Listeners = slices.Clone(f.stats.Listeners)
		f.stats.LogLost = 4
	})
	e.finds(t, act, "lag", "2s")
	e.finds(t, note, "bug", "1 panic")
	e.finds(t, look, "host", "95 of 100 connections", "Raise connections of [host]")
	e.finds(t, act, "quarantine", "mail of acme serves nobody: no such file", "3 times", "1m0s")
	e.finds(t, look, "certificate", "of web expires")
	e.finds(t, act, "certificate", "of old has expired")
	e.finds(t, note, "nearly", "full uses 95 bytes of 100 bytes of memory")
	e.finds(t, look, "host_wait", "comes up against log_queue", "not in the log: 4", "log_level")
	e.finds(t, note, "draining")
	if e.body.Problem != "a loop stands still" {
		t.Errorf("the problem with connections is %q", e.body.Problem)
	}
	for i := 1; i < len(e.body.Findings); i++ {
		if a, b := e.body.Findings[i-1], e.body.Findings[i]; levels[a.Level] > levels[b.Level] {
			t.Errorf("%s comes before %s", a.Kind, b.Kind)
		}
	}
	f.stats.Listeners = nil
	for i := range 3 * mostFindings {
		f.stats.Listeners = append(f.stats.Listeners, stats.Listener{Name: fmt.Sprint("l", i), Quarantine: &stats.Quarantine{}})
	}
	if e := look2(t, f, func() {}); len(e.body.Findings) != mostFindings {
		t.Errorf("there are %d findings", len(e.body.Findings))
	}
}

// A reload that has failed is found, and generations drain.
func TestReloads(t *testing.T) {
	until := time.Now().Add(time.Hour)
	f := &fake{stats: stats.Host{Generation: 2, RetiredGenerations: 1, Generations: []stats.Generation{
		{Listener: "mail", Number: 2, Connections: 1}, {Listener: "mail", Number: 1, Retired: true, Connections: 8}, {Listener: "web", Number: 1, Connections: 3},
	}}}
	f.status.Listeners = []stats.ListenerStatus{{Name: "mail", Address: "tcp://127.0.0.1:25", Generations: []stats.GenerationStatus{
		{Number: 2, Changed: []string{"plugin"}}, {Number: 1, Until: &until},
	}}}
	l := newLooker(Source{Host: f, LastReload: func() *Reload {
		return &Reload{What: "reload", Result: "failed", Errors: []string{"a.toml:3: <b>wrong</b>", "more"}}
	}})
	l.look(t.Context(), time.Now())
	f.stats.Generations[1].Connections = 2
	var e event
	_, data, _ := strings.Cut(string(l.look(t.Context(), time.Now()).text(0)), "data: ")
	if err := json.Unmarshal([]byte(data), &e.body); err != nil {
		t.Fatal(err)
	}
	e.finds(t, look, "reload", "The last reload failed: a.toml:3: <b>wrong</b> (and 1 other error)")
	g := e.body.Generation
	if len(g) != 2 || g[0].Number != 2 || !slices.Equal(g[0].Changed, []string{"plugin"}) || g[1].Connections != 2 || g[1].Most != 8 || g[1].Until == "" {
		t.Errorf("the generations are %+v", g)
	}
}

// What the page counts has room for each limit.
func TestRoomForWaits(t *testing.T) {
	if have, want := len(waits{}), max(len(limits.Tenants), len(limits.Listeners), len(limits.Host)); have < want {
		t.Errorf("there are %d limits, and room for %d", want, have)
	}
}

// thousand is a host of a thousand tenants, of which some have done something since the time
// before.
func thousand() *fake {
	f := &fake{}
	for i := range 1000 {
		name := fmt.Sprint("tenant-", i)
		f.stats.Tenants = append(f.stats.Tenants, stats.Tenant{
			Name: name, ConnectionLimit: 1000, MemoryLimit: 256 << 20, Memory: 1 << 20, CPULimit: time.Second, Bandwidth: 64 << 20, AcceptRate: 200, MappingLimit: 1000,
			TimerLimit: 10000, DialLimit: 100, UpstreamLimit: 1000, SocketMemoryLimit: 64 << 20,
		})
		f.stats.Listeners = append(f.stats.Listeners, stats.Listener{Name: fmt.Sprint("listener-", i), Tenant: name, Ended: map[string]int64{"finished": 10, "peer_reset": 3}})
	}
	for i := range 1000 {
		f.conns.Connections = append(f.conns.Connections, conns.Conn{ID: uint64(i), Tenant: fmt.Sprint("tenant-", i), Listener: fmt.Sprint("listener-", i), State: []string{"open"}})
	}
	f.conns.Matched = 1000
	return f
}

func (f *fake) work(tenants int) {
	for i := range tenants {
		f.stats.Tenants[i].CPU += time.Millisecond
		f.stats.Listeners[i].Received += 1000
		f.stats.Listeners[i].Accepted++
	}
}

// An event for a thousand tenants is as large as what has changed.
func TestSize(t *testing.T) {
	f := thousand()
	l := newLooker(Source{Host: f})
	at := time.Now()
	full := l.look(t.Context(), at)
	var change *frame
	for n := range 8 {
		f.work(10)
		change = l.look(t.Context(), at.Add(time.Duration(n+1)*time.Second))
	}
	all, some := len(full.text(0)), len(change.text(change.number-1))
	t.Logf("a full event has %d bytes, one of ten busy tenants %d", all, some)
	if all > 1<<20 || some > 64<<10 {
		t.Errorf("a full event has %d bytes, one of ten busy tenants %d", all, some)
	}
}

func BenchmarkLook(b *testing.B) {
	for _, busy := range []int{0, 1000} {
		b.Run(fmt.Sprintf("busy=%d", busy), func(b *testing.B) {
			f := thousand()
			l := newLooker(Source{Host: f})
			at := time.Now()
			b.ReportAllocs()
			var bytes int
			for n := range b.N {
				f.work(busy)
				l.conns.next = time.Time{}
				frame := l.look(b.Context(), at.Add(time.Duration(n)*time.Second))
				bytes += len(frame.text(frame.number - 1))
			}
			b.ReportMetric(float64(bytes)/float64(b.N), "bytes/event")
		})
	}
}
