package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/internal/certstest"
)

// What clients will refuse is warned of, and what cannot be read is an error, on the line of
// the key that names the file.
func TestTLSFiles(t *testing.T) {
	dir, ca := t.TempDir(), certstest.NewAuthority(t)
	ca.WriteWith(t, dir, "old", certstest.Expired, "old.test")
	ca.WriteCA(t, dir, "ca.pem")
	ca.WriteCRL(t, dir, "crl.pem")
	for name, b := range map[string][]byte{"echo.wasm": nil, "short": make([]byte, 8), "open": make([]byte, 80)} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "open"), 0o644); err != nil {
		t.Fatal(err)
	}
	parse := func(rest string) (*Config, error) {
		return Parse("x.toml", fmt.Appendf(nil, `[tenant.a]
[[listener]]
name = "l"
tenant = "a"
address = "tcp://127.0.0.1:7443"
plugin = "echo.wasm"
[listener.tls]
cert = "old.pem"
key = "old.key"
%s`, rest), dir)
	}
	c, err := parse("client_ca = \"ca.pem\"\nclient_crl = \"crl.pem\"\nticket_keys = \"open\"\n")
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, w := range c.Warnings {
		said = append(said, w.Error())
	}
	all := strings.Join(said, "\n")
	for _, want := range []string{
		`x.toml:8: [listener.tls]: ` + filepath.Join(dir, "old.pem") + `: the certificate for "old.test" has expired on `,
		`x.toml:8: [listener.tls]: ` + filepath.Join(dir, "old.pem") + `: the chain ends with the certificate for "old.test", and who signed it, "CN=test authority", is not known`,
		`x.toml:12: [listener.tls]: the ticket key ` + filepath.Join(dir, "open") + ` can be read by every user`,
	} {
		if !strings.Contains(all, want) {
			// A machine without any authorities cannot tell of the second.
			if _, err := os.Stat("/etc/ssl/certs"); err != nil && strings.Contains(want, "the chain ends") {
				continue
			}
			t.Errorf("it warns\n%s\nwithout %q", all, want)
		}
	}
	for rest, want := range map[string]string{
		"ticket_keys = [\"open\", \"short\"]":              "x.toml:10: [listener.tls]: ticket_keys: ",
		"client_ca = \"ca.pem\"\nclient_crl = \"old.pem\"": "x.toml:11: [listener.tls]: client_crl: ",
		"client_ca = \"open\"":                             "x.toml:10: [listener.tls]: client_ca: ",
		"client_ca = \"nowhere\"":                          "x.toml:10: [listener.tls]: reading client_ca: ",
		"client_crl = \"crl.pem\"":                         "x.toml:10: client_crl is of no use where no client shows a certificate",
		"client_ca = \"ca.pem\"\nclient_crl = \"\"":        "x.toml:11: ",
		"ticket_keys = []":                                 "x.toml:10: ",
		"client_ca = \"ca.pem\"\nclient_crl = \"nowhere\"": "x.toml:11: [listener.tls]: reading client_crl: ",
	} {
		if _, err := parse(rest); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: it says %v, want %q", rest, err, want)
		}
	}
}
