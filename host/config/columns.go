package config

import (
	"slices"
	"strings"

	"bulkhead/host/config/keylines"
)

// columns are what a key's row says of it beside how it is read and shown. What the file may
// say where, what is shown, what a route has from its listener, what is warned of, and what a
// reload does all come from here.
type columns struct {
	// deflt is the value where the file does not say the key, as TOML has it; nil is the zero
	// value. overUDP is that of a UDP listener, where that is another one.
	deflt, overUDP any
	// on are the sockets that a listener's key is for; 0: all. when is what else the listener
	// needs; nil: nothing.
	on   sockets
	when *condition
	// of says whose a listener's key is.
	of owner
	// reload is what a new value does when a reload brings it.
	reload Reload
	// note explains the value to the reader of WriteLimits.
	note string
	// table is how a key that is a table is written; "": it is none.
	table string
}

// is returns f with its columns.
func (f field[T]) is(c columns) field[T] {
	if c.note == "" {
		c.note = f.note
	}
	f.columns = c
	return f
}

// sockets are kinds of sockets, one bit each.
type sockets byte

const (
	tcp sockets = 1 << iota
	unixFile
	unixName // a unix socket without a file
	udp
	ws // over tcp

	streams = tcp | unixFile | unixName
)

// String says what for, and mend what to do about a key that is for others.
func (s sockets) String() string { return s.words()[0] }

func (s sockets) mend() string { return s.words()[1] }

func (s sockets) words() [2]string {
	switch s {
	case tcp:
		return [2]string{"TCP", "leave it out"}
	case tcp | udp:
		return [2]string{"TCP and UDP", "leave it out"}
	case unixFile:
		return [2]string{"a unix socket with a path", "leave it out"}
	case udp:
		return [2]string{"UDP", "leave it out, or listen on udp://"}
	case ws:
		return [2]string{"WebSocket", "leave it out, or listen on ws:// or wss://"}
	case streams:
		return [2]string{"streams", "leave it out, or listen on tcp://"}
	}
	return [2]string{"another kind of socket", "leave it out"}
}

// sockets are the kinds that the address can be: several where it is an inherited descriptor.
func (a Address) sockets() sockets {
	switch {
	case a.WebSocket():
		return tcp | ws
	case a.Datagrams():
		return udp
	case a.socketFile():
		return unixFile
	case a.abstract():
		return unixName
	case a.Network == "fd":
		return tcp | unixName | udp
	}
	return tcp
}

// condition is what a key needs of its listener beside a kind of socket.
type condition struct {
	holds       func(l *Listener) bool
	words, mend string // "KEY is for WORDS"
}

var (
	programs = &condition{func(l *Listener) bool { return l.Shape == "stdio" },
		`programs (shape = "stdio")`, `leave it out, or write shape = "stdio"; a handler is told things by [listener.config]`}
	copies = &condition{(*Listener).copies,
		`instance = "connection" and shape = "events"`, "leave it out"}
	hasGroup = &condition{func(l *Listener) bool { return len(l.Groups.Addresses) > 0 || l.Given("group") },
		"a listener with group", "leave it out, or say which multicast groups in group"}
	hasRoutes = &condition{func(l *Listener) bool { return len(l.Routes) > 0 || l.Given("route") },
		"a listener with [[listener.route]] tables", "leave it out"}
)

// owner is whose a listener's key is.
type owner byte

const (
	ofSocket   owner = iota + 1
	ofListener       // all of its connections, before they have a route
	ofService        // whoever serves the connections: a route has it, too
)

// Reload is what a new value of a key does when a reload brings it.
type Reload byte

const (
	// InPlace: it holds at once, for what is there, too, and nothing has to be made anew.
	InPlace Reload = iota + 1
	// NewGeneration: connections that come from then on have handlers of their own, and those
	// that are there go on with theirs.
	NewGeneration
	// NewSocket: it cannot be had for a socket that stays open, and otherwise makes a generation.
	NewSocket
	// NewListener: it is another listener, and the one before is gone.
	NewListener
	// Restart: it holds when the process starts again.
	Restart
)

// Reload says what a new value of the key of [host] does. It is Restart where there is no such key.
func (h *Host) Reload(key string) Reload { return reloadOf(hostFields, key, Restart) }

// Reload says what a new value of the tenant's key does; NewGeneration means that of each of
// its listeners, and holds where there is no such key.
func (t *Tenant) Reload(key string) Reload { return reloadOf(tenantFields, key, NewGeneration) }

// Reload says what a new value of the listener's key does. It is NewGeneration where there is no
// such key.
func (l *Listener) Reload(key string) Reload { return reloadOf(listenerFields, key, NewGeneration) }

// Renewing are those of Changes for which a reload makes a new generation: all that are not
// InPlace. "route" is one of them where a route has come or gone, has another place or other
// matchers, or a change of its own that is not InPlace; "tls" where the table has come or gone, or
// has such a change.
func (l *Listener) Renewing(before *Listener) []string {
	return slices.DeleteFunc(l.Changes(before), func(key string) bool {
		if key == "route" {
			return sameRoutes(l.Routes, before.Routes, (*Listener).Renewing)
		}
		if key == "tls" {
			return l.TLS != nil && before.TLS != nil && len(l.TLS.Renewing(before.TLS)) == 0
		}
		return l.Reload(key) == InPlace
	})
}

// Renewing are the keys of [listener.tls] that have changed and are not InPlace.
func (t *TLS) Renewing(before *TLS) []string {
	return slices.DeleteFunc(changes(tlsFields, t, before), func(key string) bool {
		return reloadOf(tlsFields, key, NewGeneration) == InPlace
	})
}

