// Package certs keeps the certificates of a listener, and reads them again when their
// files have changed.
//
//	c, err := certs.Load(certs.Options{Pairs: []certs.Pair{{Cert: "cert.pem", Key: "key.pem"}}})
//	config := c.Config()          // for the next handshake
//	changed, err := c.Refresh()   // now and then, off the loops
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/csa"
)

// Pair is the files of a certificate, with the chain behind it, and of its key, in PEM.
type Pair struct{ Cert, Key string }

// Options say what a listener shows and wants in TLS.
type Options struct {
	// Pairs are what it may show. Which one is the client's choice by name (SNI): one
	// made out to that name, else to a wildcard for it, else the first.
	Pairs []Pair
	// SelfSigned, instead of Pairs, are the names and addresses of a certificate that is
	// made by Load, for trying things out: nobody has reason to trust it.
	SelfSigned []string
	// ClientCA is a file of certificates, in PEM, that clients' have to be signed by.
	ClientCA string
	// ClientCRL is a file of revocation lists, in PEM or one in DER, of authorities in
	// ClientCA: clients' certificates that are in them are refused.
	ClientCRL string
	// TicketKeys are files of 32 to 4096 random bytes. Sessions are resumed by whoever has
	// the same: this host after a restart, and others. The first is for new tickets, all are
	// for those that come back. None: keys that nobody else has, which change by themselves.
	TicketKeys []string
	// ClientAuth is "require", "verify" (a certificate that is shown has to be good) or
	// "off", as is "".
	ClientAuth string
	// MinVersion is "1.2", as is "", or "1.3".
	MinVersion string
	// ALPN are the application protocols, the best first. A client that offers
	// some, and none of these, is refused.
	ALPN []string
}

// Certificates are a listener's. Any goroutine may use them.
type Certificates struct {
	options Options
	config  atomic.Pointer[tls.Config]
	pairs   atomic.Pointer[loaded]
	revoked atomic.Pointer[revocations]

	mu       sync.Mutex // for Refresh
	seen     []stamp    // of files, in their order
	warnings []Warning
	expired  bool // that one has is told
}

// files is what is read at a time.
type files struct {
	pairs       *loaded
	pool        *x509.CertPool // nil: clients show nothing
	authorities []byte         // the sum of who is in it
	revoked     revocations
	tickets     [][32]byte // nil: none that others have
	warnings    []Warning
}

// loaded is what one reading of the pairs has found.
type loaded struct {
	all    []*tls.Certificate
	byName map[string][]*tls.Certificate // lower case; a wildcard begins with "*."
}

// stamp tells whether a file is as it was.
type stamp struct {
	size  int64
	mode  os.FileMode
	mtime time.Time
	file  os.FileInfo
}

// Load reads all files. The error names the file, and the mend.
func Load(o Options) (*Certificates, error) {
	if (len(o.Pairs) == 0) == (len(o.SelfSigned) == 0) {
		return nil, errors.New("there is no certificate, or two kinds of them; give a cert and a key, or self_signed")
	}
	c := &Certificates{options: o}
	c.seen = c.look()
	f, err := c.read()
	if err != nil {
		return nil, err
	}
	c.use(f)
	return c, nil
}

// read reads all files.
func (c *Certificates) read() (f files, err error) {
	o := c.options
	switch old := c.pairs.Load(); {
	case len(o.Pairs) > 0:
		f.pairs, f.warnings, err = readPairs(o.Pairs)
	case old != nil:
		f.pairs = old
	default:
		f.pairs, err = selfSigned(o.SelfSigned)
	}
	if err != nil {
		return f, err
	}
	if o.ClientAuth == "require" || o.ClientAuth == "verify" {
		pool, all, warnings, err := readAuthorities(o.ClientCA)
		if err != nil {
			return f, err
		}
		f.pool, f.warnings = pool, append(f.warnings, warnings...)
		for _, a := range all {
			f.authorities = append(f.authorities, a.Raw...)
		}
		if o.ClientCRL != "" {
			if f.revoked, warnings, err = readRevocations(o.ClientCRL, all); err != nil {
				return f, err
			}
			f.warnings = append(f.warnings, warnings...)
		}
	}
	var warnings []Warning
	if f.tickets, warnings, err = readTicketKeys(o.TicketKeys, f.authorities); err != nil {
		return f, err
	}
	f.warnings = append(f.warnings, warnings...)
	return f, nil
}

// use has what was read be what the next handshakes go by.
func (c *Certificates) use(f files) {
	config := c.config.Load()
	if config == nil || !f.pool.Equal(config.ClientCAs) {
		// A new configuration has new keys for tickets: nobody resumes a session
		// that the old authorities have vouched for.
		config = c.newConfig(f.pool)
	}
	if len(f.tickets) > 0 {
		config.SetSessionTicketKeys(f.tickets)
	}
	c.revoked.Store(&f.revoked)
	c.pairs.Store(f.pairs)
	c.config.Store(config)
	c.warnings, c.expired = f.warnings, false
	if now := time.Now(); !now.Before(c.Expires()) {
		c.expired = true // it is among the warnings
	}
}

