// Package storetest tests stores: whatever keeps the bytes, the operations do the same.
package storetest

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/store"
)

// Clock is a time of day that stands still until it is moved. The zero value is 1970.
type Clock struct{ now atomic.Int64 }

// Now is the time, in nanoseconds.
func (c *Clock) Now() int64 { return c.now.Load() }

// Advance moves it.
func (c *Clock) Advance(d time.Duration) { c.now.Add(int64(d)) }

// Budget is a store.Budget.
type Budget struct {
	// Limit is how much there is; zero is no bound.
	Limit int64
	used  atomic.Int64
}

// Reserve takes n bytes, if they are there.
func (b *Budget) Reserve(n int) bool {
	if b.used.Add(int64(n)) > b.Limit && b.Limit > 0 {
		b.used.Add(-int64(n))
		return false
	}
	return true
}

// Release gives n bytes back.
func (b *Budget) Release(n int) { b.used.Add(-int64(n)) }

// Hold takes n bytes in any case.
func (b *Budget) Hold(n int) { b.used.Add(int64(n)) }

// Used is how much is taken.
func (b *Budget) Used() int { return int(b.used.Load()) }

// Options say how the store has to be that a test wants.
type Options struct {
	Clock *Clock
	TTL   time.Duration
	// Budget is all that it may take.
	Budget *Budget
}

// Do does an operation, and waits for its result.
func Do(s store.Store, r store.Request) store.Result {
	if r.Room == 0 {
		r.Room = 1 << 20
	}
	if r.Limit == 0 {
		r.Limit = 1 << 20
	}
	done := make(chan store.Result, 1)
	r.Done = func(r *store.Request, res store.Result) { r.Uncharge(); done <- res }
	s.Do(&r)
	return <-done
}

// Set writes a key, whatever it was, and answers its revision.
func Set(t testing.TB, s store.Store, key, value string) int64 {
	t.Helper()
	res := Do(s, store.Request{Op: store.Set, Key: []byte(key), Value: []byte(value), Expect: store.Any})
	if res.Code != abi.OK || res.Revision <= 0 {
		t.Errorf("setting %.20q: %v, revision %d", key, res.Code, res.Revision)
	}
	return res.Revision
}

// Get reads a key as "value at 3", or the code.
func Get(s store.Store, key string) string {
	return said(Do(s, store.Request{Op: store.Get, Key: []byte(key)}))
}

func said(res store.Result) string {
	if res.Code != abi.OK {
		return res.Code.String()
	}
	return fmt.Sprintf("%s at %d", res.Value, res.Revision)
}

type suite struct {
	*testing.T
	store.Store
	clock  *Clock
	budget *Budget
}

// Run tests the stores that open makes. open closes what it has made at the test's end.
func Run(t *testing.T, open func(t *testing.T, o Options) store.Store) {
	for _, c := range []struct {
		name  string
		ttl   time.Duration
		limit int64
		test  func(*suite)
	}{
		{"values", 0, 0, (*suite).values},
		{"revisions", 0, 0, (*suite).revisions},
		{"sums", 0, 0, (*suite).sums},
		{"expiry", 0, 0, (*suite).expiry},
		{"expiry by default", time.Minute, 0, (*suite).expiryByDefault},
		{"pages", 0, 0, (*suite).pages},
		{"room", 0, 0, (*suite).room},
		{"budget", 0, 1000, (*suite).budgets},
		{"what has expired makes room", 0, 1000, (*suite).expiredMakesRoom},
		{"call order", 0, 0, (*suite).callOrder},
		{"many at once", 0, 0, (*suite).atOnce},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := Options{Clock: new(Clock), TTL: c.ttl, Budget: &Budget{Limit: c.limit}}
			o.Clock.Advance(time.Hour)
			c.test(&suite{t, open(t, o), o.Clock, o.Budget})
		})
	}
}

func (s *suite) want(what, got, want string) {
	s.Helper()
	if got != want {
		s.Errorf("%s: %q, want %q", what, got, want)
	}
}

func (s *suite) values() {
	s.want("a key that is not there", Get(s, "a"), "NOT_FOUND")
	all := string(make([]byte, 256)) // zeros are as good as any
	for _, kv := range [][2]string{{"a", "value"}, {"b", ""}, {all, strings.Repeat("\xff", 65536)}, {"\xff\x00", "x"}} {
		r := Set(s.T, s, kv[0], kv[1])
		s.want("a key", Get(s, kv[0]), fmt.Sprintf("%s at %d", kv[1], r))
	}
	r := Set(s.T, s, "a", "another")
	s.want("a key that was written twice", Get(s, "a"), fmt.Sprintf("another at %d", r))
	used := s.budget.Used()
	s.want("delete", said(Do(s, store.Request{Op: store.Delete, Key: []byte("a"), Expect: store.Any})), fmt.Sprintf(" at %d", r))
	s.want("a key that is deleted", Get(s, "a"), "NOT_FOUND")
	s.want("another", Get(s, "b"), fmt.Sprintf(" at %d", r-3))
	s.want("delete again", said(Do(s, store.Request{Op: store.Delete, Key: []byte("a"), Expect: store.Any})), "NOT_FOUND")
	if n := used - s.budget.Used(); n != 1+7+store.Overhead {
		s.Errorf("it has given %d bytes back", n)
	}
	s.want("an operation that does not exist", said(Do(s, store.Request{Op: 99, Key: []byte("a")})), "UNSUPPORTED")
}

