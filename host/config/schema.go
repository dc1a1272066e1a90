package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"bulkhead/host/egress"
	"bulkhead/host/proxy"
	"bulkhead/internal/websocket"
)

// The keys of the file's three tables, with their ranges, and the defaults.
// docs/CONFIG.md says the same in prose; a test compares the two.

// newHost gives the defaults of [host].
func (d *decoder) newHost() Host {
	h := Host{State: filepath.Join(d.dir, "state")}
	setDefaults(&h, hostFields)
	return h
}

// DefaultHost gives the settings of a host of which a file in the folder dir says nothing, for
// programs that make a Config themselves. State is the folder "state" in dir; it is needed where
// there are plugins.
func DefaultHost(dir string) Host {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return (&decoder{dir: dir}).newHost()
}

var hostFields = []field[Host]{
	intField("loops", 0, 1024, "one per CPU", func(h *Host) *int { return &h.Loops }).is(columns{reload: Restart}),
	{
		name: "state",
		want: "the path of a folder, which need not exist yet",
		read: readState,
		show: func(h *Host) string { return Quote(h.State) },

		columns: columns{reload: Restart},
	},
	durationField("grace", 0, time.Hour, time.Millisecond, "", "10s", func(h *Host) *time.Duration { return &h.Grace }).is(columns{reload: InPlace}),
	durationField("drain", 0, time.Hour, time.Millisecond, "", "10s", func(h *Host) *time.Duration { return &h.Drain }).is(columns{deflt: "10s", reload: InPlace}),
	intField("connections", 0, maxConnections, "as many as RLIMIT_NOFILE leaves room for", func(h *Host) *int { return &h.Connections }).is(columns{reload: InPlace}),
	intField("handshakes", 1, maxConnections, "", func(h *Host) *int { return &h.Handshakes }).is(columns{deflt: 4096, reload: InPlace}),
	intField("pipes", 1, maxPipes, "", func(h *Host) *int { return &h.Pipes }).is(columns{deflt: 1024, reload: InPlace}),
	sizeField("code_cache", 0, 1024*gib, "1GiB", func(h *Host) *int64 { return &h.CodeCache }).is(columns{deflt: "1GiB", reload: InPlace, note: "0B: no bound"}),
	sizeField("module_cache", 0, 1024*gib, "256MiB", func(h *Host) *int64 { return &h.ModuleCache }).is(columns{deflt: "256MiB", reload: InPlace, note: "0B: no bound"}),
	{
		name: "user",
		want: "the name or the number of a user of this machine",
		read: func(h *Host, v *value) {
			if s, ok := v.str(); ok {
				if !ownerWord(s) {
					v.bad("is no user")
					return
				}
				h.User = s
			}
		},
		show: func(h *Host) string {
			if h.User == "" {
				return "# user is not given: the process stays whose it is"
			}
			return Quote(h.User)
		},

		columns: columns{reload: Restart},
	},
	boolField("landlock", func(h *Host) *bool { return &h.Landlock }).is(columns{deflt: true, reload: Restart, note: "where the kernel has it"}),
	boolField("seccomp", func(h *Host) *bool { return &h.Seccomp }).is(columns{reload: Restart}),
	choiceField("log", []string{"auto", "text", "json"}, func(h *Host) *string { return &h.Log }).is(columns{deflt: "auto", reload: Restart}),
	choiceField("log_level", []string{"debug", "info", "warn", "error"}, func(h *Host) *string { return &h.LogLevel }).is(columns{deflt: "info", reload: InPlace}),
}

// maxConnections bounds every count of connections.
const maxConnections = 10_000_000

// maxPipes bounds the pipes of all relays.
const maxPipes = 1_000_000

// maxMappings bounds a tenant's memory mappings.
const maxMappings = 10_000_000

// maxTimers bounds a tenant's timers.
const maxTimers = 100_000_000

// DefaultTenant gives the limits of a tenant of which a file says nothing, for
// programs that make a Config themselves.
func DefaultTenant(name string) Tenant {
	t := defaultTenant()
	t.Name = name
	return t
}

