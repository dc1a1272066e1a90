// Package config reads the TOML file that says what a host serves: its
// tenants with their limits, and the listeners with the plugins behind them.
//
// Load and Parse are strict. An unknown key, a key given twice, a value of the
// wrong type or out of range, a plugin that is not there: each is an Error with
// its file, its line and what to write instead, and all that can be found in
// one reading come back together. What a Config holds is within the ranges
// docs/CONFIG.md gives for each key, and every limit has a default.
//
// The package opens no socket and starts nothing; it looks at the file system
// only to see that the plugins are there. Its functions may be called from any
// goroutine, and a Config may be shared by goroutines that only read it.
package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"bulkhead/host/listen"
)

// Config is one configuration file, checked.
type Config struct {
	// File is the name given to Load or Parse, as it was given.
	File string
	Host Host
	// Admin is what operators see. A Config that a program makes may leave it out.
	Admin Admin
	// Tenants are sorted by name, and no name is there twice.
	Tenants []Tenant
	// Listeners are in the order of the file. There is at least one. No two
	// have one name or listen on one address.
	Listeners []Listener
	// Warnings are what is allowed but should be known, in line order: limits
	// that are set in the wrong place, plugin files that others may
	// write, tenants without listeners.
	Warnings []*Error
	// Text is what the file said, and Folder the absolute path of the folder from which relative
	// paths in it were taken. Text is nil in a Config that a program has made itself.
	Text   []byte
	Folder string
}

// Host is what holds for the whole process: the table [host].
type Host struct {
	// Loops is how many event loops run. 0 means one per CPU.
	Loops int
	// State is the folder for compiled modules and data: an absolute path,
	// which need not exist yet.
	State string
	// Grace is for how long connections are still accepted after a request to stop, before
	// Drain begins.
	Grace time.Duration
	// Drain is how long open connections may go on after a request to stop.
	// 0 closes them at once.
	Drain time.Duration
	// Connections is the most connections that all listeners together hold.
	// 0 means as many as RLIMIT_NOFILE leaves room for.
	Connections int
	// Handshakes is the most TLS handshakes that are under way, of all tenants. 0 is as
	// many as 4096.
	Handshakes int
	// Pipes is how many of the kernel's pipes relays may hold, of all tenants. 0 is 1024.
	Pipes int
	// CodeCache is how many bytes of compiled code the state folder keeps. 0 is any number.
	CodeCache int64
	// ModuleCache is how many bytes of copies of modules the state folder keeps, beside those that
	// are used. 0 is any number.
	ModuleCache int64
	// User is the name or the number of the user that the process becomes when its sockets are
	// open; "": it stays whose it is. Package host/confine does it.
	User string
	// Landlock says that the process may use what the configuration names of the file system alone,
	// where the kernel has Landlock. Package host/confine does it.
	Landlock bool
	// Seccomp says that the kernel refuses the process system calls that it has no use for. Package
	// host/confine does it.
	Seccomp bool
	// Log is the log's form: "auto" (text on a terminal, JSON elsewhere),
	// "text" or "json".
	Log string
	// LogLevel is the least level that is logged: "debug", "info", "warn" or
	// "error".
	LogLevel string

	lines map[string]int
}

// Tenant is one tenant's limits, which hold for all of its listeners and
// instances together: a table [tenant.NAME].
type Tenant struct {
	// Name is the NAME of [tenant.NAME].
	Name string
	// Memory is the most bytes of linear memory and buffers.
	Memory int64
	// CPU is the CPU time it may use in the long run, in cores.
	CPU float64
	// Stack is how large the stack of one call may become, in bytes.
	Stack int
	// ShareCode has the native code of the tenant's modules be that of other tenants who have the
	// same modules. Each is charged for all of it.
	ShareCode bool
	// Instances is the most instances it may have at once. 0 is as many as its
	// connections and shared handlers need.
	Instances int
	// Mappings is the most memory mappings it may have at once. 0 is its share of
	// those of the process.
	Mappings int
	// SocketMemory is the most bytes that its sockets may hold in the system, beyond what each
	// may hold in any case. 0 is none.
	SocketMemory int64
	// Timers is the most timers that its handlers may have set at once.
	Timers int
	// LogLines is the most lines a second that its handlers may log.
	LogLines float64
	// LogBytes is the most bytes a second that its handlers may log, as they stand in the
	// log: in quotes, with what stands beside them.
	LogBytes int64
	// Connections is the most connections it may hold at once.
	Connections int
	// AcceptRate is the most new connections a second.
	AcceptRate float64
	// Bandwidth is the most bytes a second, each way.
	Bandwidth int64
	// Connect lists whom its handlers may dial, in the words of egress.Policy, as
	// written. Empty means nobody.
	Connect []string
	// Dials is the most connections that its handlers may be dialling at once, and
	// Upstreams the most that they may have dialled or be dialling.
	Dials, Upstreams int
	// Handshakes is the most TLS handshakes that may be under way at once. 0 is as many as
	// the host's places allow.
	Handshakes int
	// Line is where its table begins.
	Line int

	lines map[string]int
}

