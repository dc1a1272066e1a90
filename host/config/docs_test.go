package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bulkhead/internal/certstest"
)

const docs = "../../docs/CONFIG.md"

// docRow is what docs/CONFIG.md says of one key.
type docRow struct{ deflt, limits, meaning string }

// docRows reads the table of keys under each heading "## `[table]`".
func docRows(t *testing.T) map[string]map[string]docRow {
	t.Helper()
	text, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	sections := make(map[string]map[string]docRow)
	var rows map[string]docRow
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "#") {
			rows = nil
			if name, ok := strings.CutPrefix(line, "## `["); ok {
				rows = make(map[string]docRow)
				sections["["+strings.TrimSuffix(name, "`")] = rows
			}
			continue
		}
		cells := strings.Split(line, "|")
		if rows == nil || len(cells) != 7 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		key := strings.Trim(cells[1], " `")
		if _, twice := rows[key]; twice {
			t.Errorf("%s has two rows for %s", docs, key)
		}
		rows[key] = docRow{strings.Trim(cells[3], " `"), strings.ReplaceAll(cells[4], "`", ""), cells[5]}
	}
	return sections
}

// checkDocs compares one table of docs/CONFIG.md with the keys of the parser:
// the same keys, with the same defaults and ranges.
func checkDocs[T any](t *testing.T, place string, rows map[string]docRow, fields []field[T], defaults *T) {
	sameKeys(t, place, rows, fields)
	for _, f := range fields {
		row, ok := rows[f.name]
		if !ok {
			t.Errorf("%s has no key %s in %s", docs, f.name, place)
			continue
		}
		deflt := f.show(defaults)
		switch {
		case f.required != "":
			deflt = "required"
		case deflt == "":
			deflt = "none"
		case f.name == "config":
			deflt = "empty"
		case strings.HasPrefix(deflt, "#"):
			deflt = "none"
		}
		if row.deflt != deflt {
			t.Errorf("%s: the default of %s in %s is %s, and the parser's is %s", docs, f.name, place, row.deflt, deflt)
		}
		// A range in words is in want as "from A to B", a choice as its words.
		if _, after, ok := strings.Cut(f.want, " from "); ok && f.required == "" {
			words := strings.FieldsFunc(after, func(r rune) bool { return r == ' ' || r == ',' })
			if limits := words[0] + " to " + words[2]; !strings.Contains(row.limits, limits) {
				t.Errorf("%s: the range of %s in %s is%s, and the parser's is %s", docs, f.name, place, row.limits, limits)
			}
		}
		if strings.HasPrefix(f.want, `"`) {
			for _, word := range strings.FieldsFunc(f.want, func(r rune) bool { return r == ' ' || r == ',' }) {
				if strings.HasPrefix(word, `"`) && !strings.Contains(row.limits, word) {
					t.Errorf("%s: %s in %s does not name %s", docs, f.name, place, word)
				}
			}
		}
	}
}

// sameKeys wants that a table of docs/CONFIG.md has no key that the parser does not have.
func sameKeys[T any](t *testing.T, place string, rows map[string]docRow, fields []field[T]) {
	for key := range rows {
		if !slices.Contains(fieldNames(fields), key) {
			t.Errorf("%s has the key %s in %s, and the parser does not", docs, key, place)
		}
	}
}

// anAddress is one of the first of these kinds of sockets.
func anAddress(on sockets) Address {
	switch {
	case on&tcp != 0:
		return Address{Network: "tcp", Host: ":1"}
	case on&unixFile != 0:
		return Address{Network: "unix", Host: "/x"}
	case on&ws != 0:
		return Address{Network: "tcp", Host: ":1", Path: "/"}
	}
	return Address{Network: "udp", Host: ":1"}
}

// What a key's columns say of it, its line in docs/CONFIG.md says, too.
func TestDocsOfColumns(t *testing.T) {
	rows := docRows(t)["[[listener]]"]
	for _, f := range listenerFields {
		var want string
		switch f.on {
		case udp:
			want = "Only for `udp://`"
		case ws:
			want = "Only for `ws://` and `wss://`"
		case unixFile:
			want = "Only for `unix://` with a path"
		case streams:
			want = "Not for `udp://`"
		case tcp:
			want = "Not for `unix://` and `udp://`"
		case tcp | udp:
			want = "Not for `unix://`"
		}
		switch f.when {
		case programs:
			want = "For `stdio`"
		case copies:
			want = "Only for `instance = \"connection\"`"
		case hasGroup:
			want = "Only with `group`"
		case hasRoutes:
			want = "Only with routes"
		}
		if !strings.Contains(rows[f.name].meaning, want) {
			t.Errorf("%s does not say %q of %s", docs, want, f.name)
		}
		if other := rows[f.name].meaning; want == "" && (strings.Contains(other, "Only for `u") || strings.Contains(other, "Not for `udp")) {
			t.Errorf("%s says of %s for which sockets it is, and its row does not", docs, f.name)
		}
	}
}

