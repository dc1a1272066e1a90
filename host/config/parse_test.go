package config

import (
	"errors"
	"fmt"
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
	// What the defaults are, docs/CONFIG.md says, and TestDocs sees to it.
	host, tenant, listener := newDecoder("", dir, nil).newHost(), DefaultTenant("acme"), DefaultListener()
	if host.Drain != 10*time.Second || tenant.Memory != 256<<20 || listener.IdleTimeout != 5*time.Minute || string(listener.Config) != "{}" || !listener.Snapshot || listener.Mode != 0o600 {
		t.Errorf("the defaults are %+v, %+v, %+v", host, tenant, listener)
	}
	host.lines = c.Host.lines
	tenant.Line, tenant.lines = 1, map[string]int{}
	listener.Name, listener.Tenant, listener.Address, listener.Plugin = "echo", "acme", Address{Network: "tcp", Host: "127.0.0.1:7001"}, filepath.Join(dir, "echo.wasm")
	listener.Line, listener.lines = 2, map[string]int{"name": 3, "tenant": 4, "address": 5, "plugin": 6}
	want := &Config{File: "b.toml", Host: host, Admin: DefaultAdmin(), Tenants: []Tenant{tenant}, Listeners: []Listener{listener}, Text: []byte(least), Folder: dir}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

// everything gives most keys a value that is not their default. TestEachRow does so for each.
const everything = `# A file with every key.
[host]
loops = 3
state = "/var/lib/bulkhead"
drain = "1m30s"
connections = 5000
handshakes = 77
pipes = 99
code_cache = "2GiB"
module_cache = "3MiB"
user = "nobody"
landlock = false
seccomp = true
log = "json"
log_level = "warn"

[admin]
access_log = "logs/access.log"
access_sample = 0.25
access_interval = "5m"
usage_interval = "5m"
usage_size = "2MiB"
usage_keep = "24h"
view = "operators"
address = "10.1.2.3:9101"
hosts = ["Metrics.Example.com:9101", "[::1]"]
token = "secrets/token"

[tenant.zeta]
[tenant.acme]
memory = "64MiB"
cpu = 0.5
stack = "1MiB"
instances = 11
mappings = 12
socket_memory = "16MiB"
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
script_files = 30
script_bytes = "1MiB"
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
	host := newDecoder("", dir, nil).newHost()
	host.Loops, host.State, host.Drain, host.Connections, host.Handshakes, host.Pipes, host.CodeCache, host.ModuleCache, host.User, host.Landlock, host.Seccomp = 3, "/var/lib/bulkhead", 90*time.Second, 5000, 77, 99, 2<<30, 3<<20, "nobody", false, true
	host.Log, host.LogLevel, host.lines = "json", "warn", c.Host.lines
	if !reflect.DeepEqual(c.Host, host) {
		t.Errorf("host: got %+v, want %+v", c.Host, host)
	}
	if len(c.Tenants) != 2 || c.Tenants[0].Name != "acme" || c.Tenants[1].Name != "zeta" {
		t.Fatalf("tenants not sorted by name: %+v", c.Tenants)
	}
	acme := c.Tenants[0]
	acme.lines = nil
	tenant := DefaultTenant("acme")
	tenant.Memory, tenant.CPU, tenant.Stack, tenant.Instances, tenant.Mappings, tenant.SocketMemory, tenant.Timers = 64<<20, 0.5, 1<<20, 11, 12, 16<<20, 12
	tenant.LogLines, tenant.LogBytes, tenant.Connections, tenant.AcceptRate, tenant.Bandwidth = 0.5, 1<<20, 10, 0.5, 10<<20
	tenant.Connect, tenant.Dials, tenant.Upstreams, tenant.Handshakes = []string{"db.internal:5432", "10.0.0.0/8:443"}, 3, 4, 5
	tenant.Line = line("[tenant.acme]")
	if !reflect.DeepEqual(acme, tenant) {
		t.Errorf("tenant: got %+v, want %+v", acme, tenant)
	}
	a := c.Listeners[0]
	lines := a.lines
	a.lines = nil
	want := DefaultListener()
	want.Name, want.Tenant, want.Address, want.Plugin = "a", "acme", Address{Network: "unix", Host: filepath.Join(dir, "run/a.sock")}, filepath.Join(dir, "echo.wasm")
	want.PluginSHA256 = "93a44bbb96c751218e4c00d479e4c14358122a389acca16205b1e4d0dc5f9476"
	want.ScriptFiles, want.ScriptBytes = 30, 1<<20
	want.Instance, want.IdleTimeout, want.ConnectTimeout, want.EventTimeout, want.Linger = "listener", time.Hour, 3*time.Second, 250*time.Millisecond, 0
	want.PerSource, want.PerSourceRate, want.PerSourcePrefix = 20, 0.5, 56
	want.Inbox, want.OnBadData, want.Backlog, want.Mode, want.Owner = 8192, "log", 16, 0o660, "www-data:100"
	want.Line = line(`name = "a"`) - 1
	want.Config = []byte(`{"day":"1979-05-27","deep":{"a":true,"b":[1,{"x":"y"}]},"f":1.5,"greeting":"<hello> é","local":"07:32:00","n":9007199254740993,"when":"1979-05-27T07:32:00Z"}`)
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
[admin]
hosts = ["a.example:9101"]
token = "token"
`
	c, err := Parse("b.toml", []byte(src), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := `b.toml:1: tenant "idle" has no listener; name it in a [[listener]], or leave it out
b.toml:9: linger stands in [listener.config], so it goes to the plugin and the listener keeps its default; move linger above [listener.config] if it is meant for the listener
b.toml:16: the plugin "DIR/group.wasm" can be changed by its group; take that away with chmod go-w, or pin the content with plugin_sha256
b.toml:21: the plugin "DIR/world.wasm" can be changed by every user of the machine; take that away with chmod go-w, or pin the content with plugin_sha256
b.toml:23: hosts is for address, which is not given; give address, too, or leave it out
b.toml:24: token is for address, which is not given; give address, too, or leave it out`
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

// A listener that a program serves by itself needs no plugin, and others do.
func TestLoadNative(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bulkhead.toml")
	text := "[tenant.acme]\n"
	for _, name := range []string{"mine", "theirs"} {
		text += fmt.Sprintf("[[listener]]\nname = %q\ntenant = \"acme\"\naddress = \"unix:///run/%s\"\n", name, name)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := LoadNative(path, "mine", "theirs")
	if err != nil || len(cfg.Listeners) != 2 || cfg.Listeners[0].Plugin != "" || !cfg.Listeners[0].ServesItself() {
		t.Fatalf("%v, %v", cfg, err)
	}
	var all Errors
	if _, err := LoadNative(path, "mine"); !errors.As(err, &all) || len(all) != 1 || all[0].Line != 6 || !strings.Contains(all[0].Error(), "has no plugin") {
		t.Errorf("the other listener: %v", err)
	}
	if _, err := Load(path); !errors.As(err, &all) || len(all) != 2 {
		t.Errorf("for run: %v", err)
	}
}
