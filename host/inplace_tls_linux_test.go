package host_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/certstest"
	"bulkhead/internal/hosttest"
	"bulkhead/selector"
)

// securing is a host with TLS of which one key is changed.
type securing struct {
	*changing
	ca, other *certstest.Authority
	client    *tls.Config
}

// meet is what a client sees who comes now, or why it is not served.
func (s *securing) meet(change func(*tls.Config)) (tls.ConnectionState, error) {
	s.t.Helper()
	client := s.client.Clone()
	if change != nil {
		change(client)
	}
	c := tls.Client(s.dial("it"), client)
	defer c.Close()
	if _, err := c.Write([]byte("?")); err != nil {
		return tls.ConnectionState{}, err
	}
	if _, err := c.Read(make([]byte, 2)); err != nil { // in TLS 1.3 who is refused hears of it here
		return tls.ConnectionState{}, err
	}
	return c.ConnectionState(), nil
}

func (s *securing) served(what string, change func(*tls.Config)) tls.ConnectionState {
	s.t.Helper()
	state, err := s.meet(change)
	if err != nil {
		s.t.Errorf("%s: %v", what, err)
	}
	return state
}

func (s *securing) refused(what string, change func(*tls.Config)) {
	s.t.Helper()
	if _, err := s.meet(change); err == nil {
		s.t.Errorf("%s is served", what)
	}
}

func with(pairs ...tls.Certificate) func(*tls.Config) {
	return func(c *tls.Config) { c.Certificates = pairs }
}

// tlsCase changes one key of [listener.tls]. before and after are the table; DIR is the folder of
// the files. want sees that it holds.
type tlsCase struct {
	before, after string
	want          func(s *securing, dir string)
}

const onePair = "cert = \"DIR/one.pem\"\nkey = \"DIR/one.key\"\n"

