package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/host/config"
)

// A file of a thousand tenants with a listener each is read, and compared with what it said before:
// what a reload does first.
func BenchmarkThousandTenants(b *testing.B) {
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.wasm"), []byte("\x00asm\x01\x00\x00\x00"), 0o600); err != nil {
		b.Fatal(err)
	}
	var toml strings.Builder
	for n := range 1000 {
		fmt.Fprintf(&toml, "[tenant.t%d]\n[[listener]]\nname = \"t%d\"\ntenant = \"t%d\"\naddress = \"tcp://127.0.0.1:0\"\nplugin = \"a.wasm\"\n", n, n, n)
	}
	path := filepath.Join(dir, "host.toml")
	if err := os.WriteFile(path, []byte(toml.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	load := func() *config.Config {
		cfg, err := config.Load(path)
		if err != nil {
			b.Fatal(err)
		}
		return cfg
	}
	b.Run("load", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			load()
		}
	})
	b.Run("compare", func(b *testing.B) {
		now, before := load(), load()
		b.ReportAllocs()
		for b.Loop() {
			for i := range now.Listeners {
				keys := append(now.Tenants[i].Changes(&before.Tenants[i]), now.Listeners[i].Renewing(&before.Listeners[i])...)
				if len(keys) > 0 {
					b.Fatalf("what is the same differs: %v", keys)
				}
			}
		}
	})
}
