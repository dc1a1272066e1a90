package certs_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bulkhead/host/certs"
)

// issuer is an authority whose certificates are changed at will.
type issuer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

var serials int64

func issue(t testing.TB, by *issuer, name string, change func(*x509.Certificate)) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return issueFor(t, by, name, key, change)
}

func issueFor(t testing.TB, by *issuer, name string, key crypto.Signer, change func(*x509.Certificate)) *issuer {
	t.Helper()
	serials++
	c := &x509.Certificate{
		SerialNumber: big.NewInt(serials), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if strings.HasSuffix(name, "CA") {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.DNSNames = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil
	}
	if change != nil {
		change(c)
	}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{cert, key}
}

func (i *issuer) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw})
}

func (i *issuer) keyPEM(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(i.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (i *issuer) tls() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{i.cert.Raw}, PrivateKey: i.key}
}

func file(t testing.TB, dir, name string, mode os.FileMode, parts ...[]byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	_ = os.Remove(path)
	if err := os.WriteFile(path, bytes.Join(parts, nil), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func glue(parts ...[]byte) []byte {
	for i, p := range parts[:len(parts)-1] {
		parts[i] = bytes.TrimSuffix(p, []byte("\n"))
	}
	return bytes.Join(parts, nil)
}

// What peers will not like is said, and what cannot be used is called what it is.
func TestPairs(t *testing.T) {
	root := issue(t, nil, "root CA", nil)
	between := issue(t, root, "between CA", nil)
	other := issue(t, nil, "other CA", nil)
	leaf := issue(t, between, "leaf.test", nil)
	old := issue(t, between, "old.test", func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	})
	young := issue(t, between, "young.test", func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
	})
	alone := issue(t, nil, "alone.test", nil)
	key, bom := leaf.keyPEM(t), []byte("\ufeff")
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pss, err := asn1.Marshal(struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
	}{0, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}}, x509.MarshalPKCS1PrivateKey(rsaKey)})
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	ecDER, err := x509.MarshalECPrivateKey(leaf.key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	whole := [][]byte{leaf.pem(), between.pem(), root.pem()}
	for _, c := range []struct {
		name     string
		cert     []byte
		key      []byte
		mode     os.FileMode
		err      string
		warnings []string
	}{
		{"whole", bytes.Join(whole, nil), key, 0o600, "", nil},
		{"of a group", bytes.Join(whole, nil), key, 0o640, "", nil},
		{"of itself", alone.pem(), alone.keyPEM(t), 0o600, "", nil},
		{"SEC1 with parameters", bytes.Join(whole, nil), append(block("EC PARAMETERS", []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}), block("EC PRIVATE KEY", ecDER)...), 0o600, "", nil},
		{"with text and CRLF", []byte(strings.ReplaceAll("subject=x\n"+string(bytes.Join(whole, []byte("\n# text\n"))), "\n", "\r\n")), key, 0o600, "", nil},
		{"byte order marks", bytes.Join([][]byte{leaf.pem(), between.pem(), root.pem()}, bom), append(bytes.Clone(bom), key...), 0o600, "", nil},
		{"a byte order mark first", append(bytes.Clone(bom), bytes.Join(whole, nil)...), key, 0o600, "", nil},
		{"glued", glue(leaf.pem(), between.pem(), root.pem()), key, 0o600, "", []string{"stand on one line"}},
		{"expired", append(old.pem(), bytes.Join(whole[1:], nil)...), old.keyPEM(t), 0o600, "", []string{`the certificate for "old.test" has expired on `}},
		{"not yet good", append(young.pem(), bytes.Join(whole[1:], nil)...), young.keyPEM(t), 0o600, "", []string{`the certificate for "young.test" is not good before `}},
		{"unordered", bytes.Join([][]byte{leaf.pem(), root.pem(), between.pem()}, nil), key, 0o600, "", []string{"the chain is not in order"}},
		{"incomplete", leaf.pem(), key, 0o600, "", []string{`who signed it, "CN=between CA", is not known to this machine`}},
		{"another's behind it", append(leaf.pem(), other.pem()...), key, 0o600, "", []string{`certificate 2 ("other CA") has not signed number 1 ("leaf.test")`}},
		{"for everybody", bytes.Join(whole, nil), key, 0o644, "", []string{"can be read by every user of the machine (mode 0644); say chmod o-r "}},

		{"reversed", bytes.Join([][]byte{root.pem(), between.pem(), leaf.pem()}, nil), key, 0o600, "is number 3 of 3; put it first", nil},
		{"mixed up", other.pem(), key, 0o600, `(for "other CA") is not that of the key`, nil},
		{"the other way round", key, leaf.pem(), 0o600, `has no certificate in it, but "PRIVATE KEY"`, nil},
		{"no key", leaf.pem(), leaf.pem(), 0o600, `has no private key in it, but "CERTIFICATE"`, nil},
		{"PKCS#8 with a password", leaf.pem(), block("ENCRYPTED PRIVATE KEY", []byte{1}), 0o600, "is encrypted, and nobody is there to ask for its password; write a plain one with openssl pkey", nil},
		{"an old one with a password", leaf.pem(), []byte("-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n"), 0o600, "is encrypted", nil},
		{"RSA-PSS", leaf.pem(), block("PRIVATE KEY", pss), 0o600, "is for RSA-PSS alone", nil},
		{"cut short", leaf.pem()[:200], key, 0o600, `line 1: what begins as "CERTIFICATE" cannot be read`, nil},
		{"cut short behind", append(leaf.pem(), between.pem()[:200]...), key, 0o600, `what begins as "CERTIFICATE" cannot be read`, nil},
		{"DER", leaf.cert.Raw, key, 0o600, "is DER, not PEM", nil},
		{"UTF-16", []byte("\xff\xfe-\x00"), key, 0o600, "is UTF-16", nil},
		{"nothing", nil, key, 0o600, "has no certificate in it, but nothing in PEM", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			p := certs.Pair{Cert: file(t, dir, "cert.pem", 0o644, c.cert), Key: file(t, dir, "key.pem", c.mode, c.key)}
			got, err := certs.Load(certs.Options{Pairs: []certs.Pair{p}})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "\n") {
					t.Errorf("it says %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var said []string
			for _, w := range got.Warnings() {
				said = append(said, w.Text())
			}
			if !slices.EqualFunc(said, c.warnings, strings.Contains) {
				t.Errorf("it warns %q, want %q", said, c.warnings)
			}
			// The whole chain goes to the client.
			if c.name == "glued" || strings.Contains(c.name, "byte order") {
				s, err := shake(t, got.Config(), &tls.Config{InsecureSkipVerify: true})
				if err != nil || len(s.PeerCertificates) != 3 {
					t.Errorf("the client gets %d certificates, %v", len(s.PeerCertificates), err)
				}
			}
		})
	}
}

