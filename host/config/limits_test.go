package config

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// limits gives what WriteLimits writes.
func limits(t testing.TB, c *Config) string {
	t.Helper()
	var b strings.Builder
	if err := c.WriteLimits(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWriteLimits(t *testing.T) {
	dir := plugins(t)
	got := strings.ReplaceAll(limits(t, mustParse(t, `[tenant.acme]
cpu = 0.5
connect = ["db:1"]
["tenant"."a.b"]
memory = 100000
[[listener]]
name = "echo"
tenant = "acme"
address = "tcp://:7001"
plugin = "echo.wasm"
idle_timeout = "90s"
config = { token = "secret" }
[[listener]]
name = "sock"
tenant = "a.b"
address = "unix://@a"
plugin = "echo.wasm"
[[listener]]
name = "file"
tenant = "a.b"
address = "unix://a"
plugin = "echo.wasm"
mode = "660"
`)), dir, "DIR")
	want := `# The limits in force, from b.toml.

[host]
loops = 0            # default; 0: one per CPU
state = "DIR/state"  # default
grace = "0s"         # default
drain = "10s"        # default
connections = 0      # default; 0: as many as RLIMIT_NOFILE leaves room for
handshakes = 4096    # default
pipes = 1024         # default
log = "auto"         # default
log_level = "info"   # default

[tenant."a.b"]
memory = "100000B"      # given on line 5
cpu = 1                 # default; cores
stack = "4MiB"          # default; of one call
instances = 0           # default; 0: as many as connections and shared handlers need
mappings = 0            # default; 0: its share
timers = 100000         # default; 0: none
log_lines = 200         # default; a second
log_bytes = "128KiB/s"  # default; as they stand in the log
connections = 1000      # default
accept_rate = 200       # default; connections a second
bandwidth = "64MiB/s"   # default; each way
connect = []            # default
dials = 64              # default; under way at once
handshakes = 1000       # default; under way at once
upstreams = 1000        # default; dialled connections
`
	// The columns depend on where the folder lies.
	squeeze := func(s string) string {
		lines := strings.Split(s, "\n")
		for i := range lines {
			if left, remark, ok := strings.Cut(lines[i], "  #"); ok {
				lines[i] = strings.TrimRight(left, " ") + " #" + remark
			}
		}
		return strings.Join(lines, "\n")
	}
	want += `
[tenant.acme]
memory = "256MiB"      # default
cpu = 0.5              # given on line 2; cores
stack = "4MiB"         # default; of one call
instances = 0          # default; 0: as many as connections and shared handlers need
mappings = 0           # default; 0: its share
timers = 100000        # default; 0: none
log_lines = 200         # default; a second
log_bytes = "128KiB/s"  # default; as they stand in the log
connections = 1000     # default
accept_rate = 200      # default; connections a second
bandwidth = "64MiB/s"  # default; each way
connect = ["db:1"]     # given on line 3
dials = 64             # default; under way at once
handshakes = 1000      # default; under way at once
upstreams = 1000       # default; dialled connections

[[listener]]
name = "echo"                 # given on line 7
tenant = "acme"               # given on line 8
address = "tcp://:7001"       # given on line 9
plugin = "DIR/echo.wasm"      # given on line 10
# plugin_sha256 is not given: any content of the plugin will do
instance = "connection"       # default
shape = "events"              # default
snapshot = true               # default
proxy_from = []  # default
per_source = 0  # default; connections of one address; 0: no bound
per_source_rate = 0  # default; new ones a second; 0: no bound
per_source_prefix = 64  # default; bits of an IPv6 address
idle_timeout = "1m30s"        # given on line 11
first_byte_timeout = "1m"  # default
write_timeout = "1m"  # default
min_rate = "100B/s"  # default; while the peer owes something; 0B/s: none
lifetime = "24h"  # default
connect_timeout = "10s"       # default
event_timeout = "1s"          # default; of CPU time
linger = "10s"                # default
inbox = "64KiB"               # default
send_buffer = "0B"            # default; 0B: the kernel's own
on_bad_data = "close"         # default
backlog = 4096                # default; the kernel may make it shorter
keepalive = "15s"             # default
user_timeout = "30s"          # default
notsent_lowat = "256KiB"      # default; 0B: the kernel's default
# [listener.config] is 18 bytes as JSON, of at most 64KiB

[[listener]]
name = "sock"                 # given on line 14
tenant = "a.b"                # given on line 15
address = "unix://@a"         # given on line 16
plugin = "DIR/echo.wasm"      # given on line 17
# plugin_sha256 is not given: any content of the plugin will do
instance = "connection"       # default
shape = "events"              # default
snapshot = true               # default
proxy_from = []  # default
per_source = 0  # default; connections of one address; 0: no bound
per_source_rate = 0  # default; new ones a second; 0: no bound
per_source_prefix = 64  # default; bits of an IPv6 address
idle_timeout = "5m"           # default
first_byte_timeout = "1m"  # default
write_timeout = "1m"  # default
min_rate = "100B/s"  # default; while the peer owes something; 0B/s: none
lifetime = "24h"  # default
connect_timeout = "10s"  # default
event_timeout = "1s"          # default; of CPU time
linger = "10s"                # default
inbox = "64KiB"               # default
on_bad_data = "close"         # default
backlog = 4096                # default; the kernel may make it shorter
# [listener.config] is 2 bytes as JSON, of at most 64KiB

[[listener]]
name = "file"                 # given on line 19
tenant = "a.b"                # given on line 20
address = "unix://DIR/a"      # given on line 21
plugin = "DIR/echo.wasm"      # given on line 22
# plugin_sha256 is not given: any content of the plugin will do
instance = "connection"       # default
shape = "events"              # default
snapshot = true               # default
proxy_from = []  # default
per_source = 0  # default; connections of one address; 0: no bound
per_source_rate = 0  # default; new ones a second; 0: no bound
per_source_prefix = 64  # default; bits of an IPv6 address
idle_timeout = "5m"           # default
first_byte_timeout = "1m"  # default
write_timeout = "1m"  # default
min_rate = "100B/s"  # default; while the peer owes something; 0B/s: none
lifetime = "24h"  # default
connect_timeout = "10s"  # default
event_timeout = "1s"          # default; of CPU time
linger = "10s"                # default
inbox = "64KiB"               # default
on_bad_data = "close"         # default
backlog = 4096                # default; the kernel may make it shorter
mode = "0660"                 # given on line 23
# owner is not given: the socket belongs to whoever runs the host
# [listener.config] is 2 bytes as JSON, of at most 64KiB
`
	if squeeze(got) != squeeze(want) {
		t.Errorf("got:\n%s", got)
	}
}

// checkRoundTrip holds WriteLimits to giving a file of the same meaning.
func checkRoundTrip(t testing.TB, c *Config) {
	t.Helper()
	text := limits(t, c)
	// Elsewhere on purpose: every path must be absolute.
	back, err := Parse("limits", []byte(text), "elsewhere")
	if err != nil {
		t.Fatalf("the limits are no configuration: %v\n%s", err, text)
	}
	if got, want := bare(back), bare(c); !reflect.DeepEqual(got, want) {
		t.Fatalf("the limits come back as\n%+v, want\n%+v\n%s", got, want, text)
	}
}

// bare copies a Config without what WriteLimits does not carry: lines,
// warnings, plugins' own configurations.
func bare(c *Config) Config {
	b := Config{Host: c.Host}
	b.Host.lines = nil
	for _, t := range c.Tenants {
		t.Line, t.lines = 0, nil
		b.Tenants = append(b.Tenants, t)
	}
	for _, l := range c.Listeners {
		l.Line, l.lines, l.Config = 0, nil, nil
		if l.TLS != nil {
			settings := *l.TLS
			settings.lines = nil
			l.TLS = &settings
		}
		routes := l.Routes
		l.Routes = nil
		for _, r := range routes {
			r.Line, r.lines, r.Listener.Line, r.Listener.lines, r.Listener.Config = 0, nil, 0, nil, nil
			if r.Listener.TLS != nil {
				settings := *r.Listener.TLS
				settings.lines = nil
				r.Listener.TLS = &settings
			}
			l.Routes = append(l.Routes, r)
		}
		b.Listeners = append(b.Listeners, l)
	}
	return b
}

func TestLimitsRoundTrip(t *testing.T) {
	for _, src := range []string{least, everything, routed} {
		checkRoundTrip(t, mustParse(t, src))
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

var errFull = errors.New("no space")

// A UDP listener is shown what holds for it, and not what is of streams; TCP may have the same port.
func TestLimitsOfUDP(t *testing.T) {
	tcp := strings.Replace(least, "echo\"", "stream\"", 1)
	c := mustParse(t, tcp+strings.Replace(least, "tcp://", "udp://", 1)[len("[tenant.acme]\n"):]+"inbox = \"8KiB\"\n")
	if l := &c.Listeners[1]; l.IdleTimeout != DatagramIdleTimeout || c.Listeners[0].IdleTimeout != 5*time.Minute {
		t.Errorf("idle timeouts are %v and %v", c.Listeners[0].IdleTimeout, l.IdleTimeout)
	}
	text := limits(t, c)
	text = text[strings.LastIndex(text, "[[listener]]"):]
	for _, key := range []string{"first_byte_timeout", "write_timeout", "min_rate", "backlog", "keepalive", "user_timeout", "notsent_lowat", "mode", "owner"} {
		if strings.Contains(text, "\n"+key+" ") {
			t.Errorf("%s is shown:\n%s", key, text)
		}
	}
	for _, want := range []string{`idle_timeout = "30s" `, `lifetime = "24h" `, `inbox = "8KiB" `, `waiting_datagrams = 1024 `, `waiting_bytes = "1MiB" `, `receive_buffer = "1MiB" `, `send_buffer = "256KiB" `, `address = "udp://127.0.0.1:7001"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not shown:\n%s", want, text)
		}
	}
	checkRoundTrip(t, c)
	if udp, tcp := c.Listeners[1].SendBuffer, c.Listeners[0].SendBuffer; udp != DatagramSendBuffer || tcp != 0 {
		t.Errorf("send buffers are %d and %d", udp, tcp)
	}
	for _, network := range []string{"tcp://", "udp://"} {
		if l := mustParse(t, strings.Replace(least, "tcp://", network, 1)+"send_buffer = \"100KiB\"\n").Listeners[0]; l.SendBuffer != 100<<10 {
			t.Errorf("%s: the send buffer is %d", network, l.SendBuffer)
		}
	}
	c = mustParse(t, strings.Replace(least, "tcp://127.0.0.1", "udp://", 1)+"group = [\"239.1.2.3\", \"ff02::fb\"]\ninterface = \"eth0\"\nsource = [\"10.0.0.1\"]\n")
	text = limits(t, c)
	for _, want := range []string{`group = ["239.1.2.3", "ff02::fb"] `, `interface = "eth0" `, `source = ["10.0.0.1"] `} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not shown:\n%s", want, text)
		}
	}
	checkRoundTrip(t, c)
	given := mustParse(t, strings.Replace(least, "tcp://", "udp://", 1)+"idle_timeout = \"5m\"\n")
	if got := given.Listeners[0].IdleTimeout; got != 5*time.Minute {
		t.Errorf("an idle timeout that is given became %v", got)
	}
}

func TestWriteLimitsFails(t *testing.T) {
	if err := mustParse(t, least).WriteLimits(fullDisk{}); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}
