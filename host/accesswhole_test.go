package host_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/access"
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
