package record

import (
	"fmt"
	"net/netip"

	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/plugins"
	"bulkhead/plugins/wasi"
)

// Unit is what can only go as a whole: an instance with all of its connections, or a connection
// that has no instance yet.
type Unit struct {
	// Listener and Tenant say whose it is: the name of a listener, or LISTENER/ROUTE.
	Listener, Tenant string
	// Image is the number of the Image that the instance is a change of; 0: there is no instance.
	Image uint32
	// Instance is the instance. Where there is none it is empty.
	Instance plugins.InstanceRecord
	// Conns are its connections, whose descriptors come in the same order.
	Conns []Conn
}

// Conn is one connection.
type Conn struct {
	csa.Record
	// Source is the address that it is counted under for per_source; not valid: it is not counted.
	Source netip.Addr
	// Loop is the index of its loop.
	Loop int32
}

// Image is a snapshot that instances are changes of, beside its file.
type Image struct {
	// Number is what Units call it, from 1 on.
	Number uint32
	// Listener and Tenant are whose it is.
	Listener, Tenant string
	plugins.SnapshotRecord
}

const (
	mostName    = 1 << 10
	mostGlobals = 1 << 16
	mostChanges = 64 << 20
	mostHandles = 1 << 16
	// MostConns is how many connections a Unit may have: so many descriptors travel with one
	// message.
	MostConns = 240
)

// Append appends the unit to b.
func (u *Unit) Append(b []byte) []byte { return write(b, u.code) }

// ReadUnit reads a unit. Its bytes share b's memory.
func ReadUnit(b []byte) (*Unit, error) {
	u := &Unit{}
	if err := read(b, u.code); err != nil {
		return nil, fmt.Errorf("the record of a connection: %w", err)
	}
	return u, nil
}

// Append appends the image to b.
func (i *Image) Append(b []byte) []byte { return write(b, i.code) }

// ReadImage reads an image.
func ReadImage(b []byte) (*Image, error) {
	i := &Image{}
	if err := read(b, i.code); err != nil {
		return nil, fmt.Errorf("the record of an image: %w", err)
	}
	return i, nil
}

func (u *Unit) code(c *coder) {
	c.text(&u.Listener, mostName)
	c.text(&u.Tenant, mostName)
	number(c, &u.Image)
	if u.Image != 0 {
		instance(c, &u.Instance)
	}
	list(c, &u.Conns, MostConns, func(k *Conn) { k.code(c) })
}

func (i *Image) code(c *coder) {
	number(c, &i.Number)
	c.text(&i.Listener, mostName)
	c.text(&i.Tenant, mostName)
	format := i.Format[:]
	c.bytes(&format, len(i.Format))
	if copy(i.Format[:], format) != len(i.Format) {
		c.fail("a format has %d bytes", len(format))
	}
	number(c, &i.Size)
	list(c, &i.Globals, mostGlobals, c.wide)
	number(c, &i.Window)
	number(c, &i.Length)
}

func instance(c *coder, r *plugins.InstanceRecord) {
	number(c, &r.Size)
	c.bytes(&r.Changes, mostChanges)
	list(c, &r.Globals, mostGlobals, c.wide)
	list(c, &r.Timers, abi.MaxTimers, func(t *csa.TimerState) { timer(c, t) })
	list(c, &r.Handles, mostHandles, func(h *plugins.HandleRecord) {
		number(c, &h.Generation)
		c.flag(&h.Announced)
	})
	list(c, &r.Free, mostHandles, func(n *int32) { number(c, n) })
	list(c, &r.Descriptors, wasi.MostDescriptors, func(d *wasi.Descriptor) {
		c.wide(&d.Rights)
		c.wide(&d.Inheriting)
		number(c, &d.Flags)
		number(c, &d.Stream)
		c.flag(&d.Open)
	})
	for n := range r.Printed {
		c.bytes(&r.Printed[n], abi.MaxLogLine+1)
	}
	c.flag(&r.Unseeded)
}

func timer(c *coder, t *csa.TimerState) {
	number(c, &t.Token)
	number(c, &t.Left)
}

func (k *Conn) code(c *coder) {
	c.address(&k.Source)
	number(c, &k.Loop)
	r := &k.Record
	c.wide(&r.Number)
	number(c, &r.Tag)
	number(c, &r.Flags)
	number(c, &r.Want)
	c.bytes(&r.Inbox, csa.MostUnsent)
	c.bytes(&r.Unconsumed, csa.MostUnsent)
	for _, n := range []*int64{
		&r.Age, &r.Idle, &r.Owed, &r.OutDue, &r.OutIdle, &r.OutTake, &r.HeldFor, &r.HeldTaken,
		&r.Received, &r.Sent, &r.Fuel, &r.CPU,
	} {
		number(c, n)
	}
	for _, n := range []*uint32{&r.HeldAt, &r.HeldBusy, &r.Events, &r.FirstIn, &r.FirstOut} {
		number(c, n)
	}
	number(c, &r.Out)
	for _, f := range []*bool{&r.Owes, &r.Late, &r.Held, &r.Told} {
		c.flag(f)
	}
	c.endpoint(&r.Peer)
	c.endpoint(&r.Local)
	list(c, &r.Timers, abi.MaxTimers, func(t *csa.TimerState) { timer(c, t) })
}
