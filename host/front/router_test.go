package front

import (
	"net/netip"
	"testing"
	"time"

	"bulkhead/csa"
	"bulkhead/host/config"
	"bulkhead/host/handlers"
	"bulkhead/host/hello"
	"bulkhead/host/loops"
	"bulkhead/host/proxy"
	"bulkhead/host/route"

	"golang.org/x/sys/unix"
)

// site is a server that takes nothing.
type site struct {
	config                 config.Listener
	connections, discarded int
}

func (s *site) Config() *config.Listener                                  { return &s.config }
func (s *site) RouteTimeout() time.Duration                               { return time.Minute }
func (s *site) MostConnections() int                                      { return s.connections }
func (s *site) Home() *loops.Loop                                         { return nil }
func (s *site) Budget() csa.Budget                                        { return nil }
func (s *site) WantsProxyHeader(netip.AddrPort) bool                      { return false }
func (s *site) TakeSource(*handlers.Arrival, int64) bool                  { return true }
func (s *site) Enter(handlers.Arrival) (ok bool, wait int64)              { return false, 0 }
func (s *site) CountRefused(*handlers.Arrival, csa.Reason)                {}
func (s *site) CountUnrouted(_ *handlers.Arrival, _ csa.Reason, _ ...any) {}
func (s *site) Discard(handlers.Arrival)                                  { s.discarded++ }

// Looking at a connection allocates nothing and takes nothing of it, whether its route is known
// then or not.
func TestLookingTakesNothing(t *testing.T) {
	rules := []route.Rule{{SNI: []string{"a.test"}}, {First: []string{"SSH-"}}}
	r := &Router{site: &site{}, table: route.New(rules), window: make([]byte, hello.MaxLength)}
	r.routes = []*routeQueue{{r: r}, {r: r}}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if err := unix.SetNonblock(pair[0], true); err != nil {
		t.Fatal(err)
	}
	a := handlers.Arrival{FD: pair[0]}
	said := ""
	look := func(more string, want *routeQueue, need int) {
		t.Helper()
		if _, err := unix.Write(pair[1], []byte(more)); err != nil {
			t.Fatal(err)
		}
		said += more
		if n := testing.AllocsPerRun(100, func() {
			if q, n, over := r.look(&a, 0, false); q != want || n != need || over {
				t.Fatalf("%q: %v, need %d, over %v", said, q, n, over)
			}
		}); n > 0 {
			t.Errorf("%q: %v allocations", said, n)
		}
	}
	if q, n, over := r.look(&a, 0, false); q != nil || n != 0 || over {
		t.Fatalf("nothing has come: %v, %d, %v", q, n, over)
	}
	look("SS", nil, 3)
	look("H", nil, 4)
	look("-2.0", r.routes[1], 0)
	p := make([]byte, 100)
	if n, err := take(pair[0], p); err != nil || string(p[:n]) != said {
		t.Fatalf("%q is left, %v; %q was said", p[:n], err, said)
	}
	said = ""
	look("\x16\x03", nil, 5)
	look("\x01\x01", nil, 5)
}

// A router holds one window, which has room for whatever it looks at, and bounds who waits.
func TestARouterIsBounded(t *testing.T) {
	s := &site{config: config.DefaultListener(), connections: 1000}
	s.config.Routes = make([]config.Route, 3)
	r := NewRouter(s, []Site{&site{}, &site{}, &site{}}, true)
	if len(r.window) != hello.MaxLength || hello.MaxLength < proxy.MaxLength || r.mostWaiting() != 250 || r.fallback.to != s || r.routes[2].r != r {
		t.Errorf("got %+v", r)
	}
	s.connections = 1 // it may change
	if r.mostWaiting() != 1 {
		t.Errorf("%d may wait of a tenant that may have one", r.mostWaiting())
	}
	if r := NewRouter(s, nil, false); r.mostWaiting() != 1 || r.fallback != nil {
		t.Errorf("got %+v", r)
	}
}

// Who ends and has said nothing is closed, once, and so is who says what no rule matches.
func TestWhoGoesNowhereIsDiscarded(t *testing.T) {
	for _, said := range []string{"", "HELO"} {
		s := &site{}
		r := &Router{site: s, table: route.New([]route.Rule{{First: []string{"SSH-"}}}), window: make([]byte, hello.MaxLength)}
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Write(pair[1], []byte(said)); err != nil {
			t.Fatal(err)
		}
		unix.Close(pair[1])
		r.Take(handlers.Arrival{FD: pair[0]})
		if s.discarded != 1 || r.Peeks() {
			t.Errorf("%q: discarded %d times", said, s.discarded)
		}
		unix.Close(pair[0])
	}
}
