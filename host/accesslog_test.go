package host_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/host/access"
	"bulkhead/host/conns"
	"bulkhead/internal/certstest"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// accessLine is a line of the access log.
type accessLine struct {
	ID                                                 uint64
	Listener, Route, Tenant, Module, SHA256, Transport string
	Peer, Local, Who, Cause, Key, Code, Why            string
	Generation, In, Out, Events, Fuel                  int64
	Proxied, Dialled, Open                             bool
	TLS                                                *conns.TLS
	Duration                                           float64  `json:"duration_seconds"`
	Idle                                               float64  `json:"idle_seconds"`
	FirstIn                                            *float64 `json:"first_in_seconds"`
	FirstOut                                           *float64 `json:"first_out_seconds"`
	CPU                                                float64  `json:"cpu_seconds"`
	PeakMemory                                         int64    `json:"peak_mem"`
	Upstreams                                          []struct {
		ID   uint64
		Peer string
	}
}

// Each connection that ends has one line, also one that has never had a handler: with its number,
// which the log has, too, and with what ended it.
func TestAccessLog(t *testing.T) {
	ca, dir := certstest.NewAuthority(t), t.TempDir()
	cert, key := ca.Write(t, dir, "server", "host.test")
	path := filepath.Join(dir, "access.log")
	log := access.New(nil)
	defer log.Close()
	if err := log.Set(path, 1); err != nil {
		t.Fatal(err)
	}
	echo := writeModule(t, w.Echo())
	text := fmt.Sprintf("[host]\nstate = %q\n", hosttest.State()) + acme +
		listenerOf("tls", echo, fmt.Sprintf("instance = \"loop\"\n[listener.tls]\ncert = %q\nkey = %q", cert, key)) +
		listenerOf("one", echo, "per_source = 1") +
		"[[listener]]\nname = \"routed\"\ntenant = \"acme\"\naddress = \"tcp://127.0.0.1:0\"\n" +
		fmt.Sprintf("[[listener.route]]\nname = \"mail\"\nfirst = [\"EHLO\"]\nplugin = %q\n", echo)
	lines := hosttest.NewLines(t)
	h := hosttest.Serve(t, text, host.Options{Access: log, Log: lines.Log()})

	c := tls.Client(hosttest.Dial(t, h.Addr("tls")), &tls.Config{RootCAs: ca.Pool(), ServerName: "host.test"})
	hosttest.Say(t, c, "hello")
	hosttest.Hear(t, c, "hello")
	secured := c.LocalAddr().String()
	_ = c.CloseWrite()
	hosttest.HearEnd(t, c)

	first := hosttest.Dial(t, h.Addr("one"))
	hosttest.Say(t, first, "a")
	hosttest.Hear(t, first, "a")
	second := hosttest.Dial(t, h.Addr("one"))
	_, _ = second.Read(make([]byte, 1)) // it is closed

	mail := hosttest.Dial(t, h.Addr("routed"))
	hosttest.Say(t, mail, "EHLO")
	hosttest.Hear(t, mail, "EHLO")
	stranger := hosttest.Dial(t, h.Addr("routed"))
	hosttest.Say(t, stranger, "GET /")
	_, _ = stranger.Read(make([]byte, 1))
	_ = mail.CloseWrite()
	hosttest.HearEnd(t, mail)

	var all []accessLine
	hosttest.Eventually(t, "four have a line", func() bool {
		all = nil
		text, _ := os.ReadFile(path)
		for _, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
			var one accessLine
			if json.Unmarshal([]byte(line), &one) == nil {
				all = append(all, one)
			}
		}
		return len(all) == 4
	})
	seen := make(map[uint64]bool)
	by := make(map[string]accessLine)
	for _, one := range all {
		if one.ID == 0 || seen[one.ID] || one.Tenant != "acme" || one.Generation != 1 || one.Transport != "tcp" || one.Duration < 0 {
			t.Errorf("a line is %+v", one)
		}
		seen[one.ID] = true
		by[one.Listener+"/"+one.Route+" "+one.Cause] = one
	}
	if one, ok := by["tls/ finished"]; !ok || one.TLS == nil || one.TLS.ServerName != "host.test" || one.TLS.Version != "TLS 1.3" || one.Peer != secured || one.Local != h.Addr("tls") ||
		one.In <= 5 || one.Out <= 5 || one.Fuel <= 0 || one.Events <= 0 || one.FirstIn == nil || one.FirstOut == nil || one.Who != "both" || one.Code != "OK" || len(one.SHA256) != 64 || one.Module == "" {
		t.Errorf("that with TLS is %+v", one)
	}
	if one, ok := by["one/ source"]; !ok || one.Peer != second.LocalAddr().String() || one.Who != "limit" || !strings.Contains(one.Key, "per_source") || one.Code != "REFUSED" || one.FirstIn != nil || one.PeakMemory != 0 {
		t.Errorf("that above per_source is %+v", one)
	}
	if one, ok := by["routed/mail finished"]; !ok || one.In != 4 || one.Out != 4 || one.Fuel <= 0 || one.PeakMemory < 65536 {
		t.Errorf("that with a route is %+v", one)
	}
	if one, ok := by["routed/ no_route"]; !ok || one.Who != "peer" || one.Key != "route" {
		t.Errorf("that without a route is %+v", one)
	} else {
		lines.Wait("went nowhere", fmt.Sprintf("connection=%d ", one.ID))
	}
}
