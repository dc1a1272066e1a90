package handlers

import (
	"log/slog"
	"sync"

	"bulkhead/csa"
	"bulkhead/host/loops"
	"bulkhead/plugins"
)

// stdio gives every connection a WASI command of its own, which runs on a
// goroutine of its own.
type stdio struct {
	site   Site
	module *plugins.Module
	guests *plugins.Listener
	ends   sync.WaitGroup
}

// NewStdio provides each connection with a program of its own.
func NewStdio(site Site, m *plugins.Module) (Provider, error) {
	k := &stdio{site: site, module: m}
	folder, err := site.ReadFolder()
	if err != nil {
		return nil, err
	}
	k.guests = site.Guests(func(_ *plugins.Instance, t *plugins.Trap) {
		site.Died(t, "a command", "its connection is closed")
	})
	k.guests.Folder = folder
	return k, nil
}

func (k *stdio) Start() {}

func (k *stdio) Reserve() int {
	return loops.LeastLoaded(k.site.Loops(), loops.Any)
}

func (k *stdio) Assign(a Arrival) {
	k.site.HandOver(a, func() (csa.Handler, NoHandler) {
		p, err := k.module.Stdio(k.guests)
		if err != nil {
			k.site.Counters().Failed.Add(1)
			return nil, NoHandler{slog.LevelError, "a connection was closed: its command did not start", err}
		}
		return &command{Process: p, site: k.site}, NoHandler{}
	})
}

// Peer has no handler: a program's input is a stream.
func (k *stdio) Peer(int) csa.Handler { return nil }

// command is a process that knows whether it was started, and is counted
// among the instances from then on.
type command struct {
	*plugins.Process
	site    Site
	started bool
}

// Open starts the command.
func (c *command) Open(conn *csa.CSA) {
	c.started = true
	c.site.CountInstances(1)
	c.Process.Open(conn)
}

// Release waits for the command off the loop: it may have to be woken first.
func (k *stdio) Release(h csa.Handler) {
	c := h.(*command)
	if !c.started {
		return
	}
	k.ends.Go(func() {
		<-c.Ended()
		k.site.CountInstances(-1)
	})
}

func (k *stdio) Stop() {}

func (k *stdio) StopOne(h csa.Handler) { h.(*command).Stop() }

func (k *stdio) Close() {
	k.ends.Wait()
	k.site.ReleaseFolder(k.guests.Folder)
}

func (*stdio) Retain(*plugins.Instance, int) {}
