package config

import (
	"errors"
	"reflect"
	"regexp"
	"slices"
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
	if !strings.HasPrefix(got, "# The limits in force, from b.toml.\n\n[host]\n") {
		t.Errorf("it begins with %.60q", got)
	}
	tables := strings.Split(got, "\n\n")[1:]
	if len(tables) != 7 {
		t.Fatalf("there are %d tables in\n%s", len(tables), got)
	}
	for i, want := range []struct {
		name  string
		keys  []string // in the order of the rows
		lines []string
	}{
		{"[host]", fieldNames(hostFields), []string{
			"loops = 0 # default; 0: one per CPU",
			`state = "DIR/state" # default`,
		}},
		{"[admin]", fieldNames(adminFields), []string{
			`access_log = "off" # default`,
			"access_sample = 1 # default; of the orderly ends",
		}},
		{`[tenant."a.b"]`, fieldNames(tenantFields), []string{
			`memory = "100000B" # given on line 5`,
			"cpu = 1 # default; cores",
			"connect = [] # default",
		}},
		{"[tenant.acme]", fieldNames(tenantFields), []string{
			`memory = "256MiB" # default`,
			"cpu = 0.5 # given on line 2; cores",
			`connect = ["db:1"] # given on line 3`,
		}},
		{"[[listener]]", keysOn(tcp), []string{
			`name = "echo"`, "# given on line 7", `address = "tcp://:7001"`, `plugin = "DIR/echo.wasm"`,
			"# plugin_sha256 is not given: any content of the plugin will do",
			`idle_timeout = "1m30s"`, "# given on line 11",
			"# [listener.config] is 18 bytes as JSON, of at most 64KiB",
		}},
		{"[[listener]]", keysOn(unixName), []string{`address = "unix://@a"`, "# given on line 16"}},
		{"[[listener]]", keysOn(unixFile), []string{
			`address = "unix://DIR/a"`, `mode = "0660"`, "# given on line 23",
			"# owner is not given: the socket belongs to whoever runs the host",
			"# [listener.config] is 2 bytes as JSON, of at most 64KiB",
		}},
	} {
		lines := strings.Split(strings.TrimSuffix(tables[i], "\n"), "\n")
		// How wide they are depends on DIR.
		table := regexp.MustCompile(" +#").ReplaceAllString(tables[i], " #")
		if lines[0] != want.name {
			t.Errorf("table %d is %s, not %s", i, lines[0], want.name)
		}
		var keys []string
		for _, line := range lines[1:] {
			keys = append(keys, strings.Trim(strings.Fields(strings.TrimPrefix(line, "# "))[0], "[]"))
		}
		for k := range keys {
			keys[k] = strings.TrimPrefix(keys[k], "listener.")
		}
		if !slices.Equal(keys, want.keys) {
			t.Errorf("%s has the keys\n%v, not\n%v", want.name, keys, want.keys)
		}
		for _, line := range want.lines {
			if !strings.Contains(table, line) {
				t.Errorf("%s does not have %q:\n%s", want.name, line, table)
			}
		}
		for _, line := range lines[1:] {
			if !strings.HasPrefix(line, "#") && !strings.Contains(line, "  # default") && !strings.Contains(line, "  # given on line ") {
				t.Errorf("%q does not say where it is from", line)
			}
		}
	}
	if strings.Contains(got, "secret") {
		t.Error("it shows what is for a plugin")
	}
}

// keysOn are the keys that are shown of a listener without routes, groups and TLS that is no
// program.
func keysOn(kind sockets) (keys []string) {
	for _, f := range listenerFields {
		if f.on&kind != 0 && (f.when == nil || f.when == copies) && f.name != "route" && f.name != "tls" && f.name != "group" {
			keys = append(keys, f.name)
		}
	}
	return keys
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

// A UDP listener is shown what holds for it, and not what is of streams; TCP may have the same
// port.
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
