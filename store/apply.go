package store

import (
	"encoding/binary"
	"math"
	"time"

	"bulkhead/abi"
)

// Entry is what a key has.
type Entry struct {
	Revision int64
	// Expires is when it is not there any more, in nanoseconds since 1970; 0: never.
	Expires int64
	Value   []byte
}

// Overhead is how many bytes of a budget an entry takes beside its key and its value.
const Overhead = 64

// Size is how many bytes of a budget an entry takes.
func Size(key, value []byte) int { return len(key) + len(value) + Overhead }

// Table is a store's entries, to Apply. Slices that it gives are good until it is changed; it keeps
// none that it is given.
type Table interface {
	// Find returns an entry, also one that has expired.
	Find(key []byte) (Entry, bool)
	// Put puts an entry in the place of old, if there was one. Remove takes old out.
	Put(key []byte, e Entry, old Entry, was bool) error
	Remove(key []byte, old Entry) error
	// Range calls each for the entries from a key on, in their order, until it reports false.
	Range(from []byte, each func(key []byte, e Entry) bool)
	// NextRevision is greater than all before it.
	NextRevision() (int64, error)
	// Reserve takes n bytes of the store's budgets, or reports false; Release gives n back.
	Reserve(n int) bool
	Release(n int)
	// Sweep takes out up to most entries that have expired, and reports whether there were any.
	Sweep(now int64, most int) bool
}

// sweepAtOnce is how many entries that have expired one write may have to take out to make room.
const sweepAtOnce = 64

// Apply does what a request says. now is the time in nanoseconds since 1970, and ttl is how long
// entries live of which the request says nothing; zero: for ever. The error is the table's: whether
// it has changed is not known then.
func Apply(t Table, r *Request, now int64, ttl time.Duration) (Result, error) {
	switch r.Op {
	case Get:
		e, ok := find(t, r.Key, now)
		if !ok {
			return Result{Code: abi.NotFound}, nil
		}
		return r.answer(e.Revision, e.Value), nil
	case Set:
		return set(t, r, now, ttl)
	case Delete:
		return remove(t, r, now)
	case Add:
		return add(t, r, now, ttl)
	case Scan:
		return scan(t, r, now), nil
	}
	return Result{Code: abi.Unsupported}, nil
}

// find is the entry, if it has not expired.
func find(t Table, key []byte, now int64) (Entry, bool) {
	e, ok := t.Find(key)
	return e, ok && !e.over(now)
}

func (e *Entry) over(now int64) bool { return e.Expires != 0 && e.Expires <= now }

// answer is a result with a copy of a value, if there is room for it.
func (r *Request) answer(revision int64, value []byte) Result {
	if !r.charge(len(value)) {
		return Result{Code: abi.Quota}
	}
	return Result{Revision: revision, Value: append([]byte(nil), value...)}
}

func (r *Request) charge(n int) bool {
	if n > r.Room || r.Memory != nil && !r.Memory.Reserve(n) {
		return false
	}
	if r.Memory != nil {
		r.Charged += n
	}
	return true
}

// expected reports whether the entry is what the request expects. If not, it says why.
func expected(r *Request, e Entry, is bool) (abi.Code, bool) {
	switch {
	case r.Expect < 0, !is && r.Expect == New, is && r.Expect == e.Revision && r.Expect != New:
		return abi.OK, true
	case !is:
		return abi.NotFound, false
	}
	return abi.Conflict, false
}

// until is when an entry expires that is written now.
func until(now int64, ttl, deflt time.Duration) int64 {
	if ttl <= 0 {
		ttl = deflt
	}
	switch {
	case ttl <= 0:
		return 0
	case int64(ttl) > math.MaxInt64-now:
		return 0
	}
	return now + int64(ttl)
}

func set(t Table, r *Request, now int64, ttl time.Duration) (Result, error) {
	old, was := t.Find(r.Key)
	if code, ok := expected(r, old, was && !old.over(now)); !ok {
		return Result{Code: code}, nil
	}
	return put(t, r.Key, Entry{Expires: until(now, r.TTL, ttl), Value: r.Value}, old, was, now)
}

