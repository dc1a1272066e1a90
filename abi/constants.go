package abi

// This file is a table in itself: the generator reads the constants, their
// values and their comments from it. It holds constants alone and imports
// nothing.

// Module is the name of the import module that holds the host functions.
const Module = "csa_v1"

// Version is the version of the contract. Functions and constants may be added
// to a version; what is there does not change.
const Version = 1

// What control can be told. Any other value is INVALID.
const (
	// ProducerFinished: the guest has sent its last byte. What is in the inbox
	// is sent, what the peer still sends is dropped, then the connection closes.
	ProducerFinished = 0
	// ShutdownMicroprocess: close now, and drop what is not sent yet.
	ShutdownMicroprocess = 1
	// FinishSending: what is in the inbox is sent, then the peer is told that no
	// more follows (a half-close). Receiving goes on.
	FinishSending = 2
	// HandlerFailed: the guest has met an error that it does not deal with, such as
	// one that a script does not catch. The host counts each, and closes as for
	// ShutdownMicroprocess, but with INVALID. For conn -1 it counts only: the error
	// was no connection's.
	HandlerFailed = 3
)

// The keys of info. Any other value is INVALID.
const (
	// InfoPeer is the address of the peer: "ip:port" ("[ip]:port" for IPv6), or
	// the path of a unix socket, which may be empty.
	InfoPeer = 0
	// InfoLocal is the address the peer connected to, written likewise. Where a
	// PROXY header came first, both are what it says.
	InfoLocal = 1
	// InfoListener is the name of the listener that accepted the connection, with
	// "/" and the name of its route behind it where it took one.
	InfoListener = 2
	// InfoTenant is the name of the tenant the connection belongs to.
	InfoTenant = 3
	// InfoTransport is "tcp", "unix", "udp" or "ws" (WebSocket, with TLS or without).
	InfoTransport = 4
	// InfoServerName is the name that the TLS client has asked for (SNI); empty
	// without TLS, and where it has named none. So are those that follow, up to
	// InfoClientFingerprint.
	InfoServerName = 5
	// InfoALPN is the application protocol that both sides have agreed on.
	InfoALPN = 6
	// InfoTLSVersion is "TLS 1.2" or "TLS 1.3".
	InfoTLSVersion = 7
	// InfoCipher is the name of the cipher suite, as IANA writes it.
	InfoCipher = 8
	// InfoClientSubject is the subject of the certificate that the client has
	// shown and the host has verified, as RFC 2253 writes it.
	InfoClientSubject = 9
	// InfoClientNames are the names that the same certificate is made out to, each
	// as "DNS:", "IP:", "email:" or "URI:" and the name, with a line feed between
	// two.
	InfoClientNames = 10
	// InfoClientFingerprint is the SHA-256 of the same certificate, in 64 hex
	// digits.
	InfoClientFingerprint = 11
	// InfoCertificate is "yes" where makessl may take the role TLSServer: the
	// listener has a certificate. It is empty where makessl would be DENIED, and
	// over UDP and WebSocket. It does not say whether the connection has TLS.
	InfoCertificate = 12
	// InfoMessage is, over WebSocket, "text" or "binary": what the last message was of
	// which the guest was given bytes. It is empty before the first one.
	InfoMessage = 13
	// InfoTarget is the path and query that the WebSocket client has asked for, such as
	// "/chat?room=7".
	InfoTarget = 14
	// InfoOrigin is the origin of the page that the WebSocket client is in, such as
	// "https://example.com"; empty for a client that is no browser.
	InfoOrigin = 15
	// InfoSubprotocol is the WebSocket subprotocol that both sides have agreed on.
	InfoSubprotocol = 16
)

// The roles of makessl. Any other value is INVALID.
const (
	// TLSServer: the peer is the client of the handshake. The host shows the listener's
	// certificate.
	TLSServer = 0
	// TLSClient: the peer is the server of the handshake. The host verifies its certificate.
	TLSClient = 1
)

// The clocks. Any other value is INVALID.
const (
	// ClockWall is the time of day: nanoseconds since 1970-01-01 UTC. It may
	// jump.
	ClockWall = 0
	// ClockMonotonic counts nanoseconds from an arbitrary start and never goes
	// back. Timers use it.
	ClockMonotonic = 1
)

// The levels of log. Any other value is INVALID.
const (
	// LogDebug is for the author of the guest.
	LogDebug = 0
	// LogInfo is for the operator, in ordinary operation.
	LogInfo = 1
	// LogWarn is for what somebody should look at.
	LogWarn = 2
	// LogError is for what keeps the guest from doing its work.
	LogError = 3
)

// The limits of the contract. The limits an operator sets, such as the size of
// the inbox, are in the configuration file.
const (
	// MinWindow is the least length of a window, in bytes.
	MinWindow = 4096
	// MaxWindow is the greatest length of a window, in bytes.
	MaxWindow = 1 << 20
	// MaxLogLine is how many bytes of one log call are kept; the rest is cut.
	MaxLogLine = 1024
	// MaxMetricName is the greatest length of the name of a metric, in bytes.
	MaxMetricName = 64
	// MaxMetrics is how many names of metrics one tenant may use.
	MaxMetrics = 100
	// MaxAddress is the greatest length of an address for connect, in bytes.
	MaxAddress = 512
	// MaxTimers is how many timers one handle may have at a time; the
	// instance's own, on handle -1, count by themselves.
	MaxTimers = 16
	// HandleReuse is how many later connections have taken the same slot
	// before the value of a handle comes back.
	HandleReuse = 2048
)
