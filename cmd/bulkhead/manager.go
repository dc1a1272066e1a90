package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"bulkhead/host"
	"bulkhead/host/admin"
	"bulkhead/internal/sdnotify"
)

// manager tells the service manager how the daemon is. Any goroutine may use it.
type manager struct {
	to  *sdnotify.Notifier // nil: there is none
	log *slog.Logger

	mu      sync.Mutex // so that what it is told last is the last that has become
	serving bool       // it has been told that the daemon serves
	ends    bool       // and that it stops
	once    sync.Once
}

func newManager(to *sdnotify.Notifier, log *slog.Logger) *manager { return &manager{to: to, log: log} }

// tell logs, once, that the manager could not be told.
func (m *manager) tell(err error) {
	if err != nil {
		m.once.Do(func() { m.log.Warn("the service manager does not hear how this process is", "error", err) })
	}
}

// serves says that the daemon serves. last is what became of the last reload; nil: there was none.
func (m *manager) serves(h *host.Host, last *admin.LastReload) {
	if m.to == nil {
		return
	}
	st := h.Stats()
	status := fmt.Sprintf("serves %d listeners and routes of %d tenants", len(st.Listeners), len(st.Tenants))
	drained := 0
	for i := range st.Listeners {
		if st.Listeners[i].Drained {
			drained++
		}
	}
	if drained > 0 {
		status += fmt.Sprintf(", of which %d take no new connections (drain)", drained)
	}
	if last != nil {
		at := last.At.Local().Format(time.DateTime)
		if len(last.Errors) > 0 {
			status += fmt.Sprintf("; the %s of %s %s: %s", last.What, at, last.Result, last.Errors[0])
		} else {
			status += fmt.Sprintf(", since the %s of %s", last.What, at)
		}
	}
	m.between(func() error { return m.to.Ready(status) })
}

// reloading says that a reload has begun.
func (m *manager) reloading() { m.between(m.to.Reloading) }

// between sends what means something while the daemon serves alone.
func (m *manager) between(send func() error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.serving && !m.ends {
		m.tell(send())
	}
}

// stops says that the daemon comes to its end within a time.
func (m *manager) stops(within time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ends = true
	m.tell(m.to.Stopping("drains: no more connections are accepted, and those that are open come to their end", within))
}

// watch tells the manager when the daemon serves and when it stops, and that it is alive as long as
// its loops are, until the result is called.
func (m *manager) watch(stop *stopper, h *host.Host) (over func()) {
	if m.to == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var told sync.WaitGroup
	told.Go(func() {
		select {
		case <-h.Serving():
			m.mu.Lock()
			m.serving = true
			m.mu.Unlock()
			m.serves(h, nil)
		case <-stop.ctx.Done():
		case <-ctx.Done():
			return
		}
		select {
		case <-stop.ctx.Done():
			m.stops(time.Duration(stop.drain.Load()) + endTime)
		case <-ctx.Done():
		}
	})
	if within := m.to.WatchdogTime(); within > 0 {
		told.Go(func() { m.signs(ctx, h.Turn, within) })
	}
	return func() {
		cancel()
		told.Wait()
	}
}

// signs gives a sign of life twice in the time that the manager waits, each after turn has found
// that the loops are alive, until ctx is done.
func (m *manager) signs(ctx context.Context, turn func(context.Context) error, within time.Duration) {
	every := max(within/2, time.Millisecond)
	suspicious := every / 2 // so that the line is there before the manager does something
	pause := time.NewTicker(every)
	defer pause.Stop()
	for {
		late := time.AfterFunc(suspicious, func() {
			m.log.Error("a loop does not turn; the service manager gets no sign of life before it does", "for", suspicious.String())
		})
		err := turn(ctx)
		late.Stop()
		if err != nil {
			return // the host has stopped, or ctx is done
		}
		m.tell(m.to.Alive())
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
	}
}
