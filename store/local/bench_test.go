package local

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"bulkhead/abi"
	"bulkhead/store"
	"bulkhead/store/storetest"

	"go.etcd.io/bbolt"
)

// BenchmarkPut writes 100 bytes, so many at a time, until they are on the disk; beside it bbolt by
// itself, with as many in each transaction.
func BenchmarkPut(b *testing.B) {
	value := make([]byte, 100)
	for _, at := range []int{1, 64, 512} {
		b.Run(fmt.Sprint("store/", at), func(b *testing.B) {
			f := open(b, NewFiles(1), filepath.Join(b.TempDir(), "acme"), wall, &storetest.Budget{})
			s := f.Store("x", StoreOptions{})
			places := make(chan struct{}, at)
			var all sync.WaitGroup
			for n := range b.N {
				places <- struct{}{}
				all.Add(1)
				s.Do(&store.Request{Op: store.Set, Key: fmt.Appendf(nil, "key %09d", n*7919%1e6), Value: value, Expect: store.Any, Done: func(_ *store.Request, res store.Result) {
					if res.Code != abi.OK {
						b.Error(res.Code)
					}
					<-places
					all.Done()
				}})
			}
			all.Wait()
		})
		b.Run(fmt.Sprint("bbolt/", at), func(b *testing.B) {
			db, err := bbolt.Open(filepath.Join(b.TempDir(), "bare"), 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			for n := 0; n < b.N; n += at {
				err := db.Update(func(tx *bbolt.Tx) error {
					bucket, err := tx.CreateBucketIfNotExists([]byte("x"))
					for i := n; i < min(n+at, b.N) && err == nil; i++ {
						err = bucket.Put(fmt.Appendf(nil, "key %09d", i*7919%1e6), value)
					}
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