// KeysThat are the keys with which a reload does that, by the table as it is written: "[host]",
// "[tenant.NAME]", "[[listener]]", "[listener.tls]". They are in the order in which they are shown.
func KeysThat(do Reload) map[string][]string {
	return map[string][]string{
		"[host]": keysThat(hostFields, do), "[admin]": keysThat(adminFields, do), "[tenant.NAME]": keysThat(tenantFields, do), "[[listener]]": keysThat(listenerFields, do),
		"[listener.tls]": keysThat(tlsFields, do),
	}
}

func keysThat[T any](fields []field[T], do Reload) (keys []string) {
	for _, f := range fields {
		if f.reload == do {
			keys = append(keys, f.name)
		}
	}
	return keys
}

func reloadOf[T any](fields []field[T], key string, unknown Reload) Reload {
	for i := range fields {
		if fields[i].name == key {
			return fields[i].reload
		}
	}
	return unknown
}

// setDefaults gives t what the rows say, of those rows that say something.
func setDefaults[T any](t *T, fields []field[T]) {
	for i := range fields {
		if f := &fields[i]; f.deflt != nil {
			f.set(t, f.deflt)
		}
	}
}

// set gives t a value of a row's own.
func (f *field[T]) set(t *T, v any) {
	if n, ok := v.(int); ok {
		v = int64(n)
	}
	var d decoder
	f.read(t, &value{d: &d, key: f.name, want: f.want, v: v, n: &keylines.Node{}})
	if len(d.errs) > 0 {
		panic("the row of " + f.name + " has a default that cannot be read: " + d.errs.Error())
	}
}

// SetDatagramDefaults gives a listener whose inherited socket is one of UDP the defaults of UDP,
// for the keys that have other ones there: those that the file does not say, and that have the
// value of DefaultListener. The others are left alone.
func (l *Listener) SetDatagramDefaults() {
	streams := DefaultListener()
	for i := range listenerFields {
		f := &listenerFields[i]
		if f.overUDP != nil && !l.Given(f.name) && f.raw(l) == f.raw(&streams) {
			f.set(l, f.overUDP)
		}
	}
}

// listenerKeys has the rows show a key only where it means something.
func listenerKeys(rows []field[Listener]) []field[Listener] {
	for i := range rows {
		f := &rows[i]
		if f.on == 0 {
			f.on = streams | udp
		}
		show, columns, name := f.show, f.columns, f.name
		f.raw = show
		f.show = func(l *Listener) string {
			if !columns.applies(l, name) {
				return ""
			}
			return show(l)
		}
	}
	return rows
}

// applies reports whether a key means something to the listener. Of what is inherited nobody
// knows the kind: a key that is for UDP alone counts there when the file says it.
func (c *columns) applies(l *Listener, name string) bool {
	kinds := l.Address.sockets()
	if l.Address.Network == "fd" && c.on == udp && !l.Given(name) {
		return false
	}
	return kinds&c.on != 0 && (c.when == nil || c.when.holds(l))
}

// written is how an error calls a key.
func (f *field[T]) written() string {
	if f.table != "" {
		return f.table
	}
	return f.name
}

// failure reports a problem with a line: a decoder's fail.
type failure func(line int, mend, format string, args ...any)

// checkSockets reports the keys that are for none of these kinds of sockets. what follows the
// address in the error.
func checkSockets(l *Listener, kinds sockets, what string, fail failure) {
	for i := range listenerFields {
		f := &listenerFields[i]
		if l.Given(f.name) && kinds&f.on == 0 {
			fail(l.LineOf(f.name), f.on.mend(), "%s is for %v, and address is %s%s", f.written(), f.on, quote(l.Address.String()), what)
		}
	}
}

// checkConditions reports the keys that need something of the listener, or of a route, that it
// does not have.
func checkConditions(l *Listener, fail failure) {
	for i := range listenerFields {
		f := &listenerFields[i]
		if l.Given(f.name) && f.when != nil && !f.when.holds(l) {
			fail(l.LineOf(f.name), f.when.mend, "%s is for %s", f.written(), f.when.words)
		}
	}
}

// checkStrayed warns of keys of the listener that stand below [listener.config], and so go to
// the plugin. TOML has no way back up from there, which is easily forgotten. What would mean
// nothing to this listener is the plugin's. Of a route it warns of what a route has, too.
// place is how the table is written, and whose is "listener" or "route".
func (d *decoder) checkStrayed(l *Listener, table map[string]any, place, whose string) {
	inner, _ := table["config"].(map[string]any)
	for i := range listenerFields {
		f := &listenerFields[i]
		_, strayed := inner[f.name]
		_, given := table[f.name]
		if !strayed || given || f.table != "" || whose == "route" && f.of != ofService {
			continue
		}
		if kinds := l.Address.sockets(); kinds&f.on == 0 || f.when != nil && !f.when.holds(l) {
			continue
		}
		value := "its default"
		if whose == "route" {
			value = "the listener's"
		}
		d.warn(l.LineOf("config"), "move "+f.name+" above "+place+" if it is meant for the "+whose, "%s stands in %s, so it goes to the plugin and the %s keeps %s", f.name, place, whose, value)
	}
}

// asRoute writes what is said of a listener's key for a route's.
func asRoute(s string) string {
	return strings.ReplaceAll(s, "[listener.config]", "[listener.route.config]")
}
