package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bulkhead/internal/certstest"
)

// routed has a listener with routes. Its last line is 31, in the last route.
const routed = `[tenant.acme]
[tenant.zeta]
[[listener]]
name = "front"
tenant = "acme"
address = "tcp://:443"
plugin = "echo.wasm"
plugin_sha256 = "93a44bbb96c751218e4c00d479e4c14358122a389acca16205b1e4d0dc5f9476"
instance = "loop"
idle_timeout = "1m"
route_timeout = "3s"
  [listener.tls]
  self_signed = ["a.test"]
  alpn = ["x", "y"]
  [[listener.route]]
  name = "a"
  tenant = "zeta"
  sni = ["A.Test", "*.a.test"]
  plugin = "./echo.wasm"
  [[listener.route]]
  alpn = ["y"]
  idle_timeout = "2m"
  [[listener.route]]
  first = ["SSH-", "hex:00 ff"]
  shape = "stdio"
  instance = "connection"
  tls = false
  [[listener.route]]
  sni = ["b.test"]
    [listener.route.tls]
    self_signed = ["b.test"]
  [listener.config]
  secret = 1
`

func TestRoutes(t *testing.T) {
	c := mustParse(t, routed)
	l := &c.Listeners[0]
	if l.RouteTimeout != 3*time.Second || len(l.Routes) != 4 || !l.ServesItself() {
		t.Fatalf("got %+v", l)
	}
	echo := filepath.Join(plugins(t), "echo.wasm")
	for i, want := range []string{
		`front/a zeta [a.test *.a.test] [] [] loop events 1m0s {} "" tls [x y]`,
		`front/2 acme [] [y] [] loop events 2m0s {"secret":1} "93a4" tls [y]`,
		"front/3 acme [] [] [SSH- \x00\xff] connection stdio 1m0s {\"secret\":1} \"93a4\" clear",
		`front/4 acme [b.test] [] [] loop events 1m0s {"secret":1} "93a4" tls []`,
	} {
		r := &l.Routes[i]
		s := &r.Listener
		got := fmt.Sprintf("%s %s %s %s %s %s %s %s %s %q", s.Name, s.Tenant, r.Rule.SNI, r.Rule.ALPN, r.Rule.First, s.Instance, s.Shape, s.IdleTimeout, s.Config, s.PluginSHA256[:min(4, len(s.PluginSHA256))])
		if s.TLS != nil {
			got += fmt.Sprint(" tls ", s.TLS.ALPN)
		} else {
			got += " clear"
		}
		if got != want || s.Plugin != echo || s.Routes != nil {
			t.Errorf("route %d: %s; want %s\n%+v", i, got, want, s)
		}
	}
	if l.TLS.ALPN[1] != "y" || l.Routes[0].Listener.TLS != l.TLS || l.Routes[3].Listener.TLS.SelfSigned[0] != "b.test" {
		t.Error("the routes' TLS is mixed up")
	}
	if r := l.Routes[2]; r.Line != 23 || r.LineOf("shape") != 25 || r.LineOf("alpn") != 23 || r.Listener.LineOf("plugin") != 23 {
		t.Errorf("lines: %d %d %d %d", r.Line, r.LineOf("shape"), r.LineOf("alpn"), r.Listener.LineOf("plugin"))
	}
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %v", c.Warnings)
	}
	checkRoundTrip(t, c)

	// Without a plugin of the listener's own, and with a route for all that are left.
	c = mustParse(t, strings.Replace(least, "plugin = \"echo.wasm\"\n", "[[listener.route]]\nplugin = \"echo.wasm\"\nfirst = [\"x\"]\n", 1))
	if c.Listeners[0].ServesItself() || c.Listeners[0].Plugin != "" {
		t.Errorf("got %+v", c.Listeners[0])
	}
	checkRoundTrip(t, c)
	if text := limits(t, c); !strings.Contains(text, "\n# plugin is not given: a connection that no route matches is closed\n") || !strings.Contains(text, "route_timeout = \"10s\" ") {
		t.Errorf("limits:\n%s", text)
	}
	c = mustParse(t, least+"[[listener.route]]\n")
	if c.Listeners[0].ServesItself() {
		t.Error("a route for all leaves nothing for the listener's plugin")
	}
	checkRoundTrip(t, c)
}

func TestLimitsOfRoutes(t *testing.T) {
	_, text, _ := strings.Cut(limits(t, mustParse(t, routed)), "[[listener.route]]")
	for _, want := range []string{
		`name = "a" # given on line 16`, `sni = ["a.test", "*.a.test"] # given on line 18`, `tenant = "zeta" # given on line 17`, `idle_timeout = "1m" # the listener's`,
		`name = "2" # default`, `alpn = ["y"] # given on line 21`, `idle_timeout = "2m" # given on line 22`, `plugin_sha256 = "93a44`,
		`first = ["SSH-", "hex:00 ff"] # given on line 24`, `tls = false # given on line 27`, `self_signed = ["b.test"] # given on line 31`,
		`# [listener.route.config] is 12 bytes as JSON`, `# [listener.route.config] is 2 bytes as JSON`,
	} {
		if !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
			t.Errorf("there is no %s in\n%s", want, text)
		}
	}
}

