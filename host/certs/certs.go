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
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
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

	mu   sync.Mutex // for Refresh
	seen []stamp    // of files, in their order
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
	var pairs *loaded
	var err error
	if len(o.SelfSigned) > 0 {
		pairs, err = selfSigned(o.SelfSigned)
	} else {
		pairs, err = readPairs(o.Pairs)
	}
	if err != nil {
		return nil, err
	}
	config, err := c.newConfig()
	if err != nil {
		return nil, err
	}
	c.pairs.Store(pairs)
	c.config.Store(config)
	return c, nil
}

// Config is what the next handshake goes by. It must not be changed. It is the same one
// until client_ca changes, so that sessions can be resumed.
func (c *Certificates) Config() *tls.Config { return c.config.Load() }

// Refresh reads the files again if one of them has changed. Connections that are up are
// not touched. When something is wrong with the new files, all stays as it was, and the
// error says what; it comes once for each change.
func (c *Certificates) Refresh() (changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.look()
	same := true
	caChanged := false
	for i := range now {
		if !now[i].equal(c.seen[i]) {
			same = false
			caChanged = caChanged || c.options.ClientCA != "" && i == len(now)-1
		}
	}
	if same {
		return false, nil
	}
	c.seen = now
	pairs := c.pairs.Load()
	if len(c.options.Pairs) > 0 {
		if pairs, err = readPairs(c.options.Pairs); err != nil {
			return false, err
		}
	}
	if caChanged {
		// A new configuration has new keys for tickets: nobody resumes a session
		// that the old authorities have vouched for.
		config, err := c.newConfig()
		if err != nil {
			return false, err
		}
		c.config.Store(config)
	}
	c.pairs.Store(pairs)
	return true, nil
}

// look stamps the files; one that is not there has the zero stamp.
func (c *Certificates) look() []stamp {
	var names []string
	for _, p := range c.options.Pairs {
		names = append(names, p.Cert, p.Key)
	}
	if c.options.ClientCA != "" {
		names = append(names, c.options.ClientCA)
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

func readPairs(pairs []Pair) (*loaded, error) {
	l := &loaded{byName: make(map[string][]*tls.Certificate)}
	for _, p := range pairs {
		cert, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			return nil, pairError(p, err)
		}
		if cert.Leaf == nil {
			if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
				return nil, pairError(p, err)
			}
		}
		l.add(&cert)
	}
	return l, nil
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

func pairError(p Pair, err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return fmt.Errorf("reading the certificate: %w", err)
	}
	return fmt.Errorf("the certificate %s and the key %s: %w; both have to be PEM, and belong together", p.Cert, p.Key, err)
}

func (c *Certificates) newConfig() (*tls.Config, error) {
	o := c.options
	config := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     o.ALPN,
		GetCertificate: c.choose,
	}
	if o.MinVersion == "1.3" {
		config.MinVersion = tls.VersionTLS13
	}
	switch o.ClientAuth {
	case "require":
		config.ClientAuth = tls.RequireAndVerifyClientCert
	case "verify":
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	if config.ClientAuth == tls.NoClientCert {
		return config, nil
	}
	pem, err := os.ReadFile(o.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("reading client_ca: %w", err)
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("client_ca %s has no certificate in it; it has to be PEM", o.ClientCA)
	}
	return config, nil
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
