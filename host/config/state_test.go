package config_test

import (
	"errors"
	"os"
	"path/filepath"
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
