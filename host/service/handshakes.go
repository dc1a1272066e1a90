package service

import (
	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/host/certs"
)

// Certificates are those of the next handshakes; nil: there is no TLS. Any goroutine may call it.
func (s *Server) Certificates() *certs.Certificates { return s.terms.Load().Certificates }

// SetCertificates is for before it serves.
func (s *Server) SetCertificates(c *certs.Certificates) {
	t := *s.terms.Load()
	t.Certificates = c
	s.terms.Store(&t)
}

// serverHandshake is the host's part when the peer is the client.
func (s *Server) serverHandshake() csa.Handshake {
	t := s.terms.Load()
	return csa.Handshake{Config: t.Certificates.Config(), Timeout: t.HandshakeTimeout, Share: s.tenant.Handshakes}
}

// makeSSL is the ABI's makessl.
func (s *Server) makeSSL(c *csa.CSA, role int32, name string) abi.Code {
	if t := c.Transport(); t == "udp" || t == "ws" {
		return abi.Invalid // whether there is a certificate or not
	}
	if role == abi.TLSClient {
		return c.MakeSSL(s.ClientHandshake(name, s.ConnectTimeout()))
	}
	if s.Certificates() == nil {
		return abi.Denied
	}
	return c.MakeSSL(s.serverHandshake())
}

// RefreshCertificates reads the certificates again if their files have changed. What is wrong with
// one is logged, and it stays as it was. Any goroutine may call it, but no loop.
func (g *Generation) RefreshCertificates() {
	for _, s := range g.servers {
		c := s.Certificates()
		if c == nil || s.front != nil && c == s.front.Certificates() {
			continue
		}
		switch changed, err := c.Refresh(); {
		case err != nil:
			s.log.Error("the certificates have changed and cannot be used; the old ones stay in use", "error", err)
		case changed:
			s.log.Info("the certificates have changed; new connections get the new ones", "expire", c.Expires())
			for _, w := range c.Warnings() {
				s.log.Warn(w.Text())
			}
		}
		if c.Expired() {
			s.log.Warn("a certificate has expired, and clients refuse it; put a new one into its file", "expired", c.Expires())
		}
	}
}
