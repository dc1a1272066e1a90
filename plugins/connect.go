package plugins

import (
	"strings"
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
)

// Dialer connects for handlers: it knows whom they may dial. Its method is called on
// the instance's loop.
type Dialer interface {
	// Dial begins to connect to what a handler has named. It answers abi.OK, and then
	// calls, on the loop and after it has returned, d.Failed once, or wires a CSA to
	// d.Handler; neither after cancel, which is called on the loop, if at all, before
	// either. Or it answers why it does not: abi.Invalid, abi.Denied or abi.Quota.
	Dial(d *Dial) (cancel func(), code abi.Code)
}

// Dial is one connection that a handler asks for.
type Dial struct {
	// Loop is where the connection is to live.
	Loop *csa.Loop
	// Address is what the handler has asked for, in up to abi.MaxAddress bytes.
	Address string
	// Instance is whose connection it will be.
	Instance *Instance
	// From is the connection whose event the handler is serving; nil when the event is of no
	// connection.
	From *csa.CSA
	// Handler is the handler for the new CSA. Its Open tells the guest.
	Handler csa.Handler
	// Failed is to be called if no connection comes, with the reason.
	Failed func(csa.Reason)
}

func (i *Instance) connect(ptr uint32, n int32) int32 {
	if n < 0 {
		return int32(abi.Invalid)
	}
	b := i.at("connect", ptr, n)
	if n > abi.MaxAddress {
		return int32(abi.Invalid)
	}
	address := string(b)
	if i.listener.Dialer == nil || i.loop == nil {
		return int32(abi.Denied)
	}
	p := &pending{i: i, cancel: func() {}, datagrams: strings.HasPrefix(address, "udp://")}
	if p.handle = i.handles.add(p); p.handle == 0 {
		return int32(abi.Quota)
	}
	from, _ := i.serving.(*csa.CSA)
	cancel, code := i.listener.Dialer.Dial(&Dial{
		Loop: i.loop, Address: address, Instance: i, From: from, Handler: p, Failed: p.failed,
	})
	if code != abi.OK {
		i.handles.remove(p.handle)
		return int32(code)
	}
	p.cancel = cancel
	i.handles.get(p.handle).announced = true
	return p.handle
}

// pending is a connection that is being dialled: the conn of its handle until csa_open is called,
// also where the guest runs beside the loop when it comes up, and the handler of its CSA until that
// is open.
type pending struct {
	i      *Instance
	handle int32
	cancel func()
	csa    *csa.CSA // is up, and the guest is about to hear of it; nil: it is not
	over   bool
	owed   bool // a send was answered AGAIN: csa_writable follows
	paused bool
	want   int
	// datagrams says that each send is one, also an empty one.
	datagrams bool
}

var (
	_ conn        = (*pending)(nil)
	_ csa.Handler = (*pending)(nil)
)

// Open puts the connection in its place and has the guest hear of it.
func (p *pending) Open(c *csa.CSA) {
	i := p.i
	s := i.handles.get(p.handle)
	if s == nil || !i.Running() {
		c.ShutdownMicroprocess(csa.InstanceGone.Reason())
		return
	}
	p.over, p.csa = true, c
	if !i.module.has[callOpen] {
		s.conn = c
	}
	c.Tag = p.handle
	c.Rewire(i)
	if p.want > 0 {
		c.Want(p.want)
	}
	if p.paused {
		c.Receive(false)
	}
	if p.owed {
		c.OweWritable() // first: the call below may go on beside the loop, and not return
	}
	i.opened(p.handle, c)
}

// Closed is the end of a connection that never was open.
func (p *pending) Closed(_ *csa.CSA, r csa.Reason) { p.failed(r) }

func (p *pending) failed(r csa.Reason) {
	if !p.over {
		p.over = true
		p.i.ended(p.handle, r)
	}
}

// Window and the rest of a handler's methods have nothing to do: nothing comes before
// Open.
func (p *pending) Window(*csa.CSA) []byte { return nil }

