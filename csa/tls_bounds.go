package csa

import (
	"time"

	"bulkhead/internal/cputime"
)

// What a peer may have decrypted in one turn of the loop. Bytes alone are no bound: a record
// may hold one, or new keys, which cost ten times as much, and crypto/tls goes through 16 of those
// before it returns.
const (
	recordsPerTurn = 256
	tlsTurnTime    = 500 * time.Microsecond
	// emptyTurnTime is that of a turn in which records without data come: whole messages are no
	// reason for one.
	emptyTurnTime = 200 * time.Microsecond
	// looksEvery is how many records lie between two looks at the clock. A message of a record
	// or two costs none.
	looksEvery = 4
)

// tlsTurn is what a connection has had decrypted in this turn of its loop.
type tlsTurn struct {
	number  uint64 // of the turn
	records int32
	began   int64
}

// now begins anew if the loop's turn is another.
func (t *tlsTurn) now(number uint64) {
	if t.number != number {
		*t = tlsTurn{number: number}
	}
}

// over reports whether another record has to wait for the next turn. It is asked before each.
// suspect says that the peer sends records without data, of which crypto/tls goes through 16 at a
// time: the clock is looked at each time then.
func (t *tlsTurn) over(suspect bool) bool {
	t.records++
	switch {
	case t.records > recordsPerTurn:
		return true
	case !suspect && t.records%looksEvery != 0:
		return false
	}
	now := cputime.Monotonic()
	if t.began == 0 {
		t.began = now
	}
	if suspect {
		return now-t.began > int64(emptyTurnTime)
	}
	return now-t.began > int64(tlsTurnTime)
}

const (
	// mostEmpty is how many records without data a peer may send at once, and emptyRate
	// how many a second after that. Honest peers send some tickets behind the handshake, and new
	// keys every few million records. It is more than what crypto/tls may hold unread, which
	// are counted as empty until they are read.
	mostEmpty = 1024
	emptyRate = 16
)

// emptyRecords counts the records of a peer that were not data: new keys, tickets, alerts,
// nothing. Which they are nobody can see from outside.
type emptyRecords struct {
	full    int32 // records that held data, since it was looked last
	counted int32 // of all records, when it was looked last
	have    int32
	since   int64 // have is what there was then
}

// some reports whether there may be some among all records until now.
func (e *emptyRecords) some(all int32) bool { return all-e.counted > e.full }

// tooMany reports whether there were too many, as all records were so many until now.
func (e *emptyRecords) tooMany(all int32, now int64) bool {
	e.have += all - e.counted - e.full
	e.full, e.counted = 0, all
	if e.have <= 0 {
		e.have, e.since = 0, now
		return false
	}
	if e.have <= mostEmpty {
		return false
	}
	if earned := (now - e.since) * emptyRate / int64(time.Second); earned > 0 {
		e.have, e.since = max(0, e.have-int32(min(earned, mostEmpty))), now
	}
	return e.have > mostEmpty
}