func (s *suite) revisions() {
	set := func(expect int64) string {
		return said(Do(s, store.Request{Op: store.Set, Key: []byte("k"), Value: []byte("v"), Expect: expect}))
	}
	remove := func(expect int64) string {
		return said(Do(s, store.Request{Op: store.Delete, Key: []byte("k"), Expect: expect}))
	}
	s.want("a revision of no key", set(7), "NOT_FOUND")
	first := Do(s, store.Request{Op: store.Set, Key: []byte("k"), Value: []byte("v"), Expect: store.New}).Revision
	s.want("a key that is there", set(store.New), "CONFLICT")
	s.want("another revision", set(first+1), "CONFLICT")
	other := Set(s.T, s, "other", "")
	if other <= first {
		s.Errorf("revision %d after %d", other, first)
	}
	res := Do(s, store.Request{Op: store.Set, Key: []byte("k"), Value: []byte("w"), Expect: first})
	if res.Code != abi.OK || res.Revision <= other {
		s.Errorf("the right revision: %v, %d after %d", res.Code, res.Revision, other)
	}
	s.want("deleting another revision", remove(first), "CONFLICT")
	s.want("deleting a new key", remove(store.New), "CONFLICT")
	s.want("deleting it", remove(res.Revision), fmt.Sprintf(" at %d", res.Revision))
	s.want("deleting what is not there", remove(res.Revision), "NOT_FOUND")
	again := Do(s, store.Request{Op: store.Set, Key: []byte("k"), Expect: store.New})
	if again.Revision <= res.Revision {
		s.Errorf("the key is made again with revision %d, after %d", again.Revision, res.Revision)
	}
}

func (s *suite) sums() {
	add := func(key string, n int64) (int64, abi.Code) {
		res := Do(s, store.Request{Op: store.Add, Key: []byte(key), N: n})
		if res.Code != abi.OK {
			return 0, res.Code
		}
		return int64(binary.LittleEndian.Uint64(res.Value)), res.Code
	}
	for _, c := range []struct {
		n, want int64
	}{{5, 5}, {-7, -2}, {0, -2}, {math.MaxInt64, math.MaxInt64 - 2}, {3, math.MinInt64}} {
		if sum, code := add("n", c.n); sum != c.want || code != abi.OK {
			s.Errorf("adding %d: %d, %v; want %d", c.n, sum, code, c.want)
		}
	}
	Set(s.T, s, "text", "seven b")
	if _, code := add("text", 1); code != abi.Conflict {
		s.Errorf("adding to a text: %v", code)
	}
	Set(s.T, s, "eight", "\x01\x00\x00\x00\x00\x00\x00\x00")
	if sum, code := add("eight", 1); sum != 2 || code != abi.OK {
		s.Errorf("adding to 8 bytes: %d, %v", sum, code)
	}
}

func (s *suite) expiry() {
	put := func(key string, ttl time.Duration) store.Result {
		return Do(s, store.Request{Op: store.Set, Key: []byte(key), Value: []byte("v"), Expect: store.Any, TTL: ttl})
	}
	put("a", time.Second)
	put("b", 2*time.Second)
	put("c", 0)
	last := put("d", math.MaxInt64)
	s.clock.Advance(time.Second - 1)
	s.want("just before", Get(s, "a"), fmt.Sprintf("v at %d", last.Revision-3))
	s.clock.Advance(1)
	s.want("in time", Get(s, "a"), "NOT_FOUND")
	s.want("later", Get(s, "b"), fmt.Sprintf("v at %d", last.Revision-2))
	s.want("deleting what has expired", said(Do(s, store.Request{Op: store.Delete, Key: []byte("a"), Expect: store.Any})), "NOT_FOUND")
	res := Do(s, store.Request{Op: store.Set, Key: []byte("a"), Value: []byte("w"), Expect: store.New})
	if res.Code != abi.OK || res.Revision <= last.Revision {
		s.Errorf("making it again: %v, revision %d", res.Code, res.Revision)
	}
	put("b", 0) // for ever now
	add := func(ttl time.Duration) { Do(s, store.Request{Op: store.Add, Key: []byte("n"), N: 1, TTL: ttl}) }
	add(3 * time.Second)
	s.clock.Advance(2 * time.Second)
	add(time.Hour) // the first said when
	s.clock.Advance(time.Second)
	s.want("a sum", Get(s, "n"), "NOT_FOUND")
	add(0)
	s.clock.Advance(24 * 365 * time.Hour)
	for _, key := range []string{"a", "b", "c", "d", "n"} {
		if got := Get(s, key); got == "NOT_FOUND" {
			s.Errorf("%s has expired", key)
		}
	}
}

