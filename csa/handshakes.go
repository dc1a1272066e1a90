package csa

import (
	"crypto/tls"
	"time"

	"bulkhead/internal/cputime"
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

// mostComputing is how many handshakes of a share compute at once, or wait for the CPU
// time to: with more, those that wait for their CPU would fill its background calls.
const mostComputing = 8

// HandshakePlaces is how many handshakes a tenant may have under way. Its methods are called on any
// goroutine, and neither block nor lock.
type HandshakePlaces interface {
	// TakeHandshake takes a place, or reports false.
	TakeHandshake() bool
	// ReturnHandshake gives one back.
	ReturnHandshake()
}

// Computer gives handshakes their CPU time. Acquire waits until a handshake may compute, and
// Release says that it has done so for ns nanoseconds. Each Acquire is followed by a Release.
// Neither is called on a loop.
type Computer interface {
	Acquire()
	Release(ns int64)
}

// HandshakeShare bounds one tenant's handshakes. A handshake takes a place
// with the first byte of the peer's, or when it begins as a client, so that peers who are
// silent take none. One that waits for its peer does not compute, so that peers who are
// slow keep nobody out. Any goroutine may use it.
type HandshakeShare struct {
	places HandshakePlaces
	cpu    Computer
	slots  chan struct{}
}

// NewHandshakeShare makes a tenant's. Nil places are as many as are asked for; a nil cpu gives
// all the time that is.
func NewHandshakeShare(places HandshakePlaces, cpu Computer) *HandshakeShare {
	return &HandshakeShare{places: places, cpu: cpu, slots: make(chan struct{}, mostComputing)}
}

// takePlace takes a place, or reports false if all are taken.
func (s *HandshakeShare) takePlace() bool {
	return s == nil || s.places == nil || s.places.TakeHandshake()
}

// returnPlace gives it back.
func (s *HandshakeShare) returnPlace() {
	if s != nil && s.places != nil {
		s.places.ReturnHandshake()
	}
}

// longestStep is the most that a handshake is charged for computing between two waits, where it has
// changed threads and nobody knows: more than a signature takes.
const longestStep = int64(5 * time.Millisecond)

// startComputing waits until the handshake may compute. stopComputing follows when the handshake
// waits for its peer again, or has ended.
func (s *tlsTransport) startComputing() {
	if share := s.h.Share; share != nil {
		share.slots <- struct{}{}
		if share.cpu != nil {
			share.cpu.Acquire()
		}
		s.shake.watch.Most = longestStep
		s.shake.watch.Start()
	}
}

func (s *tlsTransport) stopComputing() {
	if share := s.h.Share; share != nil {
		if share.cpu != nil {
			wake := cputime.Wake() // its goroutine took that before
			share.cpu.Release(s.shake.watch.Elapsed() + wake)
		}
		<-share.slots
	}
}
