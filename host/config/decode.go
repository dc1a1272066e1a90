package config

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"bulkhead/host/config/keylines"
	"bulkhead/internal/suggest"
)

// maxErrors is how many problems one reading reports. A file with more is
// some other file.
const maxErrors = 1000

// decoder turns one file into a Config and gathers what is wrong with it.
type decoder struct {
	file  string
	dir   string // absolute
	lines int    // of the file, at least 1
	errs  Errors
	warns Errors

	absence absence
	native  []string // listeners that need no plugin
	plugins int      // that can be read
	absent  Errors   // plugins that cannot, but where that is wrong
}

// absence is what it is that a plugin cannot be read.
type absence int

const (
	absentWrong absence = iota // an error
	absentLater                // an error if no other can
	absentFine                 // no error
)

func newDecoder(file, dir string, src []byte) *decoder {
	lines := bytes.Count(src, []byte("\n"))
	if len(src) == 0 || src[len(src)-1] != '\n' {
		lines++
	}
	return &decoder{file: file, dir: dir, lines: lines}
}

// fail adds a problem.
func (d *decoder) fail(line int, mend, format string, args ...any) {
	switch {
	case d.full():
	case len(d.errs) == maxErrors-1:
		d.errs = append(d.errs, &Error{File: d.file, Line: d.lines, What: "more problems than are worth listing", Mend: "mend the first ones and look again"})
	default:
		d.errs = append(d.errs, &Error{File: d.file, Line: line, What: fmt.Sprintf(format, args...), Mend: mend})
	}
}

func (d *decoder) full() bool { return len(d.errs) >= maxErrors }

// warn adds a warning.
func (d *decoder) warn(line int, mend, format string, args ...any) {
	if len(d.warns) < maxErrors {
		d.warns = append(d.warns, &Error{File: d.file, Line: line, What: fmt.Sprintf(format, args...), Mend: mend})
	}
}

// decode reads the whole file. What it returns is of use only if no problem was added.
func (d *decoder) decode(src []byte) *Config {
	m, root, ok := d.read(src)
	if !ok {
		return nil
	}
	c := &Config{File: d.file}
	c.Host = d.newHost()
	c.Admin = DefaultAdmin()

	// The tables come in this order, whatever their order in the file: a
	// listener names a tenant.
	var tenants map[string]any
	tenantsKnown := true
	for _, key := range documentOrder(m, root) {
		n := root.At(key)
		switch key {
		case "host":
			if t, ok := m[key].(map[string]any); ok {
				c.Host.lines = readTable(d, &c.Host, hostFields, t, n, "[host]")
			} else {
				d.fail(n.Line, "write [host] on a line of its own, and its keys below", "host is %s, not a table", kind(m[key]))
			}
		case "admin":
			if t, ok := m[key].(map[string]any); ok {
				c.Admin.lines = readTable(d, &c.Admin, adminFields, t, n, "[admin]")
			} else {
				d.fail(n.Line, "write [admin] on a line of its own, and its keys below", "admin is %s, not a table", kind(m[key]))
			}
		case "tenant":
			if tenants, tenantsKnown = m[key].(map[string]any); !tenantsKnown {
				d.fail(n.Line, "write [tenant.NAME] on a line of its own, and its keys below", "tenant is %s, not a table", kind(m[key]))
			}
		case "listener":
		default:
			d.unknown(key, m[key], n.Line, tableNames, "")
		}
	}
	c.Tenants = d.tenants(tenants, root.At("tenant"))
	c.Listeners = d.listeners(m, root, tenants, tenantsKnown)
	d.checkClashes(c.Listeners)
	d.checkAdmin(&c.Admin)
	d.checkUnused(c)
	return c
}

// tableNames are the top-level tables.
var tableNames = []string{"host", "admin", "tenant", "listener"}

// documentOrder gives a table's keys in the order of their lines.
func documentOrder(m map[string]any, n *keylines.Node) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(cmp.Compare(n.At(a).Line, n.At(b).Line), cmp.Compare(a, b))
	})
}

// readTable reads a table's keys into t. place is how the table is written in
// the file. It returns the lines of the known keys.
func readTable[T any](d *decoder, t *T, fields []field[T], m map[string]any, n *keylines.Node, place string) map[string]int {
	lines := make(map[string]int, len(m))
	meant := make(map[string]bool)
	for _, key := range documentOrder(m, n) {
		if d.full() {
			break
		}
		at := n.At(key)
		i := slices.IndexFunc(fields, func(f field[T]) bool { return f.name == key })
		if i < 0 {
			meant[d.unknown(key, m[key], at.Line, fieldNames(fields), place)] = true
			continue
		}
		f := fields[i]
		lines[key] = at.Line
		f.read(t, &value{d: d, key: key, want: f.want, v: m[key], n: at})
	}
	for _, f := range fields {
		// A key that was only misspelt has been reported, under its own name.
		_, given := m[f.name]
		if _, other := m[f.instead]; other && f.instead != "" {
			continue
		}
		if name, _ := m["name"].(string); f.name == "plugin" && slices.Contains(d.native, name) {
			continue
		}
		if f.required != "" && !given && !meant[f.name] {
			d.fail(n.Line, "add "+f.required, "%s has no %s", place, f.name)
		}
	}
	return lines
}

func fieldNames[T any](fields []field[T]) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return names
}

