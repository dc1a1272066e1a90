package service

import (
	"time"

	"bulkhead/csa"
	"bulkhead/host/loops"
	"bulkhead/selector"
)

// openLines writes lines into the access log for those connections of one loop that are open for
// long: one when a connection's age is the interval, one when it is twice that, and so on. It is
// the loop's.
type openLines struct {
	m       *Machine
	l       *loops.Loop
	timer   selector.Timer // for the next look, or the next lines
	every   int64          // nanoseconds; 0: there are none
	until   int64          // the last look has found the lines that were due by then
	looking bool
	due     []*csa.CSA // those that the last look has found
	batch   int        // how many have their lines in one turn
}

// The times of openLines. A line comes at most lastLook after it is due, and then those of one look
// are written over half the time to the next: many connections may have come at once, and the queue
// of the log is bounded.
const (
	firstLook = time.Second
	lastLook  = time.Minute
	lineStep  = 10 * time.Millisecond
)

// fewLines are written in one turn, whatever the time.
const fewLines = 32

// WriteOpen has the access log have a line of each open connection each time that it is older by
// every; 0: none. It is for whoever has the right to reload, and the first call for before there
// are connections. It does nothing without Access.
func (m *Machine) WriteOpen(every time.Duration) {
	if m.Access == nil {
		return
	}
	if m.open == nil {
		for _, l := range m.Loops {
			m.open = append(m.open, &openLines{m: m, l: l})
		}
	}
	for _, o := range m.open {
		o.l.Post(func() { o.set(int64(every)) })
	}
}

// set sets the interval.
func (o *openLines) set(every int64) {
	if every == o.every {
		return
	}
	if o.every == 0 {
		o.until = o.l.Now()
	}
	o.every = every
	switch {
	case every == 0:
		o.due = nil
		o.l.Selector().StopTimer(&o.timer)
	case !o.looking && len(o.due) == 0:
		o.in(o.pause())
	}
}

// pause is the time from one look to the next: a tenth of the interval, within bounds.
func (o *openLines) pause() time.Duration {
	return min(max(time.Duration(o.every)/10, firstLook), lastLook)
}

func (o *openLines) in(d time.Duration) {
	o.l.Selector().SetTimer(&o.timer, o, o.l.Now()+int64(d))
}

// Expired writes the next lines, or looks for some.
func (o *openLines) Expired(*selector.Timer) {
	if len(o.due) > 0 {
		o.write()
		return
	}
	from, to := o.until, o.l.Now()
	o.until = to
	if !o.m.Access.On() {
		o.in(o.pause())
		return
	}
	o.looking = true
	o.l.Walk(func(c *csa.CSA) {
		if lineDue(c.Born(), from, to, o.every) {
			o.due = append(o.due, c)
		}
	}, func() {
		o.looking = false
		o.batch = max(fewLines, 1+len(o.due)*int(lineStep)/int(o.pause()/2))
		o.write()
	})
}

// lineDue reports whether the age of a connection has become a multiple of an interval after from,
// and not after to. An interval that is not above zero has none.
func lineDue(born, from, to, every int64) bool {
	return every > 0 && to > born && (to-born)/every > max(from-born, 0)/every
}

// write writes some of the lines that are due.
func (o *openLines) write() {
	if o.every == 0 {
		o.due = nil
		return
	}
	n := min(len(o.due), o.batch)
	for _, c := range o.due[:n] {
		if s := Of(c); s != nil && !c.Over() {
			s.writeOpen(c)
		}
	}
	clear(o.due[:n])
	if o.due = o.due[n:]; len(o.due) > 0 {
		o.in(lineStep)
		return
	}
	o.due = nil
	o.in(o.pause())
}
