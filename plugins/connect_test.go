package plugins

import (
	"net"
	"slices"
	"strconv"
	"testing"

	"bulkhead/abi"
	"bulkhead/csa"
	w "bulkhead/internal/wasmtest"
)

// exchange is a Dialer in a test's hand.
type exchange struct {
	dials     []*Dial
	cancelled []*Dial
	refuse    abi.Code
}

func (x *exchange) Dial(d *Dial) (func(), abi.Code) {
	if x.refuse != abi.OK {
		return nil, x.refuse
	}
	x.dials = append(x.dials, d)
	return func() { x.cancelled = append(x.cancelled, d) }, abi.OK
}

// dialling is a guest that dials 10 bytes at 100 on "d", gives that up on "u" and
// writes down what it hears: o, e, c for the handle it has dialled.
func dialling() *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"}, [2]string{"connect", "ii:i"}, [2]string{"control", "ii:i"}, [2]string{"log", "iii:i"}, [2]string{"want", "ii:i"})
	connect, control, log, want := f[1], f[2], f[3], f[4]
	m.Data(100, "tcp://a:12opened  data    closed  ")
	up := m.Global('i', true, w.I32Const(0))
	hear := func(at int32, then ...[]byte) []byte {
		return w.Cat(w.LocalGet(0), w.GlobalGet(up), w.I32Eq, w.If(w.I32Const(abi.LogInfo), w.I32Const(at), w.I32Const(8), w.Call(log), w.Drop, w.Cat(then...)))
	}
	first := func(c byte, then ...[]byte) []byte {
		return w.Cat(w.I32Const(w.WindowAt), w.I32Load8U(0), w.I32Const(int32(c)), w.I32Eq, w.If(then...))
	}
	m.Func("csa_open", "i:i", "", hear(110), w.I32Const(0))
	m.Func("csa_data", "ii:i", "", hear(118),
		first('d', w.I32Const(100), w.I32Const(10), w.Call(connect), w.GlobalSet(up)),
		first('w', w.GlobalGet(up), w.I32Const(3), w.Call(want), w.Drop),
		first('u', w.GlobalGet(up), w.I32Const(1), w.Call(control), w.Drop),
		w.LocalGet(1))
	m.Func("csa_closed", "ii:", "", hear(126))
	return m
}

// dials are an instance with a connection of its own and an exchange.
type dials struct {
	t *testing.T
	*exchange
	n *tenant
	l *loop
	i *Instance
	c *fake
	h int32
}

func newDials(t *testing.T) *dials {
	d := &dials{t: t, exchange: &exchange{}, n: newTenant(t, 0), c: &fake{room: 100}}
	d.l = newLoop(t)
	li := listener()
	li.Dialer = d.exchange
	d.i = d.n.start(dialling(), li)
	d.l.on(func() {
		d.i.Attach(d.l.Loop)
		d.h = open(d.i, d.c)
	})
	return d
}

func (d *dials) say(b byte) {
	d.l.on(func() {
		d.i.memory.Bytes()[w.WindowAt] = b
		d.i.data(d.h, d.c, 1)
	})
}

func (d *dials) heard(want ...string) {
	d.t.Helper()
	d.l.on(func() {
		var have []string
		for _, l := range d.n.log.lines {
			have = append(have, strconv.Quote(l.Text))
		}
		if !slices.Equal(have, want) {
			d.t.Errorf("it heard %q; want %q", have, want)
		}
	})
}

func (d *dials) closeIt() { d.l.on(d.i.Close) }

func TestConnectFails(t *testing.T) {
	d := newDials(t)
	d.say('d')
	if len(d.dials) != 1 || d.dials[0].Address != "tcp://a:12" || d.dials[0].Instance != d.i || d.dials[0].Loop != d.l.Loop {
		t.Fatalf("it dials %+v", d.dials)
	}
	d.l.on(func() { d.dials[0].Failed(csa.Reason{Code: abi.Refused}) })
	d.heard(`"closed  "`)
	if d.i.Connections() != 1 {
		t.Errorf("it has %d connections", d.i.Connections())
	}
	// The handle is stale: nothing happens.
	d.say('u')
	if len(d.cancelled) != 0 {
		t.Error("what is over is cancelled")
	}
	d.closeIt()
}

