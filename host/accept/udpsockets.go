package accept

import (
	"slices"
	"sync"
	"sync/atomic"
)

// UDPSockets are all UDP sockets of one tenant. Each may have a peer whose place another connection
// needs more. The zero value has none. Any goroutine may use it.
type UDPSockets struct {
	changing sync.Mutex                   // held to replace all
	all      atomic.Pointer[[]*udpSocket] // replaced, never changed
	making   atomic.Bool                  // one of them is being asked to make room
	asked    atomic.Uint32                // how often one was
}

func (t *UDPSockets) list() []*udpSocket {
	if all := t.all.Load(); all != nil {
		return *all
	}
	return nil
}

func (t *UDPSockets) add(more []*udpSocket) {
	t.changing.Lock()
	defer t.changing.Unlock()
	all := slices.Concat(t.list(), more)
	t.all.Store(&all)
}

func (t *UDPSockets) drop(d *Datagrams) {
	t.changing.Lock()
	defer t.changing.Unlock()
	all := slices.DeleteFunc(slices.Clone(t.list()), func(p *udpSocket) bool { return p.d == d })
	t.all.Store(&all)
}

// MakeRoom has a peer over UDP whose place is no more than a guess give it up, if the tenant has
// one: they have sent one datagram only, and perhaps not even that. It is for connections that find
// the tenant's places taken, and does not wait.
func (t *UDPSockets) MakeRoom() {
	if all := t.list(); len(all) > 0 && t.making.CompareAndSwap(false, true) {
		t.ask(all, int(t.asked.Add(1)), 0)
	}
}

// ask asks the sockets in turn, each on its loop, beginning with one.
func (t *UDPSockets) ask(all []*udpSocket, first, n int) {
	if n == len(all) {
		t.making.Store(false)
		return
	}
	p := all[(first+n)%len(all)]
	posted := p.d.loops[p.at].Post(func() {
		if p.socket == nil || !p.socket.MakeRoom() {
			t.ask(all, first, n+1)
			return
		}
		t.making.Store(false)
	})
	if !posted {
		t.making.Store(false)
	}
}
