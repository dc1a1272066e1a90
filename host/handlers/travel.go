package handlers

import (
	"bulkhead/csa"
	"bulkhead/plugins"
)

// Traveller is a Provider whose connections can go to another process with their handlers, and come
// from one.
type Traveller interface {
	// Snapshots are those that its instances are copies of, or will be.
	Snapshots() []*plugins.Snapshot
	// Travels is the instance that is to go with a connection whose handler is h; nil: it needs
	// none. It fails with a csa.NotNow. It is called on the connection's loop.
	Travels(c *csa.CSA, h csa.Handler) (*plugins.Instance, error)
	// AdoptSnapshot takes in a snapshot that instances will come of. It owns the descriptor. It is
	// not called on a loop.
	AdoptSnapshot(r *plugins.SnapshotRecord, descriptor int) (*Adopted, error)
	// Thaw makes an instance of a record, of a on the loop with that index, which calls it. It is
	// for one connection, and Release gives it back.
	Thaw(a *Adopted, at int, r *plugins.InstanceRecord) (*plugins.Instance, error)
	// Without is the handler of a connection on that loop which has needed no instance yet.
	Without(at int) csa.Handler
}

// Adopted is a snapshot that has come from another process, and a pool of it for each loop.
type Adopted struct {
	snapshot *plugins.Snapshot
	pools    []*plugins.Pool
}

var _ Traveller = (*each)(nil)

func (e *each) Snapshots() (all []*plugins.Snapshot) {
	if e.snapshot != nil {
		all = append(all, e.snapshot)
	}
	e.adopting.Lock()
	defer e.adopting.Unlock()
	for _, a := range e.adopted {
		if a.snapshot.Thawed() > 0 {
			all = append(all, a.snapshot)
		}
	}
	return all
}

func (e *each) Travels(c *csa.CSA, h csa.Handler) (*plugins.Instance, error) {
	if Waits(h, c) {
		return nil, csa.NotNow("waits for an instance")
	}
	i, ok := h.(*plugins.Instance)
	if !ok {
		return nil, nil
	}
	switch own := i.Owner.(*ownInstance); {
	case own.connections != 1:
		return nil, csa.NotNow("has connections that its handler has dialled")
	case own.stopped:
		return nil, csa.NotNow("has a handler that was told to stop")
	}
	return i, nil
}

func (e *each) AdoptSnapshot(r *plugins.SnapshotRecord, descriptor int) (*Adopted, error) {
	s, err := e.module.AdoptSnapshot(e.guests, r, descriptor)
	if err != nil {
		return nil, err
	}
	a := &Adopted{snapshot: s, pools: make([]*plugins.Pool, len(e.site.Loops()))}
	for at, l := range e.site.Loops() {
		l.Call(func() { a.pools[at] = s.Pool(l.Loop) })
	}
	e.adopting.Lock()
	defer e.adopting.Unlock()
	e.adopted = append(e.adopted, a)
	return a, nil
}

// closeAdopted lets go of those that have come. No connection is left.
func (e *each) closeAdopted() {
	for _, a := range e.adopted {
		for at, l := range e.site.Loops() {
			if p := a.pools[at]; p != nil {
				l.Call(p.Close)
			}
		}
		a.snapshot.Close()
	}
}

func (e *each) Thaw(a *Adopted, at int, r *plugins.InstanceRecord) (*plugins.Instance, error) {
	i, err := a.pools[at].Thaw(r)
	if err != nil {
		return nil, err
	}
	i.Owner = &ownInstance{connections: 1}
	e.site.CountInstances(1)
	return i, nil
}

func (e *each) Without(at int) csa.Handler { return e.lazy[at] }
