package handlers

import (
	"log/slog"
	"sync"
	"sync/atomic"

	"bulkhead/csa"
	"bulkhead/host/loops"
	"bulkhead/plugins"
)

// shared serves a listener with one instance for each loop, or with one
// in all. An instance that traps is replaced after a while; its loop gets no
// connections until then.
type shared struct {
	site   Site
	module *plugins.Module
	guests *plugins.Listener
	slots  []*slot // by loop; nil where there is none
	starts sync.WaitGroup
}

// slot is the place of an instance on a loop.
type slot struct {
	at     int
	ready  atomic.Bool       // there is a running instance
	loaded *plugins.Instance // started, and not in service until Start

	// The rest is the loop's.
	instance     *plugins.Instance
	restartTimer *csa.Timer
	backoff      backoff
	closed       bool
}

// NewShared starts one instance for each loop, or one in all.
func NewShared(site Site, m *plugins.Module) (Provider, error) {
	k := &shared{site: site, module: m, slots: make([]*slot, len(site.Loops()))}
	k.guests = site.Guests(k.trapped)
	for at, l := range site.Loops() {
		if site.Config().Instance == "listener" && l != site.InstanceLoop() {
			continue
		}
		i, err := m.Instantiate(k.guests)
		if err != nil {
			k.Close()
			return nil, err
		}
		k.slots[at] = &slot{at: at, loaded: i}
	}
	return k, nil
}

// Start puts the instances in their slots. From then on their timers run.
func (k *shared) Start() {
	for at, slot := range k.slots {
		if slot == nil {
			continue
		}
		l := k.site.Loops()[at]
		l.Call(func() {
			i := slot.loaded
			slot.loaded = nil
			slot.restartTimer = l.NewTimer(func() { k.restart(slot) })
			k.fill(slot, i)
		})
	}
}

// fill puts a new instance in its slot, on the slot's loop.
func (k *shared) fill(slot *slot, i *plugins.Instance) {
	i.Owner = slot
	i.Attach(k.site.Loops()[slot.at].Loop)
	slot.instance = i
	k.site.CountInstances(1)
	slot.ready.Store(true)
}

// trapped empties the slot of an instance that has trapped, on its loop.
func (k *shared) trapped(i *plugins.Instance, t *plugins.Trap) {
	slot, ok := i.Owner.(*slot)
	if !ok || slot.instance != i {
		return // it trapped while it was starting, which Instantiate reports
	}
	slot.ready.Store(false)
	slot.instance = nil
	k.site.CountInstances(-1)
	i.Close()
	l := k.site.Loops()[slot.at]
	wait := slot.backoff.failed(l.Now())
	k.site.Died(t, "a handler", "its connections are closed", "next_start_in", wait.String())
	if !slot.closed {
		slot.restartTimer.Reset(wait)
	}
}

// restart makes the next instance, off the loop.
func (k *shared) restart(slot *slot) {
	if slot.closed {
		return
	}
	k.starts.Go(func() {
		i, err := k.site.Instantiate(k.module, k.guests)
		l := k.site.Loops()[slot.at]
		posted := l.Post(func() {
			switch {
			case slot.closed:
				if err == nil {
					i.Close()
				}
			case err != nil:
				k.site.Counters().Failed.Add(1)
				wait := slot.backoff.failed(l.Now())
				k.site.Log().Error("a handler did not start again", "error", err, "next_start_in", wait.String())
				slot.restartTimer.Reset(wait)
			default:
				k.fill(slot, i)
				k.site.Unpark()
			}
		})
		if !posted && err == nil {
			i.Close()
		}
	})
}

func (k *shared) Reserve() int {
	return loops.LeastLoaded(k.site.Loops(), func(at int) bool { return k.slots[at] != nil && k.slots[at].ready.Load() })
}

func (k *shared) Assign(a Arrival) {
	slot := k.slots[a.At]
	k.site.HandOver(a, func() (csa.Handler, NoHandler) {
		if slot.instance == nil {
			return nil, NoHandler{Level: slog.LevelWarn, Why: "a connection was closed: its handler has just trapped"}
		}
		return slot.instance, NoHandler{}
	})
}

func (k *shared) Peer(at int) csa.Handler {
	if slot := k.slots[at]; slot != nil && slot.instance != nil {
		return slot.instance
	}
	return nil
}

func (k *shared) Release(csa.Handler) {}
func (k *shared) StopOne(csa.Handler) {}

func (k *shared) Stop() {
	for at, slot := range k.slots {
		if slot == nil {
			continue
		}
		k.site.Loops()[at].Call(func() {
			if slot.instance != nil {
				slot.instance.Stop()
			}
		})
	}
}

func (k *shared) Close() {
	for at, slot := range k.slots {
		if slot == nil {
			continue
		}
		k.site.Loops()[at].Call(func() {
			slot.closed = true
			if slot.restartTimer != nil {
				slot.restartTimer.Stop()
			}
			if slot.instance != nil {
				slot.ready.Store(false)
				slot.instance.Close()
				slot.instance = nil
				k.site.CountInstances(-1)
			}
		})
		if slot.loaded != nil {
			slot.loaded.Close()
			slot.loaded = nil
		}
	}
	k.starts.Wait()
}

func (*shared) Retain(*plugins.Instance, int) {}
