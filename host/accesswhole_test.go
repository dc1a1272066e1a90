package host_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/access"
	"bulkhead/host/conns"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
	"bulkhead/selector"
)

// logged is an access log, and the file that it writes.
func logged(t *testing.T) (log *access.Log, lines func() []accessLine) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "access.log")
	log = access.New(nil)
	t.Cleanup(log.Close)
	if err := log.Set(path, 1); err != nil {
		t.Fatal(err)
	}
	return log, func() (all []accessLine) {
		text, _ := os.ReadFile(path)
		for line := range strings.Lines(string(text)) {
			var one accessLine
			if json.Unmarshal([]byte(line), &one) == nil {
				all = append(all, one)
			}
		}
		return all
	}
}

// A client's line names the connections that were dialled for it, each of which has a line of its
// own.
func TestAccessLogNamesUpstreams(t *testing.T) {
	log, lines := logged(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	h := served(t, dialler(false), "loop", fmt.Sprintf("%q", ln.Addr()), host.Options{Access: log})
	c := hosttest.Dial(t, h.Addr("dial"))
	hosttest.Say(t, c, "tcp://"+ln.Addr().String())
	up, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	hosttest.Hear(t, c, "=A")
	up.Close()
	hosttest.HearEnd(t, c)
	c.Close()
	var client, upstream accessLine
	hosttest.Eventually(t, "both have a line", func() bool {
		all := lines()
		for _, one := range all {
			if one.Dialled {
				upstream = one
			} else {
				client = one
			}
		}
		return len(all) == 2
	})
	if u := client.Upstreams; len(u) != 1 || u[0].ID != upstream.ID || u[0].ID == 0 || u[0].Peer != ln.Addr().String() || u[0].Peer != upstream.Peer {
		t.Errorf("the client has the upstreams %+v; that has the line %+v", u, upstream)
	}
	if upstream.Upstreams != nil {
		t.Errorf("the upstream has the upstreams %+v", upstream.Upstreams)
	}
}

// A connection's time counts from when it was accepted, though it has waited for its route since.
func TestTimeCountsFromAccept(t *testing.T) {
	log, lines := logged(t)
	clock := &selector.Manual{}
	clock.Advance(time.Hour)
	text := fmt.Sprintf("[host]\nstate = %q\n", hosttest.State()) + acme +
		"[[listener]]\nname = \"routed\"\ntenant = \"acme\"\naddress = \"tcp://127.0.0.1:0\"\n" +
		fmt.Sprintf("[[listener.route]]\nname = \"mail\"\nfirst = [\"EHLO\"]\nplugin = %q\n", writeModule(t, w.Echo()))
	h := hosttest.Serve(t, text, host.Options{Access: log, Clock: clock})
	c := hosttest.Dial(t, h.Addr("routed"))
	hosttest.Eventually(t, "it waits for its route", func() bool { return h.Stats().Tenants[0].Connections == 1 })
	clock.Advance(3 * time.Second)
	hosttest.Say(t, c, "EHLO")
	hosttest.Hear(t, c, "EHLO")
	_ = c.CloseWrite()
	hosttest.HearEnd(t, c)
	hosttest.Eventually(t, "it has a line", func() bool { return len(lines()) == 1 })
	if one := lines()[0]; one.Route != "mail" || one.FirstIn == nil || *one.FirstIn != 3 || one.FirstOut == nil || *one.FirstOut != 3 || one.Duration != 3 {
		t.Errorf("its first bytes came after 3 s, and its line is %+v", one)
	}
}

// A connection that is open for long has a line each access_interval, with what it has done since
// it came, and then one at its end. Those of many are not written at one go. A reload changes the
// interval.
func TestAccessLogOfOpenConnections(t *testing.T) {
	const many = 80
	log, lines := logged(t)
	clock := &selector.Manual{}
	clock.Advance(time.Hour)
	cfg := nativeConfig(anyPort)
	cfg.Host.Loops = 1
	cfg.Admin.AccessInterval = 10 * time.Minute
	cfg.Listeners[0].IdleTimeout = 0
	h := hosttest.ServeConfig(t, cfg, host.Options{Native: map[string]host.Native{"echo": hosttest.NewEcho}, Access: log, Clock: clock}, runtime.NumGoroutine())
	turned := func() { connections(t, h, conns.Query{}) } // each loop has turned
	written := func(want int64) {
		t.Helper()
		hosttest.Eventually(t, fmt.Sprintf("%d lines of open connections are written", want), func() bool { return h.Stats().AccessOpen >= want })
		turned()
		if got := h.Stats().AccessOpen; got != want {
			t.Fatalf("%d lines of open connections are written, want %d", got, want)
		}
	}
	var all []net.Conn
	for range many {
		c := hosttest.Dial(t, h.Addr("echo"))
		hosttest.Say(t, c, "hello")
		hosttest.Hear(t, c, "hello")
		all = append(all, c)
	}
	clock.Advance(10*time.Minute - 1)
	turned()
	turned()
	written(0)
	clock.Advance(time.Minute) // it looks each minute
	written(32)
	clock.Advance(10 * time.Millisecond)
	written(64)
	clock.Advance(10 * time.Millisecond)
	written(many)
	clock.Advance(time.Minute)
	turned()
	turned()
	written(many) // none is due again
	hosttest.Say(t, all[0], "again")
	hosttest.Hear(t, all[0], "again")
	for _, c := range all[1:] {
		_ = c.Close()
	}
	hosttest.Eventually(t, "the others are gone", func() bool { return h.Stats().Connections == 1 })
	clock.Advance(10 * time.Minute)
	written(many + 1)

	set := func(d time.Duration) {
		next := *cfg
		next.Admin.AccessInterval = d
		if err := h.Reload(t.Context(), &next); err != nil {
			t.Fatal(err)
		}
		turned()
	}
	set(0)
	clock.Advance(time.Hour)
	turned()
	turned()
	written(many + 1)
	set(time.Hour) // at an age of 82 minutes
	clock.Advance(40 * time.Minute)
	written(many + 2)

	_ = all[0].Close()
	var own []accessLine
	hosttest.Eventually(t, "it has a line at its end", func() bool {
		own = nil
		n := 0
		for _, one := range lines() {
			if n++; one.Peer == all[0].LocalAddr().String() {
				own = append(own, one)
			}
		}
		return n == 2*many+2 && len(own) == 4
	})
	ages := []float64{660, 1320, 7320, 7320}
	for i, one := range own {
		last := i == len(own)-1
		if one.ID != own[0].ID || one.Open == last || (one.Cause == "") == last || one.Duration < ages[i]-1 || one.Duration > ages[i]+61 {
			t.Errorf("line %d is %+v", i+1, one)
		}
	}
	if one := own[1]; one.In != 10 || one.Out != 10 || one.Idle != 600 || one.Events <= 0 || one.FirstIn == nil {
		t.Errorf("its second line is %+v", one)
	}
}
