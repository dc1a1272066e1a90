package tenant

import (
	"crypto/tls"
	"crypto/x509"

	"bulkhead/host/egress"
)

// clientSessions is how many sessions a tenant keeps to resume with those it dials.
const clientSessions = 64

// newClientConfig is what a tenant's handlers dial with; the server's name is each
// connection's own.
func newClientConfig(roots *x509.CertPool) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ClientSessionCache: tls.NewLRUClientSessionCache(clientSessions)}
}

// Policy is whom its handlers may dial.
func (t *Tenant) Policy() *egress.Policy { return t.policy.Load() }

// Resolver is its part of the host's, which finds the addresses of names that its handlers dial.
func (t *Tenant) Resolver() egress.Resolver { return t.lookups }

// ClientTLS is what its handlers' TLS goes by with a server of this name. It is the caller's.
func (t *Tenant) ClientTLS(server string) *tls.Config {
	c := t.client.Clone()
	c.ServerName = server
	return c
}

// TakeDial takes what a connection that is dialled needs of the limits dials and upstreams, or
// reports false and takes nothing. ReleaseDial and ReleaseUpstream give it back.
func (t *Tenant) TakeDial() bool {
	if !t.dials.Take() {
		t.dials.Refuse()
		return false
	}
	if !t.upstreams.Take() {
		t.dials.Release()
		t.upstreams.Refuse()
		return false
	}
	return true
}

// ReleaseDial is called when the connection is there, or will not be.
func (t *Tenant) ReleaseDial() { t.dials.Release() }

// ReleaseUpstream is called when the connection is over, or will not be.
func (t *Tenant) ReleaseUpstream() { t.upstreams.Release() }