// put writes an entry with a new revision, if there is room for it.
func put(t Table, key []byte, e, old Entry, was bool, now int64) (Result, error) {
	more := Size(key, e.Value)
	if was {
		more -= Size(key, old.Value)
	}
	for more > 0 && !t.Reserve(more) {
		// Those that have expired and are still there make room.
		if !t.Sweep(now, sweepAtOnce) {
			return Result{Code: abi.Quota}, nil
		}
		if old, was = t.Find(key); !was {
			more = Size(key, e.Value)
		}
	}
	revision, err := t.NextRevision()
	if err != nil {
		return Result{}, err
	}
	e.Revision = revision
	if err := t.Put(key, e, old, was); err != nil {
		return Result{}, err
	}
	if more < 0 {
		t.Release(-more)
	}
	return Result{Revision: revision}, nil
}

func remove(t Table, r *Request, now int64) (Result, error) {
	old, was := t.Find(r.Key)
	if !was || old.over(now) {
		return Result{Code: abi.NotFound}, nil
	}
	if code, ok := expected(r, old, true); !ok {
		return Result{Code: code}, nil
	}
	size, revision := Size(r.Key, old.Value), old.Revision
	if err := t.Remove(r.Key, old); err != nil {
		return Result{}, err
	}
	t.Release(size)
	return Result{Revision: revision}, nil
}

func add(t Table, r *Request, now int64, ttl time.Duration) (Result, error) {
	old, was := t.Find(r.Key)
	e := Entry{Expires: until(now, r.TTL, ttl)}
	var sum int64
	if was && !old.over(now) {
		if len(old.Value) != 8 {
			return Result{Code: abi.Conflict}, nil
		}
		sum, e.Expires = int64(binary.LittleEndian.Uint64(old.Value)), old.Expires
	}
	sum += r.N // and may go round
	e.Value = binary.LittleEndian.AppendUint64(nil, uint64(sum))
	if !r.charge(len(e.Value)) {
		return Result{Code: abi.Quota}, nil
	}
	res, err := put(t, r.Key, e, old, was, now)
	if err == nil && res.Code == abi.OK {
		res.Value = e.Value
	}
	return res, err
}

// entryHead is what stands before a key and its value in the result of Scan: their lengths and the
// revision.
const entryHead = 16

func scan(t Table, r *Request, now int64) Result {
	res := Result{}
	var entries []Entry
	var keys [][]byte
	bytes := 0
	from := r.Key
	if string(r.Value) > string(from) {
		from = r.Value
	}
	full := false
	t.Range(from, func(key []byte, e Entry) bool {
		switch {
		case len(key) < len(r.Key) || string(key[:len(r.Key)]) != string(r.Key):
			return false
		case len(r.Value) > 0 && string(key) <= string(r.Value), e.over(now):
			return true
		}
		size := entryHead + len(key) + len(e.Value)
		if len(keys) == r.Limit || bytes+size > r.Room {
			full = true
			return false
		}
		keys, entries, bytes = append(keys, key), append(entries, e), bytes+size
		return true
	})
	if full {
		res.Revision = 1
		if len(keys) == 0 { // one that never will fit
			return Result{Code: abi.Quota}
		}
	}
	if !r.charge(bytes) {
		return Result{Code: abi.Quota}
	}
	res.Keys = len(keys)
	res.Value = make([]byte, 0, bytes)
	for i, key := range keys {
		res.Value = binary.LittleEndian.AppendUint32(res.Value, uint32(len(key)))
		res.Value = binary.LittleEndian.AppendUint32(res.Value, uint32(len(entries[i].Value)))
		res.Value = binary.LittleEndian.AppendUint64(res.Value, uint64(entries[i].Revision))
		res.Value = append(append(res.Value, key...), entries[i].Value...)
	}
	return res
}

// Entries goes through the value of a result of Scan. It reports false if that is none.
func Entries(list []byte, each func(key []byte, e Entry)) bool {
	for len(list) > 0 {
		if len(list) < entryHead {
			return false
		}
		k, v := uint64(binary.LittleEndian.Uint32(list)), uint64(binary.LittleEndian.Uint32(list[4:]))
		e := Entry{Revision: int64(binary.LittleEndian.Uint64(list[8:]))}
		if list = list[entryHead:]; k+v > uint64(len(list)) {
			return false
		}
		e.Value = list[k : k+v]
		each(list[:k], e)
		list = list[k+v:]
	}
	return true
}
