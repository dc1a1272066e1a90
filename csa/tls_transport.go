package csa

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"bulkhead/abi"
	"bulkhead/internal/cputime"
	"bulkhead/selector"
)

const (
	// secureOverhead is charged for a connection with TLS: what crypto/tls keeps of
	// it, with room for one record each way.
	secureOverhead = 40 << 10
	// sealAtOnce is how many bytes are made into records for one write.
	sealAtOnce = 64 << 10
	// mostUnasked is how many bytes of records may wait that no handler has sent: answers
	// to requests for new keys. What handlers send is not made into records before
	// those that wait are gone.
	mostUnasked = 2 * sealAtOnce
	// mostEarly is how many bytes of the peer's wait for the handshake before no more are
	// read, and how many are read at once: together they are within secureOverhead.
	mostEarly = 16 << 10
	// handshakeTimeout is that of a Handshake that has none.
	handshakeTimeout = 10 * time.Second
)

// tlsTransport is the transport of a connection with TLS, and the net.Conn of crypto/tls, which
// makes the handshake on a goroutine of its own: that waits for bytes from the loop and posts to
// the loop what it writes. After the handshake the loop owns all of it, and the records are ours
// (ownRecords) or, where TLS is such that crypto/tls alone knows it, still crypto/tls's
// (libraryRecords): then reads and writes act on the socket, or return errAgain.
type tlsTransport struct {
	stream
	c       *CSA
	h       Handshake
	conn    *tls.Conn // nil when the handshake is over, and the records are ours
	timer   selector.Timer
	stage   tlsStage
	charged int32 // bytes

	// The loop's, once it is up.
	layer    recordLayer
	state    TLSState
	sealed   fifo // records that the socket has not taken
	gather   bool // records are collected for one write
	more     bool // there may be bytes that need no reading from the socket
	cut      bool // the socket has ended
	cutTold  bool // and all that came before was decrypted
	notified bool // close_notify has been sent
	pending  bool // has a place among the handshakes
	running  bool // the handshake has a goroutine
	records  records
	turn     tlsTurn
	empty    emptyRecords

	shake *tlsHandshake // nil once it is up
}

// tlsHandshake is what a handshake needs, for as long as it lasts.
type tlsHandshake struct {
	watch   cputime.Stopwatch // its goroutine's
	mu      sync.Mutex
	changed sync.Cond
	in, out []byte
	ended   bool // nothing more comes
	waits   bool // its goroutine, for more of in
	full    bool // no more is read until some of in was taken
	posted  bool // out will be fetched
	takeOver
}

// recordLayer makes records and opens them once the handshake is over. It is the loop's.
type recordLayer interface {
	// read decrypts into p, as far as what has come goes, and returns how much that is. It sets
	// tlsTransport.more, and says the end to tlsTransport.endOfTLS when there is nothing before it.
	read(p []byte) int
	// seen is how many records have been opened; it may go round.
	seen() int32
	// write seals p, of sealAtOnce at most, and writes it. It reports false when the connection
	// ends.
	write(p []byte) bool
	// sayEnd writes close_notify.
	sayEnd()
	// close gives back what is charged, when the connection ends.
	close()
}

type tlsStage byte

const (
	asked tlsStage = iota // what was sent before is being flushed
	shaking
	up
)

// errAgain is what the TLS connection's transport answers instead of waiting. crypto/tls
// goes on where it was when the error is temporary.
var errAgain error = again{}

type again struct{}