// A list of authorities is read whole, or not at all.
func TestAuthorities(t *testing.T) {
	first, second := issue(t, nil, "first CA", nil), issue(t, nil, "second CA", nil)
	server := issue(t, nil, "server.test", nil)
	dir := t.TempDir()
	o := certs.Options{
		Pairs:      []certs.Pair{{Cert: file(t, dir, "c", 0o600, server.pem()), Key: file(t, dir, "k", 0o600, server.keyPEM(t))}},
		ClientAuth: "require",
	}
	o.ClientCA = file(t, dir, "glued", 0o600, []byte("\ufeff"), glue(first.pem(), second.pem()))
	c := load(t, o)
	if w := c.Warnings(); len(w) != 1 || !strings.Contains(w[0].What, "stand on one line") {
		t.Errorf("it warns %q", w)
	}
	for _, by := range []*issuer{first, second} {
		if _, err := shake(t, c.Config(), showing(issue(t, by, "client.test", nil))); err != nil {
			t.Errorf("a client of %s: %v", by.cert.Subject, err)
		}
	}
	o.ClientCA = file(t, dir, "short", 0o600, first.pem(), second.pem()[:100])
	if _, err := certs.Load(o); err == nil || !strings.Contains(err.Error(), "reading client_ca: ") {
		t.Errorf("a list that is cut short: %v", err)
	}
	expired := issue(t, nil, "expired CA", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	o.ClientCA = file(t, dir, "old", 0o600, expired.pem(), server.pem())
	if w := load(t, o).Warnings(); len(w) != 2 || !strings.Contains(w[0].What, "has expired") || !strings.Contains(w[1].What, "is no authority's") {
		t.Errorf("it warns %q", w)
	}
}

func showing(i *issuer) *tls.Config {
	cert := i.tls()
	return &tls.Config{InsecureSkipVerify: true, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }}
}

func crl(t testing.TB, by *issuer, next time.Time, revoked ...*issuer) []byte {
	t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-2 * time.Hour), NextUpdate: next}
	for _, r := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: r.cert.SerialNumber, RevocationTime: time.Now().Add(-time.Hour)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, by.cert, by.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// Clients whose certificate has been revoked are refused, those that come back with a
