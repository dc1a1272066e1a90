// Package recent keeps the last lines of the log in memory: those of each tenant, those of none,
// and those of all together; and the last errors. A tenant that says much has no place of the
// others.
package recent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// What is kept.
const (
	// MostBytes and MostLines are kept of a tenant's lines. Where there are many tenants, all of
	// them have mostOfAll bytes together, and each has leastBytes at least.
	MostBytes  = 64 << 10
	MostLines  = 1000
	mostOfAll  = 16 << 20
	leastBytes = 8 << 10
	// Of all lines together, and of those of no tenant.
	allBytes  = 256 << 10
	allLines  = 4 * MostLines
	hostBytes = MostBytes
	// Of a tenant's errors, and of those of no tenant.
	errorBytes = 16 << 10
	errorLines = 50
)

// Log has the lines. Any goroutine may use it, and several at once.
type Log struct {
	all  *ring
	host *owned // the lines of no tenant
	// tenants are those of the configuration in force, by name: replaced, never changed.
	tenants atomic.Pointer[map[string]*owned]
	setting sync.Mutex // held by SetTenants
}

// owned is what is kept of one tenant's.
type owned struct {
	lines, errors *ring
	newest        atomic.Int64 // when the last error came, in nanoseconds since 1970; 0: none has
}

func newOwned(bytes int) *owned {
	return &owned{lines: newRing(bytes, MostLines), errors: newRing(min(errorBytes, bytes), errorLines)}
}

// New makes one that has no lines and no tenants yet.
func New() *Log {
	l := &Log{all: newRing(allBytes, allLines), host: newOwned(hostBytes)}
	l.tenants.Store(new(map[string]*owned))
	return l
}

// SetTenants has it keep the lines of these tenants, and forget those of all others: what these log
// yet is among the lines of all alone. It is not for a loop.
func (l *Log) SetTenants(names []string) {
	l.setting.Lock()
	defer l.setting.Unlock()
	before := *l.tenants.Load()
	share := MostBytes
	for share > leastBytes && share*len(names) > mostOfAll {
		share /= 2
	}
	now := make(map[string]*owned, len(names))
	for _, name := range names {
		o := before[name]
		if o == nil {
			o = newOwned(share)
		} else {
			o.lines.limit(share)
			o.errors.limit(min(errorBytes, share))
		}
		now[name] = o
	}
	l.tenants.Store(&now)
}

// Add keeps a copy of a line of a tenant's, or of none's (""): one line of JSON with its line feed,
// as slog.JSONHandler writes it. From slog.LevelWarn on it is an error, too. It waits for nobody
// but those who copy lines, and takes memory until there is as much as there may be.
func (l *Log) Add(tenant string, level slog.Level, line []byte) {
	l.all.add(line)
	o := l.of(tenant)
	if o == nil {
		return
	}
	o.lines.add(line)
	if level >= slog.LevelWarn {
		o.newest.Store(time.Now().UnixNano())
		o.errors.add(line)
	}
}

// of is what is kept of a tenant's; nil: nothing.
func (l *Log) of(tenant string) *owned {
	if tenant == "" {
		return l.host
	}
	return (*l.tenants.Load())[tenant]
}

// Query says which lines are meant.
type Query struct {
	// Tenant is whose; "": all lines, unless Host is set.
	Tenant string
	// Host has those of no tenant alone.
	Host bool
	// Last is how many of the lines that are kept are meant, at most. 0 or less: none.
	Last int
	// Follow goes on with those that come.
	Follow bool
}

// Check says what is wrong with a query.
func (q Query) Check() error {
	if q.Host && q.Tenant != "" {
		return errors.New("the lines of a tenant are none of the host's; ask for one of the two")
	}
	return nil
}

// Check says why Read would not answer a query.
func (l *Log) Check(q Query) error {
	_, err := l.ring(q)
	return err
}

// ring is where the lines of a query are.
func (l *Log) ring(q Query) (*ring, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	switch {
	case q.Host:
		return l.host.lines, nil
	case q.Tenant == "":
		return l.all, nil
	}
	if o := l.of(q.Tenant); o != nil {
		return o.lines, nil
	}
	return nil, fmt.Errorf("the configuration in force has no tenant %q", q.Tenant)
}

// atOnce is about how many bytes of lines are given to somebody at a time.
const atOnce = 16 << 10

// Read gives lines to a function, some at a time, until it fails, the query is answered, or ctx is
// done. Lines that have gone before they could be given are lost, and counted in front of those
// that are given. The error is the function's, of the query, or why ctx is done. The function may
// keep nothing.
func (l *Log) Read(ctx context.Context, q Query, give func(lines []byte, lost int64) error) error {
	r, err := l.ring(q)
	if err != nil {
		return err
	}
	wake := make(chan struct{}, 1)
	defer r.wake(wake)()
	from := r.last(q.Last)
	end := r.last(0)
	b := make([]byte, 0, atOnce)
	for {
		var lost int64
		b, from, lost = r.read(b[:0], from, atOnce)
		if len(b) > 0 || lost > 0 {
			if err := give(b, lost); err != nil {
				return err
			}
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case len(b) > 0 && (q.Follow || from.line < end.line):
			continue
		case !q.Follow:
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// owners are those who have errors, the one with the latest first.
func (l *Log) owners(tenant string) (all []*owned) {
	if tenant != "" {
		if o := l.of(tenant); o != nil {
			all = append(all, o)
		}
		return all
	}
	for _, o := range *l.tenants.Load() {
		if o.newest.Load() != 0 {
			all = append(all, o)
		}
	}
	all = append(all, l.host)
	newest := make(map[*owned]int64, len(all)) // as they change meanwhile
	for _, o := range all {
		newest[o] = o.newest.Load()
	}
	slices.SortFunc(all, func(a, b *owned) int { return int(min(max(newest[b]-newest[a], -1), 1)) })
	return all
}
