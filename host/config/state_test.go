package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"bulkhead/host/config"
)

// The state folder is found whatever else is wrong with a file, as Load finds it.
func TestStateFolder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.toml")
	for _, c := range []struct{ toml, want string }{
		{"", filepath.Join(dir, "state")},
		{"[host]\nstate = \"kept\"\n", filepath.Join(dir, "kept")},
		{"[host]\nstate = \"/var/lib/b\"\n", "/var/lib/b"},
		{"[host]\nstate = \"../b\"\nloops = \"many\"\n[tenant.acme]\nmemory = 1\n[[listener]]\n", filepath.Join(filepath.Dir(dir), "b")},
		{"[host]\nstate = 5\n", filepath.Join(dir, "state")},
		{"[host]\nstate = \"\"\n", filepath.Join(dir, "state")},
	} {
		if err := os.WriteFile(path, []byte(c.toml), 0o600); err != nil {
			t.Fatal(err)
		}
		have, err := config.StateFolder(path)
		if err != nil || have != c.want {
			t.Errorf("%q: %q, %v; want %q", c.toml, have, err, c.want)
		}
		if cfg, err := config.Load(path); err == nil && cfg.Host.State != have {
			t.Errorf("%q: Load finds %q", c.toml, cfg.Host.State)
		}
	}
	for _, toml := range []string{"[host\n", "host = 1\n", "[host]\nstate = \"a\"\nstate = \"b\"\n"} {
		if err := os.WriteFile(path, []byte(toml), 0o600); err != nil {
			t.Fatal(err)
		}
		var all config.Errors
		if have, err := config.StateFolder(path); !errors.As(err, &all) {
			t.Errorf("%q: %q, %v", toml, have, err)
		}
	}
	if _, err := config.StateFolder(filepath.Join(dir, "nowhere.toml")); err == nil {
		t.Error("a file that is not there has a state folder")
	}
}

// Changes names each key that differs once, a table also when its length differs.
func TestChanges(t *testing.T) {
	before, now := config.DefaultListener(), config.DefaultListener()
	if keys := now.Changes(&before); len(keys) > 0 {
		t.Errorf("the same listeners differ in %q", keys)
	}
	before.Line, now.Line = 1, 2
	if keys := now.Changes(&before); len(keys) > 0 {
		t.Errorf("listeners on other lines differ in %q", keys)
	}
	now.Config[0] = ' ' // the caller's own
	if other := config.DefaultListener(); other.Config[0] == ' ' {
		t.Error("DefaultListener gives all callers the same bytes")
	}
	now.Config, now.Inbox = []byte(`{"a":1}`), before.Inbox*2
	if keys := now.Changes(&before); !slices.Equal(keys, []string{"inbox", "config"}) {
		t.Errorf("inbox and config differ, and the keys are %q", keys)
	}
	a, b := config.DefaultTenant("acme"), config.DefaultTenant("acme")
	a.Line = 7
	if keys := b.Changes(&a); len(keys) > 0 {
		t.Errorf("the same tenants differ in %q", keys)
	}
	if b.Timers++; !slices.Equal(b.Changes(&a), []string{"timers"}) {
		t.Errorf("timers differ, and the keys are %q", b.Changes(&a))
	}
}

// Whoever builds the plugins reads the configuration before there are any.
func TestLoadToBuild(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.toml")
	text := "[tenant.a]\n[[listener]]\nname = \"l\"\ntenant = \"a\"\naddress = \"tcp://127.0.0.1:0\"\nplugin = \"none.wasm\"\n"
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(text)
	for _, load := range []func(string) (*config.Config, error){config.Load, config.LoadToRun} {
		if _, err := load(path); err == nil {
			t.Error("a configuration without any plugin that is there is no error")
		}
	}
	c, err := config.LoadToBuild(path)
	if err != nil || c.Listeners[0].Plugin != filepath.Join(dir, "none.wasm") {
		t.Errorf("%+v, %v", c, err)
	}
	write(text + "nothing = 1\n")
	if _, err := config.LoadToBuild(path); err == nil || len(err.(config.Errors)) != 1 {
		t.Errorf("%v, want the other error alone", err)
	}
}