// defaultTenant and defaultListener read the defaults of their rows once: a file of a thousand
// tenants asks for them as often.
var (
	defaultTenant = sync.OnceValue(func() (t Tenant) {
		setDefaults(&t, tenantFields)
		return t
	})
	defaultListener = sync.OnceValue(func() (l Listener) {
		setDefaults(&l, listenerFields)
		return l
	})
)

var tenantFields = []field[Tenant]{
	sizeField("memory", 64*kib, 1024*gib, "64MiB", func(t *Tenant) *int64 { return &t.Memory }).is(columns{deflt: "256MiB", reload: InPlace}),
	numberField("cpu", 0.01, 1024, func(t *Tenant) *float64 { return &t.CPU }).is(columns{deflt: 1, reload: InPlace, note: "cores"}),
	sizeField("stack", 64*kib, 64*mib, "4MiB", func(t *Tenant) *int { return &t.Stack }).is(columns{deflt: "4MiB", reload: NewGeneration, note: "of one call"}),
	boolField("share_code", func(t *Tenant) *bool { return &t.ShareCode }).is(columns{deflt: true, reload: NewGeneration, note: "with tenants that have the same module"}),
	intField("instances", 0, maxConnections, "as many as connections and shared handlers need", func(t *Tenant) *int { return &t.Instances }).is(columns{reload: InPlace}),
	intField("mappings", 0, maxMappings, "its share", func(t *Tenant) *int { return &t.Mappings }).is(columns{reload: InPlace}),
	sizeField("socket_memory", 0, 1024*gib, "256MiB", func(t *Tenant) *int64 { return &t.SocketMemory }).is(columns{deflt: "256MiB", reload: InPlace, note: "of the system"}),
	intField("timers", 0, maxTimers, "none", func(t *Tenant) *int { return &t.Timers }).is(columns{deflt: 100_000, reload: InPlace}),
	numberField("log_lines", 0.1, 100_000, func(t *Tenant) *float64 { return &t.LogLines }).is(columns{deflt: 200, reload: InPlace, note: "a second"}),
	rateField("log_bytes", kib, gib, "64KiB/s", func(t *Tenant) *int64 { return &t.LogBytes }).is(columns{deflt: "128KiB/s", reload: InPlace, note: "as they stand in the log"}),
	intField("connections", 1, maxConnections, "", func(t *Tenant) *int { return &t.Connections }).is(columns{deflt: 1000, reload: InPlace}),
	numberField("accept_rate", 0.1, 1_000_000, func(t *Tenant) *float64 { return &t.AcceptRate }).is(columns{deflt: 200, reload: InPlace, note: "connections a second"}),
	rateField("bandwidth", kib, 1024*gib, "10MiB/s", func(t *Tenant) *int64 { return &t.Bandwidth }).is(columns{deflt: "64MiB/s", reload: InPlace, note: "each way"}),
	{
		name: "connect",
		want: `a list of at most 256 of HOST:PORT, NETWORK/BITS:PORT and unix:///PATH, like ["db.example.com:5432", "10.0.0.0/8:443"]`,
		read: readConnect,
		show: func(t *Tenant) string { return tomlList(t.Connect) },

		columns: columns{reload: InPlace},
	},
	intField("dials", 1, maxConnections, "", func(t *Tenant) *int { return &t.Dials }).is(columns{deflt: 64, reload: InPlace, note: "under way at once"}),
	intField("handshakes", 1, maxConnections, "", func(t *Tenant) *int { return &t.Handshakes }).is(columns{deflt: 1000, reload: InPlace, note: "under way at once"}),
	intField("upstreams", 1, maxConnections, "", func(t *Tenant) *int { return &t.Upstreams }).is(columns{deflt: 1000, reload: InPlace, note: "dialled connections"}),
}

// DefaultListener gives the settings of a listener of which a file says
// nothing, for programs that make a Config themselves: Name, Tenant, Address and
// Plugin are left to them.
func DefaultListener() Listener {
	l := defaultListener()
	l.Config = slices.Clone(l.Config) // it is the caller's
	return l
}

