package examples_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/internal/certstest"
	"bulkhead/internal/hosttest"
)

// promised are the commands that the comments of quickstart.toml and the READMEs of
// examples show, and where.
func promised(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	for _, file := range append(files, "../README.md", quickstart) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		if file == quickstart {
			text = strings.ReplaceAll(text, "\n# ", "\n")
		}
		text = regexp.MustCompile(`\\\n +`).ReplaceAllString(text, "") // lines that go on
		for line := range strings.Lines(text) {
			command, ok := strings.CutPrefix(line, "    ")
			if command, _, _ = strings.Cut(command, "   "); ok && regexp.MustCompile(`\b70\d\d\b`).MatchString(command) && !strings.Contains(command, "run ") {
				found[strings.TrimSpace(command)] = file
			}
		}
	}
	return found
}

// What the comments and READMEs say is so: each command is run, and does what it is there
// for. Only the ports are others, and example.com is on this machine.
func TestPromisedCommands(t *testing.T) {
	ca, dir := certstest.NewAuthority(t), t.TempDir()
	plain, secure := newWebsite(0), newWebsite(0)
	plain.Start()
	startTLS(t, secure, ca, "example.com")
	before := runtime.NumGoroutine()
	cfg := load(t)
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		l.Address.Host = "127.0.0.1:0"
		if l.Name == "sni-router" {
			l.Config = json.RawMessage(fmt.Sprintf(`{"routes":{"example.com":{"to":"tcp://example.com:%s"}}}`, secure.port()))
		}
	}
	for i := range cfg.Tenants {
		if cfg.Tenants[i].Name == "web" {
			cfg.Tenants[i].Connect = append(cfg.Tenants[i].Connect, "example.com:*", "127.0.0.1:*")
		}
	}
	h := hosttest.ServeConfig(t, cfg, host.Options{Resolver: names{"example.com": "127.0.0.1"}}, before)
	defer plain.Close()

	var ports []string
	names := map[string]string{"echo": "7001", "chat": "7002", "rot13": "7003", "smtp": "7004", "socks5": "7005", "sni-router": "7006", "hello": "7007", "hello-lua": "7008", "hello-ts": "7009", "hello-python": "7010", "modbus": "7011", "http": "7012", "pop3": "7013", "resp": "7016", "dns": "7053"}
	for name, port := range names {
		_, now, err := net.SplitHostPort(h.Addr(name))
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, port, now)
	}
	here := strings.NewReplacer(append(ports, "http://example.com/", "http://example.com:"+plain.port()+"/")...)
	all := promised(t)
	seen := make(map[string]bool)
	for command, file := range all {
		t.Run(filepath.Base(filepath.Dir(file))+"/"+command, func(t *testing.T) {
			var want, stdin string
			switch {
			case strings.Contains(command, "7001"):
				want = "hello"
			case strings.Contains(command, "7002"):
				want, stdin = "you are in lobby", "ann\n/quit\n"
			case strings.Contains(command, "7003"):
				want = "Uryyb"
			case strings.Contains(command, "curl") && strings.Contains(command, "7004"):
			case strings.Contains(command, "swaks"):
				needSwaksTLS(t)
				want = "<~  250 2.6.0 taken, and gone"
			case strings.Contains(command, "openssl") && strings.Contains(command, "7004"):
				want, stdin = "250-AUTH PLAIN LOGIN\r\n250 ENHANCEDSTATUSCODES\r\n221 ", "EHLO me\nQUIT\n"
			case strings.Contains(command, "7005"):
				want = "GET example.com:" + plain.port()
			case strings.Contains(command, "openssl") && strings.Contains(command, "7006"):
				want, stdin = "subject=CN=example.com", "Q\n"
			case strings.Contains(command, "7006"):
				want = "GET example.com"
			case regexp.MustCompile(`\b70(0[789]|10)$`).MatchString(command):
				want, stdin = "Hello, ann!\r\n", "ann\nquit\n"
			case strings.Contains(command, "mbpoll"):
				if _, err := exec.LookPath("mbpoll"); err != nil {
					t.Skip("there is no mbpoll; CI installs it")
				}
				want = "Modbus"
				if strings.Contains(command, " 42") {
					want = "Written 1 references."
				}
			case strings.Contains(command, "7012"):
				want = "hello\n"
			case strings.Contains(command, "redis-cli"):
				want = "OK\n"
				if strings.Contains(command, " ttl ") {
					want = "\n" // -2, or what is left of a minute
				}
			case strings.Contains(command, "pop3://"):
				want = "Subject: hello\r\n"
				if strings.HasSuffix(command, "/") {
					want = "1 46\r\n2 "
				}
			case strings.Contains(command, "7011"):
				want = "00 01 00 00 00 05 01 03 02"
			case strings.Contains(command, "7053"):
				want = "192.0.2.80"
			default:
				t.Fatal("nobody says what it does")
			}
			for _, c := range []struct{ command, pkg string }{{"nc", "netcat-openbsd"}, {"curl", "curl"}, {"openssl", "openssl"}, {"dig", "dnsutils"}, {"redis-cli", "redis-tools"}} {
				if regexp.MustCompile(`(^|\| )` + c.command + ` `).MatchString(command) {
					hosttest.Need(t, c.command, c.pkg)
				}
			}
			if _, err := exec.LookPath("sh"); err != nil {
				t.Skip("there is no sh")
			}
			r := hosttest.Run(t, stdin, "sh", "-c", "export CURL_CA_BUNDLE="+ca.WriteCA(t, dir, "ca.pem")+"; "+here.Replace(command))
			// Versions of openssl differ.
			if r.Code != 0 || !strings.Contains(strings.ReplaceAll(r.Out, " = ", "="), want) {
				t.Errorf("%s: %v; want %q", command, r, want)
			}
		})
		for _, port := range names {
			if strings.Contains(command, port) {
				seen[port] = true
			}
		}
	}
	for name, port := range names {
		if !seen[port] {
			t.Errorf("no command shows %s", name)
		}
	}
}
