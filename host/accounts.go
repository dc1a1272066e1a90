package host

import (
	"bulkhead/csa"
	"bulkhead/host/budget"
)

// mappingAccount is a tenant's share of the mappings, as plugins have it.
type mappingAccount struct{ share *budget.PoolShare }

// ReserveMappings takes n, or reports false and takes none.
func (a mappingAccount) ReserveMappings(n int) bool { return a.share.Reserve(n) }

// ReleaseMappings gives n back.
func (a mappingAccount) ReleaseMappings(n int) { a.share.Release(n) }

// pipeAccount is a tenant's share of the pipes, as csa has it.
type pipeAccount struct{ share *budget.PoolShare }

var _ csa.PipeShare = pipeAccount{}

// TakePipe takes one, or reports false.
func (a pipeAccount) TakePipe() bool { return a.share.Reserve(1) }

// ReturnPipe gives one back.
func (a pipeAccount) ReturnPipe() { a.share.Release(1) }