// ticket too, as soon as the list has been read.
func TestRevoked(t *testing.T) {
	ca, other := issue(t, nil, "CA", nil), issue(t, nil, "other CA", nil)
	server, good, bad := issue(t, nil, "server.test", nil), issue(t, ca, "good.test", nil), issue(t, ca, "bad.test", nil)
	dir := t.TempDir()
	later := time.Now().Add(time.Hour)
	list := func(der ...[]byte) (all []byte) {
		for _, d := range der {
			all = append(all, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: d})...)
		}
		return all
	}
	o := certs.Options{
		Pairs:      []certs.Pair{{Cert: file(t, dir, "c", 0o600, server.pem()), Key: file(t, dir, "k", 0o600, server.keyPEM(t))}},
		ClientAuth: "require", ClientCA: file(t, dir, "ca", 0o600, ca.pem(), other.pem()),
		ClientCRL: file(t, dir, "crl", 0o600, list(crl(t, other, later, bad), crl(t, ca, later))),
	}
	c := load(t, o)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		file(t, dir, "crl", 0o600, list(crl(t, ca, later)))
		if _, err := c.Refresh(); err != nil {
			t.Fatal(err)
		}
		client := map[*issuer]*tls.Config{good: showing(good), bad: showing(bad)}
		for who, config := range client {
			config.MaxVersion, config.ServerName = version, "server.test"
			config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
			for want := range 2 {
				s, err := shake(t, c.Config(), config)
				if err != nil || s.DidResume != (want == 1) {
					t.Fatalf("%s, %s: %v, resumed %v", tls.VersionName(version), who.cert.Subject, err, s.DidResume)
				}
			}
		}
		file(t, dir, "crl", 0o600, list(crl(t, ca, later, bad)))
		if changed, err := c.Refresh(); !changed || err != nil {
			t.Fatalf("the new list: %v, %v", changed, err)
		}
		if s, err := shake(t, c.Config(), client[good]); err != nil || !s.DidResume {
			t.Errorf("%s: who is not in the list: %v", tls.VersionName(version), err)
		}
		for range 2 { // with a ticket, and without
			if _, err := shake(t, c.Config(), client[bad]); err == nil {
				t.Errorf("%s: who is in the list is served", tls.VersionName(version))
			}
			client[bad].ClientSessionCache = nil
		}
	}
	o.ClientCRL = file(t, dir, "der", 0o600, crl(t, ca, time.Now().Add(-time.Hour), bad))
	c = load(t, o)
	if w := c.Warnings(); len(w) != 1 || !strings.Contains(w[0].What, "should have been replaced by ") {
		t.Errorf("it warns %q", w)
	}
	if _, err := shake(t, c.Config(), showing(bad)); err == nil {
		t.Error("an old list is not used")
	}
	for want, b := range map[string][]byte{
		`has no revocation list in it, but "CERTIFICATE"`: ca.pem(),
		"is not signed by any certificate of client_ca":   list(crl(t, issue(t, nil, "CA", nil), later)),
		"list 2 cannot be read":                           list(crl(t, ca, later), []byte("x")),
	} {
		o.ClientCRL = file(t, dir, "bad", 0o600, b)
		if _, err := certs.Load(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("it says %v, want %q", err, want)
		}
	}
}

