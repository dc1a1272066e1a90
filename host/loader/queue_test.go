package loader

import (
	"testing"
	"time"

	"bulkhead/host/config"
	"bulkhead/host/handlers"
	"bulkhead/host/loops"
)

// site is a listener of a tenant, whose plugin is never loaded.
type site struct {
	Site
	config config.Listener
}

func (s *site) Config() *config.Listener  { return &s.config }
func (s *site) Loops() []*loops.Loop      { return nil }
func (s *site) InstanceLoop() *loops.Loop { return nil }

var _ handlers.Site = (*site)(nil)

// The waits double from a second to five minutes, a quarter more or less.
func TestRetryAfter(t *testing.T) {
	for tries, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 9: 256 * time.Second, 10: lastRetry, 1 << 30: lastRetry} {
		for range 100 {
			if wait := retryAfter(tries); wait < want*3/4 || wait > want*5/4 {
				t.Fatalf("%v after %d tries; want %v, a quarter more or less", wait, tries, want)
			}
		}
	}
}

// Of each tenant one plugin is loaded at a time, and of those that can be, first the one that
// somebody waits for.
func TestWhichPluginIsNext(t *testing.T) {
	q := NewQueue(New(Options{}), &config.Config{})
	names := make(map[*Pending]string)
	pending := make(map[string]*Pending)
	for _, name := range []string{"a1", "a2", "b1", "c1", "c2"} {
		s := &site{config: config.DefaultListener()}
		s.config.Tenant = name[:1]
		k := q.Add(s)
		names[k], pending[name] = name, k
	}
	next := func() string { return names[q.next()] }
	pending["c2"].Want()
	pending["a2"].Want()
	for _, want := range []string{"a2", "c2", "b1", ""} {
		if got := next(); got != want {
			t.Fatalf("next is %q, want %q", got, want)
		}
	}
	q.mu.Lock()
	delete(q.busy, "c")
	q.mu.Unlock()
	if got := next(); got != "c1" {
		t.Errorf("when the other of its tenant is loaded, next is %q", got)
	}
	q.Stop()
	q.mu.Lock()
	clear(q.busy)
	q.mu.Unlock()
	if got := next(); got != "" {
		t.Errorf("when no more is to be loaded, next is %q", got)
	}
	q.Wait()
}

// A plugin that is to be loaded, is being loaded or is loaded is not loaded once more, when its
// time to be tried again comes: the handlers of the first would never be closed.
func TestRetryOnce(t *testing.T) {
	q := NewQueue(New(Options{}), &config.Config{})
	k := q.Add(&site{config: config.DefaultListener()})
	waiting := func(what string, want int) {
		t.Helper()
		q.stopped = true // there are no workers
		q.retry(k)
		q.stopped = false
		if len(q.waiting) != want {
			t.Errorf("%d wait when it is tried again %s, want %d", len(q.waiting), what, want)
		}
	}
	waiting("while it waits", 1)
	if q.next() != k {
		t.Fatal("it is not the next")
	}
	waiting("while it is being loaded", 0)
	k.queued = false // as tried has it
	clear(q.busy)
	waiting("after it was tried in vain", 1)
	q.next()
	k.queued = false
	k.begun.Store(true)
	waiting("when it has begun", 0)
}

// A plugin that nobody has tried is in no quarantine, and nothing is known of its connections.
func TestPendingBeforeItsPluginIsLoaded(t *testing.T) {
	k := NewQueue(New(Options{}), &config.Config{}).Add(&site{config: config.DefaultListener()})
	if k.Quarantine() != nil || k.Settled() {
		t.Errorf("it is in quarantine, %+v, or settled, %v", k.Quarantine(), k.Settled())
	}
	if at := k.Reserve(); at != -1 || !k.wanted.Load() {
		t.Errorf("a connection gets loop %d, or does not have the plugin be loaded first", at)
	}
	if h := k.Peer(0); h != nil {
		t.Errorf("a peer gets the handler %v", h)
	}
	if q := (*Pending)(nil).Quarantine(); q != nil {
		t.Errorf("no provider is in quarantine: %+v", q)
	}
}
