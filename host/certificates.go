package host

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
)

// certificatesEvery is how often the files of certificates are looked at.
const certificatesEvery = 10 * time.Second

// clientSessions is how many sessions a tenant keeps to resume with those it dials.
const clientSessions = 64

// newClientConfig is what a tenant's handlers dial with; the server's name is each
// connection's own.
func newClientConfig(roots *x509.CertPool) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ClientSessionCache: tls.NewLRUClientSessionCache(clientSessions)}
}

// serverHandshake is the host's part when the peer is the client.
func (s *server) serverHandshake() csa.Handshake {
	return csa.Handshake{Config: s.certs.Config(), Timeout: s.config.TLS.HandshakeTimeout, Share: s.tenant.handshakes}
}

// makeSSL is the ABI's makessl.
func (s *server) makeSSL(c *csa.CSA, role int32, name string) abi.Code {
	if c.Transport() == "udp" {
		return abi.Invalid
	}
	if role == abi.TLSClient {
		return c.MakeSSL(s.ClientHandshake(name, s.ConnectTimeout()))
	}
	if s.certs == nil {
		return abi.Denied
	}
	return c.MakeSSL(s.serverHandshake())
}

// RefreshCertificates reads the certificates of all listeners again if their files have
// changed. What is wrong with one is logged, and it stays as it was. Run does so every
// ten seconds. Any goroutine may call it, but no loop.
func (h *Host) RefreshCertificates() {
	for _, g := range h.now.Load().generations {
		g.refreshCertificates()
	}
}

func (g *generation) refreshCertificates() {
	for _, s := range g.servers {
		if s.certs == nil || s.front != nil && s.certs == s.front.certs {
			continue
		}
		switch changed, err := s.certs.Refresh(); {
		case err != nil:
			s.log.Error("the certificates have changed and cannot be used; the old ones stay in use", "error", err)
		case changed:
			s.log.Info("the certificates have changed; new connections get the new ones", "expire", s.certs.Expires())
			for _, w := range s.certs.Warnings() {
				s.log.Warn(w.Text())
			}
		}
		if s.certs.Expired() {
			s.log.Warn("a certificate has expired, and clients refuse it; put a new one into its file", "expired", s.certs.Expires())
		}
	}
}

// watchCertificates begins to refresh them now and then, until the host has stopped, if there are
// any and it has not begun yet. Who calls it has the right to reload.
func (h *Host) watchCertificates() {
	secured := func(s *server) bool { return s.certs != nil }
	if h.watching || !slices.ContainsFunc(h.now.Load().servers(), secured) {
		return
	}
	h.watching = true
	go func() {
		tick := time.NewTicker(certificatesEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				h.RefreshCertificates()
			case <-h.closed:
				return
			}
		}
	}()
}
