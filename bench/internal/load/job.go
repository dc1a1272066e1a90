// Package load is the load generator: a single thread around an epoll
// descriptor, with no goroutine and no allocation per connection or message,
// so that it costs as little as a client can. It runs in a process of its own;
// Serve is that process, and Generator speaks with it.
package load

import "time"

// Kind is what a Job does.
type Kind string

const (
	// Echo keeps Pipeline messages of Size bytes on the way on each of Conns
	// connections, sending a new one for each that has come back.
	Echo Kind = "echo"
	// Churn has Conns connections under way at all times, each of which is
	// opened, echoes one message of Size bytes, is half closed, waits for the
	// server to close, and is replaced by a new one. Messages counts
	// connections, and a latency is from the opening to the server's close.
	Churn Kind = "churn"
	// Idle opens Conns connections and holds them open, through any number of
	// Touch jobs, until a job of another kind.
	Idle Kind = "idle"
	// Touch echoes one message of Size bytes on each connection that Idle
	// holds.
	Touch Kind = "touch"
	// Release closes what Idle holds.
	Release Kind = "release"
	// Stream moves bytes through a relay as fast as it can, one way, between Conns
	// connections to Address and those that Backend gets for them. Messages counts
	// megabytes (of 1,000,000) that have arrived; there are no latencies.
	Stream Kind = "stream"
	// SecureEcho is Echo over TLS, with one message on the way a connection.
	SecureEcho Kind = "secure-echo"
	// Handshakes is Churn over TLS: a handshake, one message, close_notify both ways.
	Handshakes Kind = "handshakes"
	// SecureIdle is Idle over TLS. Touch and Release go with it.
	SecureIdle Kind = "secure-idle"
)

// Step is one turn of what comes before the message of a Churn job.
type Step struct {
	Send   []byte
	Expect []byte // what the answer begins with
	Ignore int    // bytes of the answer behind that
}

// Job is one run against one server.
type Job struct {
	Kind     Kind
	Address  string        // IPv4 address and port of the server
	PID      int           // the server's process, whose CPU time is read; 0: none
	Conns    int           // connections at once, 1 or more
	Size     int           // bytes a message, 1 to 1 MiB; not Idle
	Pipeline int           // messages on the way per connection, 1 to 64; Echo only
	Warmup   time.Duration // load before the measurement begins; Echo goes on until each connection was answered once
	Duration time.Duration // how long the measurement lasts
	Timeout  time.Duration // bound on connecting, and on waiting for the last answers
	Lag      int           // 1 or more: read at most this many bytes a turn, as a slow reader does

	// Backend is an address that the generator itself listens on, and serves, for a
	// relay to connect to; "" where the server answers by itself. Not Idle.
	Backend string
	Upload  bool   // Stream: from the client to the backend, else the other way
	Steps   []Step // Churn: what comes before the message
	Message []byte // Churn: the message, in place of Size bytes of the pattern
	Lines   bool   // Echo, Churn, Idle and Touch: messages are lines, of 64 bytes with their end; so is Size
	// WebSocket has each message of Echo, Idle and Touch be one of WebSocket's, after a request.
	WebSocket bool
	Resume    bool // Handshakes: resume the session before, which has to work
	Oldest    bool // the TLS kinds: version 1.2, not 1.3
}

// Result is what a Job measured.
type Result struct {
	Messages  uint64        // answered in the measured time
	Elapsed   time.Duration // the measured time
	ServerCPU time.Duration // the server's CPU time in it, user and system
	LoadCPU   time.Duration // the load generator's own
	P50       time.Duration // latencies, from send to the last byte of the answer
	P99       time.Duration
	P999      time.Duration
	Max       time.Duration
	Conns     int // connections that were opened; of Churn, those measured
	Failures  Failures
}

// Failures counts what went wrong, over the whole job and not only in the
// measured time.
type Failures struct {
	Connect    int    // connections that could not be opened
	Wrong      int    // connections that answered other bytes than were sent
	Cut        int    // connections that the server ended early
	Unanswered uint64 // messages or connections with no answer within Timeout
	First      string // the first failure, in words
}

// Any reports whether anything failed.
func (f Failures) Any() bool {
	return f.Connect != 0 || f.Wrong != 0 || f.Cut != 0 || f.Unanswered != 0
}

// Total is the number of failures of all kinds.
func (f Failures) Total() uint64 {
	return uint64(f.Connect) + uint64(f.Wrong) + uint64(f.Cut) + f.Unanswered
}

func (f *Failures) first(why string) {
	if f.First == "" {
		f.First = why
	}
}