// unknown reports a key that its place does not have, and returns the one that
// was most likely meant, or "". place is "" at the top level.
func (d *decoder) unknown(key string, v any, line int, names []string, place string) (meant string) {
	what := "key"
	switch v.(type) {
	case map[string]any, []map[string]any:
		what = "table"
	}
	var mend string
	switch elsewhere := placesOf(key); {
	case len(elsewhere) > 0:
		mend = "it belongs in " + strings.Join(elsewhere, " or ")
	default:
		if meant = suggest.Word(key, names); meant != "" {
			mend = fmt.Sprintf("did you mean %q?", meant)
			break
		}
		if place == "" {
			mend = "the tables are [host], [admin], [tenant.NAME] and [[listener]]"
			break
		}
		mend = fmt.Sprintf("the keys of %s are %s", place, strings.Join(names, ", "))
		if what == "table" && strings.HasPrefix(place, "[tenant.") {
			mend += fmt.Sprintf("; a tenant's name that has a point goes in quotes: [tenant.%s]", strconv.Quote(strings.Trim(strings.TrimPrefix(place, "[tenant."), `]"`)+"."+clip(key)))
		}
	}
	d.fail(line, mend, "unknown %s %s", what, quote(key))
	return meant
}

// places are the tables with their keys.
var places []tableKeys

type tableKeys struct {
	name string
	keys []string
}

func init() { // the fields of one table refer to what reads those of another
	places = []tableKeys{
		{"[host]", fieldNames(hostFields)},
		{"[admin]", fieldNames(adminFields)},
		{"[tenant.NAME]", fieldNames(tenantFields)},
		{"[[listener]]", fieldNames(listenerFields)},
		{"[listener.tls]", fieldNames(tlsFields)},
		{"[[listener.route]]", []string{"sni", "first"}},
	}
}

// placesOf tells in which tables a key is known.
func placesOf(key string) []string {
	var known []string
	for _, p := range places {
		if slices.Contains(p.keys, key) {
			known = append(known, p.name)
		}
	}
	return known
}

// tenants reads every [tenant.NAME], sorted by name.
func (d *decoder) tenants(m map[string]any, n *keylines.Node) []Tenant {
	var all []Tenant
	for _, name := range slices.Sorted(maps.Keys(m)) {
		at := n.At(name)
		table, ok := m[name].(map[string]any)
		if !ok {
			d.fail(at.Line, "write [tenant.NAME] on a line of its own, and its keys below", "tenant.%s is %s, not a table", clip(name), kind(m[name]))
			continue
		}
		if !goodName(name) {
			d.fail(at.Line, "write "+nameForm, "[tenant.%s] is no tenant's name", clip(quoteKey(name)))
			// Its keys are looked at all the same.
		}
		t := DefaultTenant(name)
		t.Line = at.Line
		t.lines = readTable(d, &t, tenantFields, table, at, "[tenant."+clip(quoteKey(name))+"]")
		all = append(all, t)
	}
	return all
}

// quoteKey writes a tenant's name as a key of TOML.
func quoteKey(name string) string {
	if name == "" || !plainWord(name) || strings.Contains(name, ".") {
		return Quote(name)
	}
	return name
}

// listeners reads every [[listener]]. tenants are those a listener may name;
// when they are not known, because [tenant] itself is wrong, any name will do.
func (d *decoder) listeners(m map[string]any, root *keylines.Node, tenants map[string]any, tenantsKnown bool) []Listener {
	n := root.At("listener")
	tables, ok := tablesOf(m["listener"])
	if one, single := m["listener"].(map[string]any); single {
		d.fail(n.Line, "write [[listener]], with two brackets, above each listener's keys", "listener is a single table")
		tables, n = []map[string]any{one}, keylines.ListOf(n)
	} else if _, given := m["listener"]; given && !ok {
		d.fail(n.Line, "write [[listener]] on a line of its own, and its keys below", "listener is %s, not tables", kind(m["listener"]))
		return nil
	}
	if len(tables) == 0 {
		// A misspelt [[listener]] has been reported as an unknown table.
		for key := range m {
			if suggest.Word(key, tableNames) == "listener" && key != "listener" {
				return nil
			}
		}
		d.fail(d.lines, "add a [[listener]] table with name, tenant, address and plugin", "no listener: there is nothing to serve")
		return nil
	}
	names := slices.Sorted(maps.Keys(tenants))
	all := make([]Listener, 0, len(tables))
	for i, table := range tables {
		if d.full() {
			break
		}
		at := n.Item(i)
		l := DefaultListener()
		l.Line = at.Line
		l.lines = readTable(d, &l, listenerFields, table, at, "[[listener]]")
		if l.Address.Datagrams() {
			l.SetDatagramDefaults()
		}
		d.checkListener(&l, table)
		checkTenant := func(l *Listener) {
			if _, ok := tenants[l.Tenant]; ok || l.Tenant == "" || !tenantsKnown {
				return
			}
			mend := fmt.Sprintf("add a [tenant.%s] table; it may be empty", clip(quoteKey(l.Tenant)))
			if near := suggest.Word(l.Tenant, names[:min(len(names), maxErrors)]); near != "" {
				mend = fmt.Sprintf("did you mean %q?", near)
			}
			d.fail(l.LineOf("tenant"), mend, "tenant %s is not defined", quote(l.Tenant))
		}
		checkTenant(&l)
		if v, given := table["route"]; given {
			d.routes(&l, v, at.At("route"), func(r *Listener) {
				if r.Tenant != l.Tenant {
					checkTenant(r)
				}
			})
		}
		all = append(all, l)
	}
	return all
}

// tablesOf gives an array of tables in either of its spellings.
func tablesOf(v any) ([]map[string]any, bool) {
	switch v := v.(type) {
	case []map[string]any:
		return v, true
	case []any:
		tables := make([]map[string]any, len(v))
		for i, item := range v {
			table, ok := item.(map[string]any)
			if !ok {
				return nil, false
			}
			tables[i] = table
		}
		return tables, true
	}
	return nil, false
}