func (s *suite) expiryByDefault() {
	Set(s.T, s, "a", "v")
	Do(s, store.Request{Op: store.Set, Key: []byte("b"), Expect: store.Any, TTL: time.Hour})
	Do(s, store.Request{Op: store.Add, Key: []byte("n"), N: 1})
	s.clock.Advance(time.Minute)
	s.want("a key", Get(s, "a"), "NOT_FOUND")
	s.want("a sum", Get(s, "n"), "NOT_FOUND")
	s.want("with a time of its own", Get(s, "b"), " at 2")
	full := s.budget.Used()
	for range 3 { // a write takes out what has expired
		Do(s, store.Request{Op: store.Delete, Key: []byte("none"), Expect: store.Any})
	}
	if used := s.budget.Used(); used != 1+store.Overhead {
		s.Errorf("it takes %d bytes, after %d", used, full)
	}
}

// list reads all keys with a prefix, page by page.
func (s *suite) list(prefix string, limit, room int) (keys []string, pages int) {
	s.Helper()
	last := []byte(nil)
	for {
		res := Do(s, store.Request{Op: store.Scan, Key: []byte(prefix), Value: last, Limit: limit, Room: room})
		pages++
		n := 0
		if res.Code != abi.OK || !store.Entries(res.Value, func(key []byte, e store.Entry) {
			if string(e.Value) != "value of "+string(key) || e.Revision == 0 {
				s.Errorf("%q has %q at %d", key, e.Value, e.Revision)
			}
			keys, last = append(keys, string(key)), append([]byte(nil), key...)
			n++
		}) || n != res.Keys || n > limit || len(res.Value) > room {
			s.Fatalf("a page: %v, %d keys of %d, %d bytes", res.Code, n, res.Keys, len(res.Value))
		}
		if res.Revision == 0 {
			return keys, pages
		}
	}
}

func (s *suite) pages() {
	var want []string
	for i := range 25 {
		want = append(want, fmt.Sprintf("k%03d", i*7%25))
	}
	for _, key := range append(want, "j", "l", "k", "\xff\xff") {
		Set(s.T, s, key, "value of "+key)
	}
	Do(s, store.Request{Op: store.Set, Key: []byte("k0001"), Expect: store.Any, TTL: 1})
	s.clock.Advance(time.Second)
	slices.Sort(want)
	all := append([]string{"k"}, want...)
	for _, c := range []struct{ limit, room, pages int }{{100, 1 << 20, 1}, {1, 1 << 20, 26}, {10, 1 << 20, 3}, {100, 100, 9}, {26, 1 << 20, 1}} {
		if got, pages := s.list("k", c.limit, c.room); !slices.Equal(got, all) || pages != c.pages {
			s.Errorf("%d keys and %d bytes a page: %q on %d pages", c.limit, c.room, got, pages)
		}
	}
	if got, _ := s.list("", 100, 1<<20); len(got) != len(all)+3 || got[0] != "j" || got[len(got)-1] != "\xff\xff" {
		s.Errorf("all: %q", got)
	}
	if got, _ := s.list("\xff", 100, 1<<20); len(got) != 1 {
		s.Errorf("the last: %q", got)
	}
	if got, _ := s.list("none", 100, 1<<20); got != nil {
		s.Errorf("none: %q", got)
	}
	if res := Do(s, store.Request{Op: store.Scan, Room: 10, Limit: 1}); res.Code != abi.Quota {
		s.Errorf("a page without room for one: %v", res.Code)
	}
	if res := Do(s, store.Request{Op: store.Scan, Key: []byte("k"), Value: []byte("a"), Room: 100, Limit: 1}); res.Keys != 1 {
		s.Errorf("behind a key that is before the prefix: %d keys", res.Keys)
	}
}

