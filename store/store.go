// Package store is what handlers keep keys and values in: an interface, and what each operation
// does, whatever keeps the bytes. Package memory keeps them in memory, and package local in a file.
//
// A key has a revision. It is given one by each write, and the revisions of a store only rise:
// a later write to any key has a greater one. A key that has expired is not there any more.
package store

import (
	"sync/atomic"
	"time"

	"bulkhead/abi"
)

// Op is what to do.
type Op uint8

// The operations.
const (
	Get    Op = iota // Get reads the value of a key.
	Set              // Set writes it, if Expect is the key's revision.
	Delete           // Delete takes the key out, if Expect is its revision.
	Add              // Add adds N to the key's value, 8 bytes little-endian; of no key to 0.
	Scan             // Scan reads the keys with a prefix, in their order, as many as fit.
)

// Expect of a request: what its revision has to be before the key is written to.
const (
	Any = -1 // Any: it does not matter.
	New = 0  // New: there is no such key.
)

// Budget bounds bytes: those of one store, of all stores of a tenant, of a tenant's memory. Its
// methods may be called by any goroutine, and do not block.
type Budget interface {
	// Reserve takes n bytes, or reports false when they are not there. Release gives n back.
	Reserve(n int) bool
	Release(n int)
	// Hold takes n bytes, whether they are there or not.
	Hold(n int)
}

// Request is one operation. It belongs to the store until Done is called.
type Request struct {
	Op Op
	// Key is 1 to 256 bytes; of Scan it is the prefix, which may be empty.
	Key []byte
	// Value is what Set writes; of Scan it is the last key that the page before this one had, and
	// empty for the first. A key that is not behind the prefix in order is as good as none.
	Value []byte
	// Expect is what Set and Delete want the key's revision to be: Any, New, or a revision.
	Expect int64
	// N is what Add adds.
	N int64
	// TTL is how long Set and Add have the key live; zero is as long as the store says. Add
	// gives it to a key that it makes, and leaves that of others.
	TTL time.Duration
	// Limit is how many keys Scan returns at most, 1 and up.
	Limit int
	// Room is how many bytes of a result there is room for. A value that is longer is answered with
	// QUOTA.
	Room int
	// Order is what the request has in common with others that are to happen in the order in which
	// they were given to Do, and to be done in that order. Nil: there are none.
	Order *Order
	// Memory is what a result's bytes are charged to; Charged says how many when Done is called,
	// who has to release them. Nil: nobody is charged.
	Memory  Budget
	Charged int
	// Done is called once, by any goroutine, and perhaps before Do returns. It must not block.
	Done func(*Request, Result)
}

// Result is how an operation went.
type Result struct {
	// Code is abi.OK, or:
	//
	//	NOT_FOUND    Get, Delete: there is no such key. Set: there is none, and it should have been.
	//	CONFLICT     Set, Delete: the key has another revision. Add: its value is not 8 bytes.
	//	QUOTA        it does not fit: into a budget, the result's room, or the disk.
	//	UNREACHABLE  it was not done, since the store cannot be read or written.
	//	TIMEOUT      it may have been done or not.
	Code abi.Code
	// Revision is that of the key: which Get has read, or which Set and Add have given it. Of Scan
	// it is 1 where there are more keys, else 0.
	Revision int64
	// Value is what Get has read, or the sum that Add has made, as 8 bytes. Of Scan it is a list:
	// see Entries. It is the caller's.
	Value []byte
	// Keys is how many Scan has read.
	Keys int
}

// Store is a place for keys and values. Its methods may be called by any goroutine.
type Store interface {
	// Do begins an operation. It does not wait for a disk.
	Do(r *Request)
}

// Order puts operations in an order: see Request. The zero value is ready. It is the stores', which
// use what it has. Operations of two stores need two.
type Order struct {
	// Behind is how many of its operations wait for a write. It is the stores'.
	Behind atomic.Int64
}

func (r *Request) done(res Result) { r.Done(r, res) }

// Fail says that the operation was not done, or, with TIMEOUT, that nobody knows.
func (r *Request) Fail(code abi.Code) { r.done(Result{Code: code}) }

// Uncharge gives back what was charged to Memory. A store calls it before it does the operation
// anew; others call it when they have no use for the result's bytes any more.
func (r *Request) Uncharge() {
	if r.Memory != nil {
		r.Memory.Release(r.Charged)
	}
	r.Charged = 0
}

// Writes reports whether the operation changes anything.
func (r *Request) Writes() bool { return r.Op == Set || r.Op == Delete || r.Op == Add }