func (again) Error() string   { return "csa: nothing to read now" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

// MakeSSL wraps the connection in TLS (the box makessl). What was sent before leaves in the clear
// first, and the handshake begins when the event is over; until it is over itself, Send answers
// abi.Again, nothing is read for the handler, and it hears of the outcome by Secured (the box
// sslready). It answers abi.OK; abi.Invalid when there is TLS already, or for a peer over UDP;
// abi.Closed when the connection has finished in a direction; abi.Quota when there is no memory,
// or, for a client, as many handshakes as there may be. A server takes its place among those when
// the peer's part begins to come, and the connection ends if there is none.
func (c *CSA) MakeSSL(h Handshake) abi.Code {
	switch {
	case !c.isStream():
		return abi.Invalid
	case c.is(sendFinished | ended | dying | dead):
		return abi.Closed
	case !c.wiring.Budget.Reserve(secureOverhead):
		return abi.Quota
	case h.Client && !h.Share.takePlace():
		c.wiring.Budget.Release(secureOverhead)
		return abi.Quota
	}
	s := &tlsTransport{c: c, h: h, pending: h.Client, charged: secureOverhead, shake: &tlsHandshake{}}
	s.shake.changed.L = &s.shake.mu
	if m, ok := c.transport.(*movedStream); ok {
		m.touch()
	}
	c.transport = s
	c.set(securing)
	timeout := h.Timeout
	if timeout <= 0 {
		timeout = handshakeTimeout
	}
	c.loop.sel.SetTimer(&s.timer, s, c.loop.Now()+int64(timeout))
	c.d.RemoveReader()
	c.loop.eventOverLater(c)
	return abi.OK
}

// isSecure reports whether TLS is up.
func (c *CSA) isSecure() bool {
	s := c.transport.tls()
	return s != nil && s.stage == up
}

func (s *tlsTransport) tls() *tlsTransport { return s }

// tooLong says whose time was too short: connect_timeout covers the handshake with a server.
func (s *tlsTransport) tooLong() Reason {
	if s.h.Client {
		return ConnectTimeout.Because(HandshakeTimeout.Info().Words)
	}
	return HandshakeTimeout.Reason()
}

// Expired is the selector's notice that the handshake has taken too long.
func (s *tlsTransport) Expired(*selector.Timer) {
	s.c.enter()
	s.c.kill(s.tooLong())
	s.c.loop.leaveEvent()
}

// startHandshake starts the handshake when what was sent before has left, and the event is over.
func (s *tlsTransport) startHandshake() {
	c := s.c
	if s.stage != asked || c.pendingData != nil || c.is(dying|dead) || c.inbox.len() > 0 {
		return
	}
	if c.unconsumed.len() > 0 {
		if !s.h.Early {
			c.kill(HandshakeFailed.Because("bytes came in the clear behind the request for TLS, before the handshake"))
			return
		}
		s.shake.in = append(s.shake.in, c.unconsumed.bytes()...)
		c.unconsumed.release(c.loop, c.wiring.Budget)
		c.AwaitFirstByte()
	}
	c.clear(offering | full | paused | lastOffered)
	c.want = 0
	s.stage = shaking
	if s.h.Client {
		s.conn = tls.Client(s, s.h.Config)
	} else {
		s.conn = tls.Server(s, s.h.Config)
	}
	if s.h.Client || len(s.shake.in) > 0 {
		s.run()
	}
	if !c.is(dying) {
		c.d.NewReader()
	}
}

// run has the handshake go on, on a goroutine of its own, if there is a place for it.
func (s *tlsTransport) run() {
	if !s.pending && !s.h.Share.takePlace() {
		s.c.kill(HandshakesFull.Reason())
		return
	}
	s.pending = true
	s.running = true
	go s.shakeHands()
	s.c.loop.sel.Yield()
}

// shakeHands is the handshake, on a goroutine of its own.
func (s *tlsTransport) shakeHands() {
	s.startComputing()
	err := s.handshake()
	s.stopComputing()
	s.c.loop.Post(func() { s.shaken(err) })
}

// handshake is crypto/tls's. What the peer makes it panic with is this connection's affair.
func (s *tlsTransport) handshake() (err error) {
	defer func() {
		if v := recover(); v != nil {
			if !s.c.loop.beside(s.c, v) {
				panic(v)
			}
			err = errors.New("a bug in the host")
		}
	}()
	defer s.shake.forget()
	if err = s.conn.HandshakeContext(context.Background()); err == nil {
		state := s.conn.ConnectionState()
		s.state = newTLSState(&state, s.h.Client)
		s.shake.take(&state)
	}
	return err
}

// readReady feeds the handshake until TLS is up.
func (s *tlsTransport) readReady(c *CSA) {
	if !c.is(securing) {
		c.readWindows()
		return
	}
	c.enter()
	if s.stage == shaking && !c.is(dying|dead) {
		s.feed()
	}
	c.timeIn()
	c.loop.leaveEvent()
}

// feed gives the handshake what has come.
func (s *tlsTransport) feed() {
	c := s.c
	if c.is(slowIn) {
		return
	}
	buffer := c.loop.discardBuffer()[:mostEarly]
	n, err := s.readSocket(buffer)
	if err == errAgain {
		c.d.NewReader()
		return
	}
	if c.is(dying) {
		return
	}
	sh := s.shake
	sh.mu.Lock()
	sh.in = append(sh.in, buffer[:n]...)
	sh.ended = err != nil
	room := len(sh.in) < mostEarly
	sh.full = !room
	sh.wake()
	sh.mu.Unlock()
	c.loop.sel.Yield()
	switch {
	case !s.running && s.cut:
		c.kill(HandshakeFailed.Because("the peer left before the TLS handshake"))
	case !s.running:
		s.run()
	}
	if room && !s.cut && !c.is(dying) {
		c.d.NewReader()
	}
}

// wake has the handshake's goroutine go on. It is called with mu held.
func (h *tlsHandshake) wake() {
	h.waits = false
	h.changed.Signal()
}

// computes reports whether the handshake computes on its goroutine, or is about to: it does not
// wait for the peer. It is called on the loop; a nil s is a connection without TLS.
func (s *tlsTransport) computes() bool {
	if s == nil || !s.running || s.stage != shaking {
		return false
	}
	s.shake.mu.Lock()
	defer s.shake.mu.Unlock()
	return !s.shake.waits
}

// feedOn goes on reading for the handshake, which has taken what was too much.
func (s *tlsTransport) feedOn() {
	if c := s.c; s.stage == shaking && !s.cut && !c.is(slowIn|dying|dead) {
		c.d.NewReader()
	}
}

// fetch sends what the handshake has written.
func (s *tlsTransport) fetch() {
	c := s.c
	sh := s.shake
	sh.mu.Lock()
	out := sh.out
	sh.out, sh.posted = nil, false
	sh.mu.Unlock()
	if len(out) == 0 || c.is(dying|dead) {
		return
	}
	if !s.sealed.append(c.loop, c.wiring.Budget, out) {
		c.kill(MemoryFull.Because("its tenant has no memory left for the TLS handshake"))
		return
	}
	s.drain(c)
	c.d.NewReader() // there may be room again
}

// shaken goes on when the handshake is over.
func (s *tlsTransport) shaken(err error) {
	c := s.c
	if s.pending {
		s.pending = false
		s.h.Share.returnPlace()
	}
	if c.is(dying | dead) {
		if own := s.shake.own; own != nil {
			own.Wipe()
		}
		return
	}
	s.fetch() // what it has written last; an alert, perhaps
	if c.is(dying) {
		return
	}
	c.loop.sel.StopTimer(&s.timer)
	code := abi.OK
	if err != nil {
		code = abi.TLS
		c.kill(HandshakeFailed.Because("the TLS handshake failed: " + handshakeError(err)))
	} else {
		if !s.begin() {
			return
		}
		s.countHandshake()
		c.clear(securing)
		s.more = true
		if !c.is(gotFirstByte) {
			c.owed = 0 // the handshake has taken its own time
		}
		c.timeIn()
		if c.is(blocked) {
			c.awaitRoom()
		}
		c.loop.later(c)
		if c.is(finishing) {
			c.readMore()
			return
		}
		c.d.ReadAgain()
	}
	c.wiring.Handler.Secured(c, code) // last: it may pass the loop on
}

// handshakeError says why a handshake has failed. crypto/tls refuses a server name with a final
// dot, and does not say so.
func handshakeError(err error) string {
	const decodeError = tls.AlertError(50)
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "local error" && op.Err.Error() == decodeError.Error() {
		return err.Error() + ", such as a server name with a final dot"
	}
	return err.Error()
}

// begin has the records be those of the layer that follows the handshake. It reports false when the
// connection ends instead.
func (s *tlsTransport) begin() bool {
	sh := s.shake
	s.shake, s.cut, s.stage = nil, sh.ended, up
	if sh.own == nil {
		s.layer = newLibraryRecords(s, sh.in)
		return true
	}
	s.c.wiring.Budget.Release(int(s.charged) - ownOverhead)
	s.conn, s.h.Config, s.charged = nil, nil, ownOverhead
	s.layer = newOwnRecords(s, sh.own, sh.in)
	return !s.c.is(dying)
}

func (s *tlsTransport) close(c *CSA) {
	s.stream.close(c)
	c.loop.sel.StopTimer(&s.timer)
	if sh := s.shake; sh != nil {
		sh.mu.Lock()
		sh.ended = true
		sh.wake()
		sh.mu.Unlock()
	}
	s.sealed.release(c.loop, c.wiring.Budget)
	if s.layer != nil {
		s.layer.close()
	}
	c.wiring.Budget.Release(int(s.charged))
	if s.pending && !s.running { // nobody will say that it is over
		s.pending = false
		s.h.Share.returnPlace()
	}
}

// Read is crypto/tls's.
func (s *tlsTransport) Read(p []byte) (n int, err error) {
	if s.stage != up {
		n, err = s.readHandshake(p)
	} else {
		n, err = s.layer.(*libraryRecords).readWire(p)
	}
	s.records.see(p[:n])
	s.cutTold = err == io.EOF
	return n, err
}

// readHandshake waits for what the peer sends in the handshake. It gives no more than to the end of
// a record, so that crypto/tls holds nothing when the handshake is over.
func (s *tlsTransport) readHandshake(p []byte) (int, error) {
	sh := s.shake
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if len(sh.in) == 0 && !sh.ended {
		s.stopComputing()
		for len(sh.in) == 0 && !sh.ended {
			sh.waits = true
			sh.changed.Wait()
		}
		sh.mu.Unlock()
		s.startComputing()
		sh.mu.Lock()
	}
	if len(sh.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.records.left())], sh.in)
	sh.noteReceived(sh.in[:n])
	sh.in = append(sh.in[:0], sh.in[n:]...)
	if sh.full && len(sh.in) < mostEarly {
		sh.full = false
		s.c.loop.Post(s.feedOn)
	}
	return n, nil
}

