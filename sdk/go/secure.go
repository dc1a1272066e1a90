package guest

import (
	"strings"
	"unsafe"
)

// Securer is a Handler that calls MakeSSL, or wants to know how it went.
type Securer interface {
	// Secured says that the handshake which MakeSSL has begun is over. With a nil
	// err TLS is up, and what comes and goes from here on is encrypted. Otherwise c
	// is being closed, and Closed follows with the same code.
	Secured(c *Conn, err error)
}

// MakeSSL wraps the connection in TLS from here on, as STARTTLS does. serverName is
// "" for TLSServer, and for TLSClient the name that the peer's certificate has to
// have. What was sent before leaves in the clear. Until Securer.Secured, Send answers
// Again and Write queues; no Data comes.
//
// What the peer has sent before is never taken for something that was sent
// encrypted: a Data that calls this returns right after, with what it has used, and
// when any byte is left then the host closes the connection with TLS.
//
// The error is Again, and nothing has happened, while bytes that Write has queued
// are not with the host, as they would leave encrypted: Writable is the time to try
// again; so it is before Open. It is Denied when the listener has no certificate, Closed when the
// connection has finished in a direction, Quota when the host has no handshake
// to spare, BadHandle when c is stale, Invalid when it has TLS already, or the role
// or the name is none.
func (c *Conn) MakeSSL(role Role, serverName string) error {
	if err := c.maySend(); err != nil {
		return err
	}
	if c.queue.len() > 0 {
		return Again
	}
	return errorOf(makessl(c.handle, int32(role), unsafe.Slice(unsafe.StringData(serverName), len(serverName))))
}

// ServerName is the name that the TLS client has asked for (SNI), and "" when it
// has named none. Like all below it is "" without TLS and when c is stale.
func (c *Conn) ServerName() string { return c.info(infoServerName) }

// ALPN is the application protocol that both sides have agreed on, such as "h2".
func (c *Conn) ALPN() string { return c.info(infoALPN) }

// TLSVersion is "TLS 1.2" or "TLS 1.3". It says whether the connection has TLS.
func (c *Conn) TLSVersion() string { return c.info(infoTLSVersion) }

// Cipher is the name of the cipher suite, as IANA writes it.
func (c *Conn) Cipher() string { return c.info(infoCipher) }

// ClientSubject is the subject of the certificate that the client has shown and the
// host has verified, as RFC 2253 writes it; "" when there is none.
func (c *Conn) ClientSubject() string { return c.info(infoClientSubject) }

// ClientNames are the names that the same certificate is made out to, each as
// "DNS:", "IP:", "email:" or "URI:" and the name. The slice is the caller's.
func (c *Conn) ClientNames() []string {
	names := c.info(infoClientNames)
	if names == "" {
		return nil
	}
	return strings.Split(names, "\n")
}

// ClientFingerprint is the SHA-256 of the same certificate, in 64 hex digits.
func (c *Conn) ClientFingerprint() string { return c.info(infoClientFingerprint) }

// HasCertificate reports whether the listener has a certificate, so that MakeSSL can
// take the role TLSServer. Where it is false MakeSSL would answer Denied, or Invalid over
// UDP: a protocol that lets the client ask for TLS should not offer it. It does not say
// whether the connection has TLS; TLSVersion does. It is false when c is stale.
func (c *Conn) HasCertificate() bool { return c.info(infoCertificate) != "" }
