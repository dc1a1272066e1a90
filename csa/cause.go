package csa

import (
	"log/slog"

	"bulkhead/abi"
)

// Cause says which of the causes of an end a connection has ended by. The table below says
// the rest of it, and is the only place that does: code, words, key, level, and the name of
// its counter.
type Cause uint8

// The causes.
const (
	Unknown Cause = iota // of a Reason that somebody has made without one

	// As both sides wished, or one of them.
	Finished
	HandlerEnded
	HandlerRefused
	PeerReset
	PeerSilent
	RelayEnded
	HostStopped
	OperatorClosed
	Drained
	Moved

	// Limits of time.
	IdleTimeout
	FirstByteTimeout
	WriteTimeout
	SlowSender
	SlowReader
	Unconsumed
	Lifetime
	Linger
	ConnectTimeout
	HandshakeTimeout
	RouteTimeout
	OldFor
	Generations
	PeerVanished
	PingTimeout
	RequestTimeout

	// Limits of what there is.
	PlaceTaken
	PlaceWanted
	NoRoom
	MemoryFull
	HandshakesFull
	SourceFull
	HandlesFull
	SystemFull

	// The network.
	PeerUnreachable
	SocketFailed
	NotConnected

	// TLS, PROXY, routing.
	HandshakeFailed
	TLSFailed
	TLSCut
	TLSFlood
	WrongPath
	WrongOrigin
	NotWebSocket
	RequestTooLong
	WebSocketBroken
	WebSocketCut
	MessageTooLong
	MessageFrames
	WebSocketFlood
	ProxyHeader
	NoRoute

	// The handler.
	BadData
	BadResult
	Trapped
	EventTimeout
	StackFull
	MappingsFull
	InstancesFull
	TimersFull
	HandlerFailed
	NotStarted
	InstanceGone
	HostBug

	Causes // how many there are
)

// CauseInfo is what the table of causes says of one.
type CauseInfo struct {
	// Name is its counter's, and what logs call it: of a-z and _.
	Name string
	// Code is what the handler is told where the reason has no other.
	Code abi.Code
	// Key is that of docs/CONFIG.md which sets the limit, or several with ", " between them;
	// "": no key does.
	Key string
	// Level is that of the line about a connection that has ended so. At slog.LevelDebug
	// nothing has gone wrong. At slog.LevelInfo a limit or the peer has ended it, which anybody
	// can have happen. From slog.LevelWarn on it is the author's doing, or the operator's.
	Level slog.Level
	// Words are the reason's where it has no others.
	Words string
}

