package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// samples are values for the keys of which want gives no range, words or example.
var samples = map[string]string{
	"state":         `"/elsewhere"`,
	"access_sample": `0.5`,
	"plugin_sha256": `"` + strings.Repeat("0123456789abcdef", 4) + `"`,
	"folder":        `"."`,
	"user":          `"nobody"`,
	"owner":         `"somebody:100"`,
	"view":          `"operators"`,
}

// sampleOf is a value that a row takes, in TOML, and that is not its default.
func sampleOf(t *testing.T, name, want, deflt string) string {
	t.Helper()
	if s, ok := samples[name]; ok {
		return s
	}
	words := strings.FieldsFunc(want, func(r rune) bool { return r == ' ' || r == ',' })
	if i := strings.Index(want, " from "); i >= 0 && words[0] != "octal" {
		most := strings.FieldsFunc(want[i:], func(r rune) bool { return r == ' ' || r == ',' })[3]
		if !strings.HasPrefix(want, "a whole number") && !strings.HasPrefix(want, "a number") {
			most = Quote(most)
		}
		return most
	}
	if _, example, ok := strings.Cut(want, "like "); ok {
		return example
	}
	if want == "true or false" {
		return map[string]string{"true": "false", "false": "true"}[deflt]
	}
	for _, word := range words {
		if strings.HasPrefix(word, `"`) && word != deflt {
			return word
		}
	}
	t.Fatalf("there is no sample for %s, which wants %s: add one to samples", name, want)
	return ""
}

// differences are the paths of the fields in which two values of a type differ. It leaves out
// what is only about the file, and routes, which have all of their listener's values.
func differences(a, b reflect.Value, path string) (all []string) {
	if a.Kind() == reflect.Struct && a.Type() != reflect.TypeFor[netip.AddrPort]() {
		for i := range a.NumField() {
			if f := a.Type().Field(i); f.IsExported() && f.Name != "Line" && f.Name != "Routes" {
				all = append(all, differences(a.Field(i), b.Field(i), path+"."+f.Name)...)
			}
		}
		return all
	}
	if !reflect.DeepEqual(a.Interface(), b.Interface()) {
		all = append(all, path)
	}
	return all
}

// eachRow gives every row of a table a value in a file of its own, and wants that this is what
// is shown then, and that it changes one field, which is no other row's.
func eachRow[T any](t *testing.T, fields []field[T], file func(f *field[T], line string) string, at func(*Config) *T) {
	owner := make(map[string]string)
	for i := range fields {
		f := &fields[i]
		if f.required != "" || f.table != "" {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			without := mustParse(t, file(f, ""))
			deflt := f.show(at(without))
			sample := sampleOf(t, f.name, f.want, deflt)
			with := mustParse(t, file(f, f.name+" = "+sample))
			changed := differences(reflect.ValueOf(at(without)).Elem(), reflect.ValueOf(at(with)).Elem(), "")
			if len(changed) != 1 {
				t.Fatalf("%s = %s changes %v; the default is %s", f.name, sample, changed, deflt)
			}
			if other := owner[changed[0]]; other != "" {
				t.Errorf("it changes %s, and so does %s", changed[0], other)
			}
			owner[changed[0]] = f.name
			shown := f.show(at(with))
			if shown == deflt {
				t.Errorf("%s = %s is shown as the default is: %s", f.name, sample, shown)
			}
			if text := limits(t, with); !strings.Contains(text, f.name+" = "+shown) || !strings.Contains(text, "# given on line ") {
				t.Errorf("%s = %s is not among the limits in force:\n%s", f.name, sample, text)
			}
			checkRoundTrip(t, with)
		})
	}
}

func TestEachRow(t *testing.T) {
	eachRow(t, hostFields, func(_ *field[Host], line string) string {
		return "[host]\n" + line + "\n" + least
	}, func(c *Config) *Host { return &c.Host })
	eachRow(t, adminFields, func(_ *field[Admin], line string) string {
		return "[admin]\n" + line + "\n" + least
	}, func(c *Config) *Admin { return &c.Admin })
	eachRow(t, tenantFields, func(_ *field[Tenant], line string) string {
		return strings.Replace(least, "[tenant.acme]\n", "[tenant.acme]\n"+line+"\n", 1)
	}, func(c *Config) *Tenant { return &c.Tenants[0] })
	eachRow(t, listenerFields, func(f *field[Listener], line string) string {
		return fileFor(f) + line + "\n" + map[*condition]string{hasRoutes: "[[listener.route]]\nfirst = [\"x\"]\n"}[f.when]
	}, func(c *Config) *Listener { return &c.Listeners[0] })
}

// fileFor is the beginning of a file with a listener to which a row's key means something.
func fileFor(f *field[Listener]) string {
	file := strings.Replace(least, "tcp://127.0.0.1:7001", anAddress(f.on).String(), 1)
	switch {
	case f.when == programs:
		file += "shape = \"stdio\"\n"
	case f.when == hasGroup:
		file += "group = [\"239.1.2.3\", \"ff02::1\"]\n"
	}
	return file
}

