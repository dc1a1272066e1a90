package handlers

import (
	"bulkhead/csa"
	"bulkhead/host/loops"
	"bulkhead/plugins"
)

// native serves a listener with handlers written in Go, one a loop.
type native struct {
	site     Site
	handlers []csa.Handler
}

// NewNative provides the handlers that make makes, which is called once for each loop, on that
// loop.
func NewNative(site Site, make func(l *csa.Loop) csa.Handler) Provider {
	n := &native{site: site}
	for _, l := range site.Loops() {
		l.Call(func() { n.handlers = append(n.handlers, make(l.Loop)) })
	}
	return n
}

func (n *native) Reserve() int {
	return loops.LeastLoaded(n.site.Loops(), loops.Any)
}

func (n *native) Assign(a Arrival) {
	n.site.HandOver(a, func() (csa.Handler, NoHandler) { return n.handlers[a.At], NoHandler{} })
}

func (n *native) Peer(at int) csa.Handler { return n.handlers[at] }

func (n *native) Release(csa.Handler) {}

func (n *native) Start()              {}
func (n *native) Stop()               {}
func (n *native) StopOne(csa.Handler) {}
func (n *native) Close()              {}

func (*native) Retain(*plugins.Instance, int) {}