// DatagramIdleTimeout is the idle timeout of a UDP listener of which a file does not say
// it. It is shorter than others, since a datagram may be from somebody who never asked
// for anything, and whose place nobody gives back.
const DatagramIdleTimeout = 30 * time.Second

// DatagramSendBuffer is the send buffer of a UDP listener of which a file does not say it.
const DatagramSendBuffer = 256 * kib

var listenerFields = listenerKeys([]field[Listener]{
	{
		name:     "name",
		want:     nameForm,
		required: `name = "NAME"`,
		read: func(l *Listener, v *value) {
			if s, ok := v.str(); ok {
				if !goodName(s) {
					v.bad("is no listener's name")
					return
				}
				l.Name = s
			}
		},
		show: func(l *Listener) string { return Quote(l.Name) },

		columns: columns{of: ofListener, reload: NewListener},
	},
	{
		name:     "tenant",
		want:     "the NAME of a [tenant.NAME] table",
		required: `tenant = "NAME", and a [tenant.NAME] table`,
		read: func(l *Listener, v *value) {
			if s, ok := v.str(); ok {
				if s == "" {
					v.bad("is empty")
					return
				}
				l.Tenant = s
			}
		},
		show: func(l *Listener) string { return Quote(l.Tenant) },

		columns: columns{of: ofService, reload: NewGeneration},
	},
	{
		name:     "address",
		want:     strings.TrimPrefix(addressForms, "write "),
		required: `address = "tcp://127.0.0.1:7001"`,
		read: func(l *Listener, v *value) {
			if s, ok := v.str(); ok {
				a, f := parseAddress(s, v.d.dir)
				if f != nil {
					v.fault(f)
					return
				}
				l.Address = a
			}
		},
		show: func(l *Listener) string { return Quote(l.Address.String()) },

		columns: columns{of: ofSocket, reload: NewSocket},
	},
	{
		name:     "plugin",
		want:     "the path of a .wasm, .js, .ts, .py or .lua file",
		required: `plugin = "FILE.wasm"`,
		instead:  "route",
		read:     readPlugin,
		show: func(l *Listener) string {
			if l.Plugin == "" {
				return "# plugin is not given: a connection that no route matches is closed"
			}
			return Quote(l.Plugin)
		},

		columns: columns{of: ofService, reload: NewGeneration},
	},
	{
		name: "plugin_sha256",
		want: "the 64 hex digits that sha256sum prints for the plugin",
		read: func(l *Listener, v *value) {
			if s, ok := v.str(); ok {
				if len(s) != 64 || strings.Trim(s, "0123456789abcdefABCDEF") != "" {
					v.bad("is not 64 hex digits")
					return
				}
				l.PluginSHA256 = strings.ToLower(s)
			}
		},
		show: func(l *Listener) string {
			if l.PluginSHA256 == "" {
				return "# plugin_sha256 is not given: any content of the plugin will do"
			}
			return Quote(l.PluginSHA256)
		},

		columns: columns{of: ofService, reload: NewGeneration},
	},
	intField("script_files", 1, 100_000, "", func(l *Listener) *int { return &l.ScriptFiles }).is(columns{deflt: 2000, of: ofService, reload: NewGeneration, note: "with what it imports"}),
	sizeField("script_bytes", 4*kib, gib, "32MiB", func(l *Listener) *int64 { return &l.ScriptBytes }).is(columns{deflt: "32MiB", of: ofService, reload: NewGeneration, note: "of all its files"}),
	choiceField("instance", []string{"connection", "loop", "listener"}, func(l *Listener) *string { return &l.Instance }).is(columns{deflt: "connection", of: ofService, reload: NewGeneration}),
	choiceField("shape", []string{"events", "stdio"}, func(l *Listener) *string { return &l.Shape }).is(columns{deflt: "events", of: ofService, reload: NewGeneration}),
	boolField("snapshot", func(l *Listener) *bool { return &l.Snapshot }).is(columns{deflt: true, when: copies, of: ofService, reload: NewGeneration}),
	argsField, envField, folderField,
	{
		name: "proxy_from",
		want: `a list of up to 256 addresses, networks and "unix", like ["10.0.0.0/8", "192.0.2.1"]`,
		read: func(l *Listener, v *value) {
			list, ok := v.list(256)
			if !ok {
				return
			}
			if _, err := proxy.ParseSources(list); err != nil {
				v.bad("is wrong: " + err.Error())
				return
			}
			l.ProxyFrom = list
		},
		show: func(l *Listener) string { return tomlList(l.ProxyFrom) },

		columns: columns{of: ofListener, reload: InPlace},
	},
	intField("per_source", 0, maxConnections, "no bound", func(l *Listener) *int { return &l.PerSource }).is(columns{of: ofListener, reload: InPlace, note: "connections of one address; 0: no bound"}),
	numberField("per_source_rate", 0, 1_000_000, func(l *Listener) *float64 { return &l.PerSourceRate }).is(columns{of: ofListener, reload: InPlace, note: "new ones a second; 0: no bound"}),
	intField("per_source_prefix", 1, 128, "", func(l *Listener) *int { return &l.PerSourcePrefix }).is(columns{deflt: 64, of: ofListener, reload: InPlace, note: "bits of an IPv6 address"}),
	durationField("idle_timeout", 10*time.Millisecond, 720*time.Hour, time.Millisecond, "", "5m", func(l *Listener) *time.Duration { return &l.IdleTimeout }).is(columns{deflt: "5m", overUDP: formatDuration(DatagramIdleTimeout), of: ofService, reload: InPlace}),
	durationField("first_byte_timeout", 10*time.Millisecond, time.Hour, time.Millisecond, "none but idle_timeout", "1m", func(l *Listener) *time.Duration { return &l.FirstByteTimeout }).is(columns{deflt: "1m", on: streams, of: ofService, reload: InPlace}),
	durationField("write_timeout", 10*time.Millisecond, time.Hour, time.Millisecond, "none but min_rate and idle_timeout", "1m", func(l *Listener) *time.Duration { return &l.WriteTimeout }).is(columns{deflt: "1m", on: streams, of: ofService, reload: InPlace}),
	rateField("min_rate", 0, mib, "100B/s", func(l *Listener) *int64 { return &l.MinRate }).is(columns{deflt: "100B/s", on: streams, of: ofService, reload: InPlace, note: "while the peer owes something; 0B/s: none"}),
	durationField("lifetime", time.Second, 8760*time.Hour, time.Millisecond, "no limit", "24h", func(l *Listener) *time.Duration { return &l.Lifetime }).is(columns{deflt: "24h", of: ofService, reload: InPlace}),
	durationField("connect_timeout", time.Millisecond, time.Hour, time.Millisecond, "", "10s", func(l *Listener) *time.Duration { return &l.ConnectTimeout }).is(columns{deflt: "10s", of: ofService, reload: InPlace}),
	durationField("event_timeout", time.Millisecond, time.Minute, time.Millisecond, "", "1s", func(l *Listener) *time.Duration { return &l.EventTimeout }).is(columns{deflt: "1s", of: ofService, reload: InPlace, note: "of CPU time"}),
	durationField("linger", 0, 10*time.Minute, time.Millisecond, "", "10s", func(l *Listener) *time.Duration { return &l.Linger }).is(columns{deflt: "10s", of: ofService, reload: InPlace}),
	durationField("old_for", 0, 720*time.Hour, time.Millisecond, "", "1h", func(l *Listener) *time.Duration { return &l.OldFor }).is(columns{deflt: "1h", of: ofListener, reload: InPlace}),
	intField("generations", 1, 100, "", func(l *Listener) *int { return &l.Generations }).is(columns{deflt: 3, of: ofListener, reload: InPlace}),
	sizeField("inbox", 4*kib, 16*mib, "64KiB", func(l *Listener) *int { return &l.Inbox }).is(columns{deflt: "64KiB", of: ofService, reload: InPlace}),
	intField("waiting_datagrams", 1, 65535, "", func(l *Listener) *int { return &l.WaitingDatagrams }).is(columns{deflt: 1024, on: udp, of: ofListener, reload: InPlace, note: "of one peer, while its handler takes none"}),
	sizeField("waiting_bytes", 4*kib, 8*mib, "1MiB", func(l *Listener) *int { return &l.WaitingBytes }).is(columns{deflt: "1MiB", on: udp, of: ofListener, reload: InPlace, note: "of one peer, while its handler takes none"}),
	sizeField("receive_buffer", 4*kib, 64*mib, "1MiB", func(l *Listener) *int { return &l.ReceiveBuffer }).is(columns{deflt: "1MiB", on: udp, of: ofSocket, reload: InPlace, note: "the kernel may hold less"}),
	sizeField("send_buffer", 0, 64*mib, "256KiB", func(l *Listener) *int { return &l.SendBuffer }).is(columns{overUDP: formatSize(DatagramSendBuffer), on: tcp | udp, of: ofSocket, reload: InPlace, note: "0B: the kernel's own"}),
	addressesField("group", `a list of up to 64 multicast addresses, like ["239.255.255.250", "ff02::fb"]`, netip.Addr.IsMulticast, "is no multicast address", func(l *Listener) *[]netip.Addr { return &l.Groups.Addresses }).is(columns{on: udp, of: ofSocket, reload: NewSocket}).with(func(f *field[Listener]) {
		show := f.show
		f.show = func(l *Listener) string {
			if len(l.Groups.Addresses) == 0 {
				return ""
			}
			return show(l)
		}
	}),
	{
		name: "interface",
		want: `the name of a network interface, like "eth0"`,
		read: func(l *Listener, v *value) {
			if s, ok := v.str(); ok {
				if s == "" || len(s) > 15 || strings.ContainsAny(s, "/: \t\n\x00") {
					v.bad("is no interface's name")
					return
				}
				l.Groups.Interface = s
			}
		},
		show: func(l *Listener) string {
			if l.Groups.Interface == "" {
				return "# interface is not given: the system chooses one for each group"
			}
			return Quote(l.Groups.Interface)
		},

		columns: columns{on: udp, when: hasGroup, of: ofSocket, reload: NewSocket},
	},
	addressesField("source", `a list of up to 64 addresses, like ["192.0.2.1"]`, func(a netip.Addr) bool { return !a.IsMulticast() && !a.IsUnspecified() }, "is no address of a sender", func(l *Listener) *[]netip.Addr { return &l.Groups.Sources }).is(columns{on: udp, when: hasGroup, of: ofSocket, reload: NewSocket}),
	{
		name: "origins",
		want: `a list of up to 256 origins of pages, "null" or "*", like ["https://example.com", "https://*.example.org"]`,
		read: func(l *Listener, v *value) {
			list, ok := v.list(256)
			if !ok {
				return
			}
			if _, err := websocket.ParseOrigins(list); err != nil {
				v.bad("is wrong: " + err.Error())
				return
			}
			if l.Origins = list; list == nil {
				l.Origins = []string{} // nobody, which is not what it is without the key
			}
		},
		show: func(l *Listener) string {
			if l.Origins == nil {
				return "# origins is not given: pages from the host that they connect to"
			}
			return tomlList(l.Origins)
		},

		columns: columns{on: ws, of: ofService, reload: InPlace},
	},
	{
		name: "subprotocols",
		want: `a list of up to 16 WebSocket subprotocols, like ["mqtt"]`,
		read: func(l *Listener, v *value) {
			list, ok := v.list(16)
			for _, s := range list {
				if s == "" || len(s) > 64 || !plainWord(s) {
					v.bad("has " + quote(s) + ", which is no subprotocol's name")
					return
				}
			}
			if ok {
				l.Protocols = list
			}
		},
		show: func(l *Listener) string { return tomlList(l.Protocols) },

		columns: columns{on: ws, of: ofService, reload: InPlace},
	},
	sizeField("request_size", 512, 64*kib, "8KiB", func(l *Listener) *int { return &l.RequestSize }).is(columns{deflt: "8KiB", on: ws, of: ofService, reload: InPlace, note: "with its headers"}),
	durationField("request_timeout", 10*time.Millisecond, 10*time.Minute, time.Millisecond, "", "10s", func(l *Listener) *time.Duration { return &l.RequestTimeout }).is(columns{deflt: "10s", on: ws, of: ofService, reload: InPlace}),
	sizeField("message_size", 125, 16*mib-64, "64KiB", func(l *Listener) *int { return &l.MessageSize }).is(columns{deflt: "64KiB", on: ws, of: ofService, reload: InPlace, note: "of a client's; the handler's window bounds it, too"}),
	intField("message_frames", 1, 1_000_000, "", func(l *Listener) *int { return &l.MessageFrames }).is(columns{deflt: 256, on: ws, of: ofService, reload: InPlace}),
	intField("control_rate", 1, 1_000_000, "", func(l *Listener) *int { return &l.ControlRate }).is(columns{deflt: 100, on: ws, of: ofService, reload: InPlace, note: "of a client's control frames, a second"}),
	durationField("ping", 100*time.Millisecond, time.Hour, time.Millisecond, "none", "30s", func(l *Listener) *time.Duration { return &l.Ping }).is(columns{deflt: "30s", on: ws, of: ofService, reload: InPlace}),
	choiceField("send_as", []string{"received", "text", "binary"}, func(l *Listener) *string { return &l.SendAs }).is(columns{deflt: "received", on: ws, of: ofService, reload: InPlace}),
	choiceField("on_bad_data", []string{"close", "log"}, func(l *Listener) *string { return &l.OnBadData }).is(columns{deflt: "close", of: ofService, reload: InPlace}),
	intField("backlog", 1, 65535, "", func(l *Listener) *int { return &l.Backlog }).is(columns{deflt: 4096, on: streams, of: ofSocket, reload: InPlace, note: "the kernel may make it shorter"}),
	{
		name: "mode",
		want: `octal digits in quotes from "0000" to "0777", like "0660"`,
		read: readMode,
		show: func(l *Listener) string { return Quote(fmt.Sprintf("%04o", l.Mode.Perm())) },

		columns: columns{deflt: "0600", on: unixFile, of: ofSocket, reload: InPlace},
	},
	{
		name: "owner",
		want: `"USER", "USER:GROUP" or ":GROUP", by name or number`,
		read: func(l *Listener, v *value) {
			if s, ok := v.str(); ok {
				if !goodOwner(s) {
					v.bad("is no owner")
					return
				}
				l.Owner = s
			}
		},
		show: func(l *Listener) string {
			if l.Owner == "" {
				return "# owner is not given: the socket belongs to whoever runs the host"
			}
			return Quote(l.Owner)
		},

		columns: columns{on: unixFile, of: ofSocket, reload: InPlace},
	},
	durationField("keepalive", time.Second, 2*time.Hour, time.Second, "the kernel's default", "15s", func(l *Listener) *time.Duration { return &l.Keepalive }).is(columns{deflt: "15s", on: tcp, of: ofSocket, reload: InPlace}),
	durationField("user_timeout", time.Second, time.Hour, time.Millisecond, "the kernel's default", "30s", func(l *Listener) *time.Duration { return &l.UserTimeout }).is(columns{deflt: "30s", on: tcp, of: ofSocket, reload: InPlace}),
	sizeField("notsent_lowat", 0, 64*mib, "256KiB", func(l *Listener) *int { return &l.NotSent }).is(columns{deflt: "256KiB", on: tcp, of: ofSocket, reload: InPlace, note: "0B: the kernel's default"}),
	{
		name: "route",
		want: "tables [[listener.route]]",
		read: func(*Listener, *value) {},           // when the listener's own keys have been read
		show: func(*Listener) string { return "" }, // tables of their own

		columns: columns{on: streams, of: ofListener, reload: NewGeneration, table: "[[listener.route]]"},
	},
	durationField("route_timeout", 10*time.Millisecond, 10*time.Minute, time.Millisecond, "", "10s", func(l *Listener) *time.Duration { return &l.RouteTimeout }).is(columns{deflt: "10s", on: streams, when: hasRoutes, of: ofListener, reload: InPlace}),
	{
		name: "tls",
		want: "a table [listener.tls] with cert and key",
		read: readTLS,
		show: func(*Listener) string { return "" }, // a table of its own

		columns: columns{on: streams, of: ofListener, reload: InPlace, table: "[listener.tls]"},
	},
	{
		name: "config",
		want: "a table [listener.config] for the plugin, of at most " + formatSize(maxGuestConfig) + " as JSON",
		read: readGuestConfig,
		show: func(l *Listener) string {
			return fmt.Sprintf("# [listener.config] is %d bytes as JSON, of at most %s", len(l.Config), formatSize(maxGuestConfig))
		},

		columns: columns{deflt: map[string]any{}, of: ofService, reload: NewGeneration, table: "[listener.config]"},
	},
})

