package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"strings"
)

// readPair reads a certificate, with its chain, and its key. The error names the file and the
// mend.
func readPair(p Pair) (*tls.Certificate, []Warning, error) {
	certs, err := readPEM(p.Cert)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the certificate: %w", err)
	}
	keys, err := readPEM(p.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the key: %w", err)
	}
	chain, err := parseChain(certs)
	if err != nil {
		return nil, nil, err
	}
	key, err := parseKey(keys)
	if err != nil {
		return nil, nil, err
	}
	cert := &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	if err := belongs(p, chain, key); err != nil {
		return nil, nil, err
	}
	warnings := append(gluedWarning(certs), chainWarnings(p.Cert, chain)...)
	if p.Key != p.Cert {
		warnings = append(warnings, gluedWarning(keys)...)
	}
	return cert, append(warnings, modeWarning("key", keys)...), nil
}

// parseChain gives the certificates of a file, at least one.
func parseChain(f *pemFile) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for i, b := range f.certificates() {
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: its certificate %d cannot be read: %w; have it made anew", f.path, i+1, err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("%s has no certificate in it, but %s; name the file of the certificate, in PEM", f.path, f.kinds())
	}
	return chain, nil
}

// oidRSAPSS marks keys that are for RSA-PSS alone, which crypto/tls has no place for.
var oidRSAPSS = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}

// parseKey gives the key of a file: the first there is.
func parseKey(f *pemFile) (crypto.PrivateKey, error) {
	for _, b := range f.blocks {
		switch {
		case b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED"):
			return nil, fmt.Errorf("the key %s is encrypted, and nobody is there to ask for its password; write a plain one with openssl pkey -in %s -out NEW.key, and chmod 600 it", f.path, f.path)
		case b.Type == "PRIVATE KEY" || strings.HasSuffix(b.Type, " PRIVATE KEY"):
			return parsePrivateKey(f.path, b)
		}
	}
	return nil, fmt.Errorf("%s has no private key in it, but %s; name the file of the key, in PEM", f.path, f.kinds())
}

func parsePrivateKey(path string, b *pem.Block) (crypto.PrivateKey, error) {
	if key, err := x509.ParsePKCS1PrivateKey(b.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(b.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(b.Bytes)
	if err == nil {
		switch key.(type) {
		case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
			return key, nil
		}
		return nil, fmt.Errorf("the key %s is a %T, which TLS has no use for; use ECDSA, RSA or Ed25519", path, key)
	}
	var outer struct {
		Version   int
		Algorithm struct {
			OID  asn1.ObjectIdentifier
			Rest asn1.RawValue `asn1:"optional"`
		}
		Key []byte
	}
	if _, e := asn1.Unmarshal(b.Bytes, &outer); e == nil && outer.Algorithm.OID.Equal(oidRSAPSS) {
		return nil, fmt.Errorf("the key %s is for RSA-PSS alone, which this TLS does not have; use an ordinary RSA key, which signs that way too, or ECDSA", path)
	}
	return nil, fmt.Errorf("the key %s cannot be read: %w", path, err)
}

// belongs is nil when the first certificate is the key's.
func belongs(p Pair, chain []*x509.Certificate, key crypto.PrivateKey) error {
	public := key.(crypto.Signer).Public()
	is := func(c *x509.Certificate) bool {
		k, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
		return ok && k.Equal(public)
	}
	if is(chain[0]) {
		return nil
	}
	for i, c := range chain {
		if is(c) {
			return fmt.Errorf("%s: the certificate of the key %s is number %d of %d; put it first, and behind it those that signed it, one after the other", p.Cert, p.Key, i+1, len(chain))
		}
	}
	if chain[0].PublicKeyAlgorithm == x509.UnknownPublicKeyAlgorithm {
		return fmt.Errorf("%s: the certificate has a kind of key that this TLS does not have (RSA-PSS?); have it made for an ECDSA, RSA or Ed25519 key", p.Cert)
	}
	return fmt.Errorf("the certificate %s (for %s) is not that of the key %s; name two files that belong together", p.Cert, title(chain[0]), p.Key)
}

// title is what people know a certificate by.
func title(c *x509.Certificate) string {
	switch {
	case len(c.DNSNames) > 0:
		return fmt.Sprintf("%q", c.DNSNames[0])
	case c.Subject.CommonName != "":
		return fmt.Sprintf("%q", c.Subject.CommonName)
	case len(c.IPAddresses) > 0:
		return c.IPAddresses[0].String()
	}
	return fmt.Sprintf("%q", c.Subject.String())
}

// signed reports whether by has signed c.
func signed(c, by *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, by.RawSubject) && c.CheckSignatureFrom(by) == nil
}

// readAuthorities reads a file of certificates that others have to be signed by.
func readAuthorities(path string) (*x509.CertPool, []*x509.Certificate, []Warning, error) {
	f, err := readPEM(path)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("reading client_ca: %w", err)
	}
	all, err := parseChain(f)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("client_ca: %w", err)
	}
	pool := x509.NewCertPool()
	for _, c := range all {
		pool.AddCert(c)
	}
	warnings := gluedWarning(f)
	for _, c := range all {
		warnings = append(warnings, dateWarnings(path, c)...)
		if !c.IsCA {
			warnings = append(warnings, Warning{fmt.Sprintf("%s: the certificate for %s is no authority's, so it is good for itself alone", path, title(c)), "put that of who signed it there, if others are to be trusted"})
		}
	}
	return pool, all, warnings, nil
}
