package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestErrors holds every error to its exact words and line. In want, DIR is
// the folder the file lies in, and "b.toml:" is left out. Where src begins
// with "+", it follows a good file of six lines that ends in [[listener]].
func TestErrors(t *testing.T) {
	long := strings.Repeat("x", 200)
	for _, test := range []struct{ name, src, want string }{
		// What is no TOML at all.
		{"empty", ``, `1: no listener: there is nothing to serve; add a [[listener]] table with name, tenant, address and plugin`},
		{"only blanks", "\n\n", `2: no listener: there is nothing to serve; add a [[listener]] table with name, tenant, address and plugin`},
		{"no listener in an empty array", `listener = []`, `1: no listener: there is nothing to serve; add a [[listener]] table with name, tenant, address and plugin`},
		{"too large", strings.Repeat("#", maxFile+1), `1: the file is larger than 1MiB; keep it to 1MiB`},
		{"NUL", "[host]\n# \x00\n", `2: a NUL byte in the file; save the file as UTF-8 text`},
		{"not UTF-8", "[host]\n\n# \xff\n", `3: the byte 0xff is not UTF-8; save the file as UTF-8 text`},
		{"unquoted text", "+log = json\n", `7: not valid TOML: expected value but found "json" instead; write key = VALUE, with text in quotes: key = "text"`},
		{"no value", "+inbox =\n", `7: not valid TOML: expected value but found '\n' instead; write key = VALUE, with text in quotes: key = "text"`},
		{"no equals sign", "+inbox\n", `7: not valid TOML: expected '.' or '=', but got '\n' instead; write key = VALUE`},
		{"open quotes", "+inbox = \"64KiB\n", `7: not valid TOML: strings cannot contain newlines; close the quotes`},
		{"open long quotes", "+owner = \"\"\"a\nb\n", `8: not valid TOML: unexpected EOF; expected '"""'; close the quotes`},
		{"open bracket", "+[listener.config\n", `7: not valid TOML: expected '.' or ']' to end table name, but got '\n' instead; write [table], [[table]] or key = VALUE, each on a line of its own`},
		{"two on a line", "+inbox = 1 linger = 2\n", `7: not valid TOML: expected a top-level item to end with a newline, comment, or EOF, but got 'l' instead; write [table], [[table]] or key = VALUE, each on a line of its own`},
		{"bad escape", "+plugin_sha256 = \"C:\\w\"\n", `7: not valid TOML: invalid escape in string '\w'; write \\ for a backslash, or put the text in single quotes`},
		{"table over a value", "[host]\nlog = \"text\"\n[host.log]\n", `3: duplicate table [host.log]; keep one of the two (the first is on line 2)
3: no listener: there is nothing to serve; add a [[listener]] table with name, tenant, address and plugin`},
		{"table into a value", "[host]\na = 1\na.b = 2\n", `3: not valid TOML: Key 'host.a' has already been defined; give each key and each table once`},
		{"value over a table", "[host]\na.b = 1\na = 2\n", `2: unknown table "a"; the keys of [host] are HOSTKEYS
3: duplicate key "a"; keep one of the two (the first is on line 2)
3: no listener: there is nothing to serve; add a [[listener]] table with name, tenant, address and plugin`},
		{"control character", "[host]\nlog = \"\x01\"\n", `2: not valid TOML: TOML files cannot contain control characters: '0x01'; correct the line`},
		{"too deep an array", "[host]\nlog = " + strings.Repeat("[", 40), `2: nested too deep; write at most 32 levels, counting each part of a dotted key, each table and each array`},
		{"too deep a key", "\n\n" + strings.Repeat("a.", 40) + "a = 1", `3: nested too deep; write at most 32 levels, counting each part of a dotted key, each table and each array`},
		{"too deep a table", "[" + strings.Repeat("a.", 40) + "a]", `1: nested too deep; write at most 32 levels, counting each part of a dotted key, each table and each array`},
		{"too deep a value", "x = " + strings.Repeat("{a=[", 40), `1: nested too deep; write at most 32 levels, counting each part of a dotted key, each table and each array`},

		// Duplicates.
		{"duplicate keys", "+inbox = 4096\ninbox = 8192\nname = \"x\"\nlinger = 1\n", `8: duplicate key "inbox"; keep one of the two (the first is on line 7)
9: duplicate key "name"; keep one of the two (the first is on line 3)
10: linger = 1 is a whole number; write a duration from 0s to 10m, like "10s"`},
		{"duplicate inline key", "+config = { a = 1, a = 2, b.c = 3, b.c = [\n4 ] }\nlinger = 1\n", `7: duplicate key "a"; keep one of the two (the first is on line 7)
7: duplicate key "b.c"; keep one of the two (the first is on line 7)
9: linger = 1 is a whole number; write a duration from 0s to 10m, like "10s"`},
		{"duplicate table", "[tenant.acme]\ncpu = 1\n[tenant.acme]\nmemory = 7\n" + least[len("[tenant.acme]\n"):] + "linger = 1\n", `3: duplicate table [tenant.acme]; keep one of the two (the first is on line 1)
10: linger = 1 is a whole number; write a duration from 0s to 10m, like "10s"`},
		{"duplicate before a syntax error", "+inbox = 4096\ninbox = 8192\nlinger = x\n", `8: duplicate key "inbox"; keep one of the two (the first is on line 7)
9: not valid TOML: expected value but found "x" instead; write key = VALUE, with text in quotes: key = "text"`},

		// Unknown keys.
		{"misspelt key", "+tennant = \"acme\"\n", `7: unknown key "tennant"; did you mean "tenant"?`},
		{"another style", "+idleTimeout = \"1m\"\non-bad-data = \"log\"\n", `7: unknown key "idleTimeout"; did you mean "idle_timeout"?
8: unknown key "on-bad-data"; did you mean "on_bad_data"?`},
		{"admin is no table", "admin = 1\n" + least, `1: admin is a whole number, not a table; write [admin] on a line of its own, and its keys below`},
		{"access log", "[admin]\naccess_log = \"\"\naccess_sample = 1.5\n" + least, `2: access_log = "" is empty; write "off", "stdout", or the path of a file, like "/var/log/bulkhead/access.log"
3: access_sample = 1.5 is out of range; write a number from 0 to 1`},
		{"access log in a folder", "[admin]\naccess_log = \"logs/\"\n" + least, `2: access_log = "logs/" is a folder; write "off", "stdout", or the path of a file, like "/var/log/bulkhead/access.log"`},
		{"doors", "[admin]\nview = \"\"\naddress = \"localhost:9101\"\nhosts = [\"a:b\"]\ntoken = \"\"\n" + least, `2: view = "" is no group; write the name or number of a group
3: address = "localhost:9101" is no address with a port; write an IP address and a port, like "127.0.0.1:9101"
4: hosts = [...] has the entry "a:b": the port is not one of 1 to 65535; write a list of up to 64 names and addresses with ports, like ["metrics.example.com:9101"]
5: token = "" is empty; write the path of a file, like "/etc/bulkhead/token"`},
		{"a view that is a user", "[admin]\nview = \"a:b\"\naddress = \"[fe80::1%lo]:1\"\nhosts = \"a\"\ntoken = 1\n" + least, `2: view = "a:b" is no group; write the name or number of a group
3: address = "[fe80::1%lo]:1" is no address with a port; write an IP address and a port, like "127.0.0.1:9101"
4: hosts = "a" is text; write a list of up to 64 names and addresses with ports, like ["metrics.example.com:9101"]
5: token = 1 is a whole number; write the path of a file, like "/etc/bulkhead/token"`},
		{"a door for other machines", "[admin]\naddress = \"0.0.0.0:9101\"\n" + least, `2: address = "0.0.0.0:9101" can be reached by other machines, and everybody there can read all of it, in the clear; take a loopback address, or name in hosts what they call this machine, with the port`},
		{"a door for other machines by IPv6", "[admin]\nhosts = []\naddress = \"[::ffff:10.0.0.1]:9101\"\n" + least, `3: address = "[::ffff:10.0.0.1]:9101" can be reached by other machines, and everybody there can read all of it, in the clear; take a loopback address, or name in hosts what they call this machine, with the port`},
		{"swapped letters", "[host]\nlgo = \"text\"\n" + least, `2: unknown key "lgo"; did you mean "log"?`},
		{"nothing near", "[host]\ncolour = 1\n" + least, `2: unknown key "colour"; the keys of [host] are HOSTKEYS`},
		{"key of another table", "+memory = 1\nlog = 1\nconnections = 2\n", `7: unknown key "memory"; it belongs in [tenant.NAME]
8: unknown key "log"; it belongs in [host]
9: unknown key "connections"; it belongs in [host] or [tenant.NAME]`},
		{"key above every table", "name = \"x\"\n" + least, `1: unknown key "name"; it belongs in [[listener]]`},
		{"misspelt tables", "[[listeners]]\nname = 1\n[tennant.a]\n[server]\n", `1: unknown table "listeners"; did you mean "listener"?
3: unknown table "tennant"; did you mean "tenant"?
4: unknown table "server"; the tables are [host], [admin], [tenant.NAME] and [[listener]]`},
		{"misspelt config", "+[listener.confg]\nx = 1\n", `7: unknown table "confg"; did you mean "config"?`},
		{"tenant with a point", "[tenant.a.b]\n" + least, `1: unknown table "b"; the keys of [tenant.a] are TENANTKEYS; a tenant's name that has a point goes in quotes: [tenant."a.b"]`},
		{"long key", "[host]\n" + long + " = 1\n" + least, `2: unknown key "` + long[:100] + `"...; the keys of [host] are HOSTKEYS`},
		{"line of the second listener", least + "[[listener]]\nname = \"b\"\n\ntenant = \"acme\"\naddress = \"fd://3\"\nplugin = \"echo.wasm\"\nconfig = \"\"\"\n\n\"\"\"\nbaklog = 3\n", `13: config = "\n" is text; write a table [listener.config] for the plugin, of at most 64KiB as JSON
16: unknown key "baklog"; did you mean "backlog"?`},

		// Tables of the wrong kind.
		{"host is no table", "host = 1\n" + least, `1: host is a whole number, not a table; write [host] on a line of its own, and its keys below`},
		{"host is an array", "[[host]]\n" + least, `1: host is an array, not a table; write [host] on a line of its own, and its keys below`},
		{"tenant is no table", "tenant = \"acme\"\n" + least[len("[tenant.acme]\n"):], `1: tenant is text, not a table; write [tenant.NAME] on a line of its own, and its keys below`},
		{"keys in [tenant]", "[tenant]\nmemory = \"1MiB\"\n" + least, `2: tenant.memory is text, not a table; write [tenant.NAME] on a line of its own, and its keys below`},
		{"tenant is an array", "[[tenant.acme]]\n" + least[len("[tenant.acme]\n"):], `1: tenant.acme is an array, not a table; write [tenant.NAME] on a line of its own, and its keys below`},
		{"listener is no table", "listener = 1\n[tenant.acme]\n", `1: listener is a whole number, not tables; write [[listener]] on a line of its own, and its keys below`},
		{"listener is mixed", "listener = [{}, 1]\n[tenant.acme]\n", `1: listener is an array, not tables; write [[listener]] on a line of its own, and its keys below`},
		{"listener is one table", strings.Replace(least, "[[listener]]", "[listener]", 1) + "linger = 1\n", `2: listener is a single table; write [[listener]], with two brackets, above each listener's keys
7: linger = 1 is a whole number; write a duration from 0s to 10m, like "10s"`},

		// What is required.
		{"nothing given", "[[listener]]\n", `1: [[listener]] has no name; add name = "NAME"
1: [[listener]] has no tenant; add tenant = "NAME", and a [tenant.NAME] table
1: [[listener]] has no address; add address = "tcp://127.0.0.1:7001"
1: [[listener]] has no plugin; add plugin = "FILE.wasm"`},
		{"misspelt, not missing", strings.Replace(least, "plugin", "plugn", 1), `6: unknown key "plugn"; did you mean "plugin"?`},

		// [host].
		{"loops", "[host]\nloops = 1025\n" + least, `2: loops = 1025 is out of range; write a whole number from 0 to 1024 (0: one per CPU)`},
		{"loops as text", "[host]\nloops = \"2\"\n" + least, `2: loops = "2" is text; write a whole number from 0 to 1024 (0: one per CPU)`},
		{"state empty", "[host]\nstate = \"\"\n" + least, `2: state = "" is empty; write the path of a folder, which need not exist yet`},
		{"state NUL", "[host]\nstate = \"\\u0000\"\n" + least, `2: state = "\x00" has a NUL byte in it; write the path of a folder, which need not exist yet`},
		{"state is a file", "[host]\nstate = \"echo.wasm\"\n" + least, `2: state = "echo.wasm" is a file; write the path of a folder, which need not exist yet`},
		{"drain", "[host]\ndrain = \"61m\"\n" + least, `2: drain = "61m" is out of range; write a duration from 0s to 1h, like "10s"`},
		{"connections of the host", "[host]\nconnections = -1\n" + least, `2: connections = -1 is out of range; write a whole number from 0 to 10000000 (0: as many as RLIMIT_NOFILE leaves room for)`},
		{"user", "[host]\nuser = \"a b\"\n" + least, `2: user = "a b" is no user; write the name or the number of a user of this machine`},
		{"log", "[host]\nlog = \"jsn\"\nlog_level = \"fatal\"\n" + least, `2: log = "jsn" is not one of its words; did you mean "json"? Write "auto", "text" or "json"
3: log_level = "fatal" is not one of its words; write "debug", "info", "warn" or "error"`},

		// [tenant.NAME].
		{"tenant's name", "[tenant.Acme]\n[tenant.\"a b\"]\n[tenant.\"\"]\n[tenant." + strings.Repeat("a", 64) + "]\n" + least, `1: [tenant.Acme] is no tenant's name; write a name of 1 to 63 of a-z, 0-9, "_", "." and "-", beginning with a letter or a digit
2: [tenant."a b"] is no tenant's name; write a name of 1 to 63 of a-z, 0-9, "_", "." and "-", beginning with a letter or a digit
3: [tenant.""] is no tenant's name; write a name of 1 to 63 of a-z, 0-9, "_", "." and "-", beginning with a letter or a digit
4: [tenant.` + strings.Repeat("a", 64) + `] is no tenant's name; write a name of 1 to 63 of a-z, 0-9, "_", "." and "-", beginning with a letter or a digit`},
		{"tenant's limits", strings.Replace(least, "[tenant.acme]\n", `[tenant.acme]
memory = "64KB"
cpu = nan
connections = 0
accept_rate = inf
bandwidth = "10MiB"
connect = "db:1"
`, 1), `2: memory = "64KB" has an unknown unit (the units are B, KiB, MiB, GiB of 1024 and kB, MB, GB of 1000); write a size from 64KiB to 1024GiB, like "64MiB"
3: cpu = NaN is out of range; write a number from 0.01 to 1024
4: connections = 0 is out of range; write a whole number from 1 to 10000000
5: accept_rate = +Inf is out of range; write a number from 0.1 to 1000000
6: bandwidth = "10MiB" has no "/s"; write a rate from 1KiB/s to 1024GiB/s, like "10MiB/s"
7: connect = "db:1" is text; write a list of at most 256 of HOST:PORT, NETWORK/BITS:PORT and unix:///PATH, like ["db.example.com:5432", "10.0.0.0/8:443"]`},
		{"more of a tenant's limits", strings.Replace(least, "[tenant.acme]\n", `[tenant.acme]
memory = 65535
cpu = 0
accept_rate = true
bandwidth = 1024
connect = [
  "db:1",
  7,
  "db",
  "db:1",
]
`, 1), `2: memory = 65535 is out of range; write a size from 64KiB to 1024GiB, like "64MiB"
3: cpu = 0 is out of range; write a number from 0.01 to 1024
4: accept_rate = true is a boolean; write a number from 0.1 to 1000000
5: bandwidth = 1024 is a whole number; write a rate from 1KiB/s to 1024GiB/s, like "10MiB/s"
8: connect[1] = 7 is a whole number; write HOST:PORT, NETWORK/BITS:PORT or unix:///PATH, like "db.example.com:5432", "10.0.0.0/8:443" or "[2001:db8::/32]:8000-8100"
9: connect[2] = "db" has no port; write HOST:PORT, *.SUFFIX:PORT, ADDRESS:PORT or NETWORK/BITS:PORT, like "db.internal:5432", "10.0.0.0/8:443" or "[2001:db8::/32]:8000-8100"; udp:// before one of them for UDP; or unix:///PATH
10: connect[3] = "db:1" is in the list twice; keep one of the two`},
		{"long connect", strings.Replace(least, "]\n", "]\nconnect = ["+strings.Repeat("\"a:1\",", 257)+"]\n", 1), `2: connect = [...] has 257 entries; write a list of at most 256 of HOST:PORT, NETWORK/BITS:PORT and unix:///PATH, like ["db.example.com:5432", "10.0.0.0/8:443"]`},

		// [[listener]].
		{"names", `[[listener]]
name = "Echo"
tenant = ""
address = 1
plugin = ["echo.wasm"]
`, `2: name = "Echo" is no listener's name; write a name of 1 to 63 of a-z, 0-9, "_", "." and "-", beginning with a letter or a digit
3: tenant = "" is empty; write the NAME of a [tenant.NAME] table
4: address = 1 is a whole number; write tcp://HOST:PORT, udp://HOST:PORT (also tcp4, tcp6, udp4, udp6), unix://PATH, unix://@NAME, ws://HOST:PORT/PATH, wss://HOST:PORT/PATH or fd://NUMBER-OR-NAME, like "tcp://127.0.0.1:7001"
5: plugin = [...] is an array; write the path of a .wasm, .js, .ts, .py or .lua file`},
		{"undefined tenant", strings.Replace(least, `"acme"`, `"acne"`, 1), `4: tenant "acne" is not defined; did you mean "acme"?`},
		{"undefined tenant, nothing near", strings.Replace(least, `"acme"`, `"zeta.x"`, 1), `4: tenant "zeta.x" is not defined; add a [tenant."zeta.x"] table; it may be empty`},
		{"no plugin", strings.Replace(least, `echo.wasm`, `none.wasm`, 1), `6: plugin = "none.wasm" cannot be read (DIR/none.wasm: no such file or directory); write the path of a .wasm, .js, .ts, .py or .lua file, taken from the folder of this file unless it begins with a slash`},
		{"no expansion", strings.Replace(least, `echo.wasm`, `$HOME/echo.wasm`, 1), `6: plugin = "$HOME/echo.wasm" cannot be read (DIR/$HOME/echo.wasm: no such file or directory); write the path in full: ~ and $NAME stand for themselves here`},
		{"plugin is a folder", strings.Replace(least, `echo.wasm`, `.`, 1), `6: plugin = "." is a folder; write the path of a .wasm, .js, .ts, .py or .lua file`},
		{"plugin is a device", strings.Replace(least, `echo.wasm`, `/dev/null`, 1), `6: plugin = "/dev/null" is not a regular file; write the path of a .wasm, .js, .ts, .py or .lua file`},
		{"plugin empty", strings.Replace(least, `echo.wasm`, ``, 1), `6: plugin = "" is empty; write the path of a .wasm, .js, .ts, .py or .lua file`},
		{"sha256", "+plugin_sha256 = \"abc\"\n", `7: plugin_sha256 = "abc" is not 64 hex digits; write the 64 hex digits that sha256sum prints for the plugin`},
		{"words", "+instance = \"conection\"\nshape = \"stdin\"\non_bad_data = 1\n", `7: instance = "conection" is not one of its words; did you mean "connection"? Write "connection", "loop" or "listener"
8: shape = "stdin" is not one of its words; did you mean "stdio"? Write "events" or "stdio"
9: on_bad_data = 1 is a whole number; write "close" or "log"`},
		{"durations", `+idle_timeout = "0s"
event_timeout = "2m"
linger = "-1s"
keepalive = "1500ms"
user_timeout = "10"
`, `7: idle_timeout = "0s" would be no limit, and there is no way to turn this one off; write a duration from 10ms to 720h, like "5m"
8: event_timeout = "2m" is out of range; write a duration from 1ms to 1m, like "1s"
9: linger = "-1s" is negative; write a duration from 0s to 10m, like "10s"
10: keepalive = "1500ms" is finer than whole seconds; write a duration from 1s to 2h, like "15s", or "0s" for the kernel's default
11: user_timeout = "10" has no unit (the units are ms, s, m and h); write a duration from 1s to 1h, like "30s", or "0s" for the kernel's default`},
		{"times", `+first_byte_timeout = "1ms"
write_timeout = "2h"
min_rate = "2MiB/s"
lifetime = "0.5s"
`, `7: first_byte_timeout = "1ms" is out of range; write a duration from 10ms to 1h, like "1m", or "0s" for none but idle_timeout
8: write_timeout = "2h" is out of range; write a duration from 10ms to 1h, like "1m", or "0s" for none but min_rate and idle_timeout
9: min_rate = "2MiB/s" is out of range; write a rate from 0B/s to 1MiB/s, like "100B/s"
10: lifetime = "0.5s" is out of range; write a duration from 1s to 8760h, like "24h", or "0s" for no limit`},
		{"more durations", `+idle_timeout = "soon"
event_timeout = "1.0005s"
linger = 07:32:00
`, `7: idle_timeout = "soon" is not a duration (the units are ms, s, m and h); write a duration from 10ms to 720h, like "5m"
8: event_timeout = "1.0005s" is finer than whole milliseconds; write a duration from 1ms to 1m, like "1s"
9: linger = 07:32:00 is a date or time; write a duration from 0s to 10m, like "10s"`},
		{"sizes", "+inbox = \"32MiB\"\nbacklog = 0\n", `7: inbox = "32MiB" is out of range; write a size from 4KiB to 16MiB, like "64KiB"
8: backlog = 0 is out of range; write a whole number from 1 to 65535`},
		{"size with a point", "+inbox = 1.5\nbacklog = 1.0\n", `7: inbox = 1.5 is a number with a point; write a size from 4KiB to 16MiB, like "64KiB"
8: backlog = 1 is a number with a point; write a whole number from 1 to 65535`},
		{"socket keys on tcp", "+mode = \"0660\"\nowner = \"a\"\n", `7: mode is for a unix socket with a path, and address is "tcp://127.0.0.1:7001"; leave it out
8: owner is for a unix socket with a path, and address is "tcp://127.0.0.1:7001"; leave it out`},
		{"tcp keys on a socket", strings.Replace(least, "tcp://127.0.0.1:7001", "unix:///run/e.sock", 1) + "keepalive = \"1s\"\nuser_timeout = \"1s\"\nsend_buffer = \"1MiB\"\n", `7: keepalive is for TCP, and address is "unix:///run/e.sock"; leave it out
8: user_timeout is for TCP, and address is "unix:///run/e.sock"; leave it out
9: send_buffer is for TCP and UDP, and address is "unix:///run/e.sock"; leave it out`},
		{"udp keys on tcp", least + "waiting_datagrams = 5\nwaiting_bytes = \"1MiB\"\nreceive_buffer = \"1MiB\"\nsend_buffer = \"0B\"\n", `7: waiting_datagrams is for UDP, and address is "tcp://127.0.0.1:7001"; leave it out, or listen on udp://
8: waiting_bytes is for UDP, and address is "tcp://127.0.0.1:7001"; leave it out, or listen on udp://
9: receive_buffer is for UDP, and address is "tcp://127.0.0.1:7001"; leave it out, or listen on udp://`},
		{"groups", strings.Replace(least, "tcp://", "udp://", 1) + "group = [\"239.1.2.3\"]\n", `5: group does not go with address "udp://127.0.0.1:7001", where nothing comes that is sent to a group; write "udp://:7001"`},
		{"groups of another family", strings.Replace(least, "tcp://127.0.0.1", "udp4://", 1) + "group = [\"ff02::fb\", \"239.1.2.3\"]\nsource = [\"::1\"]\n", `7: group has "ff02::fb", and address is "udp4://:7001"; listen on udp://, which is of both families, or leave it out
8: source has "::1", and address is "udp4://:7001"; listen on udp://, which is of both families, or leave it out`},
		{"no groups", strings.Replace(least, "tcp://127.0.0.1", "udp://", 1) + "interface = \"eth0\"\nsource = [\"10.0.0.1\"]\n", `7: interface is for a listener with group; leave it out, or say which multicast groups in group
8: source is for a listener with group; leave it out, or say which multicast groups in group`},
		{"what is no group", strings.Replace(least, "tcp://127.0.0.1", "udp://", 1) + "group = [\"10.0.0.1\"]\n", `7: group = [...] has "10.0.0.1", which is no multicast address; write a list of up to 64 multicast addresses, like ["239.255.255.250", "ff02::fb"]`},
		{"a group twice", strings.Replace(least, "tcp://127.0.0.1", "udp://", 1) + "group = [\"239.1.2.3\", \"239.1.2.3\"]\ninterface = \"a/b\"\n", `7: group = [...] has "239.1.2.3" twice; keep one of the two
8: interface = "a/b" is no interface's name; write the name of a network interface, like "eth0"`},
		{"stream keys on udp", strings.Replace(least, "tcp://", "udp://", 1) + "keepalive = \"1s\"\nuser_timeout = \"1s\"\nbacklog = 5\nshape = \"stdio\"\n[listener.tls]\nself_signed = [\"a\"]\n", `7: keepalive is for TCP, and address is "udp://127.0.0.1:7001"; leave it out
8: user_timeout is for TCP, and address is "udp://127.0.0.1:7001"; leave it out
9: backlog is for streams, and address is "udp://127.0.0.1:7001"; leave it out, or listen on tcp://
10: shape = "stdio" does not go with address "udp://127.0.0.1:7001": a program's input is a stream, and would not see where a datagram ends; write a handler with callbacks (shape = "events"), or listen on tcp://
11: [listener.tls] is for streams, and address is "udp://127.0.0.1:7001"; leave it out, or listen on tcp://`},
		{"mode and owner", strings.Replace(least, "tcp://127.0.0.1:7001", "unix:///run/e.sock", 1) + "mode = 0o660\nowner = \"a:b:c\"\n", `7: mode = 432 is a whole number; write octal digits in quotes from "0000" to "0777", like "0660"
8: owner = "a:b:c" is no owner; write "USER", "USER:GROUP" or ":GROUP", by name or number`},
		{"mode out of range", strings.Replace(least, "tcp://127.0.0.1:7001", "unix:///run/e.sock", 1) + "mode = \"4755\"\n", `7: mode = "4755" is no mode; write octal digits in quotes from "0000" to "0777", like "0660"`},
		{"programs", "+shape = \"stdio\"\nargs = [1]\nenv = [\"A=b\", \"=c\"]\nfolder = \"echo.wasm\"\n", `8: args = [...] has an entry that is a whole number; write a list of up to 256 texts, the program's arguments behind its name, like ["-v", "/program.conf"]
9: env = [...] has "=c" in it; write a list of up to 256 of NAME=value, like ["TZ=UTC", "LOG=debug"]
10: folder = "echo.wasm" is no folder; write the path of a folder, which the program sees as / and may read`},
		{"programs with a NUL", "+shape = \"stdio\"\nargs = [\n\"a\",\n\"b\\u0000\"]\n", `10: args[1] = "b\x00" has a NUL byte in it; leave it out`},
		{"for programs alone", "+args = [\"a\"]\n", `7: args is for programs (shape = "stdio"); leave it out, or write shape = "stdio"; a handler is told things by [listener.config]`},
		{"stdio shared", "+shape = \"stdio\"\ninstance = \"loop\"\n", `8: instance = "loop" does not go with shape = "stdio", where each connection has a program of its own; leave instance out, or write instance = "connection"`},
		{"config is no table", "+config = [1]\n", `7: config = [...] is an array; write a table [listener.config] for the plugin, of at most 64KiB as JSON`},
		{"config not JSON", "+[listener.config]\na.b = [1.0,\n  inf]\n[[listener.config.t]]\nx = nan\n", `9: config.a.b[1] = +Inf cannot be said in JSON; write a finite number
11: config.t[0].x = NaN cannot be said in JSON; write a finite number`},
		{"config too large", "+[listener.config]\na = \"" + strings.Repeat("x", maxGuestConfig) + "\"\n", `7: config = {...} is 65544 bytes as JSON; write a table [listener.config] for the plugin, of at most 64KiB as JSON`},

		// Listeners together.
		{"duplicate name", least + strings.Replace(least, "7001", "7002", 1)[len("[tenant.acme]\n"):], `8: duplicate listener name "echo"; give each listener a name of its own (the first is on line 3)`},
		{"duplicate address", least + strings.Replace(least, "echo\"", "b\"", 1)[len("[tenant.acme]\n"):], `10: duplicate address "tcp://127.0.0.1:7001"; listen on another address (the first is on line 5)`},
		{"overlapping address", least + strings.NewReplacer("echo\"", "b\"", "127.0.0.1", "").Replace(least)[len("[tenant.acme]\n"):], `10: address "tcp://:7001" overlaps with "tcp://127.0.0.1:7001"; listen on another address (the first is on line 5)`},
		{"times of streams on udp", strings.Replace(least, "tcp://", "udp://", 1) + "first_byte_timeout = \"1s\"\nwrite_timeout = \"1s\"\nmin_rate = \"1kB/s\"\n", `7: first_byte_timeout is for streams, and address is "udp://127.0.0.1:7001"; leave it out, or listen on tcp://
8: write_timeout is for streams, and address is "udp://127.0.0.1:7001"; leave it out, or listen on tcp://
9: min_rate is for streams, and address is "udp://127.0.0.1:7001"; leave it out, or listen on tcp://`},
		{"overlapping address of udp", strings.NewReplacer("tcp://127.0.0.1", "udp4://").Replace(least) + strings.NewReplacer("echo\"", "b\"", "tcp://", "udp://").Replace(least)[len("[tenant.acme]\n"):], `10: address "udp://127.0.0.1:7001" overlaps with "udp4://:7001"; listen on another address (the first is on line 5)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			src := test.src
			if rest, ok := strings.CutPrefix(src, "+"); ok {
				src = least + rest
			}
			dir := plugins(t)
			c, err := Parse("b.toml", []byte(src), dir)
			if err == nil {
				t.Fatalf("no error, but %+v", c)
			}
			if c != nil {
				t.Error("a Config beside the errors")
			}
			got := strings.ReplaceAll(err.Error(), dir, "DIR")
			want := "b.toml:" + strings.ReplaceAll(test.want, "\n", "\nb.toml:")
			want = strings.NewReplacer("HOSTKEYS", strings.Join(fieldNames(hostFields), ", "), "TENANTKEYS", strings.Join(fieldNames(tenantFields), ", ")).Replace(want)
			if got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	none := filepath.Join(dir, "none.toml")
	for path, reason := range map[string]string{none: "no such file or directory", dir: "is a directory"} {
		c, err := Load(path)
		want := path + ": cannot read the configuration: " + reason + "; give the path of a TOML file that this user may read"
		if c != nil || err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	large := filepath.Join(dir, "large.toml")
	if err := os.WriteFile(large, make([]byte, maxFile+100), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(large); err == nil || err.Error() != large+":1: the file is larger than 1MiB; keep it to 1MiB" {
		t.Errorf("got %v", err)
	}
}

func TestErrorsAs(t *testing.T) {
	_, err := Parse("b.toml", []byte("x = 1\ny = 2"), "")
	err = fmt.Errorf("reading: %w", err)
	var all Errors
	if !errors.As(err, &all) || len(all) != 3 {
		t.Fatalf("errors.As found %v", all)
	}
	var one *Error
	if !errors.As(err, &one) || one.Line != 1 || one.File != "b.toml" {
		t.Errorf("errors.As found %+v", one)
	}
	if got := (&Error{File: "f", What: "w"}).Error(); got != "f: w" {
		t.Errorf("got %q", got)
	}
}

// TestManyErrors sees to it that a file of the wrong kind does not fill the screen for ever.
func TestManyErrors(t *testing.T) {
	var b strings.Builder
	b.WriteString(least)
	for i := range 30_000 {
		fmt.Fprintf(&b, "idle_timeou%d = 1\n", i)
	}
	_, err := Parse("b.toml", []byte(b.String()), plugins(t))
	all, ok := err.(Errors)
	if !ok || len(all) != maxErrors {
		t.Fatalf("%d errors", len(all))
	}
	if got := all[maxErrors-1].Error(); got != "b.toml:30006: more problems than are worth listing; mend the first ones and look again" {
		t.Errorf("the last is %q", got)
	}
}
