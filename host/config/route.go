package config

import (
	"fmt"
	"slices"
	"strconv"

	"bulkhead/host/config/keylines"
	"bulkhead/host/hello"
	"bulkhead/host/route"
)

// Route is where some of a listener's connections go, by what their peers send first: a table
// [[listener.route]].
type Route struct {
	// Name is the route's own among those of its listener.
	Name string
	// Rule says whose connections take it. The first of a listener's routes that matches
	// counts, and one without any matcher is the last.
	Rule route.Rule
	// Listener is what serves them: the route's own values, and the listener's where it has
	// none. Its Name is "LISTENER/ROUTE", and its TLS is nil where the handler gets what the
	// peer sends as it comes. What is about listening means nothing in it.
	Listener Listener
	// Line is where its table begins.
	Line int

	ownTLS bool // Listener.TLS is a table of its own
	noTLS  bool // tls = false
	lines  map[string]int
}

const (
	maxRoutes  = 1024
	maxEntries = 1024 // of one sni
)

// routeFields are the keys of [[listener.route]].
var routeFields = append([]field[Route]{
	{
		name: "name",
		want: nameForm,
		read: func(r *Route, v *value) {
			if s, ok := v.str(); ok {
				if !goodName(s) {
					v.bad("is no route's name")
					return
				}
				r.Name = s
			}
		},
		show: func(r *Route) string {
			if r.Name == "" {
				return ""
			}
			return Quote(r.Name)
		},
	},
	entriesField("sni", maxEntries, `a list of up to 1024 server names, like ["mail.example.com", "*.example.org"]`, func(r *Route) *[]string { return &r.Rule.SNI }, route.ParseName, nil),
	entriesField("alpn", 16, `a list of up to 16 protocols of 1 to 255 bytes, like ["h2", "http/1.1"]`, func(r *Route) *[]string { return &r.Rule.ALPN }, parseProtocol, nil),
	entriesField("first", 64, `a list of up to 64 beginnings of 1 to 64 bytes, like ["SSH-", "hex:16 03"]`, func(r *Route) *[]string { return &r.Rule.First }, route.ParseFirst, route.FormatFirst),
	{
		name: "tls",
		want: "false for none, or a table [listener.route.tls] with cert and key",
		read: readRouteTLS,
		show: func(r *Route) string {
			if r.noTLS {
				return "false"
			}
			return "" // the listener's, or a table of its own
		},
	},
}, sharedFields()...)

// sharedFields are the keys that a route has from its listener.
func sharedFields() []field[Route] {
	var all []field[Route]
	for _, f := range listenerFields {
		if f.of != ofService {
			continue
		}
		all = append(all, field[Route]{
			name: f.name, want: asRoute(f.want), from: "the listener's",
			read:    func(r *Route, v *value) { f.read(&r.Listener, v) },
			show:    func(r *Route) string { return asRoute(f.show(&r.Listener)) },
			columns: f.columns,
		})
	}
	return all
}

// entriesField is a list of at most so many entries that parse has to take.
func entriesField(name string, most int, want string, at func(*Route) *[]string, parse func(string) (string, error), format func(string) string) field[Route] {
	return field[Route]{
		name: name,
		want: want,
		read: func(r *Route, v *value) {
			list, ok := v.list(most)
			if !ok {
				return
			}
			if len(list) == 0 {
				v.bad("is empty")
				return
			}
			for i, s := range list {
				entry, err := parse(s)
				switch {
				case err != nil:
					v.d.fail(v.n.Item(i).Line, "write "+want, "%s[%d] = %s %v", name, i, quote(s), err)
				case slices.Contains(*at(r), entry):
					v.d.fail(v.n.Item(i).Line, "keep one of the two", "%s[%d] = %s is in the list twice", name, i, quote(s))
				default:
					*at(r) = append(*at(r), entry)
				}
			}
		},
		show: func(r *Route) string {
			if *at(r) == nil {
				return ""
			}
			list := slices.Clone(*at(r))
			for i := range list {
				if format != nil {
					list[i] = format(list[i])
				}
			}
			return tomlList(list)
		},
	}
}

func parseProtocol(s string) (string, error) {
	if s == "" || len(s) > 255 {
		return "", fmt.Errorf("has %d bytes", len(s))
	}
	return s, nil
}

// readRouteTLS reads a route's own [listener.route.tls], or false.
func readRouteTLS(r *Route, v *value) {
	switch x := v.v.(type) {
	case bool:
		if x {
			v.bad("is no way to have it: a route has its listener's when it is left out")
			return
		}
		r.noTLS, r.Listener.TLS = true, nil
	case map[string]any:
		r.ownTLS = true
		readTLSAt(&r.Listener, v, "[listener.route.tls]")
	default:
		v.wrongType()
	}
}

