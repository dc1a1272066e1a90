package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"
)

// revocations are the certificates that their authorities have taken back: by the
// authority's name, then by number.
type revocations map[string]map[string]bool

// What a list may not have, since it would be read wrongly.
var (
	oidDelta             = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidCertificateIssuer = asn1.ObjectIdentifier{2, 5, 29, 29}
)

// readRevocations reads a file of revocation lists, in PEM or one in DER. Each has to be
// signed by one of the authorities.
func readRevocations(path string, authorities []*x509.Certificate) (revocations, []Warning, error) {
	b, _, err := readFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("reading client_crl: %w", err)
	}
	var lists [][]byte
	var warnings []Warning
	if _, err := x509.ParseRevocationList(b); err == nil {
		lists = [][]byte{b}
	} else {
		f, err := parsePEM(path, b)
		if err != nil {
			return nil, nil, fmt.Errorf("client_crl: %w", err)
		}
		warnings = gluedWarning(f)
		for _, block := range f.blocks {
			if block.Type == "X509 CRL" {
				lists = append(lists, block.Bytes)
			}
		}
		if len(lists) == 0 {
			return nil, nil, fmt.Errorf("client_crl: %s has no revocation list in it, but %s; name a file with one, in PEM", path, f.kinds())
		}
	}
	r := make(revocations)
	for i, der := range lists {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, nil, fmt.Errorf("client_crl: %s: list %d cannot be read: %w; copy it again", path, i+1, err)
		}
		if err := r.add(list, authorities); err != nil {
			return nil, nil, fmt.Errorf("client_crl: %s: list %d, of %q, %w", path, i+1, list.Issuer.String(), err)
		}
		if !list.NextUpdate.IsZero() && time.Now().After(list.NextUpdate) {
			warnings = append(warnings, Warning{fmt.Sprintf("client_crl: %s: the list of %q should have been replaced by %s; what it says is used all the same", path, list.Issuer.String(), list.NextUpdate.UTC().Format(time.DateTime)), "put a new one there"})
		}
	}
	return r, warnings, nil
}

func (r revocations) add(list *x509.RevocationList, authorities []*x509.Certificate) error {
	by := false
	for _, a := range authorities {
		by = by || bytes.Equal(list.RawIssuer, a.RawSubject) && list.CheckSignatureFrom(a) == nil
	}
	if !by {
		return errors.New("is not signed by any certificate of client_ca that may sign such lists; append that one there")
	}
	for _, e := range list.Extensions {
		if e.Id.Equal(oidDelta) {
			return errors.New("has only what has changed; name the whole list")
		}
	}
	of := r[string(list.RawIssuer)]
	if of == nil {
		of = make(map[string]bool)
		r[string(list.RawIssuer)] = of
	}
	for _, entry := range list.RevokedCertificateEntries {
		for _, e := range entry.Extensions {
			if e.Id.Equal(oidCertificateIssuer) {
				return errors.New("has certificates of other authorities; name a list for each")
			}
		}
		if entry.ReasonCode != removeFromCRL {
			of[string(entry.SerialNumber.Bytes())] = true
		}
	}
	return nil
}

const removeFromCRL = 8

// has reports whether a certificate has been taken back.
func (r revocations) has(c *x509.Certificate) bool {
	return r[string(c.RawIssuer)][string(c.SerialNumber.Bytes())]
}

// check refuses a client all of whose chains have a certificate that has been taken back. It
// is called for sessions that are resumed, too.
func (r revocations) check(s tls.ConnectionState) error {
	var revoked *x509.Certificate
	for _, chain := range s.VerifiedChains {
		good := true
		for _, c := range chain {
			if r.has(c) {
				good, revoked = false, c
			}
		}
		if good {
			return nil
		}
	}
	if revoked == nil {
		return nil // there is no certificate
	}
	return fmt.Errorf("the client's certificate has been revoked (number %x of %q)", revoked.SerialNumber, revoked.Issuer.String())
}