func (p *pending) Data(*csa.CSA, []byte) int  { return 0 }
func (p *pending) Writable(*csa.CSA)          {}
func (p *pending) Secured(*csa.CSA, abi.Code) {}
func (p *pending) EOF(*csa.CSA)               {}
func (p *pending) Timer(*csa.CSA, int32)      {}

// Send has no room before the connection is open.
func (p *pending) Send(b []byte) (taken int, code abi.Code) {
	switch {
	case len(b) == 0 && !p.datagrams:
		return 0, abi.OK
	case p.csa != nil:
		p.csa.OweWritable()
	default:
		p.owed = true
	}
	return 0, abi.Again
}

// Spend has nobody who would want to know.
func (p *pending) Spend(fuel, cpu int64) {}

// ProducerFinished gives it up, as nothing has been sent.
func (p *pending) ProducerFinished() { p.ShutdownMicroprocess(csa.Orderly) }

// ShutdownMicroprocess gives it up.
func (p *pending) ShutdownMicroprocess(r csa.Reason) {
	if p.csa != nil {
		p.csa.ShutdownMicroprocess(r)
	}
	if p.over {
		return
	}
	p.over = true
	p.cancel()
	// In an event of its own: the guest may be running.
	p.i.loop.Post(func() { p.i.ended(p.handle, r) })
}

// FinishSending likewise.
func (p *pending) FinishSending() { p.ProducerFinished() }

// Receive is for when it is open.
func (p *pending) Receive(on bool) {
	p.paused = !on
	if p.csa != nil {
		p.csa.Receive(on)
	}
}

// Want likewise.
func (p *pending) Want(n int) {
	p.want = n
	if p.csa != nil {
		p.csa.Want(n)
	}
}

func (p *pending) SetTimer(int32, time.Duration) abi.Code { return abi.Again }
func (p *pending) StopTimer(int32)                        {}
func (p *pending) Number() uint64                         { return 0 }
func (p *pending) Peer() string                           { return "" }
func (p *pending) Local() string                          { return "" }
func (p *pending) Transport() string                      { return "" }
func (p *pending) TLSInfo(int32) string                   { return "" }
func (p *pending) WebSocketInfo(int32) string             { return "" }
func (p *pending) Consumed([]byte, int)                   {}
func (p *pending) Offer()                                 {}
func (p *pending) Over() bool                             { return p.over }

func (i *Instance) makessl(handle, role int32, ptr uint32, n int32) abi.Code {
	if n < 0 {
		return abi.Invalid
	}
	name := i.at("makessl", ptr, n)
	s := i.handles.get(handle)
	switch {
	case s == nil:
		return abi.BadHandle
	case n > abi.MaxAddress, role != abi.TLSServer && role != abi.TLSClient, (role == abi.TLSServer) != (n == 0):
		return abi.Invalid
	case i.listener.MakeSSL == nil:
		return abi.Denied
	}
	c, ok := s.conn.(*csa.CSA)
	if !ok {
		return abi.Again // it is not open yet
	}
	return i.listener.MakeSSL(c, role, string(name))
}

func (i *Instance) splice(a, b int32) abi.Code {
	sa, sb := i.handles.get(a), i.handles.get(b)
	switch {
	case sa == nil || sb == nil:
		return abi.BadHandle
	case a == b:
		return abi.Invalid
	}
	ca, okA := sa.conn.(*csa.CSA)
	cb, okB := sb.conn.(*csa.CSA)
	if !okA || !okB {
		return abi.Again
	}
	if code := csa.Splice(ca, cb); code != abi.OK {
		return code
	}
	i.dropHandle(a)
	i.dropHandle(b)
	i.spliced = append(i.spliced, ca, cb)
	return abi.OK
}

// settleSplices tells of what was spliced in the call that is over.
func (i *Instance) settleSplices() {
	n := len(i.spliced) / 2
	i.spliced = nil
	if i.listener.OnSplice != nil {
		for range n {
			i.listener.OnSplice(i)
		}
	}
}

// dropHandle makes a handle stale of which the guest is to hear no more.
func (i *Instance) dropHandle(handle int32) {
	i.handles.remove(handle)
	i.queue.keep(func(e event) bool { return e.handle != handle })
}
