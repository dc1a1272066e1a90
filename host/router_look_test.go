package host

import (
	"testing"

	"bulkhead/host/config"
	"bulkhead/host/crew"
	"bulkhead/host/hello"
	"bulkhead/host/proxy"
	"bulkhead/host/route"

	"golang.org/x/sys/unix"
)

// Looking at a connection allocates nothing and takes nothing of it, whether its route is known
// then or not.
func TestLookingTakesNothing(t *testing.T) {
	rules := []route.Rule{{SNI: []string{"a.test"}}, {First: []string{"SSH-"}}}
	r := &router{s: &server{}, table: route.New(rules), window: make([]byte, hello.MaxLength)}
	r.lanes = []*lane{{r: r}, {r: r}}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if err := unix.SetNonblock(pair[0], true); err != nil {
		t.Fatal(err)
	}
	a := crew.Arrival{FD: pair[0]}
	said := ""
	look := func(more string, want *lane, need int) {
		t.Helper()
		if _, err := unix.Write(pair[1], []byte(more)); err != nil {
			t.Fatal(err)
		}
		said += more
		if n := testing.AllocsPerRun(100, func() {
			if l, n, over := r.look(&a, 0, false); l != want || n != need || over {
				t.Fatalf("%q: %v, need %d, over %v", said, l, n, over)
			}
		}); n > 0 {
			t.Errorf("%q: %v allocations", said, n)
		}
	}
	if l, n, over := r.look(&a, 0, false); l != nil || n != 0 || over {
		t.Fatalf("nothing has come: %v, %d, %v", l, n, over)
	}
	look("SS", nil, 3)
	look("H", nil, 4)
	look("-2.0", r.lanes[1], 0)
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
	l := config.DefaultListener()
	l.Routes = make([]config.Route, 3)
	s := &server{config: l, tenant: &tenant{}}
	limits := config.DefaultTenant("x")
	s.tenant.limits.Store(&limits)
	r := newRouter(s, []*server{{}, {}, {}}, true)
	if len(r.window) != hello.MaxLength || hello.MaxLength < proxy.MaxLength || r.mostWaiting != 250 || r.rest.to != s || r.lanes[2].r != r {
		t.Errorf("got %+v", r)
	}
	limits.Connections = 1
	if r := newRouter(s, nil, false); r.mostWaiting != 1 || r.rest != nil {
		t.Errorf("got %+v", r)
	}
}
