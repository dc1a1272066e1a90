package certs

import (
	"crypto/x509"
	"fmt"
	"sync"
	"time"
)

// Warning is what peers will not like about a certificate, or who runs the host should not
// about a file, though it can be used.
type Warning struct {
	What, Mend string
}

// Text is both, in one line.
func (w Warning) Text() string { return w.What + "; " + w.Mend }

// gluedWarning is about what openssl would refuse.
func gluedWarning(f *pemFile) []Warning {
	if !f.glued {
		return nil
	}
	return []Warning{{f.path + ": the end of one block and the beginning of the next stand on one line, which other programs refuse", "break the line between -----END ...----- and -----BEGIN ...-----"}}
}

// modeWarning is about a secret that every user of the machine may read.
func modeWarning(what string, f *pemFile) []Warning {
	if f.mode.Perm()&0o004 == 0 {
		return nil
	}
	return []Warning{{fmt.Sprintf("the %s %s can be read by every user of the machine (mode %04o)", what, f.path, f.mode.Perm()), "say chmod o-r " + f.path}}
}

// dateWarnings are about a certificate that is not good now.
func dateWarnings(path string, c *x509.Certificate) []Warning {
	const form = "2006-01-02 15:04:05 MST"
	switch now := time.Now(); {
	case now.After(c.NotAfter):
		return []Warning{{fmt.Sprintf("%s: the certificate for %s has expired on %s", path, title(c), c.NotAfter.UTC().Format(form)), "have it renewed; peers refuse it"}}
	case now.Before(c.NotBefore):
		return []Warning{{fmt.Sprintf("%s: the certificate for %s is not good before %s", path, title(c), c.NotBefore.UTC().Format(form)), "wait, or look at this machine's clock; peers refuse it until then"}}
	}
	return nil
}

// chainWarnings are about a certificate and what stands behind it.
func chainWarnings(path string, chain []*x509.Certificate) (all []Warning) {
	for _, c := range chain {
		all = append(all, dateWarnings(path, c)...)
	}
	// Each has to be signed by the next.
	for i, c := range chain[:len(chain)-1] {
		if signed(c, chain[i+1]) {
			continue
		}
		for _, other := range chain {
			if other != c && signed(c, other) {
				return append(all, Warning{fmt.Sprintf("%s: the chain is not in order: what signed certificate %d (%s) does not follow it", path, i+1, title(c)), "sort it: the server's own first, and behind each the one that signed it"})
			}
		}
		return append(all, Warning{fmt.Sprintf("%s: certificate %d (%s) has not signed number %d (%s), and nothing else there has", path, i+2, title(chain[i+1]), i+1, title(c)), "put the one there that has, whose name is " + fmt.Sprintf("%q", c.Issuer.String())})
	}
	last := chain[len(chain)-1]
	if signed(last, last) {
		return all
	}
	if len(last.RawIssuer) > 0 && string(last.RawIssuer) == string(last.RawSubject) {
		return all // it has signed itself, without being an authority
	}
	roots := systemRoots()
	if roots == nil {
		return all // this machine cannot tell
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	// Its dates have been looked at.
	_, err := last.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: last.NotAfter, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if _, unknown := err.(x509.UnknownAuthorityError); !unknown {
		return all
	}
	return append(all, Warning{fmt.Sprintf("%s: the chain ends with the certificate for %s, and who signed it, %q, is not known to this machine", path, title(last), last.Issuer.String()), "append that one's certificate, unless the clients have it"})
}

// systemRoots are the authorities that this machine trusts; nil where it has none.
var systemRoots = sync.OnceValue(func() *x509.CertPool {
	pool, err := x509.SystemCertPool()
	if err != nil || pool.Equal(x509.NewCertPool()) {
		return nil
	}
	return pool
})
