package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"bulkhead/bench/internal/table"
	"bulkhead/internal/traffictest"
)

// amongTenants reloads a daemon of many tenants, which adds one and changes one that has many
// connections.
func (s *settings) amongTenants(dir string, out io.Writer) error {
	file := filepath.Join(dir, "tenants.toml")
	var plugins []string
	for version := range 4 {
		at := filepath.Join(dir, "v"+strconv.Itoa(version)+".wasm")
		if err := os.WriteFile(at, traffictest.Handler(version), 0o600); err != nil {
			return err
		}
		plugins = append(plugins, at)
	}
	configure := func(changed string, more int) error {
		var toml strings.Builder
		fmt.Fprintf(&toml, "[host]\nstate = %q\nconnections = 30000\n", filepath.Join(dir, "state"))
		tenant := func(name, plugin, limits, keys string) {
			fmt.Fprintf(&toml, "[tenant.%s]\n%s[[listener]]\nname = %q\ntenant = %q\naddress = \"tcp://127.0.0.1:0\"\nplugin = %q\n%s", name, limits, name, name, plugin, keys)
		}
		tenant("changed", changed, "connections = 30000\naccept_rate = 100000\nmemory = \"16GiB\"\ninstances = 60000\n",
			"per_source = 0\nper_source_rate = 0\nfirst_byte_timeout = \"0s\"\ngenerations = 10\n")
		for n := range s.tenants + more {
			tenant("t"+strconv.Itoa(n), plugins[0], "", "")
		}
		return os.WriteFile(file, []byte(toml.String()), 0o600)
	}
	if err := configure(plugins[0], 0); err != nil {
		return err
	}
	d, err := start(file)
	if err != nil {
		return err
	}
	defer d.stop()
	t := table.New("reload", "took, ms", "CPU, ms", "longest event so far, ms", "connections", "earlier generations")
	row := func(what string, r reloaded) error {
		time.Sleep(2 * time.Second) // for what the loops do after it
		var a account
		if err := d.Ask("account", &a); err != nil {
			return err
		}
		t.Row(what, millis(r.Took), millis(r.CPU), millis(a.LongestEvent), strconv.Itoa(a.Connections), strconv.Itoa(a.Retired))
		return nil
	}
	for range s.connections {
		c, err := net.Dial("tcp", d.Addresses["changed"])
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.WriteString(c, "?"); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, make([]byte, 6)); err != nil {
			return err
		}
	}
	if err := row("none yet", reloaded{}); err != nil {
		return err
	}
	for n := 1; n < len(plugins); n++ {
		if err := configure(plugins[n], n); err != nil {
			return err
		}
		r, err := d.reload()
		if err != nil {
			return err
		}
		if err := row(fmt.Sprintf("number %d: adds a tenant, changes another's plugin", n), r); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "\n%d tenants with a listener each; the one that changes has %d connections\n\n", s.tenants+1, s.connections)
	return t.Write(out)
}
