package plugins

import (
	"fmt"

	"bulkhead/abi"
	"bulkhead/csa"
)

var _ csa.Handler = (*Instance)(nil)

// Attach gives the instance to its loop. It is to be called once, on the loop;
// the first connection does it otherwise. Timers that csa_start has set count
// from here.
func (i *Instance) Attach(l *csa.Loop) {
	if i.loop != nil || i.state == closed {
		return
	}
	i.loop = l
	for n := range i.timers {
		i.arm(&i.timers[n])
	}
}

// event calls an export about a connection.
func (i *Instance) event(c call, handle int32, about conn, b uint64) (uint64, bool) {
	i.serving = about
	r, ok := i.call(c, uint64(uint32(handle)), b)
	i.serving = nil
	return r, ok
}

// tell is event for the exports that make a handle known to the guest.
func (i *Instance) tell(c call, handle int32, about conn, b uint64) (uint64, bool) {
	if s := i.handles.get(handle); s != nil && i.state == running {
		s.told = true
	}
	return i.event(c, handle, about, b)
}

// Open takes a connection in. When the instance is not running, or the guest
// refuses, the connection is shut down.
func (i *Instance) Open(c *csa.CSA) {
	i.Attach(c.Loop())
	c.Tag = i.admit(c)
	i.opened(c.Tag, c)
}

// admit gives a connection its handle, or shuts it down and returns 0.
func (i *Instance) admit(c conn) int32 {
	if !i.Running() {
		c.ShutdownMicroprocess(csa.Reason{Code: abi.Refused, Why: "its handler's instance is gone"})
		return 0
	}
	handle := i.handles.add(c)
	if handle == 0 {
		c.ShutdownMicroprocess(csa.Reason{Code: abi.Quota, Why: "its handler's instance has no handle left"})
	}
	return handle
}

func (i *Instance) opened(handle int32, c conn) {
	if handle == 0 || !i.module.has[callOpen] {
		return
	}
	r, ok := i.tell(callOpen, handle, c, 0)
	if ok && int32(r) < 0 {
		code := guestCode(r)
		c.ShutdownMicroprocess(csa.Reason{Code: code, Why: fmt.Sprintf("its handler refused it from csa_open with %d", int32(r))})
	}
}

// guestCode is the code a guest closes with: its own, if it is one.
func guestCode(r uint64) abi.Code {
	if code := abi.Code(int32(r)); code.Valid() {
		return code
	}
	return abi.Invalid
}

// Window is the guest's, or nil when the instance is gone.
func (i *Instance) Window(*csa.CSA) []byte {
	end := uint64(i.window) + uint64(i.length)
	if i.state != running || end > uint64(len(i.memory.b)) {
		return nil
	}
	return i.memory.b[i.window:end:end]
}

// Data hands over what was read into the window.
func (i *Instance) Data(c *csa.CSA, p []byte) int { return i.data(c.Tag, c, len(p)) }

func (i *Instance) data(handle int32, c conn, n int) int {
	r, ok := i.tell(callData, handle, c, uint64(n))
	if !ok {
		return 0 // the connection is being shut down
	}
	used := int(int32(r))
	switch {
	case used < 0:
		c.ShutdownMicroprocess(csa.Reason{Code: guestCode(r), Why: fmt.Sprintf("its handler closed it from csa_data with %d", used)})
		return 0
	case used > n:
		c.ShutdownMicroprocess(csa.Reason{Code: abi.Invalid, Why: fmt.Sprintf("its handler says that it consumed %d bytes of %d", used, n)})
		return 0
	}
	return used
}

// Writable tells the guest that it can send again.
func (i *Instance) Writable(c *csa.CSA) {
	if i.module.has[callWritable] {
		i.event(callWritable, c.Tag, c, 0)
	}
}

// EOF tells the guest that the peer has finished. A guest that does not care
// has finished too.
func (i *Instance) EOF(c *csa.CSA) { i.eof(c.Tag, c) }

func (i *Instance) eof(handle int32, c conn) {
	if i.module.has[callEOF] {
		i.tell(callEOF, handle, c, 0)
	} else {
		c.ProducerFinished()
	}
}

// Timer tells the guest that a connection's timer has fired.
func (i *Instance) Timer(c *csa.CSA, token int32) {
	if i.module.has[callTimer] {
		i.event(callTimer, c.Tag, c, uint64(uint32(token)))
	}
}

// Closed has the guest hear of the end, if it has heard of the connection at
// all, and makes the handle stale.
func (i *Instance) Closed(c *csa.CSA, r csa.Reason) { i.ended(c.Tag, r) }

func (i *Instance) ended(handle int32, r csa.Reason) {
	s := i.handles.get(handle)
	if s == nil {
		return
	}
	told := s.told
	i.handles.remove(handle)
	if told && i.module.has[callClosed] {
		i.event(callClosed, handle, nil, uint64(uint32(r.Code)))
	}
}

// Stop tells the guest that the host drains. It is to be called once.
func (i *Instance) Stop() {
	if !i.module.has[callStop] {
		return
	}
	stop := func() { i.event(callStop, 0, nil, 0) }
	if i.loop == nil {
		stop()
	} else {
		i.loop.Event(stop)
	}
}