// Hosts that have the same keys resume each other's sessions, as long as one of them is
// there, and they trust the same authorities.
func TestTicketKeys(t *testing.T) {
	server, ca, other := issue(t, nil, "server.test", nil), issue(t, nil, "CA", nil), issue(t, nil, "other CA", nil)
	dir := t.TempDir()
	secret := func(name string) string {
		b := make([]byte, 48)
		_, _ = rand.Read(b)
		return file(t, dir, name, 0o600, b)
	}
	old, new := secret("old"), secret("new")
	o := certs.Options{Pairs: []certs.Pair{{Cert: file(t, dir, "c", 0o600, server.pem()), Key: file(t, dir, "k", 0o600, server.keyPEM(t))}}}
	with := func(ca string, keys ...string) *certs.Certificates {
		o := o
		o.TicketKeys = keys
		if ca != "" {
			o.ClientCA, o.ClientAuth = ca, "require"
		}
		return load(t, o)
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		resumes := func(first, second *certs.Certificates, client *tls.Config) bool {
			t.Helper()
			client.ServerName, client.MaxVersion = "server.test", version
			client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
			if _, err := shake(t, first.Config(), client); err != nil {
				t.Fatal(err)
			}
			s, err := shake(t, second.Config(), client)
			if err != nil {
				t.Fatal(err)
			}
			return s.DidResume
		}
		anybody := func() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }
		for _, c := range []struct {
			what          string
			first, second *certs.Certificates
			want          bool
		}{
			{"the same", with("", old), with("", old), true},
			{"another", with("", old), with("", new), false},
			{"none", with(""), with(""), false},
			{"an old one second", with("", old), with("", new, old), true},
			{"a new one first", with("", new, old), with("", old), false},
		} {
			if got := resumes(c.first, c.second, anybody()); got != c.want {
				t.Errorf("%s, %s: it resumes: %v", tls.VersionName(version), c.what, got)
			}
		}
		client := issue(t, ca, "client.test", nil)
		one, both := file(t, dir, "one", 0o600, ca.pem()), file(t, dir, "both", 0o600, ca.pem(), other.pem())
		if !resumes(with(one, old), with(one, old), showing(client)) {
			t.Errorf("%s: a client with a certificate does not resume", tls.VersionName(version))
		}
		if resumes(with(one, old), with(both, old), showing(client)) {
			t.Errorf("%s: a session that others have vouched for is resumed", tls.VersionName(version))
		}
		// A file that changes is read again, for the same configuration.
		live := with("", secret("live"))
		config := live.Config()
		file(t, dir, "live", 0o600, bytes.Repeat([]byte("x"), 40))
		if changed, err := live.Refresh(); !changed || err != nil || live.Config() != config {
			t.Errorf("a new key: %v, %v", changed, err)
		}
		if !resumes(live, with("", filepath.Join(dir, "live")), anybody()) {
			t.Errorf("%s: the new key is not used", tls.VersionName(version))
		}
	}
	o.TicketKeys = []string{file(t, dir, "short", 0o600, make([]byte, 31))}
	if _, err := certs.Load(o); err == nil || !strings.Contains(err.Error(), "has 31 bytes, and a key has 32 to 4096; make one with openssl rand") {
		t.Errorf("a short key: %v", err)
	}
	o.TicketKeys = []string{file(t, dir, "open", 0o644, make([]byte, 32))}
	if w := load(t, o).Warnings(); len(w) != 1 || !strings.Contains(w[0].What, "the ticket key ") {
		t.Errorf("it warns %q", w)
	}
}

// A certificate that expires while it is in use is told once.
func TestExpiresInUse(t *testing.T) {
	dir := t.TempDir()
	write := func(end time.Time) certs.Pair {
		i := issue(t, nil, "short.test", func(c *x509.Certificate) { c.NotAfter = end })
		return certs.Pair{Cert: file(t, dir, "c", 0o600, i.pem()), Key: file(t, dir, "k", 0o600, i.keyPEM(t))}
	}
	c := load(t, certs.Options{Pairs: []certs.Pair{write(time.Now().Add(-time.Second))}})
	if len(c.Warnings()) != 1 || c.Expired() {
		t.Error("what is among the warnings is told again")
	}
	c = load(t, certs.Options{Pairs: []certs.Pair{write(time.Now().Add(time.Hour))}})
	if len(c.Warnings()) != 0 || c.Expired() {
		t.Error("a good one has expired")
	}
}

// Whatever is in a file, reading it ends with an error or with all that begins as a block.
func FuzzPair(f *testing.F) {
	i := issue(f, nil, "seed.test", nil)
	both := append(i.pem(), i.keyPEM(f)...)
	f.Add(both)
	f.Add(append([]byte("\ufeff"), glue(i.keyPEM(f), i.pem())...))
	f.Add([]byte("-----BEGIN CERTIFICATE----------BEGIN CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN \n-----END \n"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path := file(t, dir, "both", 0o600, b)
		_, err := certs.Load(certs.Options{Pairs: []certs.Pair{{Cert: path, Key: path}}, ClientAuth: "require", ClientCA: path})
		if err == nil && !bytes.Contains(b, []byte("BEGIN CERTIFICATE")) {
			t.Error("there is a certificate where none was")
		}
	})
}

// Whatever is in a list, reading it ends.
func FuzzRevoked(f *testing.F) {
	ca := issue(f, nil, "CA", nil)
	dir := f.TempDir()
	pair := certs.Pair{Cert: file(f, dir, "c", 0o600, ca.pem()), Key: file(f, dir, "k", 0o600, ca.keyPEM(f))}
	der := crl(f, ca, time.Now(), ca)
	f.Add(der)
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = certs.Load(certs.Options{Pairs: []certs.Pair{pair}, ClientAuth: "verify", ClientCA: pair.Cert, ClientCRL: file(t, dir, "crl", 0o600, b)})
	})
}