// TestRouteErrors holds every error of routes to its exact words and line. src follows a good
// file of six lines that ends in [[listener]].
func TestRouteErrors(t *testing.T) {
	const names = `write a list of up to 1024 server names, like ["mail.example.com", "*.example.org"]`
	const firsts = `write a list of up to 64 beginnings of 1 to 64 bytes, like ["SSH-", "hex:16 03"]`
	for _, test := range []struct{ name, src, want string }{
		{"no tables", "route = 1\n", `7: listener.route is a whole number, not tables; write [[listener.route]] on a line of its own, and its keys below`},
		{"one table", "[listener.route]\nfirts = 1\n", `7: listener.route is a single table; write [[listener.route]], with two brackets, above each route's keys
8: unknown key "firts"; did you mean "first"?`},
		{"keys of a route in the listener", "sni = [\"a\"]\n", `7: unknown key "sni"; it belongs in [[listener.route]]`},
		{"keys of the listener in a route", "[[listener.route]]\nbacklog = 1\n", `8: unknown key "backlog"; it belongs in [[listener]]`},
		{"misspelt", "[[listener.route]]\nsin = [\"a\"]\ntennant = \"x\"\n", `8: unknown key "sin"; did you mean "sni"?
9: unknown key "tennant"; did you mean "tenant"?`},
		{"misspelt table", "[[listener.rout]]\n", `7: unknown table "rout"; did you mean "route"?`},
		{"a timeout without routes", "route_timeout = \"1s\"\n", `7: route_timeout is for a listener with [[listener.route]] tables; leave it out`},
		{"the timeout", "route_timeout = \"1ms\"\n[[listener.route]]\n", `7: route_timeout = "1ms" is out of range; write a duration from 10ms to 10m, like "10s"`},
		{"names", "[[listener.route]]\nname = \"A\"\n[[listener.route]]\nname = \"x\"\nfirst = [\"x\"]\n[[listener.route]]\nname = \"x\"\nfirst = [\"y\"]\n", `8: name = "A" is no route's name; write a name of 1 to 63 of a-z, 0-9, "_", "." and "-", beginning with a letter or a digit
13: duplicate route name "x"; give each route a name of its own (the first is on line 10)`},
		{"a name that another has by its place", "[[listener.route]]\nname = \"2\"\nfirst = [\"x\"]\n[[listener.route]]\nfirst = [\"y\"]\n", `10: duplicate route name "2"; give each route a name of its own (the first is on line 8)`},
		{"entries", "[[listener.route]]\nsni = [\n\"a.\",\n\"a\",\n\"A\"]\nalpn = [\"\"]\n[[listener.route]]\nfirst = [\"hex:0\"]\n[[listener.route]]\nsni = []\nalpn = \"x\"\n", `9: sni[0] = "a." ends with a dot, which TLS leaves out; ` + names + `
11: sni[2] = "A" is in the list twice; keep one of the two
12: alpn[0] = "" has 0 bytes; write a list of up to 16 protocols of 1 to 255 bytes, like ["h2", "http/1.1"]
14: first[0] = "hex:0" is not in pairs of hex digits; ` + firsts + `
16: sni = [...] is empty; ` + names + `
17: alpn = "x" is text; write a list of up to 16 protocols of 1 to 255 bytes, like ["h2", "http/1.1"]`},
		{"a tenant that is not there", "[[listener.route]]\ntenant = \"acne\"\n", `8: tenant "acne" is not defined; did you mean "acme"?`},
		{"a plugin that is not there", "[[listener.route]]\nplugin = \"none.wasm\"\n", `8: plugin = "none.wasm" cannot be read (DIR/none.wasm: no such file or directory); write the path of a .wasm, .js, .ts, .py or .lua file, taken from the folder of this file unless it begins with a slash`},
		{"both kinds", "[[listener.route]]\nfirst = [\"x\"]\nsni = [\"a\"]\n", `8: first does not go with sni and alpn, which are about what a TLS client says; make two routes of it`},
		{"kinds of instances", "instance = \"loop\"\n[[listener.route]]\nshape = \"stdio\"\n", `9: instance = "loop" does not go with shape = "stdio", where each connection has a program of its own; add instance = "connection"`},
		{"snapshot", "[[listener.route]]\nsnapshot = false\ninstance = \"loop\"\n", `8: snapshot is for instance = "connection" and shape = "events"; leave it out`},
		{"behind the last", "[[listener.route]]\n[[listener.route]]\nsni = [\"a\"]\n", `8: no connection takes this route: all that could, take that on line 7; move it up, or leave it out`},
		{"hidden entries", "[[listener.route]]\nsni = [\"*.a\"]\n[[listener.route]]\nsni = [\"b\",\n\"x.a\"]\n[[listener.route]]\nfirst = [\"x\"]\n[[listener.route]]\nfirst = [\"hex:78 00\"]\n", `10: sni has "x.a", whose connections take the route on line 7; move the route up, or leave the entry out
15: first has "hex:78 00", whose connections take the route on line 12; move the route up, or leave the entry out`},
		{"tls", "[[listener.route]]\ntls = true\n[[listener.route]]\ntls = 1\n", `8: tls = true is no way to have it: a route has its listener's when it is left out; write false for none, or a table [listener.route.tls] with cert and key
10: tls = 1 is a whole number; write false for none, or a table [listener.route.tls] with cert and key`},
		{"bytes that TLS does not begin with", "[[listener.route]]\nfirst = [\"hex:16 03 01\", \"SSH-\"]\n[listener.tls]\nself_signed = [\"a\"]\n", `8: first has "SSH-", which TLS does not begin with, and the route's connections are to begin with TLS; write tls = false into the route if it is for peers without TLS`},
		{"starttls", "[[listener.route]]\nsni = [\"a\"]\n[listener.tls]\nself_signed = [\"a\"]\nstarttls = true\n", `7: sni and alpn are for connections that begin with TLS, and starttls is for those that do not; write tls = false, or use first`},
		{"protocols", "[[listener.route]]\nalpn = [\"a\", \"b\"]\n[listener.route.tls]\nself_signed = [\"a\"]\nalpn = [\"a\"]\n", `8: the route is for the protocol "b", and its own TLS does not have it; add it there, or leave the alpn of [listener.route.tls] out`},
		{"a certificate", "[[listener.route]]\n[listener.route.tls]\ncert = \"x\"\nmin_vresion = 1\n", `10: unknown key "min_vresion"; did you mean "min_version"?`},
		{"no certificate", "[[listener.route]]\n[listener.route.tls]\n", `8: [listener.route.tls]: there is no certificate, or two kinds of them; give a cert and a key, or self_signed; mend the file, or name another`},
		{"too many", strings.Repeat("[[listener.route]]\n", 1025), `7: the listener has 1025 routes; keep it to 1024`},
		{"datagrams", "udp", `7: [[listener.route]] is for streams, and address is "udp://127.0.0.1:7001"; leave it out, or listen on tcp://`},
		{"no plugin at all", "plugin", `6: [[listener.route]] has no plugin; add plugin = "FILE.wasm", here or to the listener`},
	} {
		t.Run(test.name, func(t *testing.T) {
			src := least + test.src
			if test.src == "udp" {
				src = strings.Replace(least, "tcp://", "udp://", 1) + "[[listener.route]]\n"
			}
			if test.src == "plugin" {
				src = strings.Replace(least, "plugin = \"echo.wasm\"\n", "[[listener.route]]\n", 1)
			}
			_, err := Parse("b.toml", []byte(src), plugins(t))
			var errs Errors
			if !errors.As(err, &errs) {
				t.Fatalf("got %v", err)
			}
			got := strings.ReplaceAll(strings.ReplaceAll(errs.Error(), plugins(t), "DIR"), "b.toml:", "")
			if got != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}
}

func TestRouteWarnings(t *testing.T) {
	c := mustParse(t, least+"[[listener.route]]\nfirst = [\"x\"]\n[listener.route.config]\ninbox = 1\n")
	want := `b.toml:9: inbox stands in [listener.route.config], so it goes to the plugin and the route keeps the listener's; move inbox above [listener.route.config] if it is meant for the route`
	if got := Errors(c.Warnings).Error(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// A route's own certificate is read, and a wrong one is on its line.
func TestRouteCertificates(t *testing.T) {
	ca, dir := certstest.NewAuthority(t), t.TempDir()
	cert, key := ca.Write(t, dir, "a", "a.test")
	src := fmt.Sprintf("[[listener.route]]\nalpn = [\"h2\"]\n[listener.route.tls]\ncert = %q\nkey = %q\n", cert, key)
	c := mustParse(t, least+src)
	if s := c.Listeners[0].Routes[0].Listener.TLS; s.Certs[0] != cert || s.ALPN[0] != "h2" || c.Listeners[0].TLS != nil {
		t.Errorf("got %+v", s)
	}
	checkRoundTrip(t, c)
	if _, err := Parse("b.toml", []byte(strings.Replace(least+src, key, cert, 1)), plugins(t)); err == nil || !strings.Contains(err.Error(), "b.toml:11: [listener.route.tls]: ") {
		t.Errorf("a certificate for a key: %v", err)
	}
}
