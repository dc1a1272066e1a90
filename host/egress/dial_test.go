package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// listen listens on address until the test ends, and greets who comes with it.
func listen(t testing.TB, network, address string) net.Addr {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { ln.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, address)
			c.Close()
		}
	})
	return ln.Addr()
}

// nobody is an address of this machine where nobody listens, and where nobody
// can until the test ends.
func nobody(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(sa.(*syscall.SockaddrInet4).Port))
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func addrPort(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }

// count is a Gate.
type count struct{ limit, n, most atomic.Int64 }

func gate(limit int) *count {
	c := &count{}
	c.limit.Store(int64(limit))
	return c
}

func (c *count) Take() bool {
	n := c.n.Add(1)
	if n > c.limit.Load() {
		c.n.Add(-1)
		return false
	}
	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
	return true
}

func (c *count) Release() { c.n.Add(-1) }

func TestConnect(t *testing.T) {
	at := addrPort(listen(t, "tcp4", "127.0.0.1:0"))
	d := &Dialer{Resolver: answer("127.0.0.1")}
	p := policy(t, fmt.Sprintf("a.example.com:%d", at.Port()), at.String())
	for _, s := range []string{"tcp://" + at.String(), fmt.Sprintf("tls://A.example.com.:%d", at.Port()), fmt.Sprintf("tcp://[::ffff:127.0.0.1]:%d", at.Port())} {
		conn, err := d.Connect(soon(t), p, target(t, s))
		if err != nil {
			t.Fatal(err)
		}
		greeted(t, conn, "127.0.0.1:0")
		if _, ok := conn.(*net.TCPConn); !ok || addrPort(conn.RemoteAddr()) != at {
			t.Errorf("%s: a %T to %s", s, conn, conn.RemoteAddr())
		}
	}
}

func greeted(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	buf := make([]byte, 200)
	n, err := conn.Read(buf)
	if err != nil || string(buf[:n]) != want+"\n" {
		t.Errorf("greeted with %q, %v; want %q", buf[:n], err, want)
	}
}

// A name that changes its mind between the check and the dial: what is dialled
// is what was checked, and nobody is asked twice.
func TestRebinding(t *testing.T) {
	at := addrPort(listen(t, "tcp4", "127.0.0.1:0"))
	p := policy(t, fmt.Sprintf("a.example.com:%d", at.Port()), at.String())
	r := &answers{each: [][]string{{"127.0.0.1"}, {"169.254.169.254"}, {"127.0.0.2"}}}
	d := &Dialer{Resolver: r}
	name := target(t, fmt.Sprintf("tcp://a.example.com:%d", at.Port()))
	conn, err := d.Connect(soon(t), p, name)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if addrPort(conn.RemoteAddr()) != at || len(r.asked) != 1 {
		t.Errorf("connected to %s after the questions %q", conn.RemoteAddr(), r.asked)
	}
	for range 2 {
		if conn, err := d.Connect(soon(t), p, name); KindOf(err) != Denied || conn != nil {
			t.Errorf("%v %v", conn, err)
		}
	}
	// The same in two steps, as for a dial on a loop.
	r.each = [][]string{{"127.0.0.1"}, {"127.0.0.2"}}
	checked, err := p.Resolve(soon(t), r, name)
	if err != nil || len(checked) != 1 || checked[0] != at {
		t.Fatalf("%v %v", checked, err)
	}
	tcp, err := d.Dial(soon(t), checked)
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	if addrPort(tcp.RemoteAddr()) != at || len(r.asked) != 4 {
		t.Errorf("connected to %s after the questions %q", tcp.RemoteAddr(), r.asked)
	}
}

