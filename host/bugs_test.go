package host_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"bulkhead/csa"
	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// failing is a handler that echoes, and panics where it is told to by what it is sent.
type failing struct {
	hosttest.Echo
	in map[*csa.CSA]string
}

func (f *failing) Window(c *csa.CSA) []byte {
	if f.in[c] == "window" {
		panic("in window")
	}
	return f.Echo.Window(c)
}

func (f *failing) Data(c *csa.CSA, p []byte) int {
	in := string(p)
	f.in[c] = in
	switch in {
	case "data":
		var none *config.Tenant
		_ = none.Name // as bugs are
	case "timer":
		c.SetTimer(1, 0)
	case "closed":
		c.ShutdownMicroprocess(csa.Orderly)
	case "post":
		c.Loop().Post(func() { panic("in post") })
	case "fine", "window", "eof":
		return f.Echo.Data(c, p)
	}
	return len(p)
}

func (f *failing) EOF(c *csa.CSA) {
	if f.in[c] == "eof" {
		panic("in eof")
	}
	f.Echo.EOF(c)
}

func (f *failing) Timer(*csa.CSA, int32) { panic("in timer") }

func (f *failing) Closed(c *csa.CSA, r csa.Reason) {
	in := f.in[c]
	delete(f.in, c)
	if in == "closed" {
		panic("in closed")
	}
}

// A panic in an event is one connection's: it is closed and given back, the log says whose it was
// and where, the other tenants and the other connections are served on, and it is counted.
func TestAPanicIsOneConnections(t *testing.T) {
	log := &logBook{}
	path := writeModule(t, w.Echo()) // in whose place there are native handlers
	cfg, err := config.Load(hosttest.WriteConfig(t, fmt.Sprintf(`
[host]
state = %q
loops = 1
[tenant.bad]
[tenant.good]
[[listener]]
name = "failing"
tenant = "bad"
address = "tcp://127.0.0.1:0"
plugin = %q
[[listener]]
name = "fine"
tenant = "good"
address = "tcp://127.0.0.1:0"
plugin = %q
`, hosttest.State(), path, path)))
	if err != nil {
		t.Fatal(err)
	}
	h := hosttest.ServeConfig(t, cfg, host.Options{
		Log: slog.New(slog.NewTextHandler(log, nil)),
		Native: map[string]host.Native{
			"failing": func(*csa.Loop) csa.Handler {
				return &failing{hosttest.Echo{Buffer: make([]byte, 64<<10)}, make(map[*csa.CSA]string)}
			},
			"fine": hosttest.NewEcho,
		},
	}, 1000)
	good := hosttest.Dial(t, h.Addr("fine"))
	beside := hosttest.Dial(t, h.Addr("failing"))
	places := []string{"data", "window", "timer", "closed", "eof", "post"}
	for n, in := range append(places, places...) {
		c := hosttest.Dial(t, h.Addr("failing"))
		hosttest.Say(t, c, in)
		switch in {
		case "window", "eof":
			hosttest.Hear(t, c, in)
			if in == "eof" {
				_ = c.CloseWrite()
			} else {
				hosttest.Say(t, c, "more")
			}
		}
		if in != "post" {
			if p, err := io.ReadAll(c); len(p) != 0 {
				t.Errorf("%s: its client hears %q, %v", in, p, err)
			}
		} else {
			hosttest.Eventually(t, "it was posted", func() bool { return h.Stats().HostBugs == int64(n+1) })
		}
		_ = c.Close()
		for _, c := range []net.Conn{good, beside} {
			hosttest.Say(t, c, "fine")
			hosttest.Hear(t, c, "fine")
		}
	}
	hosttest.Eventually(t, "they are counted, and their places given back", func() bool {
		st := h.Stats()
		return st.HostBugs == int64(2*len(places)) && st.Connections == 2
	})
	text := log.String()
	for _, in := range places {
		if n := strings.Count(text, `panic="in `+in); n != 2 && in != "data" {
			t.Errorf("the log tells %d times of %s", n, in)
		}
	}
	if !strings.Contains(text, "nil pointer") || strings.Count(text, "stack=") != len(places) {
		t.Errorf("the log has %d stacks for %d places", strings.Count(text, "stack="), len(places))
	}
	if n := strings.Count(text, "listener=failing tenant=bad"); n < 2*(len(places)-1) {
		t.Errorf("the log says %d times whose event it was", n)
	}
	if strings.Contains(text, "tenant=good") && strings.Contains(text, `listener=fine tenant=good panic`) {
		t.Error("the log blames the other")
	}
}
