package health

import (
	"strings"
	"time"
)

// Report is what a guarded reload has found.
type Report struct {
	// Watched is for how long, by the host's clock. It is less than what was asked for when it
	// was clear before, when nothing was to be compared, and when the watch was broken off.
	Watched time.Duration `json:"watched_ns"`
	// Listeners are those, and those routes, that have a new generation and had one before.
	Listeners []Comparison `json:"listeners"`
	// RolledBack says that the configuration before is in force again.
	RolledBack bool `json:"rolled_back"`
}

// WorseError says that a guarded reload has found new handlers worse than the old ones.
type WorseError struct {
	// Listeners are those that are worse.
	Listeners []Comparison
	// NotBack is why the configuration before is not in force again; nil: it is.
	NotBack error
}

// Error is the figures, and which configuration is in force.
func (e *WorseError) Error() string {
	var said []string
	for _, c := range e.Listeners {
		said = append(said, c.String())
	}
	end := "; the configuration before is in force again"
	if e.NotBack != nil {
		end = "; and the new configuration stays in force: " + e.NotBack.Error()
	}
	return "the new handlers are worse than those before: " + strings.Join(said, "; ") + end
}

// Unwrap is NotBack.
func (e *WorseError) Unwrap() error { return e.NotBack }

// Watch compares new generations of listeners with those that they have replaced. The zero value
// has none. It is one goroutine's.
type Watch struct {
	all []watched
}

type watched struct {
	listener string
	before   Health
	now      func() Health
}

// Add adds a listener, or a route. before is how the old generation was when it was replaced, and
// now tells how the new one is.
func (w *Watch) Add(listener string, before Health, now func() Health) {
	w.all = append(w.all, watched{listener, before, now})
}

// Compare compares all as they are now, in the order in which they were added.
func (w *Watch) Compare() []Comparison {
	all := make([]Comparison, len(w.all))
	for i, of := range w.all {
		all[i] = Compare(of.listener, of.before, of.now())
	}
	return all
}

// Worse are those of Compare that are worse.
func (w *Watch) Worse() (worse []Comparison) {
	for _, c := range w.Compare() {
		if c.Verdict == Worse {
			worse = append(worse, c)
		}
	}
	return worse
}

// Empty reports whether there is nothing to compare.
func (w *Watch) Empty() bool { return len(w.all) == 0 }

// LookEvery is the time from one look of a watch of that length to the next: a fiftieth of it, and
// a second at most, so that handlers which fail from their first connections on serve few. It is a
// millisecond at least.
func LookEvery(watch time.Duration) time.Duration {
	return min(max(watch/50, time.Millisecond), time.Second)
}