func TestDialGoesOnAfterAFailure(t *testing.T) {
	deaf, at := nobody(t), addrPort(listen(t, "tcp4", "127.0.0.1:0"))
	d := &Dialer{Stagger: time.Hour} // so that only a failure makes way
	conn, err := d.Dial(soon(t), []netip.AddrPort{deaf, deaf, at, deaf})
	if err != nil {
		t.Fatal(err)
	}
	greeted(t, conn, "127.0.0.1:0")
	if addrPort(conn.RemoteAddr()) != at {
		t.Errorf("connected to %s", conn.RemoteAddr())
	}
}

// The descriptor can be taken over, which is what a loop does with it.
func TestTakeOver(t *testing.T) {
	at := addrPort(listen(t, "tcp4", "127.0.0.1:0"))
	conn, err := new(Dialer).Dial(soon(t), []netip.AddrPort{at})
	if err != nil {
		t.Fatal(err)
	}
	f, err := conn.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	conn.Close()
	taken, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	greeted(t, taken, "127.0.0.1:0")
}

func TestDialErrors(t *testing.T) {
	deaf := nobody(t)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	unspecified := netip.AddrPortFrom(netip.IPv4Unspecified(), deaf.Port())
	mapped := netip.AddrPortFrom(netip.MustParseAddr("::ffff:0.0.0.0"), deaf.Port())
	for _, c := range []struct {
		name  string
		ctx   context.Context
		addrs []netip.AddrPort
		want  Kind
		is    error
		text  string
	}{
		{"nobody listens", soon(t), []netip.AddrPort{deaf}, Refused, syscall.ECONNREFUSED, "connecting to " + deaf.String() + ": " + deaf.String() + ": connection refused"},
		{"nobody listens on two", soon(t), []netip.AddrPort{deaf, deaf}, Refused, syscall.ECONNREFUSED, "connecting to one of 2 addresses: "},
		{"cancelled", gone, []netip.AddrPort{deaf}, Timeout, context.Canceled, ""},
		{"too late", late, []netip.AddrPort{deaf}, Timeout, context.DeadlineExceeded, ""},
		{"nothing", soon(t), nil, Invalid, nil, "nothing to dial"},
		{"no address", soon(t), []netip.AddrPort{deaf, {}}, Invalid, nil, "no address to dial"},
		{"no port", soon(t), []netip.AddrPort{netip.AddrPortFrom(deaf.Addr(), 0)}, Invalid, nil, "no address to dial"},
		{"unspecified", soon(t), []netip.AddrPort{unspecified}, Invalid, nil, "no address to dial"},
		{"unspecified, in clothes", soon(t), []netip.AddrPort{mapped}, Invalid, nil, "no address to dial"},
	} {
		conn, err := new(Dialer).Dial(c.ctx, c.addrs)
		if conn != nil || KindOf(err) != c.want || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(fmt.Sprint(err), c.text) {
			t.Errorf("%s: %v %v, a %v error", c.name, conn, err, KindOf(err))
		}
	}
}

func TestConnectErrors(t *testing.T) {
	deaf := nobody(t)
	p := policy(t, deaf.String(), "none.example:80")
	d := &Dialer{Resolver: &answers{err: &net.DNSError{Err: "no such host", IsNotFound: true}}}
	for s, want := range map[string]Kind{
		"tcp://" + deaf.String(): Refused,
		"tcp://none.example:80":  NotFound,
		"tcp://none.example:81":  Denied,
		"tcp://127.0.0.1:1":      Denied,
		"unix:///run/x":          Denied,
	} {
		conn, err := d.Connect(soon(t), p, target(t, s))
		if conn != nil || KindOf(err) != want || !strings.HasPrefix(fmt.Sprint(err), "connecting to "+s+": ") {
			t.Errorf("%s: %v %v", s, conn, err)
		}
	}
	if conn, err := d.Connect(soon(t), p, Target{}); conn != nil || KindOf(err) != Invalid {
		t.Errorf("the zero Target: %v %v", conn, err)
	}
	if conn, err := d.Connect(soon(t), nil, target(t, "tcp://a.example:80")); conn != nil || KindOf(err) != Denied {
		t.Errorf("no policy: %v %v", conn, err)
	}
}

