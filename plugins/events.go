package plugins

import (
	"fmt"

	"bulkhead/abi"
	"bulkhead/csa"
)

var _ csa.Handler = (*Instance)(nil)

// Attach gives the instance to its loop. Call it once, on that loop; without it the first
// connection attaches the instance. Timers that csa_start has set count from here.
func (i *Instance) Attach(l *csa.Loop) {
	if i.loop != nil || i.state == closed {
		return
	}
	i.loop, i.turn = l, i.module.runtime.turnOf(l)
	i.goOnLater = func() { l.Post(i.drain) }
	for n := range i.timers {
		i.arm(&i.timers[n])
	}
}

// event is a call of the guest that is due, about a connection if it has one.
type event struct {
	call   call // callWindow: no call, but the window is to be offered
	handle int32
	arg    uint64
	conn   conn    // nil where there is none, or none any more
	result *result // callResult's
}

// run calls the guest, and does what its answer says. ok is false when the
// guest did not run, or not to its end.
func (i *Instance) run(e event) (result uint64, ok bool) {
	switch e.call {
	case callWindow:
		if s := i.handles.get(e.handle); s != nil {
			s.wantsWindow = false
		}
		e.conn.Offer()
		return 0, true
	case callClosed:
		s := i.handles.get(e.handle)
		if s == nil {
			return 0, false
		}
		told := s.announced
		i.about = s.conn
		i.handles.remove(e.handle)
		if !told || !i.module.has[callClosed] {
			return 0, false
		}
	case callResult:
		i.putResult(e.result)
	case callOpen, callData, callEOF:
		// From here on the guest knows the handle.
		if s := i.handles.get(e.handle); s != nil && i.state == running {
			s.announced = true
			if e.call == callOpen {
				s.conn = e.conn // was one that is being dialled
			}
		}
	}
	i.serving, i.current = e.conn, e
	if e.call != callClosed {
		i.about = i.handles.whom(e.conn, i.listener.OneConnection)
	}
	if e.call == callResult {
		result, ok = i.callResult(e.result)
	} else {
		result, ok = i.call(e.call, uint64(uint32(e.handle)), e.arg)
	}
	i.serving, i.current = nil, event{}
	i.forgetWhom()
	if ok {
		result = uint64(i.after(e, result))
	}
	return result, ok
}

// forgetWhom ends what run has said of log lines. What an instance of one connection says
// later, such as the rest of a line at its end, is about that, too.
func (i *Instance) forgetWhom() {
	if !i.listener.OneConnection {
		i.about = nil
	}
}

// after does what the guest's answer to an event says, and returns how many
// bytes it has consumed.
func (i *Instance) after(e event, result uint64) (used int) {
	r := int(int32(result))
	switch {
	case e.call == callOpen && r < 0:
		e.conn.ShutdownMicroprocess(csa.HandlerRefused.With(guestCode(result), fmt.Sprintf("its handler refused it from csa_open with %d", r)))
	case e.call == callData && r < 0:
		e.conn.ShutdownMicroprocess(csa.HandlerRefused.With(guestCode(result), fmt.Sprintf("its handler closed it from csa_data with %d", r)))
	case e.call == callData && uint64(r) > e.arg:
		e.conn.ShutdownMicroprocess(csa.BadResult.Because(fmt.Sprintf("its handler says that it consumed %d bytes of %d: csa_data returns 0 to what it was given", r, e.arg)))
	case e.call == callData:
		return r
	}
	return 0
}

// Open takes a connection in. When the instance is not running, or the guest
// refuses, the connection is shut down.
func (i *Instance) Open(c *csa.CSA) {
	i.Attach(c.Loop())
	c.Tag = i.admit(c)
	i.opened(c.Tag, c)
}

// Secured tells the guest how the handshake went that makessl has begun.
func (i *Instance) Secured(c *csa.CSA, code abi.Code) {
	if i.module.has[callSecured] {
		i.deliver(event{call: callSecured, handle: c.Tag, arg: uint64(uint32(code)), conn: c})
	}
}