// MadeBy reports whether they were made by the same options.
func (c *Certificates) MadeBy(o Options) bool { return reflect.DeepEqual(c.options, o) }

// Warnings are what is to be said about the files that are in use, as they were read. The
// slice must not be changed.
func (c *Certificates) Warnings() []Warning {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.warnings
}

// Expired reports, once, that a certificate that was good when it was read has expired in
// use.
func (c *Certificates) Expired() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.expired || time.Now().Before(c.Expires()) {
		return false
	}
	c.expired = true
	return true
}

// Config is what the next handshake goes by. It must not be changed. It is the same one
// until who is in client_ca changes, so that sessions can be resumed.
func (c *Certificates) Config() *tls.Config { return c.config.Load() }

// Refresh reads the files again if one of them has changed. Connections that are up are
// not touched. When something is wrong with the new files, all stays as it was, and the
// error says what; it comes once for each change.
func (c *Certificates) Refresh() (changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.look()
	if slices.EqualFunc(now, c.seen, stamp.equal) {
		return false, nil
	}
	c.seen = now
	f, err := c.read()
	if err != nil {
		return false, err
	}
	c.use(f)
	return true, nil
}

// look stamps the files; one that is not there has the zero stamp.
func (c *Certificates) look() []stamp {
	var names []string
	for _, p := range c.options.Pairs {
		names = append(names, p.Cert, p.Key)
	}
	for _, name := range append([]string{c.options.ClientCA, c.options.ClientCRL}, c.options.TicketKeys...) {
		if name != "" {
			names = append(names, name)
		}
	}
	stamps := make([]stamp, len(names))
	for i, name := range names {
		if info, err := os.Stat(name); err == nil {
			stamps[i] = stamp{info.Size(), info.Mode(), info.ModTime(), info}
		}
	}
	return stamps
}

func (s stamp) equal(o stamp) bool {
	if (s.file == nil) != (o.file == nil) {
		return false
	}
	return s.size == o.size && s.mode == o.mode && s.mtime.Equal(o.mtime) && (s.file == nil || os.SameFile(s.file, o.file))
}

func readPairs(pairs []Pair) (l *loaded, warnings []Warning, err error) {
	l = &loaded{byName: make(map[string][]*tls.Certificate)}
	for _, p := range pairs {
		cert, w, err := readPair(p)
		if err != nil {
			return nil, nil, err
		}
		l.add(cert)
		warnings = append(warnings, w...)
	}
	return l, warnings, nil
}

func (l *loaded) add(cert *tls.Certificate) {
	l.all = append(l.all, cert)
	names := cert.Leaf.DNSNames
	if len(names) == 0 && cert.Leaf.Subject.CommonName != "" {
		names = []string{cert.Leaf.Subject.CommonName}
	}
	for _, name := range names {
		name = strings.ToLower(name)
		l.byName[name] = append(l.byName[name], cert)
	}
}

// newConfig is one whose connections csa takes over from crypto/tls.
func (c *Certificates) newConfig(authorities *x509.CertPool) *tls.Config {
	config := c.plainConfig(authorities)
	csa.TakeOver(config)
	return config
}

func (c *Certificates) plainConfig(authorities *x509.CertPool) *tls.Config {
	o := c.options
	config := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     o.ALPN,
		GetCertificate: c.choose,
	}
	if o.MinVersion == "1.3" {
		config.MinVersion = tls.VersionTLS13
	}
	if authorities == nil {
		return config
	}
	config.ClientAuth = tls.VerifyClientCertIfGiven
	if o.ClientAuth == "require" {
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	config.ClientCAs = authorities
	if o.ClientCRL != "" {
		config.VerifyConnection = func(s tls.ConnectionState) error { return c.revoked.Load().check(s) }
	}
	return config
}

// choose finds the certificate for a client.
func (c *Certificates) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	l := c.pairs.Load()
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	for _, fit := range [][]*tls.Certificate{l.byName[name], l.byName[wildcard(name)], l.all} {
		for _, cert := range fit {
			if hello.SupportsCertificate(cert) == nil {
				return cert, nil
			}
		}
		if len(fit) > 0 && name != "" {
			return fit[0], nil // its name is right; the client says what else is not
		}
	}
	return l.all[0], nil
}

// wildcard is the name that a certificate for all of a name's neighbours has.
func wildcard(name string) string {
	if _, rest, ok := strings.Cut(name, "."); ok {
		return "*." + rest
	}
	return ""
}

// Expires is when the first of the certificates in use ends.
func (c *Certificates) Expires() time.Time {
	var first time.Time
	for _, cert := range c.pairs.Load().all {
		if end := cert.Leaf.NotAfter; first.IsZero() || end.Before(first) {
			first = end
		}
	}
	return first
}