func TestConnectGivenUp(t *testing.T) {
	d := newDials(t)
	d.say('d')
	d.say('u')
	d.l.on(func() {})
	d.heard(`"closed  "`)
	if len(d.cancelled) != 1 {
		t.Errorf("%d are cancelled", len(d.cancelled))
	}
	// Its end does the same.
	d.say('d')
	d.closeIt()
	if len(d.cancelled) != 2 {
		t.Errorf("%d are cancelled", len(d.cancelled))
	}
	d.l.on(func() {})
}

func TestConnectRefused(t *testing.T) {
	d := newDials(t)
	d.refuse = abi.Quota
	d.say('d')
	if d.i.Connections() != 1 {
		t.Errorf("it has %d connections", d.i.Connections())
	}
	d.heard()
	d.closeIt()
}

// A connection that is up takes the place of its dial, with what was asked for meanwhile.
func TestConnectSucceeds(t *testing.T) {
	d := newDials(t)
	d.say('d')
	d.say('w')
	peer, end := d.l.wire(d.dials[0].Handler)
	write(t, peer, "ab")
	d.l.on(func() {})
	d.heard(`"opened  "`)
	write(t, peer, "c")
	until(t, "it hears of the data", func() (ok bool) { d.l.on(func() { ok = len(d.n.log.lines) == 2 }); return ok })
	peer.Close()
	end.wait(t)
	d.heard(`"opened  "`, `"data    "`, `"closed  "`)
	d.closeIt()
}

// One that comes up while the guest runs beside the loop, or waits, is not open before the guest
// has heard of it: it takes nothing, and one that is given up is not opened.
func TestConnectSucceedsBehindAnEvent(t *testing.T) {
	d := newDials(t)
	wants := func(n int, want abi.Code, name string, args ...int64) {
		t.Helper()
		d.l.on(func() {
			handle := int64(d.dials[n].Handler.(*pending).handle)
			wantCode(t, d.i, want, name, append([]int64{handle}, args...)...)
		})
	}
	var peers []net.Conn
	for n := range 2 {
		d.say('d')
		d.l.on(func() { d.i.suspended = true })
		peer, _ := d.l.wire(d.dials[n].Handler)
		peers = append(peers, peer)
		wants(n, abi.Again, "send", 0, 1)
		wants(n, abi.Again, "timer", 1, 1)
		wants(n, abi.Again, "splice", int64(d.h))
		if n == 0 {
			wants(n, abi.OK, "control", abi.ShutdownMicroprocess)
		}
		d.l.on(func() {
			d.i.suspended = false
			d.i.drain()
		})
	}
	wants(0, abi.BadHandle, "receive", 1)
	wants(1, 1, "send", 0, 1)
	d.heard(`"closed  "`, `"opened  "`)
	if n, err := peers[0].Read(make([]byte, 2)); n != 0 || err == nil {
		t.Errorf("who was given up got %d bytes, %v", n, err)
	}
	if n, err := peers[1].Read(make([]byte, 2)); n != 1 || err != nil {
		t.Errorf("the other got %d bytes, %v", n, err)
	}
	d.closeIt()
}

// One that comes when the instance has gone is closed.
func TestConnectTooLate(t *testing.T) {
	d := newDials(t)
	d.say('d')
	d.closeIt()
	peer, end := d.l.wire(d.dials[0].Handler)
	if r := end.wait(t); r.Code != abi.Refused {
		t.Errorf("it ends with %v", r)
	}
	peer.Close()
}

// What may be done with a handle that is not open yet.
func TestPendingHandle(t *testing.T) {
	d := newDials(t)
	d.say('d')
	d.l.on(func() {
		handle := int64(d.dials[0].Handler.(*pending).handle)
		for _, c := range []struct {
			name string
			args []int64
			want abi.Code
		}{
			{"send", []int64{handle, 0, 1}, abi.Again},
			{"receive", []int64{handle, 0}, abi.OK},
			{"want", []int64{handle, 5}, abi.OK},
			{"timer", []int64{handle, 1, 1}, abi.Again},
			{"timer", []int64{handle, 1, -1}, abi.OK},
			{"info", []int64{handle, abi.InfoPeer, 0, 0}, abi.OK},
			{"splice", []int64{handle, int64(d.h)}, abi.Again},
		} {
			if got, err := host(d.i, c.name, c.args...); err != nil || got != int64(c.want) {
				t.Errorf("%s%v = %d, %v; want %d", c.name, c.args, got, err, c.want)
			}
		}
	})
	d.closeIt()
}