// readSocket reads records from the socket, on the loop, if the bandwidth allows.
func (s *tlsTransport) readSocket(p []byte) (int, error) {
	c := s.c
	if s.cut {
		return 0, io.EOF
	}
	if !c.d.Readable() || c.is(slowIn) {
		return 0, errAgain
	}
	n, err := c.readRaw(p)
	if n > 0 || err != nil {
		return n, err
	}
	s.cut = true
	return 0, io.EOF
}

// Write is crypto/tls's: a record, or several.
func (s *tlsTransport) Write(p []byte) (int, error) {
	c := s.c
	if s.stage != up {
		sh := s.shake
		sh.mu.Lock()
		defer sh.mu.Unlock()
		sh.noteSent(p)
		sh.out = append(sh.out, p...)
		if !sh.posted {
			sh.posted = true
			c.loop.Post(s.fetch)
		}
		return len(p), nil
	}
	if !s.put(p) {
		return 0, net.ErrClosed
	}
	return len(p), nil
}

// put writes records, as far as the socket takes them at once, and keeps the rest. It reports false
// when the connection ends.
func (s *tlsTransport) put(p []byte) bool {
	c := s.c
	n := 0
	if !s.gather && s.sealed.len() == 0 && c.mayWrite() {
		n = c.writeRaw(p)
	}
	if n < len(p) && !c.is(dying) && !s.sealed.append(c.loop, c.wiring.Budget, p[n:]) {
		c.kill(MemoryFull.Because("its tenant has no memory left for unsent bytes"))
	}
	return !c.is(dying)
}

