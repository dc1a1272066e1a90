// Package progress says in the log how far a host is that makes itself ready.
package progress

import (
	"log/slog"
	"slices"
	"sync"
	"time"
)

// stillCompiling is how often the log says that compiling goes on.
const stillCompiling = 2 * time.Second

// Compiling says in the log that modules are being compiled, which takes seconds for a
// large one: when it begins, every now and then, and when it is over. It says nothing of
// modules whose code is there. Any goroutine may use it.
type Compiling struct {
	log     *slog.Logger
	plugins int // to be loaded, of which some need compiling
	// long has it speak only of what takes longer than stillCompiling.
	long bool

	mu     sync.Mutex
	now    []string // what is being compiled
	done   int
	began  time.Time
	ticker *time.Ticker
	stop   chan struct{}
	over   bool // what is loaded at first is; now each module is said by itself
}

// NewCompiling makes one, of so many plugins that are to be loaded.
func NewCompiling(log *slog.Logger, plugins int) *Compiling {
	return &Compiling{log: log, plugins: plugins}
}

// OnlyLong has it speak only of what takes longer than two seconds. It is called before the others.
func (c *Compiling) OnlyLong() { c.long = true }

// Begin says that a module is being compiled until the result is called. tenant is whose it is; "":
// nobody's alone.
func (c *Compiling) Begin(tenant, name string) (done func()) {
	start := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = append(c.now, name)
	alone := c.over
	var of []any
	if tenant != "" {
		of = []any{"tenant", tenant}
	}
	switch {
	case alone:
		c.log.Info("compiling a module whose code the state folder does not have", append([]any{"module", name}, of...)...)
	case c.ticker == nil:
		c.began = start
		c.ticker, c.stop = time.NewTicker(stillCompiling), make(chan struct{})
		go c.tell(c.ticker, c.stop)
		if !c.long {
			c.log.Info("compiling modules whose code the state folder does not have; the next start finds it there",
				append(append([]any{"first", name}, of...), "plugins", c.plugins)...)
		}
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.done++
		if at := slices.Index(c.now, name); at >= 0 {
			c.now = slices.Delete(c.now, at, at+1)
		}
		if alone {
			c.log.Info("compiled", append(append([]any{"module", name}, of...), "took", time.Since(start).Round(time.Millisecond).String())...)
		}
	}
}

// tell says how far it is.
func (c *Compiling) tell(ticker *time.Ticker, stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		c.mu.Lock()
		if !c.over {
			const most = 3
			c.log.Info("still compiling", "compiled", c.done, "now", slices.Clone(c.now[:min(most, len(c.now))]), "for", time.Since(c.began).Round(time.Second).String())
		}
		c.mu.Unlock()
	}
}

// End says that what is loaded at first is compiled, if anything was.
func (c *Compiling) End() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.over = true
	if c.ticker != nil {
		c.ticker.Stop()
		close(c.stop)
		if c.long {
			return
		}
		c.log.Info("compiled", "modules", c.done, "took", time.Since(c.began).Round(time.Millisecond).String())
	}
}