// routes reads the listener's [[listener.route]] tables. l has all of its own keys by now.
func (d *decoder) routes(l *Listener, v any, n *keylines.Node, checkTenant func(*Listener)) {
	tables, ok := tablesOf(v)
	if one, single := v.(map[string]any); single {
		d.fail(n.Line, "write [[listener.route]], with two brackets, above each route's keys", "listener.route is a single table")
		tables, n = []map[string]any{one}, keylines.ListOf(n)
	} else if !ok {
		d.fail(n.Line, "write [[listener.route]] on a line of its own, and its keys below", "listener.route is %s, not tables", kind(v))
		return
	}
	if len(tables) > maxRoutes {
		d.fail(n.Line, fmt.Sprintf("keep it to %d", maxRoutes), "the listener has %d routes", len(tables))
		return
	}
	names := make(map[string]int)
	good := true
	for i, table := range tables {
		if d.full() {
			return
		}
		r := Route{Name: strconv.Itoa(i + 1), Listener: *l, Line: n.Item(i).Line}
		r.Listener.Routes, r.Listener.ProxyFrom = nil, nil
		if _, own := table["plugin"]; own {
			// What belongs to the listener's plugin is nobody else's business.
			r.Listener.PluginSHA256, r.Listener.Config = "", []byte("{}")
		}
		before := len(d.errs)
		r.lines = readTable(d, &r, routeFields, table, n.Item(i), "[[listener.route]]")
		r.Listener.Name, r.Listener.Line, r.Listener.lines = l.Name+"/"+r.Name, r.Line, r.lines
		if first, taken := names[r.Name]; taken {
			d.fail(r.LineOf("name"), fmt.Sprintf("give each route a name of its own (the first is on line %d)", first), "duplicate route name %s", quote(r.Name))
		} else {
			names[r.Name] = r.LineOf("name")
		}
		if len(d.errs) == before {
			d.checkRoute(&r, l)
			checkTenant(&r.Listener)
		} else {
			good = false
		}
		d.checkStrayed(&r.Listener, table, "[listener.route.config]", "route")
		l.Routes = append(l.Routes, r)
	}
	if good {
		d.checkReach(l)
	}
}

// checkRoute looks at what no single key of a route can tell.
func (d *decoder) checkRoute(r *Route, l *Listener) {
	rule := r.Rule
	secured := r.Listener.TLS != nil && !r.Listener.TLS.StartTLS
	if r.Listener.Plugin == "" {
		d.fail(r.Line, `add plugin = "FILE.wasm", here or to the listener`, "[[listener.route]] has no plugin")
	}
	d.checkKind(&r.Listener)
	switch {
	case len(rule.First) > 0 && (rule.SNI != nil || rule.ALPN != nil):
		d.fail(r.LineOf("first"), "make two routes of it", "first does not go with sni and alpn, which are about what a TLS client says")
	case rule.First == nil && !rule.Default() && r.Listener.TLS != nil && !secured:
		d.fail(r.Line, "write tls = false, or use first", "sni and alpn are for connections that begin with TLS, and starttls is for those that do not")
	}
	if a := r.Listener.Address; a.WebSocket() && secured != a.Secure {
		d.fail(r.LineOf("tls"), "listen on ws:// where no connection has TLS, or on wss:// where all have", "the route's TLS does not go with address %s", quote(a.String()))
		return
	}
	if !secured {
		return
	}
	for _, bytes := range rule.First {
		if !hello.Begins([]byte(bytes)) {
			d.fail(r.LineOf("first"), "write tls = false into the route if it is for peers without TLS", "first has %s, which TLS does not begin with, and the route's connections are to begin with TLS", quote(route.FormatFirst(bytes)))
			return
		}
	}
	if rule.ALPN == nil {
		return
	}
	// What a client is told has to be what it was sent here for.
	if !r.ownTLS {
		settings := *r.Listener.TLS
		settings.ALPN = rule.ALPN
		r.Listener.TLS = &settings
	} else if len(r.Listener.TLS.ALPN) == 0 {
		r.Listener.TLS.ALPN = rule.ALPN
	}
	for _, protocol := range rule.ALPN {
		if !slices.Contains(r.Listener.TLS.ALPN, protocol) {
			d.fail(r.LineOf("alpn"), "add it there, or leave the alpn of [listener.route.tls] out", "the route is for the protocol %s, and its own TLS does not have it", quote(protocol))
		}
	}
}

// checkReach finds routes and entries that no connection gets to.
func (d *decoder) checkReach(l *Listener) {
	for _, c := range route.Check(l.Rules()) {
		r, by := &l.Routes[c.Rule], &l.Routes[c.By]
		switch c.Key {
		case "":
			d.fail(r.Line, "move it up, or leave it out", "no connection takes this route: all that could, take that on line %d", by.Line)
		default:
			entry := c.Entry
			if c.Key == "first" {
				entry = route.FormatFirst(entry)
			}
			d.fail(r.LineOf(c.Key), "move the route up, or leave the entry out", "%s has %s, whose connections take the route on line %d", c.Key, quote(entry), by.Line)
		}
	}
}

// Rules are those of the listener's routes, in order.
func (l *Listener) Rules() []route.Rule {
	rules := make([]route.Rule, len(l.Routes))
	for i := range l.Routes {
		rules[i] = l.Routes[i].Rule
	}
	return rules
}

// ServesItself reports whether connections get to the listener's own plugin: it has no routes, or
// has a plugin for those that no route matches.
func (l *Listener) ServesItself() bool {
	return len(l.Routes) == 0 || l.Plugin != "" && !slices.ContainsFunc(l.Routes, func(r Route) bool { return r.Rule.Default() })
}

// LineOf gives the line on which the route's key stands, or Line when it was not given.
func (r *Route) LineOf(key string) int { return lineOf(r.lines, key, r.Line) }