// The rest of net.Conn has nothing to do here.

// Close does nothing: the socket is the CSA's.
func (s *tlsTransport) Close() error                     { return nil }
func (s *tlsTransport) LocalAddr() net.Addr              { return noAddr{} }
func (s *tlsTransport) RemoteAddr() net.Addr             { return noAddr{} }
func (s *tlsTransport) SetDeadline(time.Time) error      { return nil }
func (s *tlsTransport) SetReadDeadline(time.Time) error  { return nil }
func (s *tlsTransport) SetWriteDeadline(time.Time) error { return nil }

type noAddr struct{}

func (noAddr) Network() string { return "csa" }
func (noAddr) String() string  { return "csa" }

// midway reports whether there is a part of a record.
func (s *tlsTransport) midway() bool { return s.stage == up && s.records.partial() }

// readMore reads at once where crypto/tls may hold bytes that have left the socket, which the
// selector knows nothing of.
func (s *tlsTransport) readMore(c *CSA) {
	if s.more {
		c.d.ReadAgain()
	} else {
		c.d.NewReader()
	}
}

func (s *tlsTransport) receive(c *CSA, p []byte) (total int) {
	if s.stage != up {
		return 0
	}
	s.turn.now(c.loop.Turn())
	total = s.layer.read(p)
	if total > 0 {
		c.noteFirstByte()
	}
	if s.records.complete && c.unconsumed.len() == 0 && c.is(gotFirstByte) && !c.transport.gathers() {
		c.owed = 0 // the next record's time begins
	}
	s.records.complete = false
	s.settleSealed()
	if s.empty.tooMany(s.layer.seen(), c.loop.Now()) {
		c.kill(TLSFlood.Reason())
	}
	return total
}