// admit gives a connection its handle, or shuts it down and returns 0.
func (i *Instance) admit(c conn) int32 {
	if !i.Running() {
		c.ShutdownMicroprocess(csa.InstanceGone.Reason())
		return 0
	}
	handle := i.handles.add(c)
	if handle == 0 {
		c.ShutdownMicroprocess(csa.HandlesFull.Reason())
	}
	return handle
}

func (i *Instance) opened(handle int32, c conn) {
	if handle != 0 && i.module.has[callOpen] {
		i.deliver(event{call: callOpen, handle: handle, conn: c})
	}
}

// guestCode is the code a guest closes with: its own, if it is one.
func guestCode(r uint64) abi.Code {
	if code := abi.Code(int32(r)); code.Valid() {
		return code
	}
	return abi.Invalid
}

// Window is the guest's, or nil when the instance is gone, or suspended for now.
func (i *Instance) Window(c *csa.CSA) []byte {
	if i.state != running || i.module.runtime.stopped.Load() {
		return nil
	}
	if i.unseeded {
		i.unseeded = false
		i.queue.push(event{call: callReseed}, i.turn)
		i.drain()
	}
	if !i.free(false) {
		if s := i.handles.get(c.Tag); s != nil && !s.wantsWindow {
			s.wantsWindow = true
			i.queue.push(event{call: callWindow, handle: c.Tag, conn: c}, i.turn)
		}
		return nil
	}
	end := uint64(i.window) + uint64(i.length)
	if end > uint64(len(i.memory.Bytes())) {
		return nil
	}
	return i.memory.Bytes()[i.window:end:end]
}

// Data hands over what was read into the window.
func (i *Instance) Data(c *csa.CSA, p []byte) int { return i.data(c.Tag, c, len(p)) }

func (i *Instance) data(handle int32, c conn, n int) int {
	if i.state != running {
		return 0 // and there may be no memory any more
	}
	if !i.memory.Filled(n) {
		i.outOfMemory = true
	}
	// Not in the line: it follows Window, which has asked.
	used, _ := i.run(event{call: callData, handle: handle, arg: uint64(n), conn: c})
	return int(used)
}

// Writable tells the guest that it can send again.
func (i *Instance) Writable(c *csa.CSA) {
	if i.module.has[callWritable] {
		i.deliver(event{call: callWritable, handle: c.Tag, conn: c})
	}
}

// EOF tells the guest that the peer has finished. A guest that does not care
// has finished too.
func (i *Instance) EOF(c *csa.CSA) { i.eof(c.Tag, c) }

func (i *Instance) eof(handle int32, c conn) {
	if i.module.has[callEOF] {
		i.deliver(event{call: callEOF, handle: handle, conn: c})
	} else {
		c.ProducerFinished()
	}
}

// Timer tells the guest that a connection's timer has fired.
func (i *Instance) Timer(c *csa.CSA, token int32) {
	if i.module.has[callTimer] {
		i.deliver(event{call: callTimer, handle: c.Tag, arg: uint64(uint32(token)), conn: c})
	}
}

// Closed has the guest hear of the end, if it has heard of the connection at
// all, and makes the handle stale.
func (i *Instance) Closed(c *csa.CSA, r csa.Reason) { i.ended(c.Tag, r) }

func (i *Instance) ended(handle int32, r csa.Reason) {
	if i.asleep != nil && !i.module.has[callClosed] && !i.suspended {
		i.handles.remove(handle) // nothing to wake it for
		return
	}
	i.deliver(event{call: callClosed, handle: handle, arg: uint64(uint32(r.Code))})
}

// Stop tells the guest that the host drains. It is to be called once.
func (i *Instance) Stop() {
	if !i.module.has[callStop] {
		return
	}
	stop := func() { i.deliver(event{call: callStop}) }
	if i.loop == nil {
		stop()
	} else {
		i.loop.Event(stop)
	}
}
