package host

import (
	"slices"
	"time"

	"bulkhead/host/certs"
	"bulkhead/host/config"
	"bulkhead/host/service"
)

// certificatesEvery is how often the files of certificates are looked at.
const certificatesEvery = 10 * time.Second

// certificates are those of a table [listener.tls]: known, which may be nil, where they are made by
// the same keys, so that tickets stay good, and else read anew. Servers with the same table have
// the same ones.
func (b *build) certificates(t *config.TLS, known *certs.Certificates) (c *certs.Certificates, err error) {
	if c = b.certs[t]; c != nil {
		return c, nil
	}
	if c = known; c == nil || !c.MadeBy(t.Options()) {
		if c, err = certs.Load(t.Options()); err != nil {
			return nil, err
		}
	}
	b.certs[t] = c
	return c, nil
}

// secure has a server go by its certificates. It is not in force.
func (b *build) secure(s *service.Server) error {
	c, err := b.certificates(s.Config().TLS, s.Certificates())
	if err == nil {
		s.SetCertificates(c)
	}
	return err
}

// secureInPlace finds the certificates that servers go by which go on, and their handshakes' time.
// Those that have TLS otherwise than they had, or did not have it, stay as they are: that is
// another generation's.
func (p *reload) secureInPlace(s *service.Server, l *config.Listener, t *service.Terms) error {
	before, was, now := s.Terms(), s.Config().TLS, l.TLS
	if was == nil {
		return nil
	}
	t.Certificates, t.HandshakeTimeout = before.Certificates, before.HandshakeTimeout
	if now == nil || len(now.Renewing(was)) > 0 {
		return nil
	}
	c, err := p.certificates(now, before.Certificates)
	if err == nil {
		t.Certificates, t.HandshakeTimeout = c, now.HandshakeTimeout
	}
	return err
}

// RefreshCertificates reads the certificates of all listeners again if their files have
// changed. What is wrong with one is logged, and it stays as it was. Run does so every
// ten seconds. Any goroutine may call it, but no loop.
func (h *Host) RefreshCertificates() {
	for _, g := range h.now.Load().generations {
		g.RefreshCertificates()
	}
}

// watchCertificates begins to refresh them now and then, until the host has stopped, if there are
// any and it has not begun yet. Who calls it has the right to reload.
func (h *Host) watchCertificates() {
	secured := func(s *service.Server) bool { return s.Certificates() != nil }
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
