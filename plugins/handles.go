package plugins

import (
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
)

// conn is what the host functions use of a *csa.CSA.
type conn interface {
	Send(p []byte) (taken int, code abi.Code)
	ProducerFinished()
	FinishSending()
	ShutdownMicroprocess(csa.Reason)
	Receive(on bool)
	Want(n int)
	SetTimer(token int32, d time.Duration) abi.Code
	StopTimer(token int32)
	Peer() string
	Number() uint64
	Local() string
	Transport() string
	TLSInfo(key int32) string
	WebSocketInfo(key int32) string
	Consumed(p []byte, used int)
	Offer()
	Over() bool
	Spend(fuel, cpu int64)
}

// A handle is a positive number: 20 bits say which slot, counted from 1, and
// 11 bits which of the connections that sat there in turn. Slots are reused
// first in, first out, so that a stale handle is found out for as long as
// possible.
const (
	slotBits       = 20
	slotMask       = 1<<slotBits - 1
	generationMask = 1<<11 - 1
)

type slot struct {
	conn      conn // nil when free
	next      int32
	gen       uint16
	announced bool // the guest has heard of it
	// wantsWindow says that it waits to be offered the window.
	wantsWindow bool
}

// handles is the table of the connections of one instance.
type handles struct {
	slots       []slot
	first, last int32 // the free slots, counted from 1; 0 is none
}

// add takes a connection in; it returns 0 when the table is full.
func (h *handles) add(c conn) int32 {
	n := h.first
	if n == 0 {
		if len(h.slots) == slotMask {
			return 0
		}
		h.slots = append(h.slots, slot{})
		n = int32(len(h.slots))
	} else {
		h.first = h.slots[n-1].next
		if h.first == 0 {
			h.last = 0
		}
	}
	s := &h.slots[n-1]
	s.conn, s.announced, s.wantsWindow, s.next = c, false, false, 0
	return int32(s.gen)<<slotBits | n
}

// get returns the slot of a handle, or nil when it is not, or no longer, one.
func (h *handles) get(handle int32) *slot {
	n := uint32(handle&slotMask) - 1
	if n >= uint32(len(h.slots)) {
		return nil
	}
	s := &h.slots[n]
	if s.conn == nil || handle>>slotBits != int32(s.gen) {
		return nil
	}
	return s
}

// whom is whom a log line is about in an event of c, which may be nil: c, or the client of an
// instance that serves one connection, and may have dialled others for it.
func (h *handles) whom(c conn, one bool) conn {
	if one && len(h.slots) > 0 && h.slots[0].conn != nil {
		return h.slots[0].conn
	}
	return c
}

// remove makes a handle stale.
func (h *handles) remove(handle int32) {
	s := h.get(handle)
	if s == nil {
		return
	}
	n := handle & slotMask
	s.conn = nil
	s.gen = (s.gen + 1) & generationMask
	if h.last == 0 {
		h.first = n
	} else {
		h.slots[h.last-1].next = n
	}
	h.last = n
}
