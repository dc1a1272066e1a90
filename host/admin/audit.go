package admin

import (
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"bulkhead/host/admin/guard"
)

// counted is an answer that says how much was done.
type counted interface {
	// counts are words for the audit log.
	counts() []any
}

func (k Killed) counts() []any { return []any{"closed", k.Closed, "missing", len(k.Missing)} }

func (l LevelSet) counts() []any { return []any{"before", l.Before} }

// audited writes that somebody asks for a change, and over what came of it: both have who and what,
// so that each can be found by itself.
func (d *Door) audited(what string, by caller, words []any) (over func(done any, err error)) {
	began := time.Now()
	// In a group, where a tenant's name does not make the line that tenant's, which may have no
	// room.
	all := slices.Concat([]any{"what", what, slog.Group("asked", words...)}, by.words())
	d.audit.Info("a change is asked for", all...)
	return func(done any, err error) {
		end := []any{"result", "done", "took_seconds", time.Since(began).Seconds()}
		if err != nil {
			end[1] = "failed"
			end = append(end, "error", err.Error())
		} else if c, is := done.(counted); is {
			end = append(end, c.counts()...)
		}
		d.audit.Info("a change that was asked for is over", slices.Concat(all, end)...)
	}
}

// refusals tells of requests that are refused at a door, which anybody can send as many of as he
// likes: one line a second and reason at most, with how many there were.
type refusals struct {
	log *slog.Logger

	mu       sync.Mutex
	byReason map[string]*refusal // of guard.Reasons
}

type refusal struct {
	all    int64
	last   time.Time // when a line was written
	untold int64     // since then
}

func newRefusals(log *slog.Logger) *refusals {
	f := &refusals{log: log, byReason: make(map[string]*refusal)}
	for _, reason := range guard.Reasons() {
		f.byReason[reason] = new(refusal)
	}
	return f
}

// quiet is for how long no other line is written.
const quiet = time.Second

// add tells of a request, or counts it for the next line.
func (f *refusals) add(r *http.Request, why *guard.Refusal) {
	untold, tell := f.count(why.What, time.Now())
	if !tell {
		return
	}
	words := append([]any{"reason", why.What, "method", clip(r.Method), "path", clip(r.URL.Path), "host", clip(r.Host), "error", why.Message}, callerOf(r).words()...)
	if untold > 0 {
		words = append(words, "lines_left_out", untold)
	}
	f.log.Warn("a request to the daemon is refused", words...)
}

func (f *refusals) count(reason string, now time.Time) (untold int64, tell bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	of := f.byReason[reason]
	of.all++
	if now.Sub(of.last) < quiet {
		of.untold++
		return 0, false
	}
	untold = of.untold
	of.last, of.untold = now, 0
	return untold, true
}

// Refused are how many requests were refused at all doors, by the words of guard.Reasons.
func (d *Door) Refused() map[string]int64 {
	f := d.refused
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make(map[string]int64, len(f.byReason))
	for reason, of := range f.byReason {
		all[reason] = of.all
	}
	return all
}