var causes = [Causes]CauseInfo{
	Unknown: {"unknown", abi.Invalid, "", slog.LevelDebug, "for an unknown reason"},

	Finished:       {"finished", abi.OK, "", slog.LevelDebug, "finished"},
	HandlerEnded:   {"handler_ended", abi.OK, "", slog.LevelDebug, "its handler said shutdownMicroprocess"},
	HandlerRefused: {"handler_refused", abi.Invalid, "", slog.LevelInfo, "its handler refused it"},
	PeerReset:      {"peer_reset", abi.Reset, "", slog.LevelDebug, "the peer reset the connection"},
	PeerSilent:     {"peer_silent", abi.Timeout, "idle_timeout", slog.LevelDebug, "idle for too long"},
	RelayEnded:     {"relay_ended", abi.Closed, "", slog.LevelDebug, "the other end of its relay ended"},
	HostStopped:    {"host_stopped", abi.Closed, "", slog.LevelDebug, "the host stopped"},
	OperatorClosed: {"operator_closed", abi.Closed, "", slog.LevelInfo, "closed by the operator"},
	Drained:        {"drained", abi.Refused, "", slog.LevelInfo, "its listener takes no new connections: bulkhead drain"},
	Moved:          {"moved", abi.OK, "", slog.LevelDebug, "it goes on in another process"},

	IdleTimeout:      {"idle_timeout", abi.Timeout, "idle_timeout", slog.LevelInfo, "idle for too long"},
	FirstByteTimeout: {"first_byte_timeout", abi.Timeout, "first_byte_timeout", slog.LevelInfo, "the peer has not sent its first byte in time"},
	WriteTimeout:     {"write_timeout", abi.Timeout, "write_timeout", slog.LevelInfo, "the peer has taken none of the bytes that wait for it for too long"},
	SlowSender:       {"slow_sender", abi.Timeout, "min_rate", slog.LevelInfo, "the peer sends the rest of its message too slowly"},
	SlowReader:       {"slow_reader", abi.Timeout, "min_rate", slog.LevelInfo, "the peer takes the bytes that wait for it too slowly"},
	Unconsumed:       {"unconsumed", abi.Timeout, "min_rate", slog.LevelWarn, "its handler has left bytes unconsumed, and waits for more than came"},
	Lifetime:         {"lifetime", abi.Timeout, "lifetime", slog.LevelInfo, "it has reached its greatest age"},
	Linger:           {"linger", abi.Timeout, "linger", slog.LevelInfo, "the peer did not take its last bytes in time"},
	ConnectTimeout:   {"connect_timeout", abi.Timeout, "connect_timeout", slog.LevelInfo, "the other side did not answer in time"},
	HandshakeTimeout: {"handshake_timeout", abi.Timeout, "handshake_timeout", slog.LevelInfo, "the TLS handshake took too long"},
	RouteTimeout:     {"route_timeout", abi.Timeout, "route_timeout", slog.LevelInfo, "its first bytes did not decide a route in time"},
	OldFor:           {"old_for", abi.Timeout, "old_for", slog.LevelInfo, "a reload has changed or removed its listener, and the time for old connections is over"},
	Generations:      {"generations", abi.Timeout, "generations", slog.LevelInfo, "its listener has too many generations, and its own is the oldest"},
	PeerVanished:     {"peer_vanished", abi.Timeout, "user_timeout, keepalive", slog.LevelInfo, "the peer has vanished"},

	RequestTimeout: {"request_timeout", abi.Timeout, "request_timeout", slog.LevelInfo, "its request for WebSocket has not come in time"},
	PingTimeout:    {"ping_timeout", abi.Timeout, "ping", slog.LevelInfo, "the peer has not answered a WebSocket ping in time"},

	PlaceTaken:     {"place_taken", abi.Timeout, "connections", slog.LevelInfo, "a new peer needed its place"},
	PlaceWanted:    {"place_wanted", abi.Timeout, "connections", slog.LevelInfo, "its first bytes had not decided a route, and its place was needed"},
	NoRoom:         {"no_room", abi.Quota, "route_timeout, connections, accept_rate", slog.LevelWarn, "there was no room for it, or no handler, in time"},
	MemoryFull:     {"memory", abi.Quota, "memory", slog.LevelWarn, "its tenant has no memory left"},
	HandshakesFull: {"handshakes", abi.Quota, "handshakes", slog.LevelInfo, "too many TLS handshakes are under way (handshakes)"},
	SourceFull:     {"source", abi.Refused, "per_source, per_source_rate", slog.LevelInfo, "its source address has too many connections, or too many new ones a second"},
	HandlesFull:    {"handles", abi.Quota, "", slog.LevelWarn, "its handler's instance has no handle left"},
	SystemFull:     {"system", abi.Quota, "", slog.LevelWarn, "the system has no memory left for the socket"},

	PeerUnreachable: {"peer_unreachable", abi.Unreachable, "", slog.LevelInfo, "the peer cannot be reached any more"},
	SocketFailed:    {"socket_failed", abi.Reset, "", slog.LevelInfo, "the socket failed"},
	NotConnected:    {"not_connected", abi.Unreachable, "", slog.LevelDebug, "connecting failed"},

	HandshakeFailed: {"handshake_failed", abi.TLS, "tls", slog.LevelInfo, "the TLS handshake failed"},
	TLSFailed:       {"tls_failed", abi.TLS, "tls", slog.LevelInfo, "TLS failed"},
	TLSCut:          {"tls_cut", abi.TLS, "tls", slog.LevelInfo, "the peer ended the connection without a TLS close: what came may be incomplete"},
	TLSFlood:        {"tls_flood", abi.TLS, "tls", slog.LevelInfo, "the peer sends too many TLS records without data, or with new keys"},
	WrongPath:       {"wrong_path", abi.Refused, "address", slog.LevelInfo, "it asks for another path"},
	WrongOrigin:     {"wrong_origin", abi.Refused, "origins", slog.LevelInfo, "the origin of its page is not in origins"},
	NotWebSocket:    {"not_websocket", abi.Refused, "address", slog.LevelInfo, "it asks for no WebSocket"},
	RequestTooLong:  {"request_too_long", abi.Refused, "request_size", slog.LevelInfo, "its request for WebSocket is too long (request_size)"},
	WebSocketBroken: {"websocket_broken", abi.Reset, "address", slog.LevelInfo, "the peer does not keep the WebSocket protocol"},
	WebSocketCut:    {"websocket_cut", abi.Reset, "address", slog.LevelInfo, "the peer ended the connection without a WebSocket close (1006)"},
	MessageTooLong:  {"message_too_long", abi.Reset, "message_size", slog.LevelInfo, "the peer's message is too long (message_size)"},
	MessageFrames:   {"message_frames", abi.Reset, "message_frames", slog.LevelInfo, "the peer's message has too many frames (message_frames)"},
	WebSocketFlood:  {"websocket_flood", abi.Reset, "control_rate", slog.LevelInfo, "the peer sends too many pings and other control frames (control_rate)"},
	ProxyHeader:     {"proxy_header", abi.Refused, "proxy_from", slog.LevelInfo, "its address is in proxy_from, and it did not begin with a valid PROXY header"},
	NoRoute:         {"no_route", abi.Refused, "route", slog.LevelInfo, "no route matches"},

	BadData:       {"bad_data", abi.Invalid, "on_bad_data", slog.LevelWarn, "bad data to send from its handler"},
	BadResult:     {"bad_result", abi.Invalid, "", slog.LevelWarn, "its handler returned that it consumed more than it was given"},
	Trapped:       {"trap", abi.Invalid, "", slog.LevelWarn, "its handler trapped"},
	EventTimeout:  {"event_timeout", abi.Timeout, "event_timeout", slog.LevelWarn, "its handler was stopped: it used too much CPU time in one event"},
	StackFull:     {"stack", abi.Quota, "stack", slog.LevelWarn, "its handler was stopped: its stack grew too large"},
	MappingsFull:  {"mappings", abi.Quota, "mappings", slog.LevelWarn, "its tenant has no memory mappings left"},
	InstancesFull: {"instances", abi.Quota, "instances", slog.LevelWarn, "its tenant has as many instances as it may have"},
	TimersFull:    {"timers", abi.Quota, "timers", slog.LevelWarn, "its tenant has as many timers as it may have"},
	HandlerFailed: {"handler_failed", abi.Invalid, "", slog.LevelWarn, "its handler met an error that it does not catch"},
	NotStarted:    {"not_started", abi.Refused, "", slog.LevelWarn, "its handler did not start"},
	InstanceGone:  {"instance_gone", abi.Refused, "", slog.LevelWarn, "its handler's instance is gone"},
	HostBug:       {"host_bug", abi.Closed, "", slog.LevelWarn, "a bug in the host"},
}

