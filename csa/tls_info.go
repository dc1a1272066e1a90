package csa

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"slices"
	"strings"

	"bulkhead/abi"
)

// TLSInfo is what is known of the connection's TLS, by a key of abi.Info; "" for a key
// of something else, and when the connection has no TLS, or not that.
func (c *CSA) TLSInfo(key int32) string {
	state, ok := c.ConnectionState()
	if !ok {
		return ""
	}
	switch key {
	case abi.InfoServerName:
		return state.ServerName
	case abi.InfoALPN:
		return state.NegotiatedProtocol
	case abi.InfoTLSVersion:
		return tls.VersionName(state.Version)
	case abi.InfoCipher:
		return tls.CipherSuiteName(state.CipherSuite)
	}
	if len(state.VerifiedChains) == 0 || c.transport.tls().h.Client {
		return ""
	}
	leaf := state.VerifiedChains[0][0]
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
