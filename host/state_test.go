package host_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// A state folder that others have a hand in is refused, by New and by Check, in one
// error of the line it stands on, however many plugins there are.
func TestStateFolder(t *testing.T) {
	dir := t.TempDir()
	plugin := filepath.Join(dir, "echo.wasm")
	if err := os.WriteFile(plugin, w.Echo().Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var toml strings.Builder
	state := filepath.Join(dir, "state")
	fmt.Fprintf(&toml, "[host]\nstate = %q\n[tenant.acme]\n", state)
	for i := range 3 {
		fmt.Fprintf(&toml, "[[listener]]\nname = \"l%d\"\ntenant = \"acme\"\naddress = \"tcp://127.0.0.1:0\"\nplugin = %q\n", i, plugin)
	}
	cfg, err := config.Load(hosttest.WriteConfig(t, toml.String()))
	if err != nil {
		t.Fatal(err)
	}
	start := func() error {
		h, err := host.New(cfg, host.Options{})
		if err == nil {
			h.Close()
		}
		return err
	}
	check := func() error { return host.Check(cfg, host.Options{}) }
	modules := filepath.Join(state, "modules")
	for _, c := range []struct {
		name, want string
		root       bool
		hurt       func() error
	}{
		{"others may write", "can be written by others (mode 0777), and what is compiled there is executed; say chmod go-w " + state, false,
			func() error { return os.Chmod(state, 0o777) }},
		{"the group may write", "can be written by others (mode 0770)", false, func() error { return os.Chmod(state, 0o770) }},
		{"others may write to what is theirs alone", "can be written by others (mode 0777)", false,
			func() error { return os.Chmod(state, 0o777|os.ModeSticky) }},
		{"another owner", "belongs to another user, and what is compiled there is executed; say chown ", true,
			func() error { return os.Chown(state, 12345, 12345) }},
		{"another owner of the code", "modules belongs to another user (12345), and what lies there is executed; remove it, or say chown -R ", true,
			func() error { return os.Chown(modules, 12345, 12345) }},
		{"others may read the code", "modules is open to others (mode 0755), and what lies there is executed; say chmod 700 " + modules, false,
			func() error { return os.Chmod(modules, 0o755) }},
		{"a file for the code", "modules is not a directory; remove it", false,
			func() error { return errors.Join(os.RemoveAll(modules), os.WriteFile(modules, nil, 0o600)) }},
		{"a link for the code", "modules is not a directory; remove it", false,
			func() error { return errors.Join(os.RemoveAll(modules), os.Symlink(t.TempDir(), modules)) }},
	} {
		if c.root && os.Geteuid() != 0 {
			continue
		}
		if err := errors.Join(os.RemoveAll(state), check()); err != nil {
			t.Fatal(err)
		}
		if err := c.hurt(); err != nil {
			t.Fatal(err)
		}
		for what, do := range map[string]func() error{"New": start, "Check": check} {
			var all config.Errors
			if err := do(); !errors.As(err, &all) || len(all) != 1 || all[0].Line != 2 || !strings.HasPrefix(all[0].What, "[host] state: ") || !strings.Contains(all[0].What, c.want) {
				t.Errorf("%s: %s says %v, want %q once", c.name, what, err, c.want)
			}
		}
	}
	if err := errors.Join(os.RemoveAll(state), start()); err != nil {
		t.Errorf("a new folder: %v", err)
	}
}
