package config

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// FuzzParse gives Parse any bytes. It may refuse them, but only with errors
// that point into the file and stay on one line each; and what it takes must
// come back from WriteLimits with the same limits.
func FuzzParse(f *testing.F) {
	f.Add([]byte(least))
	f.Add([]byte(everything))
	f.Add([]byte(routed))
	f.Add([]byte(least + "[[listener.route]]\nsni = [\"a\", \"*.b\"]\nalpn = [\"h2\"]\n[[listener.route]]\nfirst = [\"hex:00 01\", \"x\"]\ntls = false\n[[listener.route]]\n"))
	f.Add([]byte("[host]\nloops = 0\ndrain = \"0s\"\n" + least + "inbox = \"16MiB\"\n[listener.config]\na = inf\n"))
	f.Add([]byte(least + "name = \"x\"\nname = \"y\"\n[tenant.acme]\n"))
	f.Add([]byte("listener = [{name = 1}]\ntenant = {a = {}, b = 2}\nhost = 3"))
	dir := plugins(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := Parse("b.toml", src, dir)
		lines := 1 + strings.Count(strings.TrimSuffix(string(src), "\n"), "\n")
		if err != nil {
			var all Errors
			if c != nil || !errors.As(err, &all) || len(all) == 0 || len(all) > maxErrors {
				t.Fatalf("a bad failure: %v, %#v", c, err)
			}
			checkPlaces(t, all, lines)
			return
		}
		checkPlaces(t, c.Warnings, lines)
		checkInvariants(t, c, lines)
		checkRoundTrip(t, c)
	})
}

// checkPlaces looks at the form of errors and warnings.
func checkPlaces(t *testing.T, all []*Error, lines int) {
	t.Helper()
	last := 1
	for _, e := range all {
		if e.Line < last || e.Line > lines {
			t.Fatalf("line %d after %d, of %d: %s", e.Line, last, lines, e)
		}
		last = e.Line
		if e.File != "b.toml" || e.What == "" || e.Mend == "" || strings.ContainsAny(e.Error(), "\n\r\x00\x1b") {
			t.Fatalf("a bad error: %q", e.Error())
		}
	}
}

// checkInvariants looks for what users of a Config rely on.
func checkInvariants(t *testing.T, c *Config, lines int) {
	t.Helper()
	if len(c.Listeners) == 0 {
		t.Fatal("no listener")
	}
	tenants := make(map[string]bool)
	for i, tn := range c.Tenants {
		if i > 0 && c.Tenants[i-1].Name >= tn.Name {
			t.Fatal("tenants not sorted")
		}
		if tn.Memory <= 0 || tn.CPU <= 0 || tn.Connections <= 0 || tn.AcceptRate <= 0 || tn.Bandwidth <= 0 || tn.Line < 1 || tn.Line > lines {
			t.Fatalf("a bad tenant: %+v", tn)
		}
		tenants[tn.Name] = true
	}
	for _, l := range c.Listeners {
		for i, r := range l.Routes {
			s := r.Listener
			if !goodName(r.Name) || !tenants[s.Tenant] || s.Plugin == "" || s.Name != l.Name+"/"+r.Name || s.Routes != nil || r.Rule.Default() && i < len(l.Routes)-1 || r.Line < 1 || r.Line > lines || !json.Valid(s.Config) {
				t.Fatalf("a bad route: %+v", r)
			}
		}
		if !goodName(l.Name) || !tenants[l.Tenant] || l.IdleTimeout <= 0 || l.EventTimeout <= 0 || l.Linger < 0 || l.FirstByteTimeout < 0 || l.WriteTimeout < 0 || l.Lifetime < 0 || l.MinRate < 0 || l.Inbox < 4096 || l.Backlog < 1 || l.Line < 1 || l.Line > lines {
			t.Fatalf("a bad listener: %+v", l)
		}
		if !json.Valid(l.Config) || l.Config[0] != '{' || len(l.Config) > maxGuestConfig {
			t.Fatalf("a bad config: %q", l.Config)
		}
	}
}
