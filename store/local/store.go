package local

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"sync/atomic"
	"time"

	"bulkhead/store"

	"go.etcd.io/bbolt"
)

// StoreOptions say how a store is. They may be set anew.
type StoreOptions struct {
	// TTL is how long keys live of which a request says nothing; zero: for ever.
	TTL time.Duration
	// Budget is charged beside the file's. Nil: only that is.
	Budget store.Budget
}

// Store is one of a file's stores.
type Store struct {
	file    *File
	name    string
	options atomic.Pointer[StoreOptions]
	size    atomic.Int64 // bytes that the budgets are charged with
}

var _ store.Store = (*Store)(nil)

// Store is the file's store of that name, which need not have anything yet.
func (f *File) Store(name string, o StoreOptions) *Store {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.storeLocked(name)
	old := s.options.Swap(&o)
	n := int(s.size.Load())
	if old.Budget != nil {
		old.Budget.Hold(-n)
	}
	if o.Budget != nil {
		o.Budget.Hold(n)
	}
	return s
}

func (f *File) storeLocked(name string) *Store {
	s := f.stores[name]
	if s == nil {
		s = &Store{file: f, name: name}
		s.options.Store(&StoreOptions{})
		f.stores[name] = s
	}
	return s
}

// Do begins an operation: see store.Store.
func (s *Store) Do(r *store.Request) { s.file.do(task{s, r}) }

// Size is how many bytes of the budgets it takes, as far as that is known: nothing of a file that
// was not opened yet.
func (s *Store) Size() int { return int(s.size.Load()) }

func (s *Store) ttl() time.Duration { return s.options.Load().TTL }

// hold charges the budgets with n bytes more, which may be below 0.
func (s *Store) hold(n int) {
	s.size.Add(int64(n))
	s.file.options.Budget.Hold(n)
	if b := s.options.Load().Budget; b != nil {
		b.Hold(n)
	}
}

// A store is a bucket, with these in it.
var (
	entriesKey  = []byte("entries")  // a bucket: a key -> crc, revision, expires, value
	expiringKey = []byte("expiring") // a bucket: when, key -> nothing
	sizeKey     = []byte("size")     // bytes, of the budgets
)

const (
	recordHead = 20
	sweepEach  = 4 // entries that have expired, which each write takes out
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sizeIn is what a store's bucket says of its size.
func sizeIn(b *bbolt.Bucket) int {
	if v := b.Get(sizeKey); len(v) == 8 {
		return int(binary.LittleEndian.Uint64(v))
	}
	return 0
}

// table is a store to package store, in a transaction.
type table struct {
	store             *Store
	tx                *bbolt.Tx
	entries, expiring *bbolt.Bucket // nil: there are none yet
	taken             int           // bytes of the budgets
}

func (s *Store) table(tx *bbolt.Tx) *table {
	t := &table{store: s, tx: tx}
	if b := tx.Bucket([]byte(s.name)); b != nil {
		t.entries, t.expiring = b.Bucket(entriesKey), b.Bucket(expiringKey)
	}
	return t
}

func (t *table) create() error {
	if t.entries != nil && t.expiring != nil {
		return nil
	}
	b, err := t.tx.CreateBucketIfNotExists([]byte(t.store.name))
	if err == nil {
		t.entries, err = b.CreateBucketIfNotExists(entriesKey)
	}
	if err == nil {
		t.expiring, err = b.CreateBucketIfNotExists(expiringKey)
	}
	return err
}

// save writes down how large the store is.
func (t *table) save() error {
	if t.taken == 0 {
		return nil
	}
	b := t.tx.Bucket([]byte(t.store.name))
	return b.Put(sizeKey, binary.LittleEndian.AppendUint64(nil, uint64(sizeIn(b)+t.taken)))
}

var errRecord = errors.New("a record has another checksum than its own")

func sum(key, rest []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, rest)
}

// entry reads a record.
func entry(key, record []byte) store.Entry {
	if len(record) < recordHead || binary.LittleEndian.Uint32(record) != sum(key, record[4:]) {
		panic(errRecord)
	}
	return store.Entry{
		Revision: int64(binary.LittleEndian.Uint64(record[4:])),
		Expires:  int64(binary.LittleEndian.Uint64(record[12:])),
		Value:    record[recordHead:],
	}
}

// Find reads an entry.
func (t *table) Find(key []byte) (e store.Entry, ok bool) {
	if t.entries == nil {
		return e, false
	}
	record := t.entries.Get(key)
	if record == nil {
		return e, false
	}
	return entry(key, record), true
}

func (t *table) Put(key []byte, e, old store.Entry, was bool) error {
	if err := t.create(); err != nil {
		return err
	}
	if was && old.Expires != 0 {
		if err := t.expiring.Delete(due(old.Expires, key)); err != nil {
			return err
		}
	}
	record := make([]byte, recordHead, recordHead+len(e.Value))
	binary.LittleEndian.PutUint64(record[4:], uint64(e.Revision))
	binary.LittleEndian.PutUint64(record[12:], uint64(e.Expires))
	record = append(record, e.Value...)
	binary.LittleEndian.PutUint32(record, sum(key, record[4:]))
	if err := t.entries.Put(key, record); err != nil {
		return err
	}
	if e.Expires == 0 {
		return nil
	}
	return t.expiring.Put(due(e.Expires, key), nil)
}

func (t *table) Remove(key []byte, old store.Entry) error {
	if old.Expires != 0 {
		if err := t.expiring.Delete(due(old.Expires, key)); err != nil {
			return err
		}
	}
	return t.entries.Delete(key)
}

func due(at int64, key []byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(at)), key...)
}

func (t *table) Range(from []byte, each func([]byte, store.Entry) bool) {
	if t.entries == nil {
		return
	}
	c := t.entries.Cursor()
	for k, v := c.Seek(from); k != nil && each(k, entry(k, v)); k, v = c.Next() {
	}
}

func (t *table) NextRevision() (int64, error) {
	if err := t.create(); err != nil {
		return 0, err
	}
	n, err := t.entries.NextSequence()
	return int64(n), err
}

func (t *table) Reserve(n int) bool {
	file, own := t.store.file.options.Budget, t.store.options.Load().Budget
	if !file.Reserve(n) {
		return false
	}
	if own != nil && !own.Reserve(n) {
		file.Release(n)
		return false
	}
	t.store.size.Add(int64(n))
	t.taken += n
	return true
}

func (t *table) Release(n int) {
	t.store.hold(-n)
	t.taken -= n
}

func (t *table) Sweep(now int64, most int) (any bool) {
	if t.expiring == nil {
		return false
	}
	for range most {
		k, _ := t.expiring.Cursor().First()
		if len(k) < 8 || int64(binary.BigEndian.Uint64(k)) > now {
			break
		}
		key := append([]byte(nil), k[8:]...)
		e, ok := t.Find(key)
		if !ok {
			panic(errRecord)
		}
		size := store.Size(key, e.Value)
		if err := t.Remove(key, e); err != nil {
			panic(err)
		}
		t.Release(size)
		any = true
	}
	return any
}