// endOfTLS notes that nothing more comes, and whether that is as it should be.
func (s *tlsTransport) endOfTLS(err error) {
	switch c := s.c; {
	case c.is(dying):
	case err == io.EOF && !s.cutTold:
		c.set(ended)
	case c.is(finishing):
		c.set(ended) // it has got all, and was told so
	case s.cutTold:
		c.kill(TLSCut.Reason())
	default:
		c.kill(TLSFailed.Because("TLS failed: " + err.Error()))
	}
}

// settleSealed has what crypto/tls has written by itself sent at the end of the event.
func (s *tlsTransport) settleSealed() {
	c := s.c
	switch n := s.sealed.len(); {
	case n == 0 || c.is(dying|dead):
	case n > mostUnasked:
		c.kill(TLSFlood.Because("the peer asks for new keys again and again, and does not read the answers"))
	default:
		c.loop.later(c)
	}
}

// write makes p, or the beginning of it, into records and writes them. It returns
// how much of p that is; what the socket does not take of the records waits, and then
// nothing more is taken. Before the handshake, p is of what goes in the clear.
func (s *tlsTransport) write(c *CSA, p []byte) int {
	if s.stage != up {
		return c.writeRaw(p)
	}
	if !s.drain(c) {
		return 0
	}
	p = p[:min(len(p), sealAtOnce)]
	if !s.layer.write(p) {
		return 0
	}
	s.drain(c)
	return len(p)
}

func (s *tlsTransport) holds() bool { return s.sealed.len() > 0 }

// drain writes the records that wait.
func (s *tlsTransport) drain(c *CSA) bool {
	for s.sealed.len() > 0 && c.mayWrite() {
		n := c.writeRaw(s.sealed.bytes())
		s.sealed.discard(c.loop, c.wiring.Budget, n)
		if n == 0 {
			break
		}
	}
	if s.sealed.len() > 0 && !c.is(dying) {
		c.awaitRoom()
	}
	return s.sealed.len() == 0
}

// sayEnd tells the peer in TLS.
func (s *tlsTransport) sayEnd(c *CSA) bool {
	if !s.notified {
		s.notified = true
		s.layer.sayEnd()
	}
	return s.drain(c)
}

func (s *tlsTransport) eventOver(c *CSA) {
	if !c.is(dying | dead) {
		s.flush()
	}
}

func (s *tlsTransport) sendReady(c *CSA) { s.eventOver(c) }

// flush is CSA.flush once TLS is up. Until then it sends what goes before the handshake, begins
// that, and sends what that has written.
func (s *tlsTransport) flush() {
	c := s.c
	if !c.is(securing) {
		c.flush()
		return
	}
	switch empty := c.writeInbox(); {
	case c.is(dying):
	case empty:
		s.startHandshake()
	default:
		c.awaitRoom()
	}
	c.keepTime()
}