var tlsCases = map[string]tlsCase{
	"cert": {onePair, "cert = \"DIR/two.pem\"\nkey = \"DIR/two.key\"\n", func(s *securing, _ string) {
		if state := s.served("who comes then", func(c *tls.Config) { c.ServerName = "two.test" }); state.PeerCertificates[0].Subject.CommonName != "two.test" {
			s.t.Errorf("it shows %v", state.PeerCertificates[0].Subject)
		}
	}},
	"key": {onePair, "cert = \"DIR/one.pem\"\nkey = \"DIR/moved.key\"\n", func(s *securing, dir string) {
		before := s.served("who comes then", nil)
		s.ca.Write(s.t, dir, "one", "host.test")
		if err := os.Rename(filepath.Join(dir, "one.key"), filepath.Join(dir, "moved.key")); err != nil {
			s.t.Fatal(err)
		}
		s.h.RefreshCertificates()
		if now := s.served("who comes when the files have changed", nil); now.PeerCertificates[0].Equal(before.PeerCertificates[0]) {
			s.t.Error("the files are not looked at")
		}
	}},
	"self_signed": {"self_signed = [\"one.test\"]\n", "self_signed = [\"two.test\"]\n", func(s *securing, _ string) {
		state := s.served("who comes then", func(c *tls.Config) { c.InsecureSkipVerify = true })
		if names := state.PeerCertificates[0].DNSNames; !slices.Equal(names, []string{"two.test"}) {
			s.t.Errorf("it is of %v", names)
		}
	}},
	"client_ca": {onePair + "client_ca = \"DIR/ca.pem\"\nclient_auth = \"verify\"", onePair + "client_ca = \"DIR/other.pem\"\nclient_auth = \"verify\"", func(s *securing, _ string) {
		s.served("one by the new authority", with(s.other.Pair(s.t, "client")))
		s.refused("one by the authority before", with(s.ca.Pair(s.t, "client")))
	}},
	"client_auth": {onePair + "client_ca = \"DIR/ca.pem\"\nclient_auth = \"verify\"", onePair + "client_ca = \"DIR/ca.pem\"\nclient_auth = \"require\"", func(s *securing, _ string) {
		s.refused("who shows no certificate", nil)
		s.served("who shows one", with(s.ca.Pair(s.t, "client")))
	}},
	"client_crl": {onePair + "client_ca = \"DIR/ca.pem\"\nclient_auth = \"verify\"", onePair + "client_ca = \"DIR/ca.pem\"\nclient_auth = \"verify\"\nclient_crl = \"DIR/list.crl\"", func(s *securing, dir string) {
		good, bad := s.ca.Pair(s.t, "client"), s.ca.Pair(s.t, "client")
		s.served("one that is in no list", with(good))
		leaf, err := x509.ParseCertificate(bad.Certificate[0])
		if err != nil {
			s.t.Fatal(err)
		}
		s.ca.WriteCRL(s.t, dir, "list.crl", leaf.SerialNumber)
		s.h.RefreshCertificates()
		s.refused("one that is", with(bad))
	}},
	"min_version": {onePair + `min_version = "1.2"`, onePair + `min_version = "1.3"`, func(s *securing, _ string) {
		s.refused("TLS 1.2", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })
		s.served("TLS 1.3", nil)
	}},
	"alpn": {onePair + `alpn = ["one"]`, onePair + `alpn = ["two"]`, func(s *securing, _ string) {
		state := s.served("who offers both", func(c *tls.Config) { c.NextProtos = []string{"one", "two"} })
		if state.NegotiatedProtocol != "two" {
			s.t.Errorf("the protocol is %q", state.NegotiatedProtocol)
		}
	}},
	"ticket_keys": {onePair + `ticket_keys = "DIR/one.tickets"`, onePair + `ticket_keys = "DIR/two.tickets"`, func(s *securing, _ string) {
		if state := s.served("with a ticket of before", nil); state.DidResume {
			s.t.Error("a session is resumed by a key that is gone")
		}
		if state := s.served("with a ticket of then", nil); !state.DidResume {
			s.t.Error("no session is resumed")
		}
	}},
	"handshake_timeout": {onePair + `handshake_timeout = "10m"`, onePair + `handshake_timeout = "1m"`, func(s *securing, _ string) {
		before := s.h.Stats().Connections
		s.dial("it") // and says nothing
		hosttest.Eventually(s.t, "it is there", func() bool { return s.h.Stats().Connections > before })
		s.turn() // its time has begun
		s.ends("handshake_timeout", 9*time.Minute)
	}},
}

// Each key of [listener.tls] that changes in place does: a connection that was there before goes
// on, no generation is made, and the next handshake goes by the new value. A key without a case
// fails.
func TestReloadOfTLSInPlace(t *testing.T) {
	keys := config.KeysThat(config.InPlace)["[listener.tls]"]
	for key := range tlsCases {
		if !slices.Contains(keys, key) {
			t.Errorf("%s does not change in place", key)
		}
	}
	for _, key := range keys {
		t.Run(key, func(t *testing.T) {
			c, ok := tlsCases[key]
			if !ok {
				t.Fatal("it changes in place, and has no case here")
			}
			dir := t.TempDir()
			s := &securing{ca: certstest.NewAuthority(t), other: certstest.NewAuthority(t)}
			s.ca.Write(t, dir, "one", "host.test")
			s.ca.Write(t, dir, "two", "two.test")
			s.ca.WriteCA(t, dir, "ca.pem")
			s.other.WriteCA(t, dir, "other.pem")
			s.ca.WriteCRL(t, dir, "list.crl", big.NewInt(1<<60))
			files := map[string]string{"one.tickets": strings.Repeat("1", 32), "two.tickets": strings.Repeat("2", 32)}
			key, err := os.ReadFile(filepath.Join(dir, "one.key"))
			if err != nil {
				t.Fatal(err)
			}
			files["moved.key"] = string(key)
			for name, content := range files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			of := func(table string) string {
				return acme + listenerOf("plain", "a.wasm", "") + listenerOf("it", "a.wasm", "idle_timeout = \"720h\"\nfirst_byte_timeout = \"0s\"\nlifetime = \"0s\"") +
					"[listener.tls]\n" + strings.ReplaceAll(table, "DIR", dir)
			}
			clock := &selector.Manual{}
			l := newLives(t, map[string][]byte{"a.wasm": tally('a').Bytes()}, of(c.before), host.Options{Clock: clock})
			s.changing = &changing{lives: l, clock: clock}
			s.client = &tls.Config{ServerName: "host.test", RootCAs: s.ca.Pool(), InsecureSkipVerify: strings.Contains(c.before, "self_signed")}
			if strings.Contains(c.before, "ticket_keys") {
				s.client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
			}
			if strings.Contains(c.before, "alpn") {
				s.client.NextProtos = []string{"one", "two"}
			}
			s.served("who comes before", nil)
			old := tls.Client(l.dial("it"), s.client)
			l.ask(old, "a0")
			l.mustReload(of(c.after))
			l.ask(old, "a1")
			if n := l.h.Stats().RetiredGenerations; n != 0 {
				t.Errorf("%d generations are retired", n)
			}
			c.want(s, dir)
			l.ask(old, "a2")
		})
	}
}

