// Package certstest makes certificates for tests.
package certstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// Authority signs certificates.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var serial atomic.Int64

func newCert(t testing.TB, name string, change func(*x509.Certificate), by *Authority) (der []byte, key *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	change(c)
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	if der, err = x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer); err != nil {
		t.Fatal(err)
	}
	return der, key
}

// NewAuthority makes one.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	der, key := newCert(t, "test authority", func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
		c.ExtKeyUsage = nil
	}, nil)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &Authority{cert, key}
}

// Pool is whoever trusts the authority.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Issue makes a certificate for some names or IP addresses, the first of which is its
// subject's, too. Both results are PEM.
func (a *Authority) Issue(t testing.TB, names ...string) (cert, key []byte) {
	t.Helper()
	return a.issue(t, nil, names...)
}

// Expired are the dates of a certificate that was good yesterday, for WriteWith.
func Expired(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
}

// WriteWith is Write for a certificate that change has changed.
func (a *Authority) WriteWith(t testing.TB, dir, file string, change func(*x509.Certificate), names ...string) (cert, key string) {
	t.Helper()
	c, k := a.issue(t, change, names...)
	return write(t, dir, file+".pem", c), write(t, dir, file+".key", k)
}

func (a *Authority) issue(t testing.TB, change func(*x509.Certificate), names ...string) (cert, key []byte) {
	t.Helper()
	der, k := newCert(t, names[0], func(c *x509.Certificate) {
		for _, n := range names {
			if ip := net.ParseIP(n); ip != nil {
				c.IPAddresses = append(c.IPAddresses, ip)
			} else {
				c.DNSNames = append(c.DNSNames, n)
			}
		}
		if change != nil {
			change(c)
		}
	}, a)
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// Pair is what Issue makes, for crypto/tls.
func (a *Authority) Pair(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	c, err := tls.X509KeyPair(a.Issue(t, names...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// WriteCA writes the authority's certificate to a file, and returns its path.
func (a *Authority) WriteCA(t testing.TB, dir, file string) string {
	t.Helper()
	return write(t, dir, file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

// WriteCRL writes a list of certificates that the authority has revoked, by their numbers, to
// a file, and returns its path.
func (a *Authority) WriteCRL(t testing.TB, dir, file string, numbers ...*big.Int) string {
	t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(serial.Add(1)), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(24 * time.Hour)}
	for _, n := range numbers {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: n, RevocationTime: time.Now().Add(-time.Hour)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, dir, file, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
}

// Write writes what Issue makes to FILE.pem and FILE.key, and returns their paths.
func (a *Authority) Write(t testing.TB, dir, file string, names ...string) (cert, key string) {
	t.Helper()
	c, k := a.Issue(t, names...)
	return write(t, dir, file+".pem", c), write(t, dir, file+".key", k)
}

// write replaces a file as a program that renews certificates does.
func write(t testing.TB, dir, file string, b []byte) string {
	t.Helper()
	path := filepath.Join(dir, file)
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}
