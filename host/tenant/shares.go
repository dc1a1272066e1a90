package tenant

import (
	"bulkhead/csa"
	"bulkhead/host/budget"
)

// mappings is a tenant's share of the mappings, as plugins have it.
type mappings struct{ share *budget.PoolShare }

// ReserveMappings takes n, or reports false and takes none.
func (m mappings) ReserveMappings(n int) bool { return m.share.Reserve(n) }

// ReleaseMappings gives n back.
func (m mappings) ReleaseMappings(n int) { m.share.Release(n) }

// pipes is a tenant's share of the pipes, as csa has it.
type pipes struct{ share *budget.PoolShare }

var _ csa.PipeShare = pipes{}

// TakePipe takes one, or reports false.
func (p pipes) TakePipe() bool { return p.share.Reserve(1) }

// ReturnPipe gives one back.
func (p pipes) ReturnPipe() { p.share.Release(1) }

// handshakePlaces is a tenant's share of the handshakes, as csa has it.
type handshakePlaces struct{ share *budget.PoolShare }

var _ csa.HandshakePlaces = handshakePlaces{}

// TakeHandshake takes a place, or reports false.
func (h handshakePlaces) TakeHandshake() bool { return h.share.Reserve(1) }

// ReturnHandshake gives one back.
func (h handshakePlaces) ReturnHandshake() { h.share.Release(1) }