// A route's own table changes in place, one that it has from its listener goes with that, and a
// table that comes or goes, or starttls, makes a generation. A file that is wrong fails the reload.
func TestReloadOfTLSOfRoutes(t *testing.T) {
	dir, ca := t.TempDir(), certstest.NewAuthority(t)
	for _, name := range []string{"one", "two", "three"} {
		ca.Write(t, dir, name, "host.test", name)
	}
	table := func(place, name, more string) string {
		return fmt.Sprintf("%s\ncert = \"%s/%s.pem\"\nkey = \"%s/%s.key\"\n%s\n", place, dir, name, dir, name, more)
	}
	of := func(listeners, routes, more string) string {
		return acme + listenerOf("it", "a.wasm", "") + table("[listener.tls]", listeners, more) +
			"[[listener.route]]\nname = \"own\"\nsni = [\"own.test\"]\nplugin = \"a.wasm\"\n" + table("[listener.route.tls]", routes, "") +
			"[[listener.route]]\nname = \"shared\"\nsni = [\"shared.test\"]\nplugin = \"a.wasm\"\n"
	}
	l := newLives(t, map[string][]byte{"a.wasm": tally('a').Bytes()}, of("one", "two", ""), host.Options{})
	shows := func(name, want string) {
		t.Helper()
		c := tls.Client(l.dial("it"), &tls.Config{ServerName: name, InsecureSkipVerify: true})
		defer c.Close()
		l.ask(c, "a0")
		if names := c.ConnectionState().PeerCertificates[0].DNSNames; !slices.Contains(names, want) {
			t.Errorf("who asks for %s is shown %v, not %s", name, names, want)
		}
	}
	retired := func(n int) {
		t.Helper()
		if got := l.h.Stats().RetiredGenerations; got != n {
			t.Errorf("%d generations are retired, not %d", got, n)
		}
	}
	shows("own.test", "two")
	shows("shared.test", "one")
	old := tls.Client(l.dial("it"), &tls.Config{ServerName: "host.test", InsecureSkipVerify: true})
	l.ask(old, "a0")
	l.mustReload(of("one", "three", ""))
	shows("own.test", "three")
	shows("shared.test", "one")
	l.mustReload(of("two", "three", ""))
	shows("own.test", "three")
	shows("shared.test", "two")
	shows("host.test", "two")
	retired(0)
	if err := os.WriteFile(filepath.Join(dir, "one.key"), []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.reload(of("one", "three", "")); err == nil || !strings.Contains(err.Error(), "one.key") {
		t.Errorf("a key that is none: %v", err)
	}
	shows("host.test", "two")
	l.ask(old, "a1")
	l.mustReload(strings.ReplaceAll(of("two", "three", "starttls = true"), "sni = [\"shared.test\"]", "first = [\"x\"]"))
	hosttest.Eventually(t, "the generation before is retired", func() bool { return l.h.Stats().RetiredGenerations == 1 })
	l.ask(old, "a2")
}