func TestDocs(t *testing.T) {
	sections := docRows(t)
	if len(sections) != 6 {
		t.Fatalf("%s has %d tables of keys, want 6", docs, len(sections))
	}
	d := newDecoder("b.toml", "", nil)
	host, tenant, listener := d.newHost(), DefaultTenant("x"), DefaultListener()
	listener.Routes = make([]Route, 1)
	checkDocs(t, "[host]", sections["[host]"], hostFields, &host)
	admin := DefaultAdmin()
	checkDocs(t, "[admin]", sections["[admin]"], adminFields, &admin)
	checkDocs(t, "[tenant.NAME]", sections["[tenant.NAME]"], tenantFields, &tenant)
	settings := DefaultTLS()
	checkDocs(t, "[listener.tls]", sections["[listener.tls]"], tlsFields, &settings)
	for _, f := range listenerFields {
		listener.Address = anAddress(f.on)
		checkDocs(t, "[[listener]]", map[string]docRow{f.name: sections["[[listener]]"][f.name]}, []field[Listener]{f}, &listener)
	}
	sameKeys(t, "[[listener]]", sections["[[listener]]"], listenerFields)
	own := routeFields[:len(routeFields)-len(sharedFields())]
	checkDocs(t, "[[listener.route]]", sections["[[listener.route]]"], own, &Route{})
}

// What a reload does with each key is listed.
func TestDocsOfReload(t *testing.T) {
	text, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	listed := func(table string, keys []string) {
		t.Helper()
		if row := "\n| of `" + table + "`: `" + strings.Join(keys, "`, `") + "` | "; !strings.Contains(string(text), row) {
			t.Errorf("%s does not have%s", docs, row)
		}
	}
	listed("[host]", keysThat(hostFields, InPlace))
	listed("[host]", keysThat(hostFields, Restart))
	listed("[admin]", keysThat(adminFields, InPlace))
	listed("[tenant.NAME]", keysThat(tenantFields, InPlace))
	listed("[tenant.NAME]", keysThat(tenantFields, NewGeneration))
	listed("[[listener]]", keysThat(listenerFields, NewListener))
	listed("[[listener]]", keysThat(listenerFields, NewSocket))
	listed("[[listener]]", keysThat(listenerFields, InPlace))
	listed("[listener.tls]", keysThat(tlsFields, InPlace))
	if starts := keysThat(tlsFields, NewGeneration); len(starts) != 1 || !strings.Contains(string(text), "\n| of `[listener.tls]`: `"+starts[0]+"`, and the whole table ") {
		t.Errorf("%s does not say what a reload does with %v of [listener.tls]", docs, starts)
	}
	for _, n := range []int{
		len(adminFields) - len(keysThat(adminFields, InPlace)), len(keysThat(hostFields, NewGeneration)), len(keysThat(hostFields, NewSocket)), len(keysThat(hostFields, NewListener)),
		len(keysThat(tenantFields, NewSocket)), len(keysThat(tenantFields, NewListener)), len(keysThat(tenantFields, Restart)), len(keysThat(listenerFields, Restart)),
		len(keysThat(tlsFields, NewSocket)), len(keysThat(tlsFields, NewListener)), len(keysThat(tlsFields, Restart)),
	} {
		if n > 0 {
			t.Error("some keys do on a reload what those of their table did not do yet; list them, too")
		}
	}
}

// The keys that a route has from its listener are listed.
func TestDocsOfSharedKeys(t *testing.T) {
	text, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(text), "with the listener's value where it has none:")
	list, _, end := strings.Cut(after, ".")
	if !ok || !end {
		t.Fatalf("%s does not list the keys that a route shares with its listener", docs)
	}
	var got []string
	for i, part := range strings.Split(list, "`") {
		if i%2 == 1 {
			got = append(got, part)
		}
	}
	if want := fieldNames(sharedFields()); !slices.Equal(got, want) {
		t.Errorf("%s lists %v; the parser has %v", docs, got, want)
	}
}

// TestDocExamples parses every TOML example of docs/CONFIG.md. Those that are
// a part of a file are put together to one.
func TestDocExamples(t *testing.T) {
	text, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"echo.wasm", "qjs.wasm"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "scripts"), 0o700); err != nil {
		t.Fatal(err)
	}
	ca := certstest.NewAuthority(t)
	ca.Write(t, dir, "mail", "mail.test")
	ca.Write(t, dir, "www", "www.test")
	ca.WriteCA(t, dir, "clients.pem")
	ca.WriteCRL(t, dir, "revoked.pem")
	for _, name := range []string{"tickets.new", "tickets.old"} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 80), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var examples []string
	for i, part := range strings.Split(string(text), "```") {
		if body, ok := strings.CutPrefix(part, "toml\n"); ok && i%2 == 1 {
			examples = append(examples, body)
		}
	}
	if len(examples) != 9 {
		t.Fatalf("%d examples, want 9", len(examples))
	}
	for _, src := range []string{examples[0], strings.Join(examples[1:], "")} {
		c, err := Parse(docs, []byte(src), dir)
		if err != nil {
			t.Fatalf("%v\n%s", err, src)
		}
		checkRoundTrip(t, c)
	}
}
