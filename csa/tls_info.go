package csa

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"

	"bulkhead/abi"
)

// TLSState is what the handshake of a connection has shown.
type TLSState struct {
	Version, CipherSuite uint16
	// Resumed says that it has gone on with a session that was there before.
	Resumed bool
	// ServerName and ALPN are what the client has asked for, and what both have agreed to; "" for
	// neither.
	ServerName, ALPN string
	// Client is the client's certificate, if it has shown one, and it was verified; nil on the
	// client's side.
	Client *x509.Certificate
}

func newTLSState(state *tls.ConnectionState, client bool) TLSState {
	s := TLSState{
		Version: state.Version, CipherSuite: state.CipherSuite, Resumed: state.DidResume,
		ServerName: state.ServerName, ALPN: state.NegotiatedProtocol,
	}
	if len(state.VerifiedChains) > 0 && !client {
		s.Client = state.VerifiedChains[0][0]
	}
	return s
}

// TLSState is what is known of the connection's TLS; ok is false while it has none that is up.
func (c *CSA) TLSState() (state TLSState, ok bool) {
	if !c.isSecure() {
		return state, false
	}
	return c.transport.tls().state, true
}

// TLSInfo is what is known of the connection's TLS, by a key of abi.Info; "" for a key
// of something else, and when the connection has no TLS, or not that.
func (c *CSA) TLSInfo(key int32) string {
	state, ok := c.TLSState()
	if !ok {
		return ""
	}
	switch key {
	case abi.InfoServerName:
		return state.ServerName
	case abi.InfoALPN:
		return state.ALPN
	case abi.InfoTLSVersion:
		return tls.VersionName(state.Version)
	case abi.InfoCipher:
		return tls.CipherSuiteName(state.CipherSuite)
	}
	leaf := state.Client
	if leaf == nil {
		return ""
	}
	switch key {
	case abi.InfoClientSubject:
		return leaf.Subject.String()
	case abi.InfoClientNames:
		var names []string
		for _, n := range leaf.DNSNames {
			names = append(names, "DNS:"+n)
		}
		for _, ip := range leaf.IPAddresses {
			names = append(names, "IP:"+ip.String())
		}
		for _, m := range leaf.EmailAddresses {
			names = append(names, "email:"+m)
		}
		for _, u := range leaf.URIs {
			names = append(names, "URI:"+u.String())
		}
		// A line feed in a name would make two of it.
		names = slices.DeleteFunc(names, func(n string) bool { return strings.ContainsAny(n, "\r\n") })
		return strings.Join(names, "\n")
	case abi.InfoClientFingerprint:
		sum := sha256.Sum256(leaf.Raw)
		return hex.EncodeToString(sum[:])
	}
	return ""
}