// Listener is one address that is listened on, and the plugin that serves its
// connections: a table [[listener]].
type Listener struct {
	// Name is the listener's own; Tenant is the Name of one of Config.Tenants.
	Name, Tenant string
	// Address is where it listens.
	Address Address
	// Plugin is the absolute path of the WebAssembly file. It was a regular
	// file that could be opened when the configuration was read, and may have
	// changed since: open it once, and compile what was hashed.
	Plugin string
	// PluginSHA256 is what the plugin's SHA-256 must be, in 64 lower-case hex
	// digits, or "" when any content will do. Whoever reads the plugin
	// compares it; this package does not.
	PluginSHA256 string
	// ScriptFiles is how many files a script may be made of, and ScriptBytes how many bytes they
	// may have together.
	ScriptFiles int
	ScriptBytes int64
	// Instance says who shares a module instance: "connection" (nobody),
	// "loop" or "listener".
	Instance string
	// Shape is how the plugin speaks: "events" or "stdio". With "stdio",
	// Instance is "connection".
	Shape string
	// Snapshot says that a connection's instance is a copy of one that has
	// started. It means nothing but where Instance is "connection" and Shape is
	// "events".
	Snapshot bool
	// Args are the arguments of a program (shape "stdio") behind its name, and Env is its
	// environment, each NAME=value.
	Args, Env []string
	// Folder is the absolute path of the folder that a program may read; "": none.
	Folder string
	// ProxyFrom lists whose connections begin with a header of the PROXY protocol, in the
	// words of proxy.ParseSources. Empty means nobody's.
	ProxyFrom []string
	// PerSource is the most connections of one source address, and PerSourceRate the most new
	// ones of it a second; 0 is no bound. PerSourcePrefix is how many bits of an IPv6
	// address are its source.
	PerSource       int
	PerSourceRate   float64
	PerSourcePrefix int
	// IdleTimeout closes a connection on which no byte moves for so long. It
	// is never 0.
	IdleTimeout time.Duration
	// FirstByteTimeout closes a connection on which neither side has sent a byte
	// for so long since it came, WriteTimeout one whose peer has taken none of the
	// bytes that wait for it for so long, and Lifetime one that is so old. 0 means
	// that the limit does not hold.
	FirstByteTimeout, WriteTimeout, Lifetime time.Duration
	// MinRate is how many bytes a second a peer has to move while it owes the rest of
	// something it has begun, or room for bytes that wait. 0 means none.
	MinRate int64
	// ConnectTimeout is how long a handler's connect may take, with finding the
	// address. It is never 0.
	ConnectTimeout time.Duration
	// EventTimeout is the CPU time that one event may use. It is never 0.
	EventTimeout time.Duration
	// Linger is how long the bytes a connection has left to send may take
	// after producerFinished. 0 closes at once.
	Linger time.Duration
	// OldFor is for how long connections may go on when a reload has changed or removed their
	// listener. 0 closes them at once.
	OldFor time.Duration
	// Generations is how many there may be of the listener: the one that new connections come to,
	// and those that reloads have left. 0 is as 1.
	Generations int
	// Inbox is the most unsent bytes that a connection holds.
	Inbox int
	// Options are what its socket is opened with. What means nothing to the socket has no
	// effect: Mode and Owner are for the file of a unix socket.
	listen.Options
	// WaitingDatagrams and WaitingBytes bound what waits of one peer over UDP while its handler
	// takes none: datagrams, and bytes with 4 for each. They mean nothing for streams.
	WaitingDatagrams, WaitingBytes int
	// Origins are the pages whose scripts may connect over WebSocket, in the words of
	// websocket.ParseOrigins; nil: those from the host that they connect to. Protocols are the
	// subprotocols that are spoken. RequestSize is how many bytes the request may have, and
	// RequestTimeout how long it may take, which is never 0.
	Origins, Protocols []string
	RequestSize        int
	RequestTimeout     time.Duration
	// MessageSize is how many bytes a client's message over WebSocket may have, MessageFrames in
	// how many frames it may come, and ControlRate how many control frames a client may send in a
	// second.
	MessageSize, MessageFrames, ControlRate int
	// Ping is for how long a client over WebSocket may be silent before it is sent a ping; 0: it is
	// sent none. SendAs is what the handler's messages are: "received", "text" or "binary".
	Ping   time.Duration
	SendAs string
	// OnBadData says what becomes of a connection whose handler sends what
	// cannot be sent: "close" or "log".
	OnBadData string
	// Routes are the tables [[listener.route]], in the order of the file. With some, Plugin
	// may be "".
	Routes []Route
	// RouteTimeout is how long the peer may take to show which route its connection takes,
	// and a connection to wait for a place there. It is never 0, and means nothing without
	// Routes.
	RouteTimeout time.Duration
	// TLS is the table [listener.tls]; nil when there is none.
	TLS *TLS
	// Config is the table [listener.config] as a JSON object with sorted keys,
	// of at most 64 KiB: "{}" when there is none, and never nil. The slice
	// belongs to the Config and must not be written to.
	Config json.RawMessage
	// Line is where its table begins.
	Line int

	lines map[string]int
}

