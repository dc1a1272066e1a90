package csa

import (
	"crypto/tls"
	"errors"
	"io"
	"slices"
	"time"

	"bulkhead/internal/tlsrecord"
	"bulkhead/selector"
)

const (
	// ownOverhead is charged for a connection whose records are ours, beside the bytes that it
	// holds.
	ownOverhead = 3 << 10
	// mostTranscript is how much of a handshake in one direction is kept until it is over. Who
	// sends more stays with crypto/tls.
	mostTranscript = 32 << 10
	// restAfter is how long nothing comes or goes before the ciphers are let go of, which are made
	// of the keys again in some microseconds.
	restAfter = int64(time.Second)
	// openAtOnce is how many bytes of records are read and opened at once.
	openAtOnce = tlsrecord.MostRecord + 16<<10
)

// TakeOver has the connections of a server's configuration go over to records of our own when their
// handshake is over, as far as tlsrecord knows their suites. The configuration is not in use yet.
// One with GetConfigForClient stays as it is.
func TakeOver(config *tls.Config) {
	if config.GetConfigForClient != nil {
		return
	}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		s, ok := hello.Conn.(*tlsTransport)
		if !ok {
			return nil, nil // it is somebody else's connection
		}
		s.shake.watches = true
		return s.shake.log.Watch(config), nil
	}
}

// takeOver is what a handshake keeps so that its connection can be taken over, and the outcome.
type takeOver struct {
	log            tlsrecord.KeyLog
	watches        bool   // log does
	sent, received []byte // in the handshake
	own            *tlsrecord.Conn
}

func (t *takeOver) noteSent(p []byte)     { t.sent = keepSome(t.sent, p) }
func (t *takeOver) noteReceived(p []byte) { t.received = keepSome(t.received, p) }

func keepSome(all, p []byte) []byte {
	if len(all) > mostTranscript {
		return all
	}
	return append(all, p...)
}

// take makes the records ours if it can be. It is called when the handshake has gone well, by its
// goroutine.
func (t *takeOver) take(state *tls.ConnectionState) {
	if t.watches && max(len(t.sent), len(t.received)) <= mostTranscript {
		t.own, _ = tlsrecord.TakeOver(*state, false, &t.log, t.sent, t.received)
	}
}

// forget lets go of all but the outcome, however the handshake has ended.
func (t *takeOver) forget() {
	t.log.Wipe()
	t.sent, t.received = nil, nil
}

// ownRecords are the records of a connection that was taken over from crypto/tls.
type ownRecords struct {
	*tlsTransport
	conn   *tlsrecord.Conn
	held   fifo  // what has come: plain bytes that are opened, and then records
	plain  int32 // how many of held are opened
	opened int32 // records
	awake  bool  // the timer runs
	over   error // nothing more is opened, since
}

var errCut = errors.New("the connection was cut")

func newOwnRecords(s *tlsTransport, conn *tlsrecord.Conn, early []byte) *ownRecords {
	o := &ownRecords{tlsTransport: s, conn: conn}
	s.records.see(early)
	o.hold(early)
	return o
}

// hold keeps bytes behind those that are held.
func (o *ownRecords) hold(p []byte) {
	c := o.c
	if len(p) > 0 && !o.held.append(c.loop, c.wiring.Budget, p) {
		c.kill(MemoryFull.Because("its tenant has no memory left for a TLS record"))
	}
}

func (o *ownRecords) seen() int32 { return o.opened }

// read gives what was opened before, then opens what was held, and reads on.
func (o *ownRecords) read(p []byte) (total int) {
	c := o.c
	if o.plain > 0 {
		total = copy(p, o.held.bytes()[:o.plain])
		o.held.discard(c.loop, c.wiring.Budget, total)
		if o.plain -= int32(total); o.plain > 0 {
			o.more = true
			return total
		}
	}
	b := c.loop.openBuffer()
	have := copy(b, o.held.bytes())
	o.held.release(c.loop, c.wiring.Budget)
	at, waits := 0, false // of b; waits: for the next turn
	var plain []byte      // of b, and not in p yet
	for total < len(p) && o.over == nil {
		n, err := o.conn.Length(b[at:have])
		if err == nil && (n == 0 || n > have-at) {
			have, at = copy(b, b[at:have]), 0
			m := o.fill(b[have:])
			if have += m; m == 0 {
				break
			}
			continue
		}
		if err == nil {
			if waits = o.turn.over(o.empty.some(o.opened)); waits {
				break
			}
			plain, err = o.open(p[total:len(p):len(p)], b[at:at+n])
			at += n
		}
		if err != nil {
			o.end(err)
			break
		}
		n = len(plain)
		if n > 0 && total < len(p) && &plain[0] != &p[total] {
			n = copy(p[total:], plain)
		}
		total += n
		plain = plain[n:]
	}
	if !c.is(dying) && o.over == nil {
		o.hold(plain)
		o.plain = int32(len(plain))
		o.hold(b[at:have])
	}
	o.more = total > 0 && (total == len(p) || o.over != nil) || waits
	if total == 0 && o.over != nil && !c.is(dying) {
		o.endOfTLS(o.over)
	}
	return total
}

// fill reads from the socket. It returns 0 when nothing is there, or nothing comes any more.
func (o *ownRecords) fill(b []byte) int {
	n, err := o.readSocket(b)
	o.records.see(b[:n])
	if err == io.EOF {
		o.cutTold = true
		o.over = errCut
	}
	return n
}

// open opens one record, into p, whose capacity is its length, or where it is.
func (o *ownRecords) open(p, record []byte) (plain []byte, err error) {
	o.wake()
	plain, got, err := o.conn.Open(p, record)
	o.opened++
	switch got {
	case tlsrecord.Data:
		o.empty.full++
	case tlsrecord.Asked:
		o.put(o.conn.Answer(o.c.loop.sealing[:0]))
	case tlsrecord.Closed:
		err = io.EOF
	}
	return plain, err
}

// end notes that nothing more is opened, and tells the peer if that is its fault.
func (o *ownRecords) end(err error) {
	o.over = err
	var fault *tlsrecord.Error
	if errors.As(err, &fault) {
		o.put(o.conn.Alert(o.c.loop.sealing[:0], fault))
	}
}

// wake has the ciphers be let go of when nothing more comes or goes for a while.
func (o *ownRecords) wake() {
	if !o.awake {
		o.awake = true
		o.c.loop.sel.SetTimer(&o.timer, o, o.c.loop.Now()+restAfter)
	}
}

// Expired is the selector's notice that it is time to look whether anything has come or gone.
func (o *ownRecords) Expired(*selector.Timer) {
	if next := o.c.lastActive + restAfter; next > o.c.loop.Now() {
		o.c.loop.sel.SetTimer(&o.timer, o, next)
		return
	}
	o.awake = false
	o.conn.Sleep()
}

func (o *ownRecords) write(p []byte) bool {
	o.wake()
	l := o.c.loop
	l.sealing = slices.Grow(l.sealing[:0], o.conn.Sealed(len(p)))
	return o.put(o.conn.Seal(l.sealing, p))
}

func (o *ownRecords) sayEnd() { o.put(o.conn.Close(o.c.loop.sealing[:0])) }

func (o *ownRecords) close() {
	o.held.release(o.c.loop, o.c.wiring.Budget)
	o.conn.Wipe()
}

// openBuffer is the loop's for records that come: nobody keeps what is in it. Loops without TLS
// have none.
func (l *Loop) openBuffer() []byte {
	if l.opening == nil {
		l.opening = make([]byte, openAtOnce)
	}
	return l.opening
}
