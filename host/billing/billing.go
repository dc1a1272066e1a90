// Package billing keeps what each tenant has used, to be billed: a Record a tenant and interval, as
// a line of JSON in files of the state folder, written down and synchronized by a goroutine of its
// own. Read reads them.
//
// A record is written at least once. What was used is in one record of its own boot and sequence
// number; the same record may be there twice where the disk has failed, and Read tells them apart.
// A daemon that is killed loses the interval that it was in.
package billing

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/host/stats"
)

// Folder is that of the records, in the state folder.
const Folder = "usage"

// Source is a host.Host, as far as it is needed here.
type Source interface {
	// Refresh has Usage know of the connections that are open. It takes a second at most, and
	// reports whether it knows of all.
	Refresh(ctx context.Context) bool
	// Usage appends what each tenant has used.
	Usage(all []stats.Usage) []stats.Usage
}

// Settings are the keys of [admin].
type Settings struct {
	// Interval is how often records are written; 0: none is.
	Interval time.Duration
	// Size bounds all files together, in bytes, and Keep is for how long a file stays after its
	// last record.
	Size int64
	Keep time.Duration
}

// Stats count since the start.
type Stats struct {
	// Records were written. Failures is how often that failed; the same records are written later.
	// Lost were given up, since too many tenants had some to be written. Removed are the files that
	// had to go for Size.
	Records, Failures, Lost, Removed int64
}

// mostOwed bounds the tenants of which something is to be written: those of a configuration, and
// those that came and went while the disk could not be written.
const mostOwed = 100_000

// Recorder writes records. Any goroutine may use it.
type Recorder struct {
	log  *slog.Logger
	wall func() time.Time

	records, failures, lost, removed atomic.Int64
	changed                          chan struct{} // holds one value when there are other settings

	mu       sync.Mutex // no file is touched while it is held
	settings Settings
	given    bool                 // there are some
	on       bool                 // what is owed is to be written
	seen     map[int64]stats.Used // by Life: what is in owed, or was written
	owed     map[string]*owing    // by tenant
	from     time.Time            // when the interval began
	lives    []stats.Usage
	seq      int64

	writing sync.Mutex // held to write, before mu
	boot    string
	files   files
	batch   batch // to be written; empty: nothing is
	failing bool  // the last time it failed
}

// owing is what of a tenant has no record yet.
type owing struct {
	used stats.Used
	open int64
}

// batch is the records of an interval, as they are written, perhaps more than once.
type batch struct {
	text  []byte
	lines int64
}

// New makes one that writes to a folder, which is made when it is needed, and whose parent is
// there. It writes nothing before Set.
func New(folder string, log *slog.Logger) *Recorder {
	var id [8]byte
	_, _ = rand.Read(id[:]) // which does not fail
	r := &Recorder{
		log: log, wall: time.Now, boot: hex.EncodeToString(id[:]), changed: make(chan struct{}, 1),
		seen: make(map[int64]stats.Used), owed: make(map[string]*owing),
	}
	r.files = files{folder: folder, log: log, removed: &r.removed}
	r.from = r.wall()
	return r
}

// Set has it go by other settings from now on. Where records begin again, or end, they have what
// was used after, or before; the first settings have all.
func (r *Recorder) Set(s Settings) {
	r.mu.Lock()
	first := !r.given
	r.settings, r.given = s, true
	if first {
		r.on = s.Interval > 0
	}
	r.mu.Unlock()
	if first {
		return
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Stats may be called at any time.
func (r *Recorder) Stats() Stats {
	return Stats{r.records.Load(), r.failures.Load(), r.lost.Load(), r.removed.Load()}
}

// Over tells of a tenant that is over, of which Usage will not tell again. It does not wait for a
// disk.
func (r *Recorder) Over(last stats.Usage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.take(&last)
	delete(r.seen, last.Life)
}

// take has what a tenant has used since the last time be owed.
func (r *Recorder) take(u *stats.Usage) {
	fresh := u.Less(r.seen[u.Life])
	r.seen[u.Life] = u.Used
	o := r.owed[u.Tenant]
	if o == nil {
		if fresh == (stats.Used{}) && u.Open == 0 {
			return
		}
		if len(r.owed) >= mostOwed {
			r.lost.Add(1)
			return
		}
		o = new(owing)
		r.owed[u.Tenant] = o
	}
	o.used.Add(fresh)
	o.open = u.Open
}

// Run writes the records of a host, an interval after another, until ctx is done. Intervals end
// where the time of day is a multiple of them.
func (r *Recorder) Run(ctx context.Context, of Source) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		r.mu.Lock()
		every := r.settings.Interval
		r.mu.Unlock()
		wait := 24 * time.Hour
		if every > 0 {
			now := r.wall()
			wait = now.Truncate(every).Add(every).Sub(now)
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
			r.Record(ctx, of)
		case <-r.changed:
			timer.Stop()
			r.Record(ctx, of) // so that each interval is by one setting
		case <-ctx.Done():
			return
		}
	}
}

// Record ends the interval, and writes its records. It reports whether all that has to be written
// is. What cannot be is logged once, and written the next time. No loop may call it.
func (r *Recorder) Record(ctx context.Context, of Source) bool {
	r.writing.Lock()
	defer r.writing.Unlock()
	_ = of.Refresh(ctx) // what a loop that stands still has not shown is the next interval's
	for {
		settings, more := r.end(of)
		if len(r.batch.text) == 0 {
			return true
		}
		if err := r.files.write(r.batch.text, settings, r.wall()); err != nil {
			r.failures.Add(1)
			if !r.failing {
				r.failing = true
				r.log.Error("what tenants have used cannot be written; it is kept in memory, and tried again after each interval",
					"folder", r.files.folder, "error", withMend(err))
			}
			return false
		}
		if r.failing {
			r.failing = false
			r.log.Info("what tenants have used is written again", "folder", r.files.folder)
		}
		r.records.Add(r.batch.lines)
		r.batch = batch{text: r.batch.text[:0]}
		if !more {
			return true
		}
	}
}

// end takes what was used, and makes a batch of what is owed if there is none yet. more says that
// there was one, and that something is owed.
func (r *Recorder) end(of Source) (s Settings, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s = r.settings
	r.lives = of.Usage(r.lives[:0])
	for i := range r.lives {
		r.take(&r.lives[i])
	}
	was := r.on
	r.on = s.Interval > 0
	if !r.on && !was {
		clear(r.owed)
		r.from = r.wall()
		return s, false
	}
	if !was { // what was used before is nobody's to pay
		clear(r.owed)
		r.from = r.wall()
		return s, len(r.batch.text) > 0
	}
	if len(r.batch.text) > 0 {
		return s, len(r.owed) > 0
	}
	to := r.wall()
	if to.Before(r.from) { // the clock was set back
		r.from = to
	}
	for _, name := range slices.Sorted(maps.Keys(r.owed)) {
		o := r.owed[name]
		r.seq++
		line := recordOf(name, &o.used, o.open)
		line.Boot, line.Seq, line.From, line.To = r.boot, r.seq, r.from.UTC(), to.UTC()
		text, err := json.Marshal(&line)
		if err != nil { // a time beyond year 9999
			r.lost.Add(1)
			continue
		}
		r.batch.text = append(append(r.batch.text, text...), '\n')
		r.batch.lines++
	}
	clear(r.owed)
	r.from = to
	return s, false
}
