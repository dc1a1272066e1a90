package guesttest

import (
	"errors"
	"strings"

	"bulkhead/sdk/go"
	"bulkhead/sdk/go/internal/seam"
)

// TLS is what is known of a secured connection: what Conn.ServerName and its like
// answer. An empty Version is "TLS 1.3", an empty Cipher TLS_AES_128_GCM_SHA256.
type TLS struct {
	ServerName, ALPN, Version, Cipher string
	// ClientSubject, ClientNames and ClientFingerprint are those of the client's
	// certificate; empty: it has shown none.
	ClientSubject     string
	ClientNames       []string
	ClientFingerprint string
}

// ConnectTLS has a new peer connect to a listener that speaks TLS from the start.
func (h *Host) ConnectTLS(facts TLS) *Peer {
	h.t.Helper()
	p := h.newPeer()
	p.secure(facts)
	p.open()
	return p
}

// Securing reports whether a handshake that the handler has begun with MakeSSL waits
// for Handshake, and what the handler has said.
func (p *Peer) Securing() (role guest.Role, serverName string, ok bool) {
	return p.role, p.serverName, p.securing
}

// Handshake ends the handshake that MakeSSL has begun: with nil, TLS is up; with
// an error the handler hears its code, or TLS if it has none, and the connection is
// closed with it. What the peer sends in the meantime counts as sent behind the
// handshake; a CloseWrite has it fail.
func (p *Peer) Handshake(err error) {
	p.h.t.Helper()
	p.expectSecuring()
	status := int32(0)
	if err != nil {
		code := guest.TLS
		errors.As(err, &code)
		status = int32(code)
	} else {
		p.secure(TLS{ServerName: p.serverName})
	}
	p.secured(status)
	p.h.settle()
}

// HandshakeTLS is Handshake(nil) with these facts about the connection.
func (p *Peer) HandshakeTLS(facts TLS) {
	p.h.t.Helper()
	p.expectSecuring()
	p.secure(facts)
	p.secured(0)
	p.h.settle()
}

func (p *Peer) expectSecuring() {
	p.h.t.Helper()
	if !p.securing {
		p.h.t.Fatal("guesttest: no handshake to end: the handler has not called MakeSSL, or the connection is closed")
	}
}

func (p *Peer) secure(facts TLS) {
	p.tls, p.facts = true, facts
	if p.facts.Version == "" {
		p.facts.Version = "TLS 1.3"
	}
	if p.facts.Cipher == "" {
		p.facts.Cipher = "TLS_AES_128_GCM_SHA256"
	}
}

// value is what info answers for a key.
func (f *TLS) value(key int32) string {
	switch key {
	case seam.InfoServerName:
		return f.ServerName
	case seam.InfoALPN:
		return f.ALPN
	case seam.InfoTLSVersion:
		return f.Version
	case seam.InfoCipher:
		return f.Cipher
	case seam.InfoClientSubject:
		return f.ClientSubject
	case seam.InfoClientNames:
		return strings.Join(f.ClientNames, "\n")
	case seam.InfoClientFingerprint:
		return f.ClientFingerprint
	}
	return ""
}

func (f functions) Makessl(conn, role int32, name []byte) int32 {
	if f.stale(conn) {
		return int32(guest.BadHandle)
	}
	p := f.h.find(conn)
	server := guest.Role(role) == guest.TLSServer
	switch {
	case !server && guest.Role(role) != guest.TLSClient, server != (len(name) == 0), p.tls, p.securing, p.udp:
		return int32(guest.Invalid)
	case p.pending:
		return int32(guest.Again)
	case p.finished, p.dying, p.told:
		return int32(guest.Closed)
	case server && !f.h.options.Certificate:
		return int32(guest.Denied)
	}
	p.securing, p.fresh = true, true
	p.role, p.serverName = guest.Role(role), string(name)
	return 0
}

// secured ends the handshake, with 0 or a code.
func (p *Peer) secured(status int32) {
	p.h.t.Helper()
	p.securing = false
	if status < 0 {
		p.kill(status)
	} else {
		p.offer = true
	}
	p.event("csa_secured", func() { seam.Secured(p.handle, status) })
}
