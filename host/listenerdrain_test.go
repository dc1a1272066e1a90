package host_test

import (
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"
)

// wantReset connects, and wants to be reset without an answer.
func wantReset(t *testing.T, at string) {
	t.Helper()
	c, err := net.Dial("tcp", at)
	if err != nil {
		return // it was reset that soon
	}
	defer c.Close()
	_ = c.SetDeadline(awaittest.Deadline())
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == io.EOF || err == nil || !strings.Contains(err.Error(), "reset") {
		t.Errorf("a listener that is drained answers %d bytes, %v", n, err)
	}
}

// A listener that is drained refuses who comes, its connections go on, and a reload changes nothing
// of that; nor does it concern others.
func TestDrainListener(t *testing.T) {
	text := func(plugin string) string {
		return `[tenant.acme]
[[listener]]
name = "one"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = "` + plugin + `"
[[listener]]
name = "two"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = "a.wasm"
[[listener]]
name = "three"
tenant = "acme"
address = "udp://127.0.0.1:0"
plugin = "a.wasm"
`
	}
	l := newLives(t, map[string][]byte{"a.wasm": tally('a').Bytes(), "b.wasm": tally('b').Bytes()}, text("a.wasm"), host.Options{})
	talk := func(c net.Conn, want string) {
		t.Helper()
		hosttest.Say(t, c, "hello")
		hosttest.Hear(t, c, want)
	}
	set := func(name string, drain bool, want ...string) {
		t.Helper()
		if changed, err := l.h.SetDrain(name, drain); err != nil || !slices.Equal(changed, want) {
			t.Errorf("changed are %q, %v; want %q", changed, err, want)
		}
	}
	drained := func() (all []string) {
		for _, one := range l.h.Status().Listeners {
			if one.Drained {
				all = append(all, one.Name)
			}
		}
		return all
	}
	open := hosttest.Dial(t, l.h.Addr("one"))
	talk(open, "a0")
	set("one", true, "one")
	set("one", true)
	for range 2 { // as it was, and when a reload has replaced its generation
		wantReset(t, l.h.Addr("one"))
		talk(hosttest.Dial(t, l.h.Addr("two")), "a0")
		if got := drained(); !slices.Equal(got, []string{"one"}) {
			t.Errorf("drained are %q", got)
		}
		l.mustReload(text("b.wasm"))
	}
	talk(open, "a1")
	st := l.h.Stats().Listeners[0]
	if st.Ended["drained"] != 2 || st.Refused != 2 || !st.Drained {
		t.Errorf("the listener says %+v", st)
	}
	set("one", false, "one")
	talk(hosttest.Dial(t, l.h.Addr("one")), "b0")

	// All, also those that come later, and all but one.
	peer := hosttest.Dial(t, l.h.Addr("one"))
	talk(peer, "b0") // it has been accepted
	udp, err := net.Dial("udp", l.h.Addr("three"))
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	_ = udp.SetDeadline(awaittest.Deadline())
	talk(udp, "a0")
	set("", true, "one", "two", "three")
	l.mustReload(text("b.wasm") + "[[listener]]\nname = \"four\"\ntenant = \"acme\"\naddress = \"tcp://127.0.0.1:0\"\nplugin = \"a.wasm\"\n")
	wantReset(t, l.h.Addr("four"))
	talk(peer, "b1")
	talk(udp, "a1")
	late, err := net.Dial("udp", l.h.Addr("three"))
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	hosttest.Eventually(t, "the datagram of a new peer is lost", func() bool {
		hosttest.Say(t, late, "hello")
		for _, one := range l.h.Stats().Listeners {
			if one.Name == "three" && one.DatagramsLost["peer_refused"] > 0 {
				return true
			}
		}
		time.Sleep(time.Millisecond)
		return false
	})
	set("two", false, "two")
	talk(hosttest.Dial(t, l.h.Addr("two")), "a0")
	wantReset(t, l.h.Addr("one"))
	set("", false, "one", "three", "four")
	talk(hosttest.Dial(t, l.h.Addr("four")), "a0")
	if got := drained(); got != nil {
		t.Errorf("drained are %q", got)
	}
	for name, want := range map[string]string{"five": "there is no listener \"five\"; there are one, two, three, four", "one/r": "is a route"} {
		if _, err := l.h.SetDrain(name, true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("of %q the error is %v", name, err)
		}
	}
}