func TestGates(t *testing.T) {
	at := addrPort(listen(t, "tcp4", "127.0.0.1:0"))
	process, tenant := gate(10), gate(0)
	d := &Dialer{Gates: []Gate{process, tenant}, Resolver: answer("127.0.0.1")}
	p := policy(t, "a.example.com:80", at.String(), "unix:///run/x")
	r := d.Resolver.(*answers)
	for _, s := range []string{"tcp://a.example.com:80", "unix:///run/x"} {
		conn, err := d.Connect(soon(t), p, target(t, s))
		if conn != nil || KindOf(err) != Quota || err.Error() != "connecting to "+s+": too many dials are under way; wait until one has ended, or raise their limit" {
			t.Errorf("%v %v", conn, err)
		}
	}
	if _, err := d.Dial(soon(t), []netip.AddrPort{at}); KindOf(err) != Quota {
		t.Error(err)
	}
	if _, err := d.DialUnix(soon(t), p, target(t, "unix:///run/x")); KindOf(err) != Quota {
		t.Error(err)
	}
	if len(r.asked) != 0 {
		t.Errorf("a full gate let the questions %q through", r.asked)
	}
	// What is denied takes no place; what fails and what succeeds gives it back.
	tenant.limit.Store(1)
	for range 3 {
		if _, err := d.Connect(soon(t), p, target(t, "tcp://b.example.com:80")); KindOf(err) != Denied {
			t.Error(err)
		}
		if _, err := d.Connect(soon(t), p, target(t, "tcp://a.example.com:80")); KindOf(err) != Denied { // by its address
			t.Error(err)
		}
		conn, err := d.Connect(soon(t), p, target(t, "tcp://"+at.String()))
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	if process.n.Load() != 0 || tenant.n.Load() != 0 || process.most.Load() != 1 || tenant.most.Load() != 1 {
		t.Errorf("places taken: %d and %d", process.n.Load(), tenant.n.Load())
	}
}

// A place is held from the lookup on.
func TestGateIsHeldDuringLookup(t *testing.T) {
	tenant := gate(2)
	asked, reply := make(chan bool), make(chan bool)
	d := &Dialer{Gates: []Gate{tenant}, Resolver: lookup(func(context.Context, string) ([]netip.Addr, error) {
		asked <- true
		<-reply
		return nil, errors.New("no")
	})}
	p := policy(t, "a.example.com:80")
	name := target(t, "tcp://a.example.com:80")
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() { _, _ = d.Connect(t.Context(), p, name) })
		<-asked
	}
	if _, err := d.Connect(t.Context(), p, name); KindOf(err) != Quota {
		t.Error(err)
	}
	close(reply)
	all.Wait()
	if tenant.n.Load() != 0 {
		t.Errorf("%d places are taken", tenant.n.Load())
	}
}

func TestManyAtOnce(t *testing.T) {
	at := addrPort(listen(t, "tcp4", "127.0.0.1:0"))
	process := gate(1000)
	d := &Dialer{Gates: []Gate{process}, Resolver: Share(answer("127.0.0.1", "10.0.0.1", "::1")), Stagger: -1}
	p := policy(t, fmt.Sprintf("a.example.com:%d", at.Port()), at.String())
	name := target(t, fmt.Sprintf("tcp://a.example.com:%d", at.Port()))
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 20 {
				conn, err := d.Connect(soon(t), p, name)
				if err != nil {
					t.Error(err)
					return
				}
				if addrPort(conn.RemoteAddr()) != at {
					t.Errorf("connected to %s", conn.RemoteAddr())
				}
				conn.Close()
			}
		})
	}
	all.Wait()
	if process.n.Load() != 0 || process.most.Load() > 16 {
		t.Errorf("%d places are taken, %d were", process.n.Load(), process.most.Load())
	}
}
