package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// plugins is the folder that the tests' files are taken to lie in. It has an
// echo.wasm.
func plugins(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("testdata/plugins")
	if err != nil {
		t.Fatal(err)
	}
	// A checkout may make the file group-writable, which is a warning.
	if err := os.Chmod(filepath.Join(dir, "echo.wasm"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// mustParse parses a good file.
func mustParse(t testing.TB, src string) *Config {
	t.Helper()
	c, err := Parse("b.toml", []byte(src), plugins(t))
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return c
}

// least is the shortest good file. Its last line is 6, in [[listener]].
const least = `[tenant.acme]
[[listener]]
name = "echo"
tenant = "acme"
address = "tcp://127.0.0.1:7001"
plugin = "echo.wasm"
`

func TestDefaults(t *testing.T) {
	c := mustParse(t, least)
	dir := plugins(t)
	want := &Config{
		File: "b.toml",
		Host: Host{State: filepath.Join(dir, "state"), Drain: 10 * time.Second, Handshakes: 4096, Pipes: 1024, Log: "auto", LogLevel: "info"},
		Tenants: []Tenant{{
			Name: "acme", Memory: 256 << 20, CPU: 1, Stack: 4 << 20, Timers: 100_000, LogLines: 200, LogBytes: 128 << 10, Connections: 1000, AcceptRate: 200, Bandwidth: 64 << 20, Dials: 64, Upstreams: 1000, Handshakes: 1000,
			Line: 1, lines: map[string]int{},
		}},
		Listeners: []Listener{{
			Name: "echo", Tenant: "acme", Address: Address{"tcp", "127.0.0.1:7001"}, Plugin: filepath.Join(dir, "echo.wasm"),
			Instance: "connection", Shape: "events", Snapshot: true, IdleTimeout: 5 * time.Minute, ConnectTimeout: 10 * time.Second, EventTimeout: time.Second, RouteTimeout: 10 * time.Second,
			PerSourcePrefix: 64, FirstByteTimeout: time.Minute, WriteTimeout: time.Minute, MinRate: 100, Lifetime: 24 * time.Hour,
			Linger: 10 * time.Second, Inbox: 64 << 10, OnBadData: "close", Backlog: 4096, Mode: 0o600,
			Keepalive: 15 * time.Second, UserTimeout: 30 * time.Second, NotSent: 256 << 10,
			WaitingDatagrams: 1024, WaitingBytes: 1 << 20, ReceiveBuffer: 1 << 20, Config: []byte("{}"), Line: 2,
			lines: map[string]int{"name": 3, "tenant": 4, "address": 5, "plugin": 6},
		}},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

// everything gives each key a value that is not its default.
const everything = `# A file with every key.
[host]
loops = 3
state = "/var/lib/bulkhead"
drain = "1m30s"
connections = 5000
handshakes = 77
pipes = 99
log = "json"
log_level = "warn"

[tenant.zeta]
[tenant.acme]
memory = "64MiB"
cpu = 0.5
stack = "1MiB"
instances = 11
mappings = 12
timers = 12
log_lines = 0.5
log_bytes = "1MiB/s"
connections = 10
accept_rate = 0.5
bandwidth = "10MiB/s"
connect = [
  "db.internal:5432",   # the database
  "10.0.0.0/8:443",
]
dials = 3
handshakes = 5
upstreams = 4

[[listener]]
name = "a"
tenant = "acme"
address = "unix://run/a.sock"
plugin = "./echo.wasm"
plugin_sha256 = "93A44BBB96C751218E4C00D479E4C14358122A389ACCA16205B1E4D0DC5F9476"
instance = "listener"
per_source = 20
per_source_rate = 0.5
per_source_prefix = 56
idle_timeout = "1h"
connect_timeout = "3s"
event_timeout = "250ms"
linger = "0s"
inbox = 8192
on_bad_data = "log"
backlog = 16
mode = "0660"
owner = "www-data:100"
  [listener.config]
  greeting = "<hello> \u00e9"
  when = 1979-05-27T07:32:00Z
  day = 1979-05-27
  local = 07:32:00
  n = 9007199254740993
  f = 1.5
  deep = { b = [1, { x = "y" }], a = true }

[[listener]]
name = "b"
tenant = "zeta"
address = "tcp6://[::1]:0"
plugin = "echo.wasm"
shape = "stdio"
args = ["-v", "two words"]
env = ["TZ=UTC", "EMPTY="]
folder = "."
instance = "connection"
keepalive = "0s"
user_timeout = "0s"
notsent_lowat = "64KiB"
send_buffer = "512KiB"
first_byte_timeout = "0s"
write_timeout = "20s"
min_rate = "2kB/s"
lifetime = "720h"
`

// lineIn is the line on which a text begins that is there once.
func lineIn(t *testing.T, file, text string) int {
	t.Helper()
	before, after, found := strings.Cut(file, text)
	if !found || strings.Contains(after, text) {
		t.Fatalf("%q is not there once", text)
	}
	return 1 + strings.Count(before, "\n")
}

func TestEveryKey(t *testing.T) {
	line := func(text string) int { return lineIn(t, everything, text) }
	c := mustParse(t, everything)
	dir := plugins(t)
	if got, want := c.Host, (Host{Loops: 3, State: "/var/lib/bulkhead", Drain: 90 * time.Second, Connections: 5000, Handshakes: 77, Pipes: 99, Log: "json", LogLevel: "warn", lines: c.Host.lines}); !reflect.DeepEqual(got, want) {
		t.Errorf("host: got %+v, want %+v", got, want)
	}
	if len(c.Tenants) != 2 || c.Tenants[0].Name != "acme" || c.Tenants[1].Name != "zeta" {
		t.Fatalf("tenants not sorted by name: %+v", c.Tenants)
	}
	acme := c.Tenants[0]
	acme.lines = nil
	if want := (Tenant{Name: "acme", Memory: 64 << 20, CPU: 0.5, Stack: 1 << 20, Instances: 11, Mappings: 12, Timers: 12, LogLines: 0.5, LogBytes: 1 << 20, Connections: 10, AcceptRate: 0.5, Bandwidth: 10 << 20, Connect: []string{"db.internal:5432", "10.0.0.0/8:443"}, Dials: 3, Upstreams: 4, Handshakes: 5, Line: line("[tenant.acme]")}); !reflect.DeepEqual(acme, want) {
		t.Errorf("tenant: got %+v, want %+v", acme, want)
	}
	a := c.Listeners[0]
	lines := a.lines
	a.lines = nil
	want := Listener{
		Name: "a", Tenant: "acme", Address: Address{"unix", filepath.Join(dir, "run/a.sock")}, Plugin: filepath.Join(dir, "echo.wasm"),
		PluginSHA256: "93a44bbb96c751218e4c00d479e4c14358122a389acca16205b1e4d0dc5f9476",
		Instance:     "listener", Shape: "events", Snapshot: true, IdleTimeout: time.Hour, ConnectTimeout: 3 * time.Second, EventTimeout: 250 * time.Millisecond, RouteTimeout: 10 * time.Second,
		PerSource: 20, PerSourceRate: 0.5, PerSourcePrefix: 56, FirstByteTimeout: time.Minute, WriteTimeout: time.Minute, MinRate: 100, Lifetime: 24 * time.Hour,
		Inbox: 8192, OnBadData: "log", Backlog: 16, Mode: 0o660, Owner: "www-data:100",
		Keepalive: 15 * time.Second, UserTimeout: 30 * time.Second, NotSent: 256 << 10,
		WaitingDatagrams: 1024, WaitingBytes: 1 << 20, ReceiveBuffer: 1 << 20, Line: line(`name = "a"`) - 1,
		Config: []byte(`{"day":"1979-05-27","deep":{"a":true,"b":[1,{"x":"y"}]},"f":1.5,"greeting":"<hello> é","local":"07:32:00","n":9007199254740993,"when":"1979-05-27T07:32:00Z"}`),
	}
	if !reflect.DeepEqual(a, want) {
		t.Errorf("listener a:\ngot  %+v\nwant %+v\nconfig %s", a, want, a.Config)
	}
	a.lines = lines
	for key, want := range map[string]int{
		"name": line(`name = "a"`), "plugin_sha256": line("plugin_sha256"), "owner": line("owner"), "config": line("[listener.config]"),
		"shape": a.Line, "no such key": a.Line,
	} {
		if got := a.LineOf(key); got != want {
			t.Errorf("LineOf(%q) = %d, want %d", key, got, want)
		}
	}
	if b := c.Listeners[1]; b.Address.String() != "tcp6://[::1]:0" || b.Shape != "stdio" || b.Keepalive != 0 || b.UserTimeout != 0 || b.NotSent != 64<<10 || string(b.Config) != "{}" || b.LineOf("shape") != line("shape") {
		t.Errorf("listener b: %+v", b)
	} else if !slices.Equal(b.Args, []string{"-v", "two words"}) || !slices.Equal(b.Env, []string{"TZ=UTC", "EMPTY="}) || b.Folder != dir {
		t.Errorf("listener b: %+v", b)
	} else if b.FirstByteTimeout != 0 || b.WriteTimeout != 20*time.Second || b.MinRate != 2000 || b.Lifetime != 720*time.Hour {
		t.Errorf("listener b: %+v", b)
	}
	if got := c.Tenants[0].LineOf("connect"); got != line("connect = [") {
		t.Errorf("line of connect: %d", got)
	}
	if got := c.Host.LineOf("log"); got != line(`log = "json"`) || c.Host.LineOf("nothing") != 0 {
		t.Errorf("line of log: %d", got)
	}
}

// TestSample is the file of the design, whose keys are a contract.
func TestSample(t *testing.T) {
	c := mustParse(t, `
[host]
loops = 0
state = "state"

[tenant.acme]
memory = "64MiB"
cpu = 0.5
connections = 1000
accept_rate = 200
bandwidth = "10MiB/s"
connect = ["db.internal:5432", "10.0.0.0/8:443",
]

[[listener]]
name = "echo"
tenant = "acme"
address = "tcp://127.0.0.1:7001"
plugin = "echo.wasm"
instance = "connection"
shape = "events"
idle_timeout = "5m"
event_timeout = "1s"
inbox = "64KiB"
on_bad_data = "close"
  [listener.config]
  greeting = "hello"
`)
	if got := string(c.Listeners[0].Config); got != `{"greeting":"hello"}` {
		t.Errorf("config: %s", got)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("warnings:\n%s", Errors(c.Warnings).Error())
	}
}

// TestSpellings gives the same file in TOML's other forms.
func TestSpellings(t *testing.T) {
	for name, src := range map[string]string{
		"inline array": `tenant.acme = {}
listener = [ { name = "echo", tenant = "acme", address = "tcp://127.0.0.1:7001", plugin = "echo.wasm" } ]`,
		"inline tables": `tenant = { acme = { } }
[[listener]]
"name" = 'echo'
'tenant' = """acme"""
address = '''tcp://127.0.0.1:7001'''
"pl\u0075gin" = "echo.wasm"`,
		"windows":               "\ufeff" + strings.ReplaceAll(least, "\n", "\r\n"),
		"no newline at the end": strings.TrimSuffix(least, "\n"),
	} {
		t.Run(name, func(t *testing.T) {
			c, want := mustParse(t, src), mustParse(t, least)
			l, w := c.Listeners[0], want.Listeners[0]
			l.lines, w.lines, l.Line, w.Line = nil, nil, 0, 0
			if !reflect.DeepEqual(l, w) {
				t.Errorf("got %+v, want %+v", l, w)
			}
		})
	}
}

func TestInlineLines(t *testing.T) {
	c := mustParse(t, `tenant.acme.memory = "1MiB"
listener = [
  { name = "a", tenant = "acme", address = "fd://3", plugin = "echo.wasm" },
  {
    name = "b", tenant = "acme",
    address = "fd://web",
    plugin = "echo.wasm",
  },
]`)
	if a, b := c.Listeners[0], c.Listeners[1]; a.Line != 3 || b.Line != 4 || b.LineOf("tenant") != 5 || b.LineOf("plugin") != 7 {
		t.Errorf("lines: %d %d %d %d", a.Line, b.Line, b.LineOf("tenant"), b.LineOf("plugin"))
	}
	if got := c.Tenants[0].LineOf("memory"); got != 1 {
		t.Errorf("line of memory: %d", got)
	}
}

func TestWarnings(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"good.wasm": 0o644, "group.wasm": 0o664, "world.wasm": 0o666} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	src := `[tenant.idle]
[tenant.acme]
[[listener]]
name = "a"
tenant = "acme"
address = "fd://3"
plugin = "good.wasm"
inbox = "8KiB"
[listener.config]
inbox = "64KiB"
linger = "1s"
[[listener]]
name = "b"
tenant = "acme"
address = "fd://4"
plugin = "group.wasm"
[[listener]]
name = "c"
tenant = "acme"
address = "fd://5"
plugin = "world.wasm"
`
	c, err := Parse("b.toml", []byte(src), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := `b.toml:1: tenant "idle" has no listener; name it in a [[listener]], or leave it out
b.toml:9: linger stands in [listener.config], so it goes to the plugin and the listener keeps its default; move linger above [listener.config] if it is meant for the listener
b.toml:16: the plugin "DIR/group.wasm" can be changed by its group; take that away with chmod go-w, or pin the content with plugin_sha256
b.toml:21: the plugin "DIR/world.wasm" can be changed by every user of the machine; take that away with chmod go-w, or pin the content with plugin_sha256`
	if got := strings.ReplaceAll(Errors(c.Warnings).Error(), dir, "DIR"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "bulkhead.toml")
	if err := os.WriteFile(path, []byte(least), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "echo.wasm"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.File != path || c.Listeners[0].Plugin != filepath.Join(dir, "echo.wasm") || c.Host.State != filepath.Join(dir, "state") {
		t.Errorf("got %+v", c)
	}

	// The same, named from the working directory.
	t.Chdir(dir)
	if c, err = Load("bulkhead.toml"); err != nil {
		t.Fatal(err)
	}
	if got := c.Listeners[0].Plugin; !filepath.IsAbs(got) || filepath.Base(got) != "echo.wasm" || c.File != "bulkhead.toml" {
		t.Errorf("plugin %s, file %s", got, c.File)
	}
}