// Info is the cause's line in the table.
func (c Cause) Info() CauseInfo {
	if c >= Causes {
		c = Unknown
	}
	return causes[c]
}

// Who says who has ended a connection by the cause: "both" sides, the "peer", the "network" between
// them, the "relay" whose other end is over, the "handler", a "limit" of the configuration, the
// "operator", or the "host".
func (c Cause) Who() string {
	switch c {
	case Finished:
		return "both"
	case PeerReset, PeerSilent, HandshakeFailed, TLSFailed, TLSCut, TLSFlood, ProxyHeader, NoRoute, WrongPath, WrongOrigin, NotWebSocket, WebSocketBroken, WebSocketCut:
		return "peer"
	case PeerUnreachable, SocketFailed, NotConnected:
		return "network"
	case RelayEnded:
		return "relay"
	case Unknown, HandlerEnded, HandlerRefused, BadData, BadResult, Trapped, HandlerFailed, NotStarted, InstanceGone:
		return "handler"
	case OperatorClosed, Drained:
		return "operator"
	case HostStopped, Moved, SystemFull, HostBug:
		return "host"
	case HandlesFull:
		return "limit" // of the ABI: it has no key
	}
	if c.Info().Key == "" {
		return "handler"
	}
	return "limit"
}

// Reason is the cause's, in its own words.
func (c Cause) Reason() Reason { return Reason{causes[c].Code, c, causes[c].Words} }

// Because is the cause's reason in other words: one clause.
func (c Cause) Because(why string) Reason { return Reason{causes[c].Code, c, why} }

// With is the cause's reason with another code, in other words.
func (c Cause) With(code abi.Code, why string) Reason { return Reason{code, c, why} }