// Each row says what a reload does, and each of a listener whose it is; one that is for some
// sockets has words for them.
func TestColumns(t *testing.T) {
	for _, f := range hostFields {
		if f.reload == 0 {
			t.Errorf("the row of %s in [host] does not say what a reload does", f.name)
		}
	}
	for _, f := range adminFields {
		if f.reload == 0 {
			t.Errorf("the row of %s in [admin] does not say what a reload does", f.name)
		}
	}
	for _, f := range tenantFields {
		if f.reload == 0 {
			t.Errorf("the row of %s in [tenant.NAME] does not say what a reload does", f.name)
		}
	}
	for _, f := range tlsFields {
		if f.reload == 0 {
			t.Errorf("the row of %s in [listener.tls] does not say what a reload does", f.name)
		}
	}
	for _, f := range listenerFields {
		if f.reload == 0 || f.of == 0 {
			t.Errorf("the row of %s in [[listener]] does not say what a reload does, or whose it is", f.name)
		}
		if f.on != streams|udp && strings.HasPrefix(f.on.String(), "another") {
			t.Errorf("there are no words for the sockets of %s", f.name)
		}
		if f.reload == NewSocket && f.of != ofSocket {
			t.Errorf("the row of %s says that it needs a new socket, and that it is not the socket's", f.name)
		}
	}
}

// What a reload does with a key is what its row says, and the careful answer where there is none.
func TestReloadOfKeys(t *testing.T) {
	c := mustParse(t, least)
	h, tenant, l := &c.Host, &c.Tenants[0], &c.Listeners[0]
	for key, got := range map[string][2]Reload{
		"drain": {h.Reload("drain"), InPlace}, "loops": {h.Reload("loops"), Restart}, "none of host": {h.Reload("none"), Restart},
		"memory": {tenant.Reload("memory"), InPlace}, "stack": {tenant.Reload("stack"), NewGeneration}, "none of tenant": {tenant.Reload("none"), NewGeneration},
		"name": {l.Reload("name"), NewListener}, "backlog": {l.Reload("backlog"), InPlace}, "group": {l.Reload("group"), NewSocket}, "idle_timeout": {l.Reload("idle_timeout"), InPlace}, "old_for": {l.Reload("old_for"), InPlace},
		"plugin": {l.Reload("plugin"), NewGeneration}, "none of listener": {l.Reload("none"), NewGeneration},
	} {
		if got[0] != got[1] {
			t.Errorf("a reload with another %s does %d, want %d", key, got[0], got[1])
		}
	}
}

// A key is refused on each kind of socket that it is not for, with the same words wherever it is
// said, and where what it needs is not there.
func TestKeysAreRefusedWhereTheyMeanNothing(t *testing.T) {
	kinds := map[sockets]Address{tcp: {Network: "tcp", Host: ":1"}, unixFile: {Network: "unix", Host: "/x"}, unixName: {Network: "unix", Host: "@x"}, udp: {Network: "udp", Host: ":1"}}
	deflt := DefaultListener()
	for i := range listenerFields {
		f := &listenerFields[i]
		if f.required != "" || f.table != "" {
			continue
		}
		line := f.name + " = " + sampleOf(t, f.name, f.want, f.raw(&deflt))
		file := fileFor(f)
		for kind, address := range kinds {
			if f.on&kind != 0 {
				continue
			}
			_, err := Parse("b.toml", []byte(strings.Replace(file, anAddress(f.on).String(), address.String(), 1)+line+"\n"), plugins(t))
			if want := fmt.Sprintf("%s is for %v, and address is %q", f.name, f.on, address.String()); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s at %v: %v; want: %s", line, address, err, want)
			}
		}
		if f.when == nil {
			continue
		}
		elsewhere := strings.Replace(least, "tcp://127.0.0.1:7001", anAddress(f.on).String(), 1)
		if f.when == copies {
			elsewhere += "instance = \"loop\"\n"
		}
		_, err := Parse("b.toml", []byte(elsewhere+line+"\n"), plugins(t))
		if want := f.name + " is for " + f.when.words + "; " + f.when.mend; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want: %s", line, err, want)
		}
	}
}

// Each key of a listener that stands below [listener.config] is warned of where it could be
// meant for the listener.
func TestStrayedKeys(t *testing.T) {
	for i := range listenerFields {
		f := &listenerFields[i]
		if f.required != "" || f.table != "" {
			continue
		}
		file, routes := fileFor(f), ""
		if f.when == hasRoutes {
			routes = "[[listener.route]]\nfirst = [\"x\"]\n"
		}
		c := mustParse(t, file+"[listener.config]\n"+f.name+" = 1\n"+routes)
		want := fmt.Sprintf("%s stands in [listener.config], so it goes to the plugin and the listener keeps its default; move %[1]s above [listener.config] if it is meant for the listener", f.name)
		if got := Errors(c.Warnings).Error(); !strings.HasSuffix(got, want) {
			t.Errorf("%s: warnings are %q, not %q", f.name, got, want)
		}
		if f.on != streams|udp {
			for _, address := range []Address{{Network: "tcp", Host: ":1"}, {Network: "unix", Host: "/x"}, {Network: "udp", Host: ":1"}, {Network: "tcp", Host: ":1", Path: "/"}} {
				if address.sockets()&f.on != 0 {
					continue
				}
				c, err := Parse("b.toml", []byte(strings.Replace(least, "tcp://127.0.0.1:7001", address.String(), 1)+"[listener.config]\n"+f.name+" = 1\n"), plugins(t))
				if err != nil || len(c.Warnings) > 0 {
					t.Errorf("%s below [listener.config] at %v: %v %v", f.name, address, c.Warnings, err)
				}
			}
		}
	}
	// The file of a session that lost two of its keys so.
	c := mustParse(t, least+"[listener.config]\ngreeting = \"x\"\nconnect_timeout = \"1s\"\nproxy_from = [\"127.0.0.1\"]\nidle_timeout = \"1s\"\n")
	if len(c.Warnings) != 3 {
		t.Errorf("the warnings are %v", c.Warnings)
	}
}
