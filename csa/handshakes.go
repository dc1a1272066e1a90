package csa

import (
	"crypto/tls"
	"sync"
	"sync/atomic"
	"time"
)

// Handshake is a TLS handshake that is to be made.
type Handshake struct {
	// Config is crypto/tls's, and not changed once it is in use.
	Config *tls.Config
	// Client has this side begin, and verify the peer; Config has its name then.
	Client bool
	// Early says that what the handler has left unconsumed is the peer's part of the
	// handshake. Otherwise such bytes end the connection, since they came before.
	Early bool
	// Timeout bounds the time it may take, from when it is asked for; zero or less is ten
	// seconds.
	Timeout time.Duration
	// Share bounds how many there are, and when they compute. Nil: nobody does.
	Share *HandshakeShare
}

// defaultHandshakes is how many handshakes are under way where nothing else is said.
const defaultHandshakes = 4096

// mostComputing is how many handshakes of a share compute at once, or wait for the CPU
// time to: with more, those that wait for their CPU would fill its background calls.
const mostComputing = 8

// Handshakes bounds how many handshakes of a process are under way. Half of the places are
// dealt out, so that no share can keep another out; the other half is whose who comes first.
// Any goroutine may use it.
type Handshakes struct {
	mu     sync.Mutex
	most   int
	shares int
	common int // places taken beyond the dealt ones
	total  int
}

// HandshakeShare is one tenant's part of a process's handshakes. A handshake takes a place
// with the first byte of the peer's, or when it begins as a client, so that peers who are
// silent take none. One that waits for its peer does not compute, so that peers who are
// slow keep nobody out. Any goroutine may use it.
type HandshakeShare struct {
	all     *Handshakes
	most    int
	cpu     Computer
	slots   chan struct{}
	pending int // under the lock of all
	refused atomic.Int64
}

// Computer gives handshakes their CPU time. Begin waits until one may compute; End is told
// that it has, for ns nanoseconds. They are called in pairs, on any goroutine but a loop's.
type Computer interface {
	Begin()
	End(ns int64)
}

// NewHandshakes bounds handshakes to most under way; zero or less is 4096. Where there are
// more shares than half of that, one more place for each.
func NewHandshakes(most int) *Handshakes {
	if most <= 0 {
		most = defaultHandshakes
	}
	return &Handshakes{most: most}
}

// Share makes the part of one tenant, which may have most under way; zero or less is as many
// as there are. cpu gives them time; nil gives all they ask for. All shares have to be made
// before one is used.
func (h *Handshakes) Share(most int, cpu Computer) *HandshakeShare {
	if most <= 0 {
		most = h.most
	}
	h.mu.Lock()
	h.shares++
	h.mu.Unlock()
	return &HandshakeShare{all: h, most: most, cpu: cpu, slots: make(chan struct{}, mostComputing)}
}

// Pending is how many are under way, of all shares.
func (h *Handshakes) Pending() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.total
}

// dealt is how many places each share has for itself.
func (h *Handshakes) dealt() int { return max(1, h.most/2/h.shares) }

// Pending is how many of the share are under way.
func (s *HandshakeShare) Pending() int {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	return s.pending
}

// Refused is how often there was no place.
func (s *HandshakeShare) Refused() int64 { return s.refused.Load() }

// begin takes a place.
func (s *HandshakeShare) begin() bool {
	if s == nil {
		return true
	}
	h := s.all
	h.mu.Lock()
	defer h.mu.Unlock()
	switch dealt := h.dealt(); {
	case s.pending >= s.most || s.pending >= dealt && h.common >= h.most-h.most/2:
		s.refused.Add(1)
		return false
	case s.pending >= dealt:
		h.common++
	}
	s.pending++
	h.total++
	return true
}

// end gives it back.
func (s *HandshakeShare) end() {
	if s == nil {
		return
	}
	h := s.all
	h.mu.Lock()
	if s.pending--; s.pending >= h.dealt() {
		h.common--
	}
	h.total--
	h.mu.Unlock()
}

// compute waits until the handshake may compute; rest says that it waits for its peer again,
// or is over.
func (s *secure) compute() {
	if share := s.h.Share; share != nil {
		share.slots <- struct{}{}
		if share.cpu != nil {
			share.cpu.Begin()
		}
		s.watch.Start()
	}
}

func (s *secure) rest() {
	if share := s.h.Share; share != nil {
		if share.cpu != nil {
			share.cpu.End(s.watch.Elapsed())
		}
		<-share.slots
	}
}