// addressesField is a list of IP addresses for a UDP listener's groups.
func addressesField(name, want string, good func(netip.Addr) bool, problem string, at func(l *Listener) *[]netip.Addr) field[Listener] {
	return field[Listener]{
		name: name, want: want,
		read: func(l *Listener, v *value) {
			list, ok := v.list(64)
			if !ok {
				return
			}
			var all []netip.Addr
			for _, s := range list {
				a, err := netip.ParseAddr(s)
				if err != nil || a.Zone() != "" || a.Is4In6() || !good(a) {
					v.bad("has " + quote(s) + ", which " + problem)
					return
				}
				if slices.Contains(all, a) {
					v.fault(&fault{"has " + quote(s) + " twice", "keep one of the two"})
					return
				}
				all = append(all, a)
			}
			*at(l) = all
		},
		show: func(l *Listener) string {
			var list []string
			for _, a := range *at(l) {
				list = append(list, a.String())
			}
			return tomlList(list)
		},
	}
}

// readConnect looks over a tenant's connect list, each entry with its line.
func readConnect(t *Tenant, v *value) {
	list, ok := v.v.([]any)
	if !ok {
		v.wrongType()
		return
	}
	if len(list) > 256 {
		v.bad(fmt.Sprintf("has %d entries", len(list)))
		return
	}
	seen := make(map[string]bool, len(list))
	for i, item := range list {
		entry := &value{d: v.d, key: fmt.Sprintf("connect[%d]", i), want: dialForms, v: item, n: v.n.Item(i)}
		s, ok := entry.str()
		if !ok {
			continue
		}
		if _, err := egress.Parse([]string{s}); err != nil {
			var bad *egress.EntryError
			if errors.As(err, &bad) {
				entry.fault(&fault{bad.Problem, bad.Mend})
			} else {
				entry.bad(err.Error())
			}
			continue
		}
		if seen[s] {
			entry.fault(&fault{"is in the list twice", "keep one of the two"})
			continue
		}
		seen[s] = true
		t.Connect = append(t.Connect, s)
	}
}

// readMode takes text only: TOML's 660 and 0o660 are both whole numbers, and
// telling the one from the other afterwards is guessing.
func readMode(l *Listener, v *value) {
	s, ok := v.str()
	if !ok {
		return
	}
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || len(s) < 3 || len(s) > 4 || n > 0o777 {
		v.bad("is no mode")
		return
	}
	l.Mode = fs.FileMode(n)
}

// goodOwner tells whether s can be a user, a group or both, as in chown.
// Whether they exist is for listen.Owner to say.
func goodOwner(s string) bool {
	user, group, both := strings.Cut(s, ":")
	if both && group == "" || !both && user == "" {
		return false
	}
	return ownerWord(user) && ownerWord(group)
}

// ownerWord allows the empty word: which of the two may be left out is goodOwner's.
func ownerWord(s string) bool {
	return len(s) <= 64 && !strings.HasPrefix(s, "-") && plainWord(s)
}
