package page

import (
	"context"
	"net/http"
	"sync"
	"time"

	"bulkhead/host/conns"
	"bulkhead/host/stats"
)

const (
	// every is the time from one frame to the next.
	every = time.Second
	// MostWatchers is how many may watch a Feed at once.
	MostWatchers = 6
	// patience is how long a watcher may take for a frame. One that is slower is cut off, and its
	// page comes again.
	patience = 10 * time.Second
)

// Host is what a Feed asks. *host.Host is one.
type Host interface {
	// Refresh has FillStats know what open connections have moved.
	Refresh(ctx context.Context) bool
	FillStats(st *stats.Host)
	Status() stats.Status
	Connections(ctx context.Context, q conns.Query) (conns.List, error)
}

// Source is what a Feed tells of.
type Source struct {
	Host Host
	// File is the absolute path of the configuration, Version the program's.
	File, Version string
	// Ticks has a frame made for each of its values. Nil: there is one each second.
	Ticks <-chan time.Time
	// LastReload is what became of the reload or rollback that was over last; nil: there was none.
	// Any goroutine may call it.
	LastReload func() *Reload
}

// Reload is what became of a reload or a rollback.
type Reload struct {
	// What is "reload" or "rollback".
	What string    `json:"what"`
	At   time.Time `json:"at"`
	By   string    `json:"by"`
	// Result is "done", "failed" or "rolled back". Errors say why.
	Result string   `json:"result"`
	Errors []string `json:"errors,omitempty"`
}

// Feed makes a frame a second while somebody watches, the same for all who do, and nothing
// otherwise.
type Feed struct {
	source Source

	mu       sync.Mutex
	watchers map[*watcher]bool
	stop     context.CancelFunc // of the goroutine that makes frames; nil: there is none
	made     chan struct{}      // closed when it has ended
	last     *frame             // of it; nil: there is none yet
}

// watcher is one who watches. next has the newest frame that it has not taken yet.
type watcher struct{ next chan *frame }

// NewFeed makes a Feed.
func NewFeed(s Source) *Feed { return &Feed{source: s, watchers: make(map[*watcher]bool)} }

// ServeHTTP sends events until the watcher goes, is too slow, or the server is closed: "full", with
// all of it, and "change", with what is another since the event before. A watcher that has missed a
// frame gets a full one. With MostWatchers already, the answer is 503. The server has to allow
// deadlines to be set (http.ResponseController).
func (f *Feed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	me := f.join()
	if me == nil {
		// The page shows it as it is.
		http.Error(w, "as many watch this page already as may at once; close one of theirs", http.StatusServiceUnavailable)
		return
	}
	defer f.leave(me)
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // nothing more is read; the end of it is noticed
	protect(w.Header())
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	_ = control.SetWriteDeadline(time.Now().Add(patience))
	if err := control.Flush(); err != nil {
		return
	}
	var had int64
	for {
		select {
		case frame := <-me.next:
			_ = control.SetWriteDeadline(time.Now().Add(patience))
			if _, err := w.Write(frame.text(had)); err != nil {
				return
			}
			if err := control.Flush(); err != nil {
				return
			}
			had = frame.number
		case <-r.Context().Done():
			return
		}
	}
}

// join gives a watcher, or nil if there are too many. The first has frames be made.
func (f *Feed) join() *watcher {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.watchers) >= MostWatchers {
		return nil
	}
	me := &watcher{next: make(chan *frame, 1)}
	f.watchers[me] = true
	if f.last != nil {
		me.next <- f.last
	}
	if f.stop == nil {
		ctx, stop := context.WithCancel(context.Background())
		before, made := f.made, make(chan struct{})
		f.stop, f.made = stop, made
		go func() {
			defer close(made)
			if before != nil {
				<-before // no two of them ask the host at once
			}
			f.run(ctx)
		}()
	}
	return me
}

// leave is called once for each that has joined. The last one ends the making of frames.
func (f *Feed) leave(me *watcher) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.watchers, me)
	if len(f.watchers) == 0 {
		f.stop()
		f.stop, f.last = nil, nil
	}
}

// run makes frames until ctx is done.
func (f *Feed) run(ctx context.Context) {
	tick := f.source.Ticks
	if tick == nil {
		t := time.NewTicker(every)
		defer t.Stop()
		tick = t.C
	}
	l := newLooker(f.source)
	for {
		if frame := l.look(ctx, time.Now()); frame != nil {
			f.show(ctx, frame)
		}
		select {
		case <-tick:
		case <-ctx.Done():
			return
		}
	}
}

// show gives a frame to all who watch. For one who has not taken the frame before, this one takes
// its place. When ctx is done, those who watch wait for the frames of another goroutine.
func (f *Feed) show(ctx context.Context, now *frame) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	f.last = now
	for w := range f.watchers {
		select {
		case <-w.next:
		default:
		}
		w.next <- now // there is room: nobody else sends
	}
}
