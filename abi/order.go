package abi

import "fmt"

// Event is a callback, as one handle sees it.
type Event byte

// The events of a handle, each named after its export.
const (
	EventOpen     Event = iota // EventOpen is csa_open.
	EventData                  // EventData is csa_data.
	EventWritable              // EventWritable is csa_writable.
	EventSecured               // EventSecured is csa_secured.
	EventTimer                 // EventTimer is csa_timer with this handle.
	EventMessage               // EventMessage is csa_message, which every open handle may see.
	EventEOF                   // EventEOF is csa_eof.
	EventClosed                // EventClosed is csa_closed.
)

var eventNames = [...]string{"csa_open", "csa_data", "csa_writable", "csa_secured", "csa_timer", "csa_message", "csa_eof", "csa_closed"}

// String is the name of the export, such as "csa_open".
func (e Event) String() string {
	if int(e) >= len(eventNames) {
		return fmt.Sprintf("Event(%d)", byte(e))
	}
	return eventNames[e]
}

// Order checks that the callbacks of one handle come in the legal order:
//
//	open (data | writable | secured | timer | message)* eof? (writable | secured | timer | message)* closed
//
// The host's tests and the guests' use it alike. The zero value is ready, for a
// guest that exports csa_open; an Order must be used by one goroutine at a time.
type Order struct {
	// NoOpen is to be set, before the first step, for a guest that does not
	// export csa_open. Such a guest first hears of a handle by csa_data or
	// csa_eof, and never hears of one that had neither.
	NoOpen bool
	// Dialled is to be set, before the first step, for a handle that connect has
	// returned: csa_closed may be all that is heard of it.
	Dialled bool

	state state
}

type state byte

const (
	unborn state = iota
	opened
	ended
	dead
)

var stateNames = [...]string{"before it was opened", "while it is open", "after csa_eof", "after csa_closed"}

// Step takes the next callback of the handle. It returns an error that says
// what came and when, if it must not come now; the order is then as it was
// before.
func (o *Order) Step(e Event) error {
	if next, ok := o.next(e); ok {
		o.state = next
		return nil
	}
	if int(e) < len(eventNames) && o.state == unborn && !o.NoOpen {
		return fmt.Errorf("abi: %v came as the first callback of a handle; the first is csa_open", e)
	}
	return fmt.Errorf("abi: %v must not come for a handle %s", e, stateNames[o.state])
}

// Done reports whether csa_closed has come.
func (o *Order) Done() bool { return o.state == dead }

func (o *Order) next(e Event) (state, bool) {
	switch o.state {
	case unborn:
		switch {
		case o.Dialled && e == EventClosed:
			return dead, true
		case !o.NoOpen:
			return opened, e == EventOpen
		case e == EventData:
			return opened, true
		case e == EventEOF:
			return ended, true
		}
	case opened:
		switch e {
		case EventData, EventWritable, EventSecured, EventTimer, EventMessage:
			return opened, true
		case EventEOF:
			return ended, true
		case EventClosed:
			return dead, true
		}
	case ended:
		switch e {
		case EventWritable, EventSecured, EventTimer, EventMessage:
			return ended, true
		case EventClosed:
			return dead, true
		}
	}
	return o.state, false
}
