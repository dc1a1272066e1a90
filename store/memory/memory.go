// Package memory keeps keys and values in memory: what may be lost when the process ends.
package memory

import (
	"encoding/binary"
	"sync"
	"time"

	"bulkhead/abi"
	"bulkhead/store"

	"github.com/tidwall/btree"
)

// Options say how a store is.
type Options struct {
	// Now is the time of day, in nanoseconds since 1970.
	Now func() int64
	// TTL is how long keys live of which a request says nothing; zero: for ever.
	TTL time.Duration
	// Budgets are what the entries are charged to, all of them.
	Budgets []store.Budget
}

// Store is a store.Store in memory. An operation is done when Do returns.
type Store struct {
	mu       sync.Mutex
	options  Options
	entries  btree.Map[string, store.Entry]
	expiring btree.Map[string, struct{}] // the time, then the key
	revision int64
	held     int
	closed   bool
}

// New makes a store that has nothing.
func New(o Options) *Store { return &Store{options: o} }

// SetTTL changes Options.TTL for what is written from now on.
func (s *Store) SetTTL(ttl time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options.TTL = ttl
}

// sweepEach is how many entries that have expired each write takes out.
const sweepEach = 4

// Do does it.
func (s *Store) Do(r *store.Request) {
	s.mu.Lock()
	now := s.options.Now()
	res := store.Result{Code: abi.Unreachable}
	if !s.closed {
		if r.Writes() {
			(*table)(s).Sweep(now, sweepEach)
		}
		res, _ = store.Apply((*table)(s), r, now, s.options.TTL) // which has no errors
	}
	s.mu.Unlock()
	r.Done(r, res)
}

// Size is how many bytes of the budgets it takes, and Keys how many keys it has, those included
// that have expired and are still there.
func (s *Store) Size() (bytes, keys int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held, s.entries.Len()
}

// Close forgets everything. What is asked of it from then on is UNREACHABLE.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	(*table)(s).Release(s.held)
	s.closed = true
	s.entries.Clear()
	s.expiring.Clear()
}

// table is a store to package store, under the lock.
type table Store

func (t *table) Find(key []byte) (store.Entry, bool) { return t.entries.Get(string(key)) }

func (t *table) Put(key []byte, e, old store.Entry, was bool) error {
	if was {
		t.forget(key, old)
	}
	k := string(key)
	e.Value = append([]byte(nil), e.Value...)
	t.entries.Set(k, e)
	if e.Expires != 0 {
		t.expiring.Set(due(e.Expires, k), struct{}{})
	}
	return nil
}

func (t *table) Remove(key []byte, old store.Entry) error {
	t.forget(key, old)
	t.entries.Delete(string(key))
	return nil
}

func (t *table) forget(key []byte, old store.Entry) {
	if old.Expires != 0 {
		t.expiring.Delete(due(old.Expires, string(key)))
	}
}

func due(at int64, key string) string {
	return string(binary.BigEndian.AppendUint64(nil, uint64(at))) + key
}

func (t *table) Range(from []byte, each func([]byte, store.Entry) bool) {
	t.entries.Ascend(string(from), func(k string, e store.Entry) bool { return each([]byte(k), e) })
}

func (t *table) NextRevision() (int64, error) { t.revision++; return t.revision, nil }

func (t *table) Reserve(n int) bool {
	for i, b := range t.options.Budgets {
		if !b.Reserve(n) {
			for _, b := range t.options.Budgets[:i] {
				b.Release(n)
			}
			return false
		}
	}
	t.held += n
	return true
}

func (t *table) Release(n int) {
	for _, b := range t.options.Budgets {
		b.Release(n)
	}
	t.held -= n
}

func (t *table) Sweep(now int64, most int) (any bool) {
	for range most {
		k, _, ok := t.expiring.Min()
		if !ok || int64(binary.BigEndian.Uint64([]byte(k[:8]))) > now {
			break
		}
		key := []byte(k[8:])
		e, _ := t.Find(key)
		_ = t.Remove(key, e)
		t.Release(store.Size(key, e.Value))
		any = true
	}
	return any
}