// What is charged for a result is given back by who has it.
func (s *suite) room() {
	Set(s.T, s, "a", "value")
	memory := &Budget{Limit: 5}
	r := store.Request{Op: store.Get, Key: []byte("a"), Room: 5, Memory: memory}
	charged := make(chan int, 1)
	r.Done = func(r *store.Request, _ store.Result) { charged <- r.Charged }
	s.Do(&r)
	if n := <-charged; n != 5 || memory.Used() != 5 {
		s.Errorf("%d bytes are charged, %d are taken", n, memory.Used())
	}
	s.want("no memory", said(Do(s, store.Request{Op: store.Get, Key: []byte("a"), Memory: memory})), "QUOTA")
	s.want("no memory for a sum", said(Do(s, store.Request{Op: store.Add, Key: []byte("n"), N: 1, Memory: memory})), "QUOTA")
	s.want("no memory for a page", said(Do(s, store.Request{Op: store.Scan, Memory: memory})), "QUOTA")
	r.Uncharge()
	s.want("no room", said(Do(s, store.Request{Op: store.Get, Key: []byte("a"), Room: 4, Memory: memory})), "QUOTA")
	if memory.Used() != 0 {
		s.Errorf("%d bytes are left", memory.Used())
	}
	s.want("what was not added", Get(s, "n"), "NOT_FOUND")
}

func (s *suite) budgets() {
	value := strings.Repeat("x", 100-1-store.Overhead)
	for i := range 10 {
		Set(s.T, s, string(rune('0'+i)), value)
	}
	put := func(key, value string) string {
		res := Do(s, store.Request{Op: store.Set, Key: []byte(key), Value: []byte(value), Expect: store.Any})
		return res.Code.String()
	}
	s.want("one more", put("a", ""), "QUOTA")
	s.want("one sum more", said(Do(s, store.Request{Op: store.Add, Key: []byte("a"), N: 1})), "QUOTA")
	s.want("a byte more", put("0", value+"x"), "QUOTA")
	s.want("as much", put("0", value), "OK")
	s.want("less", put("0", ""), "OK")
	s.want("one more beside less", put("a", ""), "QUOTA")
	s.want("delete", said(Do(s, store.Request{Op: store.Delete, Key: []byte("1"), Expect: store.Any})), " at 2")
	s.want("in its place", put("a", value), "OK")
	if n := s.budget.Used(); n != 900+1+store.Overhead {
		s.Errorf("%d bytes are taken", n)
	}
}

func (s *suite) expiredMakesRoom() {
	value := []byte(strings.Repeat("x", 100-1-store.Overhead))
	for i := range 10 {
		Do(s, store.Request{Op: store.Set, Key: []byte{byte('0' + i)}, Value: value, Expect: store.Any, TTL: time.Second})
	}
	s.clock.Advance(time.Second)
	big := strings.Repeat("x", 1000-1-store.Overhead)
	s.want("all of it", fmt.Sprint(Set(s.T, s, "0", big)), "11")
	s.want("the only one", Get(s, "0"), big+" at 11")
	if n := s.budget.Used(); n != 1000 {
		s.Errorf("%d bytes are taken", n)
	}
}

// Operations of one order happen, and are done, in the order in which they were asked for.
func (s *suite) callOrder() {
	var order store.Order
	var mu sync.Mutex
	var got []string
	var all sync.WaitGroup
	const n = 300
	for i := range n {
		r := &store.Request{Op: store.Get, Key: []byte("k"), Room: 100, Order: &order}
		if i%3 == 0 {
			r.Op, r.Expect, r.Value = store.Set, store.Any, []byte(fmt.Sprint(i))
		}
		all.Add(1)
		r.Done = func(r *store.Request, res store.Result) {
			mu.Lock()
			defer mu.Unlock()
			if r.Op == store.Get {
				got = append(got, string(res.Value))
			} else {
				got = append(got, "set")
			}
			all.Done()
		}
		s.Do(r)
	}
	all.Wait()
	for i, g := range got {
		if want := fmt.Sprint(i / 3 * 3); i%3 > 0 && g != want || i%3 == 0 && g != "set" {
			s.Fatalf("operation %d: %q", i, g)
		}
	}
}

func (s *suite) atOnce() {
	var all sync.WaitGroup
	const workers, each = 8, 40
	revisions := make([][]int64, workers)
	for w := range workers {
		all.Go(func() {
			for i := range each {
				res := Do(s, store.Request{Op: store.Add, Key: []byte("n"), N: 1})
				revisions[w] = append(revisions[w], res.Revision)
				Set(s.T, s, fmt.Sprint(w, " ", i), "v")
			}
		})
	}
	all.Wait()
	res := Do(s, store.Request{Op: store.Get, Key: []byte("n")})
	if n := binary.LittleEndian.Uint64(res.Value); n != workers*each {
		s.Errorf("the sum is %d", n)
	}
	var flat []int64
	for _, own := range revisions {
		if !slices.IsSorted(own) {
			s.Error("revisions do not rise")
		}
		flat = append(flat, own...)
	}
	slices.Sort(flat)
	if len(slices.Compact(flat)) != workers*each {
		s.Error("a revision was given twice")
	}
}
