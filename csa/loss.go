package csa

// Loss says why a datagram was lost. The table below says the rest of it, as that of the causes
// does for connections.
type Loss byte

// The reasons.
const (
	// LostPeerRefused is a datagram whose sender was not admitted, or whose handler was
	// over before it took the datagram.
	LostPeerRefused Loss = iota
	// LostConnections is one whose sender found no place.
	LostConnections
	// LostTooLong is one that its handler's window has no room for.
	LostTooLong
	// LostWaiting is one that came while its handler could take none, with as many waiting
	// as may, or no memory for it to wait in.
	LostWaiting
	// LostInKernel is one that the system had no room for, before it was read.
	LostInKernel
	// LostHeader is one that had to begin with a header, and did not.
	LostHeader
	// LostUnsent is one of a handler's that the system did not send.
	LostUnsent

	Losses // how many there are
)

// LossInfo is a loss's line in the table.
type LossInfo struct {
	// Name is its counter's, of a-z and _.
	Name string
	// Key is that of docs/CONFIG.md which sets the limit, or several with ", " between them;
	// "": no key does.
	Key string
	// Words are a clause about the datagrams.
	Words string
}

var losses = [Losses]LossInfo{
	LostPeerRefused: {"peer_refused", "accept_rate", "their senders are new, and over accept_rate, or no handler is ready, or the host or the listener is draining; or the handler was over before it took them"},
	LostConnections: {"connections", "connections", "their senders are new, and the tenant or the host has no connections left"},
	LostTooLong:     {"too_long", "", "they are longer than the handler's window"},
	LostWaiting:     {"waiting", "waiting_datagrams, waiting_bytes, memory", "the handler is busy, and too many wait for it"},
	LostInKernel:    {"kernel", "receive_buffer", "the system's queue is full: they come faster than they are read"},
	LostHeader:      {"proxy_header", "proxy_from", "their senders are in proxy_from, and the PROXY header is missing or not valid"},
	LostUnsent:      {"unsent", "", "the system did not send them"},
}

// Info is the loss's line in the table.
func (l Loss) Info() LossInfo { return losses[l] }