// copies reports whether Snapshot means anything.
func (l *Listener) copies() bool { return l.Instance == "connection" && l.Shape == "events" }

// LineOf gives the line on which the key of [host] stands, or 0 when it was
// not given.
func (h *Host) LineOf(key string) int { return h.lines[key] }

// LineOf gives the line on which the tenant's key stands, or Line when it was
// not given.
func (t *Tenant) LineOf(key string) int { return lineOf(t.lines, key, t.Line) }

// LineOf gives the line on which the listener's key stands, or Line when it
// was not given.
func (l *Listener) LineOf(key string) int { return lineOf(l.lines, key, l.Line) }

// Given reports whether the file says the listener's key. It is false for a Listener that did
// not come from a file.
func (l *Listener) Given(key string) bool {
	_, given := l.lines[key]
	return given
}

func lineOf(lines map[string]int, key string, table int) int {
	if n, ok := lines[key]; ok {
		return n
	}
	return table
}

// Load reads the file at path. Relative paths in it are taken from the folder
// it is in. The error is an Errors: when the file cannot be read, one Error
// with Line 0, and else every problem found in it. There is no Config then.
func Load(path string) (*Config, error) { return load(path, absentWrong) }

// LoadNative is Load for a program that serves listeners of these names by itself
// (host.Options.Native). They need no plugin.
func LoadNative(path string, listeners ...string) (*Config, error) {
	return load(path, absentWrong, listeners...)
}

// LoadToRun is Load for a host that is to serve the other listeners when a plugin's file is
// not there, or cannot be read, which is no error then, unless there are no others.
func LoadToRun(path string) (*Config, error) { return load(path, absentLater) }

// LoadToBuild is Load for who makes the plugins: it is no error if their files are not there, or
// cannot be read.
func LoadToBuild(path string) (*Config, error) { return load(path, absentFine) }

func load(path string, absent absence, native ...string) (*Config, error) {
	src, err := readFile(path)
	if err != nil {
		return nil, Errors{{File: path, What: fmt.Sprintf("cannot read the configuration: %s", reason(err)), Mend: "give the path of a TOML file that this user may read"}}
	}
	return parse(path, src, filepath.Dir(path), absent, native...)
}

// ParseToRun is Parse as LoadToRun is Load.
func ParseToRun(name string, src []byte, dir string) (*Config, error) {
	return parse(name, src, dir, absentLater)
}

// Parse reads src, a configuration file of at most 1 MiB. name stands in the
// errors for the file's name; relative paths in src are taken from dir, which,
// when relative itself or empty, is taken from the working directory. The
// error is an Errors with every problem found, in line order, each with a line
// that src has; there is no Config then. Parse keeps no reference to src.
func Parse(name string, src []byte, dir string) (*Config, error) {
	return parse(name, src, dir, absentWrong)
}

func parse(name string, src []byte, dir string, absent absence, native ...string) (*Config, error) {
	base, err := filepath.Abs(dir)
	if err != nil {
		return nil, Errors{{File: name, What: fmt.Sprintf("cannot tell which folder %s is: %v", quote(dir), err), Mend: "start from a folder that exists"}}
	}
	d := newDecoder(name, base, src)
	d.absence, d.native = absent, native
	c := d.decode(src)
	if d.plugins == 0 && d.absence != absentFine {
		d.errs = append(d.errs, d.absent[:min(len(d.absent), max(0, maxErrors-len(d.errs)))]...)
	}
	if len(d.errs) > 0 {
		d.errs.sort()
		return nil, d.errs
	}
	d.warns.sort()
	c.Warnings = d.warns
	c.Text, c.Folder = bytes.Clone(src), base
	return c, nil
}

// readFile reads no more than Parse will take, whatever the path leads to.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}
